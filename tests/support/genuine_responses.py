"""Conversations as they begin on one provider: what users say, and genuine answers of each format.

An answer is JSON or a stream of the format, read by Locus, with ids as that provider and odd
servers of its format give them. Every call has a name of its own (``t0``, ``t1``, …), and so has
its result: by that name a test tells which belongs to which, whatever becomes of the ids. A new
format is a strategy for its answers and an entry in :data:`SPEAKERS`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import ImagePart, Message, Role, TextPart, ToolCall, ToolResult
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser
from locus.wire.json import encode
from locus.wire.oci_chat import (
    CohereChatBuilder,
    CohereChatParser,
    CohereV2ChatBuilder,
    CohereV2ChatParser,
    GenericChatBuilder,
    GenericChatParser,
)
from locus.wire.ollama_chat import OllamaChatBuilder, OllamaChatParser
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support.strategies import Answered, answers, splits, texts
from tests.support.wire_json import (
    anthropic_json,
    chat_json,
    oci_cohere_json,
    oci_generic_json,
    ollama_json,
    responses_json,
)

# Ids.

ODD = (
    *("a:b", "a/b", "a_b", "a b", "functions.t:0", "é", "\u2028", "1", "call_0", "\0"),
    *("x" * 40, "x" * 41, "x" * 42, "x" * 400, "123456789", "chatcmpl-tool-" + "0f" * 16),
)
"""Ids that some provider refuses, among them some that a careless hand makes the same."""


CALLED = r"\Acall_[a-zA-Z0-9]{24}\Z"
"""The ids that OpenAI gives."""


def ids(flavour: str) -> st.SearchStrategy[list[str]]:
    """Ids of the calls of one answer. Another answer may have the same."""
    return st.lists(
        st.from_regex(flavour) | st.sampled_from(ODD), min_size=4, max_size=4, unique=True
    )


# Answers.


@st.composite
def _numbered(draw: st.DrawFn, answered: Answered, first: int, flavour: str) -> Answered:
    """The answer, its calls numbered and with ids."""
    said = answered.first
    given = draw(ids(flavour)) if said.calls else []
    calls = [
        attrs.evolve(call, id=given[at], name=f"t{first + at}")
        for at, call in enumerate(said.calls)
    ]
    return attrs.evolve(answered, candidates=(attrs.evolve(said, calls=tuple(calls)),))


@st.composite
def _chat_completions(draw: st.DrawFn, first: int) -> Message:
    style = draw(st.sampled_from([None, None, "openai", "noids", "whole", "names"]))
    # A name in every fragment, and nobody can tell "{}{}" from two calls.
    answered = draw(_numbered(draw(answers(legible=style == "names")), first, CALLED))
    if style is None:
        body = json.dumps(chat_json.whole(answered, ids=draw(st.booleans())))
        return ChatCompletionsParser().parse(body).message
    chunks = draw(chat_json.chunks(answered, style))
    return chat_json.answer_of(draw(splits(draw(chat_json.framed(chunks))))).message


@st.composite
def _anthropic(draw: st.DrawFn, first: int) -> Message:
    turn = draw(anthropic_json.turns(legible=False))
    given = iter(draw(ids(r"\Atoolu_01[a-zA-Z0-9]{22}\Z")))
    blocks, made = [], first
    for block in turn.blocks:
        if block["type"] == "tool_use":
            block = {**block, "id": next(given), "name": f"t{made}"}
            made += 1
        elif block["type"] == "text" and not block["text"].strip():
            block = {**block, "text": "So."}
        blocks.append(block)
    turn = attrs.evolve(turn, blocks=tuple(blocks))
    if draw(st.booleans()):
        return AnthropicMessagesParser().parse(json.dumps(anthropic_json.whole(turn))).message
    events = draw(anthropic_json.events(turn))
    return anthropic_json.answer_of(draw(splits(draw(anthropic_json.framed(events))))).message


@st.composite
def _ollama(draw: st.DrawFn, first: int) -> Message:
    answered = draw(ollama_json.sayable(legible=False))
    answered = draw(_numbered(answered, first, r"\Acall_[a-z0-9]{8}\Z"))
    with_ids = draw(st.booleans())
    if draw(st.booleans()):
        body = json.dumps(ollama_json.whole(answered, with_ids, draw(st.booleans())))
        return OllamaChatParser().parse(body).message
    chunks = draw(ollama_json.chunks(answered, with_ids))
    return ollama_json.answer_of(draw(splits(draw(ollama_json.framed(chunks))))).message


@st.composite
def _oci_generic(draw: st.DrawFn, first: int) -> Message:
    answered = draw(oci_generic_json.sayable(legible=False))
    answered = draw(_numbered(answered, first, CALLED))
    style = draw(st.sampled_from([None, None, "fragments", "whole", "noids", "indexes"]))
    if style is None:
        body = json.dumps(oci_generic_json.whole(answered, ids=draw(st.booleans())))
        return GenericChatParser().parse(body).message
    events = draw(oci_generic_json.events(answered, style))
    return oci_generic_json.answer_of(draw(splits(draw(chat_json.framed(events))))).message


@st.composite
def _oci_cohere(draw: st.DrawFn, first: int) -> Message:
    answered = draw(oci_cohere_json.sayable(legible=False))
    answered = draw(_numbered(answered, first, CALLED))  # no id is sent
    if draw(st.booleans()):
        return CohereChatParser().parse(json.dumps(oci_cohere_json.whole(answered))).message
    stream = draw(chat_json.framed(draw(oci_cohere_json.events(answered))))
    return oci_cohere_json.reading.answer_of(draw(splits(stream))).message


@st.composite
def _oci_cohere_v2(draw: st.DrawFn, first: int) -> Message:
    answered = draw(oci_cohere_json.v2_sayable(legible=False))
    answered = draw(_numbered(answered, first, r"\A[a-z]{3,9}_[a-z0-9]{12}\Z"))
    if draw(st.booleans()):
        return CohereV2ChatParser().parse(json.dumps(oci_cohere_json.v2_whole(answered))).message
    stream = draw(chat_json.framed(draw(oci_cohere_json.v2_events(answered))))
    return oci_cohere_json.v2_reading.answer_of(draw(splits(stream))).message


@st.composite
def _responses(draw: st.DrawFn, first: int) -> Message:
    answer = draw(responses_json.response_answers(legible=False))
    given = iter(draw(ids(CALLED)))
    items, made = [], first
    another = draw(st.sampled_from(["", *"abcdef"]))  # the same answer may come twice
    for item in answer.items:
        item = {**item, "id": item["id"] + another}
        if "call_id" in item:
            item = {**item, "call_id": next(given), "name": f"t{made}"}
            made += 1
        if "input" in item:  # never the text of an object, which is what a function's would be
            item["input"] = "! " + item["input"]
        items.append(item)
    answer = attrs.evolve(answer, items=tuple(items))
    parser = ResponsesParser(draw(st.booleans()))
    if draw(st.booleans()):
        return parser.parse(json.dumps(responses_json.whole(answer))).message
    style = draw(st.sampled_from(responses_json.STYLES))
    stream = draw(responses_json.framed(draw(responses_json.events(answer, style))))
    return responses_json.answer_of(draw(splits(stream))).message


@attrs.frozen
class Speaker:
    """A format that a conversation may go through.

    :param builder: the ``RequestBuilder``.
    :param answer: an answer whose calls are numbered from a given one.
    :param options: what a request cannot do without.
    """

    builder: Any
    answer: Callable[[int], st.SearchStrategy[Message]]
    options: dict[str, Any]

    def request(self, turns: Sequence[Message], **options: Any) -> bytes:
        """The body of a request as it travels."""
        return encode(self.builder.build(turns, **{**self.options, **options}))


SPEAKERS: dict[str, Speaker] = {
    "chat completions": Speaker(ChatCompletionsBuilder(), _chat_completions, {"model": "gpt-4o"}),
    "Anthropic": Speaker(
        AnthropicMessagesBuilder(),
        _anthropic,
        {"model": "claude-sonnet-4-20250514", "max_tokens": 9},
    ),
    "Ollama": Speaker(OllamaChatBuilder(), _ollama, {"model": "qwen3:8b"}),
    "OCI generic": Speaker(
        GenericChatBuilder("ocid1.compartment.oc1..a"),
        _oci_generic,
        {"model": "meta.llama-3.3-70b-instruct"},
    ),
    "OCI Cohere": Speaker(CohereChatBuilder(), _oci_cohere, {"model": "cohere.command-r-plus"}),
    "OCI Cohere v2": Speaker(
        CohereV2ChatBuilder(), _oci_cohere_v2, {"model": "cohere.command-a-vision"}
    ),
    "Responses": Speaker(ResponsesBuilder(), _responses, {"model": "gpt-5"}),
}
"""By the names of ``wire_readers.FORMATS``."""


# What users say.


def pictures() -> st.SearchStrategy[ImagePart]:
    """Images by address, as bytes, and inside their own address, in all its spellings."""
    kinds = st.sampled_from(["image/png", "image/jpeg", "image/jpg", "image/webp", "image/bmp"])
    data = st.binary(min_size=1, max_size=9)
    forms = st.sampled_from(
        ["data:image/png;base64,", "DATA:image/png;name=a;base64,", "data:image/gif;BASE64,"]
    )
    inside = st.builds(lambda form, data: form + base64.b64encode(data).decode(), forms, data)
    return (
        st.just(ImagePart(url="https://example.com/a.png?x=1&y=é", detail="low"))
        | st.builds(ImagePart, data=data, media_type=kinds)
        | st.builds(ImagePart, url=inside)
    )


@st.composite
def _user(draw: st.DrawFn) -> Message:
    part = st.builds(TextPart, texts()) | pictures()
    content = draw(texts() | st.lists(part, min_size=1, max_size=4))
    name = draw(st.sampled_from([None, None, "ann", "Ann Lee", "José <x>", "x" * 70]))
    return Message.user(content, name=name, metadata={"cache": 1})


_SYSTEM = st.builds(Message.system, texts(max_size=10), name=st.sampled_from([None, "host"]))


@st.composite
def leg(draw: st.DrawFn, name: str, first: int) -> list[Message]:
    """What is said while the provider ``name`` is asked. Every call is answered.

    :param first: the number of the first call.
    """
    turns: list[Message] = []
    made = first

    def perhaps(strategy: st.SearchStrategy[Message], most: int = 1) -> None:
        turns.extend(draw(st.lists(strategy, max_size=most)))

    perhaps(_SYSTEM, 2)
    turns += draw(st.lists(_user(), min_size=1, max_size=2))
    perhaps(_SYSTEM)
    for _ in range(draw(st.integers(1, 2))):
        answer = draw(SPEAKERS[name].answer(made))
        turns.append(answer)
        made += len(answer.tool_calls)
        for call in draw(st.permutations(answer.tool_calls)):
            perhaps(_SYSTEM)
            perhaps(_user())
            turns.append(draw(_result(call)))
        perhaps(_SYSTEM)
        if not answer.tool_calls:
            break
    turns.append(Message.user("Go on."))
    return turns


@st.composite
def _result(draw: st.DrawFn, call: ToolCall) -> Message:
    error = draw(st.none() | texts(min_size=1))
    result = Message.tool(ToolResult(call.id, call.name, draw(texts()), error=error))
    if draw(st.integers(0, 5)) == 5:
        picture = draw(pictures())
        return Message(Role.TOOL, ["map", picture], tool_call_id=call.id, name=call.name)
    return result
