"""Makes one object of the alternatives at the root of a schema, which providers refuse there.

Anthropic: "input_schema does not support oneOf, allOf, or anyOf at the top level"
(https://github.com/anthropics/claude-code/issues/40075). OpenAI: "schema must have type 'object'
and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level"
(https://github.com/langchain-ai/langchainjs/issues/9804). A single tool with such a schema, as MCP
servers often have, makes every request fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.json_schema.references import inline_references

_ALTERNATIVES: Final = ("allOf", "anyOf", "oneOf")
_REFUSED_KEYWORDS: Final = (*_ALTERNATIVES, "enum", "not")


def merge_root_alternatives(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema of one object that accepts all that ``schema`` accepts, and perhaps more.

    It has the properties of every alternative; those that each alternative requires, or one member
    of ``allOf``, are required. What the merged schema cannot express is in its description, as
    JSON. A schema of an object without such keywords at its root is returned unchanged; a reference
    there is replaced, because it may lead to them.
    """
    if not schema.keys().isdisjoint((*_REFUSED_KEYWORDS, "$ref")):
        return _merge(inline_references(schema))
    return schema if isinstance(schema.get("type"), str) or not schema else _merge(schema)


def _merge(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Merge the alternatives of a schema whose references have been replaced."""
    if schema.keys().isdisjoint(_REFUSED_KEYWORDS):
        return {**schema, "type": _get_type(schema)}
    merged = {name: value for name, value in schema.items() if name not in _REFUSED_KEYWORDS}
    merged["type"] = _get_type(schema)
    found: dict[str, list[Any]] = {}
    required = dict.fromkeys(_list_required(schema))
    for keyword in _ALTERNATIVES:
        members = _list_objects(schema.get(keyword))
        for member in members:
            for name, value in _get_properties(member).items():
                values = found.setdefault(name, [])
                if value not in values:
                    values.append(value)
        names = [_list_required(member) for member in members]
        if keyword == "allOf":
            required.update((name, None) for member_names in names for name in member_names)
        elif names:
            common = set(names[0]).intersection(*names)
            required.update((name, None) for name in names[0] if name in common)
    properties = {
        name: values[0] if len(values) == 1 else {"anyOf": values} for name, values in found.items()
    }
    merged["properties"] = {**properties, **_get_properties(schema)}
    merged.pop("required", None)
    if required:
        merged["required"] = list(required)
    merged.pop("additionalProperties", None)  # it would be about the properties of the root alone
    rules = {keyword: schema[keyword] for keyword in _REFUSED_KEYWORDS if keyword in schema}
    text = json.dumps(rules, ensure_ascii=False, separators=(",", ":"), default=_to_plain)
    description = schema.get("description")
    prefix = f"{description}\n" if isinstance(description, str) and description else ""
    merged["description"] = f"{prefix}The object must also fit this JSON Schema: {text}"
    return merged


def _list_objects(members: Any) -> Sequence[Mapping[str, Any]]:
    """Return the members of a keyword that are schemas of objects, with their own merged."""
    if not isinstance(members, (list, tuple)):
        return ()
    return [
        _merge(member)
        for member in members
        if isinstance(member, Mapping) and "object" in _list_types(member)
    ]


def _get_properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the properties of an object; none where the member is no object, which says nothing.

    Servers that Locus does not know write these schemas, and one that is not valid JSON Schema in
    one place is of use in all others.
    """
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _list_required(schema: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the required properties; draft 3 had ``true`` there, in a property."""
    required = schema.get("required")
    if not isinstance(required, (list, tuple)):
        return ()
    return [name for name in required if isinstance(name, str)]


def _get_type(schema: Mapping[str, Any]) -> str:
    """Return the type of a schema, of which providers want one: an object rather than nothing."""
    type_ = schema.get("type")
    return type_ if isinstance(type_, str) else "object"


def _list_types(schema: Mapping[str, Any]) -> Sequence[Any]:
    type_ = schema.get("type", "object")
    return type_ if isinstance(type_, (list, tuple)) else (type_,)


def _to_plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)
