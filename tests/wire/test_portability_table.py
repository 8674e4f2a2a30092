"""Checks the table in ``docs/portability.md``: an example for each row, run with each format.

An example returns the word that the cell has to begin with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

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
from locus.testing.formats import ReadImage, ReadMessage, ReadThinking
from tests.support.formats import FORMATS, FORMATS_BY_NAME
from tests.support.native_state import make_state
from tests.support.portability_page import read_table

NAMES = [wire.name for wire in FORMATS]
USER = Message.user("x")
PNG = ImagePart(data=b"\x89PNG", media_type="image/png")
CALL = ToolCall("1", "f")
RESULT = Message.tool(ToolResult("1", "f", "y"))

Row = Callable[[str], str]
ROWS: dict[str, Row] = {}


def register_row(title: str) -> Callable[[Row], Row]:
    """Register an example for the row with this title."""

    def register(example: Row) -> Row:
        assert title not in ROWS
        ROWS[title] = example
        return example

    return register


def read_request(name: str, *messages: Message) -> list[ReadMessage]:
    """Encode a request, and read it as the provider would."""
    return FORMATS_BY_NAME[name].read_request(FORMATS_BY_NAME[name].encode_request(messages))


def encode_and_decode(name: str, *messages: Message) -> Any:
    """Encode a request, and decode its JSON."""
    return json.loads(FORMATS_BY_NAME[name].encode_request(messages))


def describe_rejection(name: str, *messages: Message, position: int = 0) -> str | None:
    """``"raises"`` if a conversation is rejected, with the position in the error."""
    try:
        FORMATS_BY_NAME[name].encode_request(messages)
    except ConfigurationError as error:
        return "raises" if f"messages[{position}]" in str(error) else f"raises elsewhere: {error}"
    return None


def describe_image_rejection(name: str, *parts: str | Part) -> str | None:
    """``"raises"`` if these parts are rejected in a user message."""
    return describe_rejection(name, USER, Message.user(parts), position=1)


def read_user_parts(name: str, parts: Sequence[str | Part]) -> tuple[str | ReadImage, ...]:
    """Return the parts of a user message in the request."""
    (message,) = read_request(name, Message.user(parts))
    return message.parts


def read_response(name: str, parts: Sequence[str | Part], *calls: ToolCall) -> ReadMessage:
    """Return the assistant's message in the request."""
    read_results = [Message.tool(ToolResult(call.id, call.name, "y")) for call in calls]
    return read_request(name, USER, Message.assistant(parts, calls), *read_results, USER)[1]


def read_results(name: str, *messages: Message) -> list[tuple[str, tuple[str | ReadImage, ...]]]:
    """Return the results of tools: the call's name, and the parts."""
    result = read_request(name, *messages)
    names = {call.id: call.name for message in result for call in message.calls}
    return [
        (names[message.tool_call_id or ""], message.parts)
        for message in result
        if message.role == "tool"
    ]


# Roles and order.


@register_row("system messages in the middle")
def _(name: str) -> str:
    a, b = Message.system("a"), Message.system("b")
    result = [
        (message.role, message.parts)
        for message in read_request(name, a, USER, b, b, Message.user("y"))
    ]
    if result[0] == ("system", ("a\n\nb\n\nb",)):
        merged = "user" in FORMATS_BY_NAME[name].merged_roles
        rest = [("user", ("x", "y"))] if merged else [("user", ("x",)), ("user", ("y",))]
        assert result[1:] == rest
        return "moved"
    assert [role for role, _ in result] == ["system", "user", "system", "system", "user"]
    return "in place"


@register_row("user messages that follow each other")
def _(name: str) -> str:
    result = [message.parts for message in read_request(name, USER, Message.user("y"))]
    if "user" in FORMATS_BY_NAME[name].merged_roles:
        assert result == [("x", "y")]
        return "merged"
    assert result == [("x",), ("y",)]
    return "carried"


