"""Tests of moving rejected keywords into the description."""

from __future__ import annotations

from typing import Any

from locus.core.frozendict import FrozenDict
from locus.core.json_schema.move_unsupported_keywords import move_unsupported_keywords


def reject_bounds(keyword: str, value: Any, schema: Any) -> bool:
    return keyword not in ("minimum", "maximum", "maxItems")


def test_rejected_keywords_move_into_the_description() -> None:
    schema = {
        "type": "object",
        "properties": {
            "stars": {"type": "integer", "minimum": 1, "maximum": 5},
            "tags": {"type": "array", "items": {"maximum": 3}, "maxItems": 7, "description": "T."},
        },
    }
    assert move_unsupported_keywords(schema, reject_bounds)["properties"] == {
        "stars": {"type": "integer", "description": "(minimum: 1; maximum: 5)"},
        "tags": {
            "type": "array",
            "items": {"description": "(maximum: 3)"},
            "description": "T. (maxItems: 7)",
        },
    }


def test_names_and_data_are_no_keywords() -> None:
    schema = {
        "properties": {"minimum": {"type": "integer"}},
        "default": {"minimum": 3},
        "enum": [{"maximum": 1}],
        "additionalProperties": False,
    }
    assert move_unsupported_keywords(schema, reject_bounds) == schema


def test_moved_value_may_be_any_mapping() -> None:
    schema = FrozenDict({"maximum": FrozenDict({"$data": "1/a"})})
    found = move_unsupported_keywords(schema, reject_bounds)
    assert found == {"description": '(maximum: {"$data":"1/a"})'}
