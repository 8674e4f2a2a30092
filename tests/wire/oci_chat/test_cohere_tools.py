"""Tools in Cohere's first format: a flat table, and in its descriptions what it cannot say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.wire.json import encode
from locus.wire.oci_chat.cohere_formats import CohereChatBuilder

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
LISTS = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}


def function(name: str = "look", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def asked(messages: Any = "x", tools: Any = None, **said: Any) -> Any:
    """The ``chatRequest`` as it travels."""
    body = CohereChatBuilder().build(messages, tools, model="cohere.command-r-plus", **said)
    return json.loads(encode(body))["chatRequest"]


# -- parameters ----------------------------------------------------------------------------------


def parameter(schema: Any, required: bool = False, **more: Any) -> Any:
    """How a parameter is told."""
    whole = {"type": "object", "properties": {"p": schema}, **more}
    if required:
        whole["required"] = ["p"]
    (tool,) = asked("x", [function(parameters=whole)])["tools"]
    return tool["parameterDefinitions"]["p"]


@pytest.mark.parametrize(
    ("schema", "kind"),
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
def test_a_type_that_python_has_a_name_for_says_it_all(schema: Any, kind: str) -> None:
    assert parameter(schema) == {"type": kind}
    assert parameter(schema, required=True) == {"type": kind, "isRequired": True}
    if isinstance(schema, dict):
        described = parameter(schema | {"description": "why"})
        assert described == {"type": kind, "description": "why"}


@pytest.mark.parametrize(
    ("schema", "kind"),
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
def test_what_no_type_can_say_is_in_the_description(schema: dict[str, Any], kind: str) -> None:
    told = parameter(schema)
    assert told["type"] == kind
    assert json.loads(told["description"].removeprefix("JSON Schema: ")) == schema
    both = parameter(schema | {"description": "why"})["description"]
    assert both == "why\n" + told["description"]


def test_definitions_are_put_where_they_are_used() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    told = parameter({"$ref": "#/$defs/P"}, **{"$defs": {"P": point}})
    assert told["type"] == "Dict"
    assert json.loads(told["description"].removeprefix("JSON Schema: ")) == point
    scalar = parameter({"$ref": "#/$defs/P"}, **{"$defs": {"P": {"type": "string"}}})
    assert scalar == {"type": "str"}


def test_a_schema_that_contains_itself_goes_with_its_definitions() -> None:
    tree = {"type": "object", "properties": {"kids": {"items": {"$ref": "#/$defs/T"}}}}
    told = parameter({"$ref": "#/$defs/T"}, **{"$defs": {"T": tree}})
    shown = json.loads(told["description"].removeprefix("JSON Schema: "))
    assert (told["type"], shown) == ("Any", {"$ref": "#/$defs/T", "$defs": {"T": tree}})


# -- tools ---------------------------------------------------------------------------------------


def test_a_tool_has_a_description_in_any_case() -> None:
    assert asked("x", [function()])["tools"] == [{"name": "look", "description": "look"}]
    schema = {"description": "where", "type": "object", "strict": True}
    (tool,) = asked("x", [function(description="looks", parameters=schema)])["tools"]
    assert tool["description"] == (
        'looks\n\nwhere\n\nJSON Schema of the parameters: {"strict":true}'
    )


@pytest.mark.parametrize("schema", [{"properties": 3}, {"properties": [1]}], ids=["number", "list"])
def test_parameters_that_are_no_schema_are_named(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"tools\[1\].*JSON Schema"):
        asked("x", [function("a"), function("b", parameters=schema)])


def test_a_schema_that_is_no_json_is_named() -> None:
    schema = {"properties": {"p": {"type": "string", "default": len}}}
    with pytest.raises(ConfigurationError, match=r"tools\[0\]|written as JSON"):
        asked("x", [function(parameters=schema)])


def test_a_tool_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"tools\[0\].*functions only.*'custom'"):
        asked("x", [{"type": "custom", "custom": {"name": "a"}}])


def test_a_tool_may_be_any_mapping() -> None:
    frozen = FrozenDict(
        type="function",
        function=FrozenDict(
            name="look",
            parameters=FrozenDict(properties=FrozenDict(p=FrozenDict(type="string", minLength=1))),
        ),
    )
    told = asked("x", [frozen])["tools"][0]["parameterDefinitions"]["p"]
    assert told == {"type": "str", "description": 'JSON Schema: {"type":"string","minLength":1}'}


# -- the choice among them -----------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["required", "look", "nonsense", {"type": "function"}])
def test_a_choice_of_tools_that_the_format_does_not_have_is_said(choice: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes 'auto' and 'none'"):
        asked("x", [function()], tool_choice=choice)
    assert asked("x", tool_choice=choice) == asked("x")


def test_to_choose_no_tool_is_to_offer_none() -> None:
    assert "tools" not in asked("x", [function()], tool_choice="none")
    assert asked("x", [function()], tool_choice="auto") == asked("x", [function()])


def test_one_call_at_a_time_cannot_be_had() -> None:
    with pytest.raises(ConfigurationError, match="several tools at once"):
        asked("x", [function()], parallel_tool_calls=False)
    assert asked("x", [function()], parallel_tool_calls=True) == asked("x", [function()])
    assert asked(parallel_tool_calls=False) == asked()