@register_row("messages between a call and its result")
def _(name: str) -> str:
    messages = (
        USER,
        Message.assistant(None, [CALL]),
        Message.system("b"),
        Message.user("wait"),
        RESULT,
    )
    result = [(message.role, message.parts) for message in read_request(name, *messages)]
    assert ("tool", ("y",)) in result
    assert result.index(("tool", ("y",))) < result.index(("user", ("wait",)))
    return "moved"


@register_row("a message's `name`")
def _(name: str) -> str:
    result = read_request(name, Message.user("x", name="Ann Lee"))[0].name
    if result is None:
        assert "Ann" not in json.dumps(encode_and_decode(name, Message.user("x", name="Ann Lee")))
        return "dropped"
    assert result == "Ann_Lee"
    assert read_request(name, Message.user("x", name="José-1"))[0].name == "José-1"
    assert read_request(name, Message.user("x", name=""))[0].name is None
    return "carried"


@register_row("`metadata`")
def _(name: str) -> str:
    assert "secret" not in json.dumps(
        encode_and_decode(name, Message.user("x", metadata={"secret": 1}))
    )
    return "dropped"


@register_row('`metadata["cache_control"]`')
def _(name: str) -> str:
    body = encode_and_decode(
        name, Message.user("x", metadata={"cache_control": {"type": "ephemeral"}})
    )
    return "carried" if "ephemeral" in json.dumps(body) else "dropped"


# Text and images.


@register_row("the order of text and images")
def _(name: str) -> str:
    if outcome := describe_image_rejection(name, "a", PNG, "b"):
        return outcome
    result = read_user_parts(name, ["a", PNG, "b"])
    assert {piece for piece in result if isinstance(piece, ReadImage)}
    if result[0] == "ab":
        return "lost"
    assert (result[0], result[2]) == ("a", "b")
    return "carried"


@register_row("blank text")
def _(name: str) -> str:
    result = read_user_parts(name, ["a", " "])
    assert result in [("a", " "), ("a ",), ("a",)]
    return "dropped" if result == ("a",) else "carried"


@register_row("images by URL")
def _(name: str) -> str:
    url = "https://example.com/a.png"
    if outcome := describe_image_rejection(name, ImagePart(url=url)):
        return outcome
    assert read_user_parts(name, [ImagePart(url=url)]) == (ReadImage(url),)
    return "carried"


@register_row("images as bytes, or in a `data:` URL")
def _(name: str) -> str:
    in_data_url = ImagePart(url="data:image/png;base64,iVBORw==")
    if outcome := describe_image_rejection(name, PNG):
        assert describe_image_rejection(name, in_data_url) == outcome
        return outcome
    for image in (PNG, in_data_url):
        (result,) = read_user_parts(name, [image])
        assert isinstance(result, ReadImage)
        assert result.data == b"\x89PNG"
        assert result.media_type == (
            None if FORMATS_BY_NAME[name].image_types == () else "image/png"
        )
    return "carried"


@register_row("images of other types than JPEG, PNG, GIF, WebP")
def _(name: str) -> str:
    image = ImagePart(data=b"BM", media_type="image/bmp")
    if outcome := describe_image_rejection(name, "look", image):
        return outcome
    (result,) = read_user_parts(name, [image])
    assert isinstance(result, ReadImage)
    assert result.data == b"BM"
    return "carried"


@register_row("`ImagePart.detail`")
def _(name: str) -> str:
    image = ImagePart(data=b"\x89PNG", media_type="image/png", detail="low")
    if outcome := describe_image_rejection(name, image):
        return outcome
    body = json.dumps(encode_and_decode(name, Message.user([image])))
    return "carried" if '"low"' in body.lower() else "dropped"


@register_row("images in a tool's result")
def _(name: str) -> str:
    result = Message(Role.TOOL, ["map", PNG], tool_call_id="1", name="f")
    messages = USER, Message.assistant(None, [CALL]), result
    if outcome := describe_rejection(name, *messages, position=2):
        return outcome
    ((_, parts),) = read_results(name, *messages)
    assert str(parts[0]).startswith("map")
    if len(parts) == 1:
        *_, last = read_request(name, *messages)
        assert (last.role, type(last.parts[-1])) == ("user", ReadImage)
        return "carried in a user's message"
    assert isinstance(parts[1], ReadImage)
    return "carried"


