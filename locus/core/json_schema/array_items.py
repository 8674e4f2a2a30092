"""Describes the items of every array, which several providers require.

OpenAI and the servers that copy it refuse an array without ``items``; ``prefixItems``, which
describes each item of a tuple, is not enough (openai-agents-python, issue 302).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locus.core.json_schema.subschemas import map_subschemas


def add_array_items(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a schema in which every array has ``items`` that is a schema.

    The ``items`` of a tuple accept what any of its ``prefixItems`` accepts; if these are all alike,
    ``items`` takes their place. Other arrays accept anything.
    """
    copy = map_subschemas(schema, add_array_items)
    type_ = copy.get("type")
    is_array = type_ == "array" or (isinstance(type_, (list, tuple)) and "array" in type_)
    if not is_array or isinstance(copy.get("items"), Mapping):
        return copy
    first_items = copy.get("prefixItems", copy.get("items"))  # draft 7 has a list under ``items``
    if not isinstance(first_items, (list, tuple)) or not first_items:
        return {**copy, "items": {}}
    alternatives: list[Any] = []
    for item in first_items:
        if isinstance(item, Mapping):
            item = {key: value for key, value in item.items() if key != "default"}
        if item not in alternatives:
            alternatives.append(item)
    if len(alternatives) == 1 and isinstance(alternatives[0], Mapping):
        without_prefix = {key: value for key, value in copy.items() if key != "prefixItems"}
        return {**without_prefix, "items": alternatives[0]}
    return {**copy, "prefixItems": list(first_items), "items": {"anyOf": alternatives}}
