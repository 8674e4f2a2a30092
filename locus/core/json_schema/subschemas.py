"""Tells which members of a JSON Schema are schemas themselves, and maps a function over them.

Everything else is data, which must not be read as a schema: a ``default`` or an ``enum`` value may
have a member ``$ref`` or ``minimum``, and a property may be named so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_SCHEMA_KEYWORDS: Final = frozenset(
    {
        "items",
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_SCHEMA_LIST_KEYWORDS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
DEFINITION_KEYWORDS: Final = ("$defs", "definitions")
"""The keywords that hold named schemas: the current one, and that of draft 7 and older."""
_SCHEMA_MAP_KEYWORDS: Final = frozenset(
    {"properties", "patternProperties", "dependentSchemas", *DEFINITION_KEYWORDS}
)


def map_subschemas(schema: Mapping[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a copy of ``schema`` with each of its direct subschemas converted.

    :param convert: gets each subschema that is a mapping; ``True`` and ``False`` stay as they are.
    """
    return {keyword: _convert_member(keyword, value, convert) for keyword, value in schema.items()}


def iter_subschemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each direct subschema that is a mapping."""
    found: list[Mapping[str, Any]] = []
    map_subschemas(schema, found.append)
    yield from found


def _convert_member(keyword: str, value: Any, convert: Callable[[Any], Any]) -> Any:
    if keyword in _SCHEMA_MAP_KEYWORDS and isinstance(value, Mapping):
        return {name: _convert_schema(member, convert) for name, member in value.items()}
    if keyword in _SCHEMA_LIST_KEYWORDS and isinstance(value, (list, tuple)):
        return [_convert_schema(item, convert) for item in value]
    if keyword in _SCHEMA_KEYWORDS:
        return _convert_schema(value, convert)
    return value


def _convert_schema(value: Any, convert: Callable[[Any], Any]) -> Any:
    return convert(value) if isinstance(value, Mapping) else value