@register_row("images in a system message")
def _(name: str) -> str:
    messages = USER, Message.system(["like this", PNG]), USER
    return describe_rejection(name, *messages, position=1) or "carried"


@register_row("images in a response")
def _(name: str) -> str:
    messages = USER, Message.assistant(["so", PNG]), USER
    if outcome := describe_rejection(name, *messages, position=1):
        return outcome
    assert any(isinstance(part, ReadImage) for part in read_request(name, *messages)[1].parts)
    return "carried"


# Tools.


@register_row("parallel calls")
def _(name: str) -> str:
    calls = [ToolCall("1", "f", {"a": [1]}), ToolCall("2", "g")]
    result = read_response(name, ["so"], *calls)
    assert result.parts == ("so",)
    assert [(call.name, call.arguments) for call in result.calls] == [("f", {"a": [1]}), ("g", {})]
    if FORMATS_BY_NAME[name].id_pattern is not None:
        assert [call.id for call in result.calls] == ["1", "2"]
    return "carried"


@register_row("ids of calls that the provider would reject")
def _(name: str) -> str:
    rule = FORMATS_BY_NAME[name].id_pattern
    for odd_id in ("a:b", "x" * 41, "x" * 65):
        long_call = ToolCall(odd_id, "f")
        (call,) = read_response(name, [], long_call).calls
        if rule is None:
            assert odd_id not in json.dumps(
                encode_and_decode(name, USER, Message.assistant(None, [long_call]), USER)
            )
        elif call.id != odd_id:
            assert rule.fullmatch(call.id)
            assert not rule.fullmatch(odd_id)
            return "rewritten"
    return "dropped" if rule is None else "carried"


@register_row("one id for several calls")
def _(name: str) -> str:
    first = Message.assistant(None, [CALL, ToolCall("1", "g")])
    again = Message.assistant(None, [ToolCall("1", "h")])
    messages = USER, first, *(Message.tool(ToolResult("1", "", text)) for text in "ab")
    later = Message.tool(ToolResult("1", "h", "c"))
    result = read_results(name, *messages, again, later)
    assert result == [("f", ("a",)), ("g", ("b",)), ("h", ("c",))]
    return "dropped" if FORMATS_BY_NAME[name].id_pattern is None else "rewritten"


@register_row("results in another order than their calls")
def _(name: str) -> str:
    first = Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "g")])
    messages = USER, first, *(Message.tool(ToolResult(i, "", i)) for i in "21")
    result = read_results(name, *messages)
    assert sorted(result) == [("f", ("1",)), ("g", ("2",))]
    return "carried" if result[0][0] == "g" else "moved"


@register_row("a result without its tool's name")
def _(name: str) -> str:
    result = Message(Role.TOOL, "y", tool_call_id="1")
    assert read_results(name, USER, Message.assistant(None, [CALL]), result) == [("f", ("y",))]
    return "carried"


@register_row("a call without a result")
def _(name: str) -> str:
    assert '"f"' in json.dumps(encode_and_decode(name, USER, Message.assistant(None, [CALL]), USER))
    return "carried"


@register_row("failed tools")
def _(name: str) -> str:
    result = Message.tool(ToolResult("1", "f", "", error="no such city"))
    read_message = read_request(name, USER, Message.assistant(None, [CALL]), result)[2]
    assert read_message.parts == ("Error: no such city",)
    return "carried" if read_message.failed else "as text"


@register_row("arguments that are no JSON object")
def _(name: str) -> str:
    (call,) = read_response(name, [], ToolCall("1", "f", malformed_arguments='{"a": ')).calls
    assert call.arguments == {"malformed_arguments": '{"a": '}
    return "wrapped"


# Thinking and refusals.


