"""Rewrites a JSON Schema for ``output_config``, with which the API makes a response fit a schema.

The API accepts a part of JSON Schema only (its page "Structured outputs", "JSON Schema
limitations": https://platform.claude.com/docs/en/build-with-claude/structured-outputs). What only
restricts a value moves into the description. What cannot be expressed at all, such as a recursive
schema or an object with open keys, has to be requested in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from locus.core.json_schema.move_unsupported_keywords import move_unsupported_keywords
from locus.core.json_schema.references import has_reference, inline_references
from locus.core.json_schema.subschemas import iter_subschemas, map_subschemas

_SUPPORTED: Final = frozenset(
    {
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "default",
        "description",
        "enum",
        "items",
        "properties",
        "required",
        "title",
        "type",
    }
)
_DROPPED: Final = frozenset({"$comment", "$id", "$schema", "discriminator"})
"""Keywords that tell the model nothing."""
_STRING_FORMATS: Final = frozenset(
    {
        "date",
        "date-time",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "time",
        "uri",
        "uuid",
    }
)
_UNSUPPORTED_PATTERN: Final = re.compile(r"\\[1-9bBpPkK]|\(\?|\{\d{3,}|,\d{3,}\}")
"""References to groups, word boundaries, Unicode classes, lookaround, and large repetitions."""
_OPEN_KEYWORDS: Final = frozenset({"patternProperties", "prefixItems", "unevaluatedProperties"})
"""Keywords for which there is nothing similar: keys or items that are not known in advance."""


def convert_output_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a schema as the API accepts it; None if it has to be requested in words."""
    inlined = inline_references(schema)
    if has_reference(inlined):
        return None
    closed = _close_objects(inlined)
    if _is_inexpressible(closed):
        return None
    converted: dict[str, Any] = move_unsupported_keywords(closed, _is_supported)
    return converted


def fit_strict_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool whose input schema is one that the API accepts if the tool is ``strict``.

    A schema that cannot be expressed makes the tool one that is not strict. A tool with a ``type``
    is in the API's own form, and unchanged.
    """
    schema = tool.get("input_schema")
    if "type" in tool or not tool.get("strict") or not isinstance(schema, Mapping):
        return tool
    converted = convert_output_schema(schema)
    if converted is None:
        return {name: value for name, value in tool.items() if name != "strict"}
    return {**tool, "input_schema": converted}


def _close_objects(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which objects with known keys accept no others; ``oneOf`` is ``anyOf``."""
    schema = {name: value for name, value in schema.items() if name not in _DROPPED}
    if "oneOf" in schema and "anyOf" not in schema:
        schema["anyOf"] = schema.pop("oneOf")
    if schema.get("properties") and not isinstance(schema.get("additionalProperties"), Mapping):
        schema["additionalProperties"] = False
    return map_subschemas(schema, _close_objects)


def _is_inexpressible(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema, or a part of it, has no form that the API accepts."""
    type_ = schema.get("type")
    types = type_ if isinstance(type_, (list, tuple)) else (type_,)
    is_open = "object" in types and schema.get("additionalProperties") is not False
    has_any_value = not schema.keys() & {"type", "enum", "const", "anyOf", "allOf"}
    if is_open or has_any_value or schema.keys() & _OPEN_KEYWORDS:
        return True
    items = schema.get("items")
    if "array" in types and not (isinstance(items, Mapping) and items):
        return True
    if any(not isinstance(member, Mapping) for member in schema.get("properties", {}).values()):
        return True
    relevant = {key: value for key, value in schema.items() if key in _SUPPORTED}
    return any(map(_is_inexpressible, iter_subschemas(relevant)))


def _is_supported(keyword: str, value: Any, schema: Mapping[str, Any]) -> bool:
    match keyword:
        case "enum":
            return all(not isinstance(item, (Mapping, list, tuple)) for item in value)
        case "minItems":
            return value in (0, 1)
        case "format":
            return value in _STRING_FORMATS
        case "pattern":
            return isinstance(value, str) and _UNSUPPORTED_PATTERN.search(value) is None
    return keyword in _SUPPORTED
