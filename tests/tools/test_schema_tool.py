"""``SchemaTool``, and tools of other libraries."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import ToolCall
from locus.tools import SchemaTool, ToolArgumentsError, ToolContext, convert_to_tool

PARAMETERS = {
    "type": "object",
    "properties": {"path": {"type": "string", "pattern": "^/"}, "x-y": {"type": "integer"}},
    "required": ["path"],
}


def read(**arguments: Any) -> Any:
    return arguments


async def read_async(**arguments: Any) -> Any:
    return arguments


READER = SchemaTool("read_file", "Read a file.", PARAMETERS, read)


def test_the_schema_is_sent_as_it_is() -> None:
    schema = {
        "type": "function",
        "function": {"name": "read_file", "description": "Read a file.", "parameters": PARAMETERS},
    }
    assert json.loads(json.dumps(READER.to_openai_schema())) == schema
    assert SchemaTool.from_openai_schema(schema, read) == READER
    strict = attrs.evolve(READER, strict=True)
    assert strict.to_openai_schema()["function"]["strict"] is True
    assert SchemaTool.from_openai_schema(strict.to_openai_schema(), read) == strict
    assert SchemaTool("now", function=read).to_openai_schema()["function"] == {
        "name": "now",
        "parameters": {"type": "object", "properties": {}},
    }


def test_it_is_immutable_and_a_value() -> None:
    assert attrs.evolve(READER) == READER
    assert hash(attrs.evolve(READER)) == hash(READER)
    assert pickle.loads(pickle.dumps(READER)) == READER
    assert attrs.evolve(READER, timeout=1) != READER
    assert repr(READER) == "<tool read_file(path, x-y)>"
    assert (READER.is_async, attrs.evolve(READER, function=read_async).is_async) == (False, True)
    with pytest.raises(TypeError):
        READER.parameters["properties"]["path"] = {}  # type: ignore[index]


def test_the_arguments_are_copied_to_the_function() -> None:
    arguments = {"path": "/a", "x-y": 1, "more": {"a": [1]}}
    bound = READER.bind_call(ToolCall("1", "read_file", arguments))
    assert bound == arguments
    assert READER(**bound) == arguments
    bound["more"]["a"].append(2)  # a mutable copy
    assert READER.bind_call(ToolCall("1", "read_file", arguments)) == arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (ToolCall("1", "read_file", {"x-y": 1}), "path: required, but missing"),
        (ToolCall.from_json("1", "read_file", "[1]"), "not a JSON object"),
        (ToolCall.from_json("1", "read_file", ""), "path: required, but missing"),
    ],
)
def test_missing_arguments_are_an_error_for_the_model(call: ToolCall, message: str) -> None:
    with pytest.raises(ToolArgumentsError, match=message):
        READER.bind_call(call)


def test_a_context_is_passed() -> None:
    def read_with_context(ctx: ToolContext, **arguments: Any) -> Any:
        return ctx.tool_call_id, arguments

    reader = attrs.evolve(READER, function=read_with_context)
    bound = reader.bind_call(ToolCall("1", "read_file", {"path": "/a"}))
    assert reader(**bound) == ("1", {"path": "/a"})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "two words"}, ConfigurationError),
        ({"description": None}, TypeError),
        ({"parameters": {"type": "array"}}, ConfigurationError),
        ({"parameters": []}, TypeError),
        ({"function": None}, TypeError),
        ({"timeout": 0}, ConfigurationError),
        ({"idempotent": 1}, (TypeError, ValueError)),
    ],
)
def test_wrong_settings_are_errors(changes: dict[str, Any], error: Any) -> None:
    with pytest.raises(error):
        attrs.evolve(READER, **changes)


class Remote:
    """A tool of another library."""

    timeout = 2.5

    def to_openai_schema(self) -> Any:
        return READER.to_openai_schema()

    async def __call__(self, **arguments: Any) -> Any:
        return arguments


def test_a_tool_of_another_library_keeps_its_schema() -> None:
    remote = Remote()
    converted = convert_to_tool(remote)
    assert isinstance(converted, SchemaTool)
    assert converted.to_openai_schema() == READER.to_openai_schema()
    assert (converted.function, converted.is_async, converted.timeout) == (remote, True, 2.5)
    assert convert_to_tool(READER) is READER


def test_a_description_alone_is_no_tool() -> None:
    class Description:
        def to_openai_schema(self) -> Any:
            return READER.to_openai_schema()

    for description in (Description(), READER.to_openai_schema()):
        with pytest.raises(TypeError, match=r"from_openai_schema\(schema, function\)"):
            convert_to_tool(description)
    for schema in ({}, {"type": "function"}, {"function": {"name": 1}}, "x"):
        with pytest.raises(ConfigurationError, match="a tool's schema is"):
            SchemaTool.from_openai_schema(schema, read)  # type: ignore[arg-type]
