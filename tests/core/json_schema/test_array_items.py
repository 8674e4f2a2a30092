"""Arrays say what their items are, tuples included."""

from __future__ import annotations

from typing import Any

import pytest

from locus.core.json_schema.array_items import add_array_items

NUMBER = {"type": "number"}
TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "array"}, {"type": "array", "items": {}}),
        ({"type": ["array", "null"]}, {"type": ["array", "null"], "items": {}}),
        ({"type": "array", "items": NUMBER}, {"type": "array", "items": NUMBER}),
        (
            {"type": "array", "prefixItems": [NUMBER, {**NUMBER, "default": 0}], "maxItems": 2},
            {"type": "array", "maxItems": 2, "items": NUMBER},
        ),
        (
            {"type": "array", "prefixItems": [NUMBER, TEXT, NUMBER], "items": False},
            {
                "type": "array",
                "prefixItems": [NUMBER, TEXT, NUMBER],
                "items": {"anyOf": [NUMBER, TEXT]},
            },
        ),
        ({"type": "array", "items": [NUMBER, NUMBER]}, {"type": "array", "items": NUMBER}),
        ({"type": "array", "prefixItems": []}, {"type": "array", "prefixItems": [], "items": {}}),
        ({"type": "object"}, {"type": "object"}),
    ],
)
def test_every_array_has_items(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert add_array_items(schema) == expected
    nested = {"properties": {"type": schema}, "$defs": {"x": {"anyOf": [schema]}}}
    assert add_array_items(nested) == {
        "properties": {"type": expected},
        "$defs": {"x": {"anyOf": [expected]}},
    }


def test_data_are_not_taken_for_schemas() -> None:
    schema = {"type": "object", "default": {"type": "array"}, "enum": [{"type": "array"}]}
    assert add_array_items(schema) == schema
