"""What is true of the requests of every wire format.

What is special to one format is tested in its own package; what a request has to contain, in
``portability_suite.py``.
"""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall, ToolResult
from locus.testing.formats.modify_in_place import modify_nested_containers
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.parametrize import without_deadline
from locus.testing.formats.strategies.basic_values import texts_with_lone_surrogates
from locus.testing.formats.strategies.conversations import conversations
from locus.testing.formats.strategies.tools_and_options import options, tools
from locus.testing.formats.wire_format import WireFormat

USER = Message.user("x")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "look", "description": "d", "parameters": SCHEMA}}


def build_body(wire: WireFormat, messages: Any, tools: Any = None, **call_options: Any) -> Any:
    return wire.builder.build(messages, tools, **{**wire.base_options, **call_options})


def make_tool(**members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "look", "parameters": {}, **members}}


def make_round(call: ToolCall, result: str = "y") -> list[Message]:
    """A question, a response with a tool call, and the result."""
    tool_result = ToolResult(call.id, call.name, result)
    return [USER, Message.assistant(None, [call]), Message.tool(tool_result)]


@without_deadline
@given(conversations(), st.data())
def test_build_is_deterministic_and_does_not_modify_its_arguments(
    wire: WireFormat, messages: tuple[Message, ...], data: st.DataObject
) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(st.just({}) | options(tool_list))

    def build() -> Any:
        try:
            return build_body(wire, messages, tool_list, **call_options)
        except ConfigurationError as exc:  # what this format cannot express
            return str(exc)

    before = copy.deepcopy((messages, tool_list, call_options))
    body = build()
    assert build() == body
    assert (messages, tool_list, call_options) == before
    expected = copy.deepcopy(body)
    modify_nested_containers(body)
    assert (messages, tool_list, call_options) == before
    assert build() == expected


def test_body_shares_no_objects_with_the_arguments(wire: WireFormat) -> None:
    tool = copy.deepcopy(TOOL)
    call = ToolCall("1", "look", {"a": {"b": [1]}})
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": copy.deepcopy(SCHEMA)}}
    modify_nested_containers(build_body(wire, make_round(call), [tool]))
    modify_nested_containers(build_body(wire, "x", response_format=schema))
    assert tool == TOOL
    assert call.arguments == {"a": {"b": [1]}}
    assert schema == {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


def test_mappings_of_any_class_are_objects(wire: WireFormat) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    expected = build_body(wire, "x", response_format=schema)
    for mapping in (
        MappingProxyType(schema),
        FrozenDict({**schema, "json_schema": MappingProxyType(schema["json_schema"])}),  # type: ignore[arg-type]
    ):
        assert build_body(wire, "x", response_format=mapping) == expected
    tool = MappingProxyType({**TOOL, "function": MappingProxyType(TOOL["function"])})  # type: ignore[arg-type]
    assert build_body(wire, "x", [tool]) == build_body(wire, "x", [TOOL])


def test_values_that_are_not_json_are_errors(wire: WireFormat) -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[1\]\.tool_calls\[0\]"):
        build_body(wire, make_round(ToolCall("1", "look", {"a": object()})))
    for call_options in (
        {"extra_body": {"a": object()}},
        {"tools": [make_tool(parameters={"a": object()})]},
    ):
        with pytest.raises(ConfigurationError, match="object"):
            wire.encode_request("x", **call_options)


@without_deadline
@given(texts_with_lone_surrogates())
def test_half_a_surrogate_pair_is_an_error_anywhere(wire: WireFormat, half: str) -> None:
    for messages, tool_list in (
        (half, None),
        ([Message.system(half), USER], None),
        ([Message.user(["x", half])], None),
        ([USER, Message.assistant(half), USER], None),
        (make_round(ToolCall("1", "look", {"a": half})), None),
        (make_round(ToolCall("1", "look", {half: "a"})), None),
        (make_round(ToolCall("1", "look", malformed_arguments=half)), None),
        (make_round(ToolCall("1", "look"), half), None),
        ("x", [make_tool(description=half)]),
        ("x", [make_tool(parameters={"properties": {"a": {"enum": [half]}}})]),
    ):
        with pytest.raises(ConfigurationError) as exc_info:
            wire.encode_request(messages, tools=tool_list)
        str(exc_info.value).encode()  # the error itself can be printed


def test_half_a_surrogate_pair_in_thinking_is_an_error(wire: WireFormat) -> None:
    if wire.thinking_form != "unsigned":
        return
    thinking = Message.assistant([ThinkingPart("\ud800"), TextPart("x")])
    with pytest.raises(ConfigurationError, match="surrogate"):
        wire.encode_request([USER, thinking, USER])
