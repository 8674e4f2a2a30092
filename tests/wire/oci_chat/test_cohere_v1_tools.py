"""Tests of tools in Cohere's first format: types, and schemas in descriptions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.wire.oci_chat import CohereV1ChatBuilder
from locus.wire.provider_json import encode_json

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
LISTS = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}


def make_tool(name: str = "look", **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **members}}


def build_chat_request(messages: Any = "x", tools: Any = None, **call_options: Any) -> Any:
    """Return the ``chatRequest`` as it is sent."""
    body = CohereV1ChatBuilder().build(
        messages, tools, model="cohere.command-r-plus", **call_options
    )
    return json.loads(encode_json(body))["chatRequest"]


# -- parameters ----------------------------------------------------------------------------------


def convert_parameter(schema: Any, required: bool = False, **members: Any) -> Any:
    """Return the converted parameter."""
    root = {"type": "object", "properties": {"p": schema}, **members}
    if required:
        root["required"] = ["p"]
    (tool,) = build_chat_request("x", [make_tool(parameters=root)])["tools"]
    return tool["parameterDefinitions"]["p"]


@pytest.mark.parametrize(
    ("schema", "type_name"),
    [
        ({"type": "string"}, "str"),
        ({"type": "integer"}, "int"),
        ({"type": "number"}, "float"),
        ({"type": "boolean", "title": "P"}, "bool"),
        ({"type": "array"}, "List"),
        ({"type": "array", "items": {"type": "string"}}, "List[str]"),
        ({"type": "array", "items": {"type": "array", "items": {}}}, "List[List[Any]]"),
        (LISTS, "List[List[int]]"),
        ({"type": "object"}, "Dict"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "Dict[str, float]"),
        ({}, "Any"),
        (True, "Any"),
    ],
)
def test_schema_that_a_type_expresses_has_no_schema_in_its_description(
    schema: Any, type_name: str
) -> None:
    assert convert_parameter(schema) == {"type": type_name}
    assert convert_parameter(schema, required=True) == {"type": type_name, "isRequired": True}
    if isinstance(schema, dict):
        described = convert_parameter(schema | {"description": "why"})
        assert described == {"type": type_name, "description": "why"}


@pytest.mark.parametrize(
    ("schema", "type_name"),
    [
        ({"type": "string", "enum": ["a", "b"]}, "str"),
        ({"type": "integer", "minimum": 0, "default": 3}, "int"),
        ({"type": ["string", "null"]}, "str"),
        ({"type": ["string", "integer"]}, "Any"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "int"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "Any"),
        ({"type": "array", "items": {"type": "string", "enum": ["a"]}}, "List[str]"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 3}, "List[str]"),
        ({"type": "array", "items": SCHEMA}, "List[Dict]"),
        (SCHEMA, "Dict"),
        ({"type": "object", "additionalProperties": SCHEMA}, "Dict[str, Dict]"),
        ({"const": 3}, "Any"),
        ({"type": "null"}, "Any"),
        ({"type": 3}, "Any"),
    ],
)
def test_schema_that_no_type_expresses_is_in_the_description(
    schema: dict[str, Any], type_name: str
) -> None:
    converted = convert_parameter(schema)
    assert converted["type"] == type_name
    assert json.loads(converted["description"].removeprefix("JSON Schema: ")) == schema
    with_description = convert_parameter(schema | {"description": "why"})["description"]
    assert with_description == "why\n" + converted["description"]


def test_definitions_are_inlined() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    converted = convert_parameter({"$ref": "#/$defs/P"}, **{"$defs": {"P": point}})
    assert converted["type"] == "Dict"
    assert json.loads(converted["description"].removeprefix("JSON Schema: ")) == point
    scalar = convert_parameter({"$ref": "#/$defs/P"}, **{"$defs": {"P": {"type": "string"}}})
    assert scalar == {"type": "str"}


def test_recursive_schema_keeps_its_definitions() -> None:
    tree = {"type": "object", "properties": {"kids": {"items": {"$ref": "#/$defs/T"}}}}
    converted = convert_parameter({"$ref": "#/$defs/T"}, **{"$defs": {"T": tree}})
    description_schema = json.loads(converted["description"].removeprefix("JSON Schema: "))
    assert (converted["type"], description_schema) == (
        "Dict",
        {**tree, "$defs": {"T": tree}},
    )


# -- tools ---------------------------------------------------------------------------------------


def test_tool_always_has_a_description() -> None:
    assert build_chat_request("x", [make_tool()])["tools"] == [
        {"name": "look", "description": "look"}
    ]
    schema = {"description": "where", "type": "object", "strict": True}
    (tool,) = build_chat_request("x", [make_tool(description="looks", parameters=schema)])["tools"]
    assert tool["description"] == (
        'looks\n\nwhere\n\nJSON Schema of the parameters: {"strict":true}'
    )


@pytest.mark.parametrize("schema", [{"properties": 3}, {"properties": [1]}], ids=["number", "list"])
def test_parameters_that_are_no_schema_are_reported(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"tools\[1\].*JSON Schema"):
        build_chat_request("x", [make_tool("a"), make_tool("b", parameters=schema)])


def test_schema_that_is_not_json_is_reported() -> None:
    schema = {"properties": {"p": {"type": "string", "default": len}}}
    with pytest.raises(ConfigurationError, match=r"tools\[0\]|written as JSON"):
        build_chat_request("x", [make_tool(parameters=schema)])


def test_tool_that_is_not_a_function_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"tools\[0\].*functions only.*'custom'"):
        build_chat_request("x", [{"type": "custom", "custom": {"name": "a"}}])


def test_a_tool_may_be_any_mapping() -> None:
    frozen = FrozenDict(
        type="function",
        function=FrozenDict(
            name="look",
            parameters=FrozenDict(properties=FrozenDict(p=FrozenDict(type="string", minLength=1))),
        ),
    )
    converted = build_chat_request("x", [frozen])["tools"][0]["parameterDefinitions"]["p"]
    assert converted == {
        "type": "str",
        "description": 'JSON Schema: {"type":"string","minLength":1}',
    }


# -- tool choice ---------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["required", "look", "nonsense", {"type": "function"}])
def test_unsupported_tool_choice_is_reported(choice: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes 'auto' and 'none'"):
        build_chat_request("x", [make_tool()], tool_choice=choice)
    assert build_chat_request("x", tool_choice=choice) == build_chat_request("x")


def test_tool_choice_none_sends_no_tools() -> None:
    assert "tools" not in build_chat_request("x", [make_tool()], tool_choice="none")
    assert build_chat_request("x", [make_tool()], tool_choice="auto") == build_chat_request(
        "x", [make_tool()]
    )


def test_parallel_tool_calls_false_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="several tools at once"):
        build_chat_request("x", [make_tool()], parallel_tool_calls=False)
    assert build_chat_request("x", [make_tool()], parallel_tool_calls=True) == build_chat_request(
        "x", [make_tool()]
    )
    assert build_chat_request(parallel_tool_calls=False) == build_chat_request()
