"""Tests of replacing references in JSON Schemas by what they refer to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.json_schema.references import has_reference, inline_references

UNIT = {"type": "string", "enum": ["c", "f"]}
NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"}},
}


def make_object(member: Any, **keywords: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"p": member}, **keywords}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(
            make_object({"$ref": "#/$defs/Unit"}, **{"$defs": {"Unit": UNIT}}),
            make_object(UNIT),
            id="definition",
        ),
        pytest.param(
            make_object({"$ref": "#/definitions/Unit"}, definitions={"Unit": UNIT}),
            make_object(UNIT),
            id="definition of draft 7",
        ),
        pytest.param(
            make_object(
                {"$ref": "#/$defs/Unit", "description": "Which."},
                **{"$defs": {"Unit": {**UNIT, "description": "A unit."}}},
            ),
            make_object({**UNIT, "description": "Which."}),
            id="keywords beside the reference win",
        ),
        pytest.param(
            {"$ref": "#/$defs/Root", "$defs": {"Root": make_object(UNIT)}},
            make_object(UNIT),
            id="root",
        ),
        pytest.param(
            make_object(
                {"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": UNIT}}
            ),
            make_object(UNIT),
            id="through another",
        ),
        pytest.param(
            {"type": "object", "properties": {"a": UNIT, "b": {"$ref": "#/properties/a"}}},
            {"type": "object", "properties": {"a": UNIT, "b": UNIT}},
            id="another property",
        ),
        pytest.param(
            make_object({"$ref": "#/$defs/a~1b%20c~0"}, **{"$defs": {"a/b c~": UNIT}}),
            make_object(UNIT),
            id="escaped name",
        ),
        pytest.param(
            make_object({"items": {"$ref": "#/$defs/Unit"}, "$defs": {"Unit": UNIT}}),
            make_object({"items": UNIT}),
            id="definitions of the schema around",
        ),
        pytest.param(
            make_object(
                {
                    "oneOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}],
                    "discriminator": {"propertyName": "k", "mapping": {"u": "#/$defs/Unit"}},
                },
                **{"$defs": {"Unit": UNIT}},
            ),
            make_object({"oneOf": [UNIT, {"type": "null"}]}),
            id="discriminator",
        ),
    ],
)
def test_reference_is_replaced(schema: Any, expected: Any) -> None:
    before = json.dumps(schema)
    assert inline_references(schema) == expected
    assert json.dumps(schema) == before
    assert not has_reference(inline_references(schema))


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(
            make_object({"const": {"$ref": "#/$defs/Unit"}, "default": {"$ref": "#/x"}}),
            id="data",
        ),
        pytest.param(
            {"type": "object", "properties": {"$ref": {"type": "string"}, "$defs": UNIT}},
            id="property of that name",
        ),
        pytest.param(make_object({"$ref": "https://example.com/unit.json"}), id="other document"),
        pytest.param(make_object({"$ref": "#/$defs/Missing"}), id="missing"),
        pytest.param(make_object({"$ref": "#unit"}), id="anchor"),
        pytest.param("text", id="no schema"),
        pytest.param(True, id="true"),
    ],
)
def test_what_is_no_reference_into_the_schema_stays(schema: Any) -> None:
    assert inline_references(schema) == schema


def test_recursive_definition_stays_and_others_are_replaced() -> None:
    definitions = {"Node": NODE, "Unit": UNIT}
    schema = {
        "type": "object",
        "properties": {"unit": {"$ref": "#/$defs/Unit"}, "list": {"$ref": "#/$defs/Node"}},
        "$defs": definitions,
    }
    inlined = inline_references(schema)
    assert inlined["properties"] == {"unit": UNIT, "list": NODE}
    assert inlined["$defs"] == {"Node": NODE}
    assert has_reference(inlined)


def test_schema_that_refers_to_itself_stays() -> None:
    schema = make_object({"$ref": "#"})
    assert inline_references(schema) == schema


def test_schema_that_would_be_huge_stays() -> None:
    definitions: dict[str, Any] = {
        f"d{level}": {"properties": {name: {"$ref": f"#/$defs/d{level + 1}"} for name in "abcd"}}
        for level in range(40)
    }
    definitions["d40"] = UNIT
    schema = {"$ref": "#/$defs/d0", "$defs": definitions}
    assert inline_references(schema) is schema