def _check_thinking(name: str, part: ThinkingPart, thinking: ReadThinking) -> str:
    result = read_response(name, [part, TextPart("so")], CALL)
    assert result.parts == ("so",)
    assert result.thinking in ((), (thinking,))
    return "carried" if result.thinking else "dropped"


@register_row("thinking with a signature (Anthropic's)")
def _(name: str) -> str:
    return _check_thinking(name, ThinkingPart("hm", "seal"), ReadThinking("hm", "seal"))


@register_row("redacted thinking (Anthropic's)")
def _(name: str) -> str:
    return _check_thinking(name, ThinkingPart(redacted="dark"), ReadThinking(redacted="dark"))


@register_row("thinking without a signature (Ollama's, OCI's)")
def _(name: str) -> str:
    return _check_thinking(name, ThinkingPart("hm"), ReadThinking("hm"))


@register_row("refusals")
def _(name: str) -> str:
    result = read_response(name, [RefusalPart("No.")])
    if result.refusal is None:
        assert result.parts == ("No.",)
        return "as text"
    assert (result.refusal, result.parts) == ("No.", ())
    return "carried"


@register_row("searches that Anthropic ran, citations")
def _(name: str) -> str:
    block = {"type": "text", "text": "so", "citations": [{"cited_text": "so it is"}]}
    state = make_state("anthropic_messages", {"blocks": [block]})
    message = Message.assistant("so", native_state=state)
    assert read_request(name, USER, message, USER)[1].parts == ("so",)
    return (
        "carried"
        if "so it is" in json.dumps(encode_and_decode(name, USER, message, USER))
        else "dropped"
    )


@register_row("encrypted reasoning, searches of the responses API")
def _(name: str) -> str:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "zq-dark"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "zq-search": {}}
    part = {"type": "output_text", "text": "so", "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    state = make_state("responses", {"items": [reasoning, search, message]})
    messages = USER, Message.assistant("so", native_state=state), USER
    assert read_request(name, *messages)[1].parts == ("so",)
    return _check_words("zq-dark", "zq-search", in_=json.dumps(encode_and_decode(name, *messages)))


@register_row("the plan that a model makes before its calls (Cohere's)")
def _(name: str) -> str:
    own_format = name if name == "cohere_chat" else "oci_cohere_v2"  # two spellings, two makers
    state = make_state(own_format, {"tool_plan": "zq-plan"})
    message = Message.assistant("so", [CALL], native_state=state)
    assert read_request(name, USER, message, RESULT)[1].parts == ("so",)
    return _check_words("zq-plan", in_=json.dumps(encode_and_decode(name, USER, message, RESULT)))


def _check_words(*words: str, in_: str) -> str:
    result = {word in in_ for word in words}
    assert len(result) == 1
    return "carried" if result.pop() else "dropped"


@register_row("a response with neither text nor calls")
def _(name: str) -> str:
    for message in (Message.assistant(""), Message.assistant([ThinkingPart("hm", "seal")])):
        assert describe_rejection(name, USER, message, USER, position=1) == "raises"
    return "raises"


# The page.


def build_column(name: str) -> list[str]:
    """Return, for each row, the word with which the format's cell has to begin, or the error."""
    column = []
    for title, example in ROWS.items():
        try:
            column.append(f"{title}: {example(name)}")
        except AssertionError as error:
            column.append(f"{title}: the request or the record is wrong: {error}")
    return column


def make_slug(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")


def test_every_row_has_an_example_and_every_format_a_column() -> None:
    result = read_table()
    assert list(result) == list(ROWS)
    for cells in result.values():
        assert list(cells) == [wire.title for wire in FORMATS]


@pytest.mark.parametrize("name", NAMES, ids=make_slug)
@pytest.mark.parametrize("title", ROWS, ids=make_slug)
def test_a_cell_says_what_happens(title: str, name: str) -> None:
    outcome = ROWS[title](name)
    assert re.match(rf"{outcome}\b", read_table()[title][FORMATS_BY_NAME[name].title])
