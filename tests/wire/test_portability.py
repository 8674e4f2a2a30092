"""A conversation begun on one provider continues on any other, and loses nothing on the way.

Conversations are genuine: users' messages, and answers read from the bytes of one provider, then
of the next. What is sent is read back by :mod:`tests.support.request_readers`, which shares no
code with Locus, and has to hold the same turns, calls, results and images, but for what
``docs/portability.md`` says.
"""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.models.native.anthropic import AnthropicModel
from locus.models.native.ollama import OllamaModel
from locus.models.native.openai import OpenAIModel
from locus.models.providers.oci import OCIModel, OCIResponsesModel
from locus.testing import LoopbackServer
from locus.wire.anthropic_messages import AnthropicMessagesParser
from locus.wire.oci_chat import CohereV2ChatParser
from locus.wire.responses import ResponsesParser
from tests.support.genuine_responses import ODD, SPEAKERS, leg
from tests.support.request_readers import FORMATS, Asked, Format, Picture, Said, Thought
from tests.support.wire_json import anthropic_json, responses_json

NAMES = list(FORMATS)
PAIRS = list(itertools.product(NAMES, NAMES))
PER_PAIR = max(2, 2 * settings().max_examples // len(PAIRS))
PER_NAME = max(2, settings().max_examples // len(NAMES))
USER = Message.user("x")
KEPT = {"blocks", "output_items"}
"""Where a message keeps what only the provider that gave it can read."""


def sent(name: str, turns: Sequence[Message], **options: Any) -> list[Said]:
    """What a provider would understand."""
    return FORMATS[name].read(SPEAKERS[name].request(turns, **options))


def by_name(found: list[Said]) -> list[Said]:
    """The same with the names of calls, which are their own, for their ids."""
    names = {call.id: call.name for said in found for call in said.calls}
    return [
        attrs.evolve(
            said,
            calls=tuple(attrs.evolve(call, id=call.name) for call in said.calls),
            answers=said.answers and names[said.answers],
        )
        for said in found
    ]


# What has to arrive, by the documentation.


def expected(turns: Sequence[Message], form: Format) -> list[Said]:
    """What a conversation has to be in a format that can carry it."""
    found: list[Said] = []
    for message in turns:
        if message.role is Role.TOOL:
            continue
        found.append(_said(message, form))
        names = [call.name for call in message.tool_calls]
        results = [other for other in turns if other.role is Role.TOOL and other.name in names]
        if form.ordered:
            results.sort(key=lambda result: names.index(result.name or ""))
        found += [_said(result, form) for result in results]
    if form.systems != "in place":
        found = _prompted(found, form)
    if not form.blank:
        found = [said for said in found if said not in (Said("user"), Said("assistant"))]
    if form.between is not None:
        found = _kept_waiting(found, form.between)
    return _merged(found, form.merges)


def _prompted(found: list[Said], form: Format) -> list[Said]:
    """System messages as one prompt: all of them, or those before everything else."""
    first = found
    if form.systems == "opening":
        first = list(itertools.takewhile(lambda said: said.role == "system", found))
    systems = [piece for said in first if said.role == "system" for piece in said.pieces]
    rest = [said for said in first if said.role != "system"] + found[len(first) :]
    if form.nothing is not None:
        rest = [
            said
            if said.pieces or said.role == "tool"
            else attrs.evolve(said, pieces=(form.nothing,))
            for said in rest
        ]
    return [Said("system", ("\n\n".join(map(str, systems)),)), *rest] if systems else rest


def _kept_waiting(found: list[Said], word: str) -> list[Said]:
    """With a word of the assistant before a user who speaks after results."""
    heard: list[Said] = []
    for said in found:
        before = [one.role for one in heard if one.role != "system"]
        if said.role == "user" and before[-1:] == ["tool"]:
            heard.append(Said("assistant", (word,)))
        heard.append(said)
    return heard


def _merged(found: list[Said], roles: Sequence[str]) -> list[Said]:
    merged: list[Said] = []
    for said in found:
        if not merged or said.role not in roles or said.role != merged[-1].role:
            merged.append(said)
            continue
        before = merged.pop()
        pieces = (*before.pieces, *said.pieces)
        if said.role == "assistant" and pieces:
            pieces = ("".join(map(str, pieces)),)
        calls, thoughts = before.calls + said.calls, before.thoughts + said.thoughts
        refusal = (before.refusal or "") + (said.refusal or "") or None
        merged.append(Said(said.role, pieces, calls, thoughts, refusal))
    return merged


def _said(message: Message, form: Format) -> Said:
    parts = _parts(message)
    refusal = "".join(part.text for part in parts if isinstance(part, RefusalPart)) or None
    return Said(
        str(message.role),
        _pieces(message, parts, form),
        tuple(_asked(call, form) for call in message.tool_calls),
        _thoughts(parts, form),
        refusal if form.refusals == "apart" else None,
        _name(message.name) if form.names and message.role is not Role.TOOL else None,
        message.name if message.role is Role.TOOL else None,
        form.failures and "error" in message.metadata,
    )


def _parts(message: Message) -> Sequence[Part]:
    content = message.content
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _name(name: str | None) -> str | None:
    return re.sub(r"[\s<>|/\\]", "_", name)[:64] if name else None


def _pieces(message: Message, parts: Sequence[Part], form: Format) -> tuple[str | Picture, ...]:
    found: list[str | Picture] = []
    for part in parts:
        if isinstance(part, ImagePart):
            found.append(_picture(part, form))
        elif isinstance(part, TextPart) and (form.blank or part.text.strip()):
            found.append(part.text)
    if form.refusals != "apart":
        found += _refusals(parts, form)
    shown = message.role is Role.TOOL and message.role in form.pictures
    if form.parts and (message.role is Role.USER or shown):
        return tuple(found)
    text = "".join(piece for piece in found if isinstance(piece, str))
    seen = [piece for piece in found if isinstance(piece, Picture)]
    always = message.role is Role.SYSTEM and form.parts and form.blank
    return (*([text] if text or always else []), *seen)


def _refusals(parts: Sequence[Part], form: Format) -> list[str]:
    """Refusals as text, in parts of their own or in a paragraph."""
    words = [part.text for part in parts if isinstance(part, RefusalPart) and part.text]
    if form.refusals == "part":
        return [text for text in words if form.blank or text.strip()]
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    return ["\n\n" * bool(text) + "".join(words)] if words else []


def _picture(part: ImagePart, form: Format) -> Picture:
    kind, data = part.media_type, part.data
    if data is None:
        url = part.url or ""
        if url[:5].lower() != "data:":
            return Picture(url)
        head, _, body = url[5:].partition(",")
        kind = head.partition(";")[0]
        data = unquote_to_bytes(body)
        if ";base64" in head.lower():
            data = base64.b64decode(data)
    kind = "image/jpeg" if kind == "image/jpg" else kind
    return Picture(None, data, None if form.kinds == () else kind)


def _asked(call: ToolCall, form: Format) -> Asked:
    text = call.malformed_arguments
    if text is None:
        return Asked(call.name, call.name, dict(call.arguments))
    if form.malformed:
        return Asked(call.name, call.name, None, text)
    return Asked(call.name, call.name, {"malformed_arguments": text})


def _thoughts(parts: Sequence[Part], form: Format) -> tuple[Thought, ...]:
    thoughts = [part for part in parts if isinstance(part, ThinkingPart)]
    if form.thinking == "sealed":
        return tuple(
            Thought(part.text, part.signature, part.redacted)
            for part in thoughts
            if part.signature or part.redacted is not None
        )
    if form.thinking == "open":
        text = "".join(
            part.text for part in thoughts if part.signature is None and part.redacted is None
        )
        return (Thought(text),) if text else ()
    return ()


def refused(message: Message, form: Format) -> list[ImagePart]:
    """The images of a message that a format cannot carry."""
    return [
        part
        for part in _parts(message)
        if isinstance(part, ImagePart)
        and (
            message.role not in form.pictures
            or ((picture := _picture(part, form)).url is not None and not form.fetches)
            or (picture.data is not None and form.kinds and picture.kind not in form.kinds)
        )
    ]


def described(message: Message, form: Format) -> Message:
    """A message with words for the images that a format cannot carry."""
    if not (bad := refused(message, form)):
        return message
    parts = [TextPart("(a picture)") if part in bad else part for part in _parts(message)]
    return attrs.evolve(message, content=parts)


def audible(message: Message) -> bool:
    """Whether an answer has text or calls. Without, no other provider takes it."""
    return message.role is not Role.ASSISTANT or message.says_something or bool(message.tool_calls)


def moves(turns: list[Message], name: str) -> list[Message]:
    """Hold a request to ``name`` against what it has to be; gives what the user can go on with."""
    form = FORMATS[name]
    mute = {at for at, message in enumerate(turns) if not audible(message)}
    if mute and not any(turns[at].metadata.keys() & KEPT for at in mute):
        with pytest.raises(ConfigurationError, match="neither text nor tool calls") as caught:
            sent(name, turns)
        assert _position(caught.value) in mute
    turns = [message for at, message in enumerate(turns) if at not in mute]
    bad = {at for at, message in enumerate(turns) if refused(message, form)}
    if bad:
        with pytest.raises(ConfigurationError, match="image") as caught:
            sent(name, turns)
        assert _position(caught.value) in bad
        turns = [described(message, form) for message in turns]
    before = copy.deepcopy(turns)
    body = SPEAKERS[name].request(turns)
    assert SPEAKERS[name].request(turns) == body
    assert turns == before
    found = form.read(body)
    if form.id is not None:
        assert all(form.id.fullmatch(call.id) for said in found for call in said.calls)
    assert by_name(found) == expected(turns, form)
    return turns


def _position(error: ConfigurationError) -> int:
    found = re.match(r"messages\[(\d+)\]", str(error))
    assert found, error
    return int(found[1])


@pytest.mark.parametrize(("begun", "continued"), PAIRS, ids=lambda name: name.replace(" ", "-"))
@settings(max_examples=PER_PAIR)
@given(data=st.data())
def test_a_conversation_goes_from_any_provider_to_any_other_and_on(
    begun: str, continued: str, data: st.DataObject
) -> None:
    turns: list[Message] = []
    for name in (begun, continued, data.draw(st.sampled_from(NAMES)), begun):
        if turns:
            turns = moves(turns, name)
        made = sum(len(message.tool_calls) for message in turns)
        turns += data.draw(leg(name, made))
    moves(turns, continued)


# There and back.


@pytest.mark.parametrize("between", [name for name in NAMES if name != "Anthropic"])
@settings(max_examples=PER_NAME)
@given(turn=anthropic_json.turns(), data=st.data())
def test_thinking_and_searches_come_back_to_anthropic_and_to_nobody_else(
    between: str, turn: anthropic_json.Turn, data: st.DataObject
) -> None:
    sealed = {"type": "thinking", "thinking": "zq-thought", "signature": "zq-seal"}
    dark = {"type": "redacted_thinking", "data": "zq-dark"}
    said = {"type": "text", "text": "So.", "citations": None}
    blocks = (sealed, dark, said, *turn.blocks)
    turn = attrs.evolve(turn, blocks=blocks, stop="end_turn", explanation=None)
    speaker = SPEAKERS["Anthropic"]
    message = _read(anthropic_json.whole(turn))
    results = [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    turns = [USER, message, *results, USER]
    alone = json.loads(speaker.request(turns))["messages"]
    assert alone[1] == {"role": "assistant", "content": anthropic_json.sent_back(turn)}

    elsewhere = SPEAKERS[between].request(turns)
    assert b"zq-" not in elsewhere
    answer = data.draw(SPEAKERS[between].answer(900).filter(lambda said: not said.tool_calls))
    turns = [*turns, answer, USER] if audible(answer) else turns
    assert b"zq-" not in SPEAKERS[between].request(turns)
    again = json.loads(speaker.request(turns))["messages"]
    assert again[:2] == alone[:2]


def _read(body: dict[str, Any]) -> Message:
    return AnthropicMessagesParser().parse(json.dumps(body)).message


@pytest.mark.parametrize("between", [name for name in NAMES if name != "Responses"])
@settings(max_examples=PER_NAME)
@given(answer=responses_json.response_answers(), data=st.data())
def test_reasoning_and_searches_come_back_to_responses_and_to_nobody_else(
    between: str, answer: responses_json.Answer, data: st.DataObject
) -> None:
    sealed = {
        "type": "reasoning",
        "id": "rs_zq",
        "summary": [{"type": "summary_text", "text": "zq-thought"}],
        "encrypted_content": "zq-seal",
    }
    search = {"type": "web_search_call", "id": "ws_zq", "status": "completed", "action": {}}
    said = responses_json.message("So.", at=99)
    answer = attrs.evolve(answer, items=(sealed, search, *answer.items, said))
    speaker = SPEAKERS["Responses"]
    message = ResponsesParser().parse(json.dumps(responses_json.whole(answer))).message
    results = [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    turns = [USER, message, *results, USER]
    alone = json.loads(speaker.request(turns))["input"]
    assert alone[1:3] == [sealed, search]
    assert said in alone

    elsewhere = SPEAKERS[between].request(turns)
    assert not re.search(b"zq|web_search|output_items|encrypted", elsewhere)
    other = data.draw(SPEAKERS[between].answer(900).filter(lambda said: not said.tool_calls))
    turns = [*turns, other, USER] if audible(other) else turns
    again = json.loads(speaker.request(turns))["input"]
    assert again[: len(alone)] == alone


def test_an_answer_that_is_there_twice_repeats_no_id_to_responses() -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "dark"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
    items = (sealed, search, responses_json.message("So."))
    body = responses_json.whole(responses_json.Answer(items))
    message = ResponsesParser().parse(json.dumps(body)).message
    found = sent("Responses", [USER, message, USER, message, USER])
    assert [said.pieces for said in found] == [("x",), ("So.",), ("x",), ("So.",), ("x",)]


@pytest.mark.parametrize("between", [name for name in NAMES if name != "OCI Cohere v2"])
def test_the_plan_comes_back_to_cohere_and_to_nobody_else(between: str) -> None:
    call = {"id": "1", "type": "FUNCTION", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "ASSISTANT", "toolPlan": "zq-plan", "toolCalls": [call]}
    body = {"chatResponse": {"message": said, "finishReason": "TOOL_CALL"}}
    message = CohereV2ChatParser().parse(json.dumps(body)).message
    turns = [USER, message, Message.tool(ToolResult("1", "f", "y")), Message.assistant("So."), USER]
    assert b"zq-plan" not in SPEAKERS[between].request(turns)
    request = json.loads(SPEAKERS["OCI Cohere v2"].request(turns))["chatRequest"]
    assert request["messages"][1] == {**said, "content": []}


# Ids.

RULES = [
    *(
        (name, SPEAKERS[name].options["model"], form.id)
        for name, form in FORMATS.items()
        if form.id
    ),
    # "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9."
    ("chat completions", "mistralai/Devstral-Small-2507", re.compile(r"[a-zA-Z0-9]{9}")),
    ("chat completions", "mistral-large-latest", re.compile(r"[a-zA-Z0-9]{9}")),
    ("chat completions", "gemini-3-pro", re.compile(r".+", re.DOTALL)),
    ("chat completions", "moonshotai/Kimi-K2", re.compile(r".+", re.DOTALL)),
    ("OCI generic", "mistral.mistral-large", re.compile(r"[a-zA-Z0-9]{9}")),
    ("OCI generic", "google.gemini-2.5-pro", re.compile(r".+", re.DOTALL)),
]


@pytest.mark.parametrize(
    ("name", "model", "rule"), RULES, ids=lambda value: value if isinstance(value, str) else ""
)
@given(st.data())
def test_ids_are_what_the_provider_takes_tell_calls_apart_and_stay_where_they_can(
    name: str, model: str, rule: re.Pattern[str], data: st.DataObject
) -> None:
    one = st.sampled_from(ODD) | st.text("ab:.-é", min_size=1, max_size=3)
    found = data.draw(st.lists(one, min_size=1, max_size=6))
    sent_ids = calls_by(name, model, found)
    assert len(set(sent_ids)) == len(found)
    assert all(rule.fullmatch(identity) for identity in sent_ids)
    # What an id was made into may be the id of another call.
    for others in ([*sent_ids, *found], [*found, *sent_ids]):
        assert len(set(calls_by(name, model, others))) == len(others)
    fitting = [identity for identity in dict.fromkeys(found) if rule.fullmatch(identity)]
    assert calls_by(name, model, fitting) == fitting
    # A longer conversation begins like the shorter.
    assert calls_by(name, model, found[:-1]) == sent_ids[:-1]


def calls_by(name: str, model: str, ids: Sequence[str]) -> list[str]:
    """The ids that calls have in a request. Each result is that of its call."""
    turns = [USER]
    for number, identity in enumerate(ids):
        turns.append(Message.assistant(None, [ToolCall(identity, f"t{number}")]))
        turns.append(Message.tool(ToolResult(identity, f"t{number}", f"r{number}")))
    found = sent(name, turns, model=model)
    names = {call.id: call.name for said in found for call in said.calls}
    results = [said for said in found if said.role == "tool"]
    assert [(names[said.answers or ""], said.pieces) for said in results] == [
        (f"t{number}", (f"r{number}",)) for number in range(len(ids))
    ]
    return list(names)


@pytest.mark.parametrize("name", NAMES)
def test_results_find_their_calls_whatever_stands_between(name: str) -> None:
    first = Message.assistant(None, [ToolCall("1", "a"), ToolCall("1", "b")])
    turns = [
        USER,
        first,
        Message.system("s"),
        Message.tool(ToolResult("1", "a", "ra")),
        Message.user("wait"),
        Message.assistant("I am waiting."),
        Message.tool(ToolResult("1", "b", "rb")),
        Message.assistant(None, [ToolCall("1", "c"), ToolCall("2", "d")]),
        Message.user("hurry"),
        Message.tool(ToolResult("2", "d", "rd")),
        Message.tool(ToolResult("1", "c", "rc")),
        USER,
    ]
    assert by_name(sent(name, turns)) == expected(turns, FORMATS[name])


# Before anything is sent.

MODELS = {
    "chat completions": lambda url: OpenAIModel(api_key="k", base_url=url, max_retries=0),
    "Anthropic": lambda url: AnthropicModel(api_key="k", base_url=url, max_retries=0),
    "Ollama": lambda url: OllamaModel(base_url=url, max_retries=0),
    "OCI generic": lambda url: _oci(url, "GENERIC"),
    "OCI Cohere": lambda url: _oci(url, "COHERE"),
    "OCI Cohere v2": lambda url: _oci(url, "COHEREV2"),
    "Responses": lambda url: OCIResponsesModel("gpt-5", api_key="k", base_url=url, max_retries=0),
}


def _oci(url: str, api_format: str) -> OCIModel:
    return OCIModel("m", "ocid1.a", service_endpoint=url, api_format=api_format, max_retries=0)


CALL = Message.assistant(None, [ToolCall("1", "f")])
MAP = Message(Role.TOOL, [ImagePart(data=b"1", media_type="image/png")], tool_call_id="1")
IMPOSSIBLE = [
    ("chat completions", [USER, CALL, MAP], r"messages\[2\].*images.*tool"),
    ("chat completions", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    ("chat completions", [Message.user([ImagePart(url="data:x")])], r"messages\[0\].*data:"),
    ("Anthropic", [USER, Message.system([ImagePart(url="https://x")])], r"messages\[1\].*image"),
    ("Anthropic", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    (
        "Anthropic",
        [Message.user([ImagePart(data=b"BM", media_type="image/bmp")])],
        r"messages\[0\].*image/png.*image/bmp",
    ),
    ("Ollama", [USER, Message.user([ImagePart(url="https://x")])], r"messages\[1\].*https://x"),
    ("OCI generic", [USER, CALL, MAP], r"messages\[2\].*images.*tool"),
    ("OCI generic", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    ("OCI Cohere", [USER, Message.user([ImagePart(url="https://x")])], r"messages\[1\].*images"),
    ("OCI Cohere", [USER, CALL, MAP], r"messages\[2\].*images"),
    ("OCI Cohere", [USER, Message.assistant("so")], r"messages\[1\].*ends with neither"),
    ("OCI Cohere v2", [USER, CALL, MAP], r"messages\[2\].*images.*user"),
    ("Responses", [USER, Message.system([ImagePart(url="https://x")])], r"messages\[1\].*image"),
    ("Responses", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
]


@pytest.mark.parametrize(("name", "turns", "named"), IMPOSSIBLE)
def test_what_cannot_be_carried_is_said_and_nothing_is_sent(
    name: str, turns: list[Message], named: str
) -> None:
    with LoopbackServer() as server, MODELS[name](server.url) as model:
        with pytest.raises(ValueError, match=named):
            model.complete_sync(turns)
        with pytest.raises(ValueError, match=named), model.stream_sync(turns) as events:
            list(events)
        assert server.requests == ()
        assert server.connections_total == 0
