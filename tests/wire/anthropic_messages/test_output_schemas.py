"""Tests of the schemas of ``output_config``, and of schemas that are requested in words."""

from __future__ import annotations

from typing import Any

import pytest

from locus.models.native.anthropic import AnthropicModel
from locus.wire.anthropic_messages.output_schemas import fit_strict_tool

NATIVE_MODEL = "claude-opus-5-5"


def make_object(member: Any, **keywords: Any) -> dict[str, Any]:
    closed = {"required": ["p"], "additionalProperties": False}
    return {"type": "object", "properties": {"p": member}, **closed, **keywords}


def build_request(schema: Any, model: str = NATIVE_MODEL, **config: Any) -> dict[str, Any]:
    json_schema = {"name": "a", "schema": schema, "description": "An answer."}
    return AnthropicModel(model, api_key="k", **config).request(
        "x", response_format={"type": "json_schema", "json_schema": json_schema}
    )


def send_member(member: Any, **keywords: Any) -> Any:
    body = build_request(make_object(member, **keywords))
    schema = body["output_config"]["format"]["schema"]
    assert schema == make_object(schema["properties"]["p"])
    return schema["properties"]["p"]


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (
            {"type": "integer", "minimum": 1, "maximum": 5},
            {"type": "integer", "description": "(minimum: 1; maximum: 5)"},
        ),
        (
            {"type": "string", "maxLength": 5, "description": "A word."},
            {"type": "string", "description": "A word. (maxLength: 5)"},
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 2},
            {"type": "array", "items": {"type": "string"}, "description": "(minItems: 2)"},
        ),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {"type": "string", "format": "binary"},
            {"type": "string", "description": '(format: "binary")'},
        ),
        ({"type": "string", "pattern": "^[a-z]+$"}, {"type": "string", "pattern": "^[a-z]+$"}),
        (
            {"type": "string", "pattern": "^(?=a)"},
            {"type": "string", "description": '(pattern: "^(?=a)")'},
        ),
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None]}),
    ],
)
def test_what_the_api_rejects_is_in_the_description(member: Any, expected: Any) -> None:
    assert send_member(member) == expected


@pytest.mark.parametrize("keyword", ["$defs", "definitions"])
def test_references_are_replaced(keyword: str) -> None:
    unit = {"type": "string", "enum": ["c"]}
    assert send_member({"$ref": f"#/{keyword}/U"}, **{keyword: {"U": unit}}) == unit


def test_objects_accept_no_other_members() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert send_member(inner) == {**inner, "additionalProperties": False}


NODE = make_object({"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]})


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}, id="recursive"),
        pytest.param(make_object({"$ref": "#"}), id="recursive root"),
        pytest.param(
            make_object({"type": "object", "additionalProperties": {"type": "integer"}}),
            id="mapping",
        ),
        pytest.param(make_object({"type": "object"}), id="any object"),
        pytest.param(make_object({}), id="anything"),
        pytest.param(make_object(True), id="true"),
        pytest.param(make_object({"type": "array"}), id="any list"),
        pytest.param(make_object({"type": ["object", "null"]}), id="any object or null"),
        pytest.param(
            make_object({"type": "array", "prefixItems": [{"type": "string"}]}), id="tuple"
        ),
    ],
)
def test_schema_that_the_api_cannot_enforce_is_requested_in_words(schema: Any) -> None:
    body = build_request(schema)
    assert "output_config" not in body
    assert "tools" not in body
    assert "JSON Schema" in body["system"]
    assert "An answer." in body["system"]
    assert '"p"' in body["system"]


def test_older_model_that_thinks_is_asked_in_words() -> None:
    body = build_request(make_object({"type": "string"}), "claude-sonnet-4-20250514", thinking=2000)
    assert body.keys() & {"output_config", "tool_choice", "tools"} == set()
    assert "JSON Schema" in body["system"]


def test_model_that_can_be_forced_gets_the_tool() -> None:
    body = build_request({"type": "object"}, "claude-sonnet-4-6")
    assert body["tool_choice"]["name"] == "respond_with_schema"
    assert "system" not in body


def test_strict_tool_has_a_schema_that_the_api_accepts() -> None:
    tool = {"name": "f", "strict": True, "input_schema": make_object({"enum": [1], "minimum": 1})}
    fitted = fit_strict_tool(tool)
    assert fitted["strict"] is True
    assert fitted["input_schema"]["properties"]["p"] == {
        "enum": [1],
        "description": "(minimum: 1)",
    }
    assert fit_strict_tool({**tool, "input_schema": {"type": "object"}}) == {
        "name": "f",
        "input_schema": {"type": "object"},
    }
    own = {"type": "custom", **tool}
    assert fit_strict_tool(own) is own
