"""``validate_messages`` and ``build_tool_schemas``: errors name the index."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.build_tool_schemas import build_tool_schemas
from locus.core.conversation import validate_messages
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
from tests.support.strategies import conversations, tools

USER = Message.user("x")
CALL = ToolCall("call_1", "f")
RESULT = Message.tool(ToolResult("call_1", "f", "y"))


@given(conversations())
def test_a_valid_conversation_is_returned_unchanged(conversation: tuple[Message, ...]) -> None:
    assert validate_messages(conversation, accepted_parts=None) == conversation
    assert validate_messages(list(conversation), accepted_parts=None) == conversation


def test_a_prompt_and_a_single_message_are_conversations() -> None:
    assert validate_messages("x") == (USER,)
    assert validate_messages(USER) == (USER,)


@given(conversations(), st.data())
def test_a_result_without_a_call_is_an_error_with_its_index(
    conversation: tuple[Message, ...], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(conversation)))
    stray = Message.tool(ToolResult("unknown", "f", "y"))
    with pytest.raises(ConfigurationError, match=rf"messages\[{index}\].*'unknown'"):
        validate_messages((*conversation[:index], stray, *conversation[index:]))


@pytest.mark.parametrize(
    ("conversation", "pattern"),
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
def test_an_invalid_conversation_is_a_value_error(conversation: Any, pattern: str) -> None:
    with pytest.raises(ValueError, match=pattern) as exc_info:
        validate_messages(conversation)
    assert isinstance(exc_info.value, ConfigurationError)


@pytest.mark.parametrize(
    ("conversation", "pattern"),
    [
        ([USER, {"role": "user", "content": "x"}], r"messages\[1\] is dict"),
        (["x"], r"messages\[0\] is str"),
        ({"role": "user"}, r"messages\[0\] is str"),
        ([None], r"messages\[0\] is NoneType"),
    ],
)
def test_another_class_than_message_is_a_type_error_with_its_index(
    conversation: Any, pattern: str
) -> None:
    with pytest.raises(TypeError, match=pattern):
        validate_messages(conversation)


@pytest.mark.parametrize(
    "message",
    [
        Message.assistant("y"),
        Message.assistant(None, [CALL]),
        Message.assistant([RefusalPart("no")]),
        Message.assistant([ImagePart(url="https://x")]),
    ],
)
def test_text_calls_a_refusal_or_an_image_are_content_of_an_assistant(message: Message) -> None:
    assert validate_messages([USER, message], accepted_parts=None) == (USER, message)


# Tools.


class ToolWithSchema:
    def __init__(self, schema: Any) -> None:
        self.schema = schema

    def to_openai_schema(self) -> Any:
        return self.schema


@given(tools())
def test_tools_are_returned_unchanged(tool_list: list[dict[str, Any]]) -> None:
    assert list(build_tool_schemas(tool_list)) == tool_list
    assert list(build_tool_schemas(tuple(ToolWithSchema(tool) for tool in tool_list))) == tool_list


def test_none_and_an_empty_list_are_no_tools() -> None:
    assert build_tool_schemas(None) == build_tool_schemas([]) == ()


@pytest.mark.parametrize(
    ("tool_list", "pattern"),
    [
        ("f", "sequence"),
        ({"type": "function"}, "sequence"),
        ([5], r"tools\[0\] is int"),
        ([{"type": "function"}], r"tools\[0\].*format"),
        ([{"type": "function", "function": {}}], r"tools\[0\].*format"),
        ([{"type": "custom", "custom": {"name": "f"}}, len], r"tools\[1\]"),
        ([ToolWithSchema(5)], r"tools\[0\] is int"),
    ],
)
def test_an_invalid_tool_is_an_error_with_its_index(tool_list: Any, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        build_tool_schemas(tool_list)
