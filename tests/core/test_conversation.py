"""A conversation that no provider could accept is refused, with the position of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.conversation import conversation
from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.core.tool_schemas import tool_schemas
from tests.support.strategies import conversations, tools

USER = Message.user("x")
CALL = ToolCall("call_1", "f")
RESULT = Message.tool(ToolResult("call_1", "f", "y"))


@given(conversations())
def test_what_providers_accept_passes_as_it_is(turns: tuple[Message, ...]) -> None:
    assert conversation(turns) == turns
    assert conversation(list(turns)) == turns


def test_a_prompt_and_a_single_message_are_conversations() -> None:
    assert conversation("x") == (USER,)
    assert conversation(USER) == (USER,)


@given(conversations(), st.data())
def test_a_result_without_its_call_is_refused_by_position(
    turns: tuple[Message, ...], data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(turns)))
    stray = Message.tool(ToolResult("never-made", "f", "y"))
    with pytest.raises(ConfigurationError, match=rf"messages\[{position}\].*'never-made'"):
        conversation((*turns[:position], stray, *turns[position:]))


@pytest.mark.parametrize(
    ("turns", "named"),
    [
        ([], "empty"),
        ((), "empty"),
        ([USER, Message.assistant()], r"messages\[1\].*neither text nor tool calls"),
        ([USER, Message.assistant("")], r"messages\[1\].*neither"),
        ([USER, Message.assistant([])], r"messages\[1\].*neither"),
        ([USER, Message.assistant([TextPart("")])], r"messages\[1\].*neither"),
        ([USER, Message.assistant([ThinkingPart("hm")])], r"messages\[1\].*neither"),
        ([USER, RESULT], r"messages\[1\].*'call_1'"),
        ([USER, RESULT, Message.assistant(None, [CALL])], r"messages\[1\].*'call_1'"),
        ([Message("user")], r"messages\[0\].*user.*empty"),
        ([Message.user([])], r"messages\[0\].*user.*empty"),
        ([USER, Message("system")], r"messages\[1\].*system.*empty"),
        (Message("user"), r"messages\[0\]"),
    ],
)
def test_what_no_provider_accepts_is_a_value_error(turns: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        conversation(turns)
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize(
    ("turns", "named"),
    [
        ([USER, {"role": "user", "content": "x"}], r"messages\[1\] is dict"),
        (["x"], r"messages\[0\] is str"),
        ({"role": "user"}, r"messages\[0\] is str"),
        ([None], r"messages\[0\] is NoneType"),
    ],
)
def test_what_is_no_message_is_a_type_error_by_position(turns: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        conversation(turns)


@pytest.mark.parametrize(
    "answer",
    [
        Message.assistant("y"),
        Message.assistant(None, [CALL]),
        Message.assistant([RefusalPart("no")]),
        Message.assistant([ImagePart(url="https://x")]),
    ],
)
def test_an_assistant_says_something_by_text_calls_refusal_or_image(answer: Message) -> None:
    assert conversation([USER, answer]) == (USER, answer)


# Tools.


class Describes:
    def __init__(self, schema: Any) -> None:
        self.schema = schema

    def to_openai_schema(self) -> Any:
        return self.schema


@given(tools())
def test_tools_pass_as_they_are(given_: list[dict[str, Any]]) -> None:
    assert list(tool_schemas(given_)) == given_
    assert list(tool_schemas(tuple(Describes(tool) for tool in given_))) == given_


def test_no_tools_are_no_tools() -> None:
    assert tool_schemas(None) == tool_schemas([]) == ()


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ("f", "sequence"),
        ({"type": "function"}, "sequence"),
        ([5], r"tools\[0\] is int"),
        ([{"type": "function"}], r"tools\[0\].*format"),
        ([{"type": "function", "function": {}}], r"tools\[0\].*format"),
        ([{"name": "f", "parameters": {}}], r"tools\[0\].*format"),
        ([{"type": "custom", "custom": {"name": "f"}}, len], r"tools\[1\]"),
        ([Describes(5)], r"tools\[0\] is int"),
    ],
)
def test_what_is_no_tool_is_refused_by_position(given_: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        tool_schemas(given_)
