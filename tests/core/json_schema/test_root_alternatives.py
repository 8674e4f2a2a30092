"""Alternatives at the root of a schema become one object."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.json_schema.root_alternatives import merge_root_alternatives

TEXT = {"type": "string"}
NUMBER = {"type": "number"}


def make_object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


@pytest.mark.parametrize(
    ("schema", "properties", "required"),
    [
        # Either of two properties, as MCP servers write it.
        (
            {"type": "object", "anyOf": [make_object(["a"], a=TEXT), make_object(["b"], b=TEXT)]},
            {"a": TEXT, "b": TEXT},
            None,
        ),
        (
            {
                **make_object(["id"], id=TEXT, a=TEXT),
                "oneOf": [{"required": ["a"]}, {"required": ["id"]}],
            },
            {"id": TEXT, "a": TEXT},
            ["id"],
        ),
        # The property that tells the alternatives apart takes the values of all.
        (
            {
                "oneOf": [
                    make_object(["kind", "x"], kind={"const": "a"}, x=TEXT),
                    make_object(["kind", "x"], kind={"const": "b"}, x=TEXT, y=NUMBER),
                ]
            },
            {"kind": {"anyOf": [{"const": "a"}, {"const": "b"}]}, "x": TEXT, "y": NUMBER},
            ["kind", "x"],
        ),
        # An object or nothing.
        ({"oneOf": [make_object(["a"], a=TEXT), {"type": "null"}]}, {"a": TEXT}, ["a"]),
        (
            {"allOf": [make_object(["a"], a=TEXT), make_object(["b"], b=NUMBER)]},
            {"a": TEXT, "b": NUMBER},
            ["a", "b"],
        ),
        (
            {"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": make_object(["a"], a=TEXT)}},
            {"a": TEXT},
            ["a"],
        ),
    ],
)
def test_the_object_has_the_properties_of_all_alternatives(
    schema: dict[str, Any], properties: dict[str, Any], required: list[str] | None
) -> None:
    before = json.dumps(schema)
    merged = merge_root_alternatives(schema)
    assert not {"anyOf", "oneOf", "allOf"} & merged.keys()
    assert (merged["properties"], merged.get("required")) == (properties, required)
    assert json.dumps(schema) == before


def test_what_is_lost_is_in_the_description() -> None:
    alternatives = [{"required": ["a"]}, {"required": ["b"]}]
    merged = merge_root_alternatives(
        {"type": "object", "description": "A file.", "anyOf": alternatives}
    )
    first, _, rules = merged["description"].partition("\n")
    assert first == "A file."
    assert json.loads(rules.partition(": ")[2]) == {"anyOf": alternatives}


@pytest.mark.parametrize("junk", [True, 1, "a", [{}], {"a": 1}, None])
def test_what_is_no_schema_in_one_place_is_ignored_there(junk: Any) -> None:
    member = {"properties": {"a": TEXT}, "required": ["a"]}
    schema = {
        "properties": junk,
        "required": junk,
        "anyOf": [member, junk],
        "allOf": [{"properties": junk, "required": junk}, member],
        "oneOf": junk,
    }
    merged = merge_root_alternatives(schema)
    assert merged["properties"]["a"] in (TEXT, 1)
    assert "a" in merged["required"]


def test_other_schemas_stay() -> None:
    schema = make_object(["a"], a={"anyOf": [TEXT, NUMBER]})
    assert merge_root_alternatives(schema) is schema
