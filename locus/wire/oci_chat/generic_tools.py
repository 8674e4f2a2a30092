"""Converts tools, ``tool_choice`` and ``response_format`` from OpenAI's format to Oracle's.

A value that is in Oracle's format already (``{"type": "FUNCTION", …}``) is sent unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.errors import ConfigurationError
from locus.core.json_schema.references import inline_references
from locus.wire.parse_output_format import parse_response_format
from locus.wire.request_parts import make_tool_choice_error


def convert_tools(schemas: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Convert tools to Oracle's format, which has no member for ``strict``: it is left out.

    :raises ConfigurationError: if one is not a function; the message names it.
    """
    return [_convert_tool(index, schema) for index, schema in enumerate(schemas)]


def _convert_tool(index: int, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    match schema:
        case {"type": "FUNCTION", "name": str()}:
            return schema
        case {"function": Mapping() as function} if schema.get("type", "function") == "function":
            definition = {"type": "FUNCTION", "name": function["name"]}
            if function.get("description") is not None:
                definition["description"] = function["description"]
            if function.get("parameters") is not None:
                definition["parameters"] = inline_references(function["parameters"])
            return definition
    raise ConfigurationError(
        f"tools[{index}] is of the type {schema.get('type')!r}; OCI takes functions only"
    )


def convert_tool_choice(
    choice: str | Mapping[str, Any] | None, definitions: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Convert OpenAI's ``tool_choice`` to a ``toolChoice``.

    :raises ConfigurationError: if it names none of the tools.
    """
    if isinstance(choice, Mapping) and str(choice.get("type")).isupper():
        return choice
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return {"type": choice.upper()}
        case {"type": "function", "function": {"name": str() as name}} | str(name):
            names = [str(definition["name"]) for definition in definitions]
            if name in names:
                return {"type": "FUNCTION", "name": name}
            raise make_tool_choice_error(name, names)
    raise ConfigurationError(
        f"tool_choice={choice!r}: OCI knows 'auto', 'none', 'required' and the name of a tool"
    )


_OWN_RESPONSE_FORMATS: Final = ("TEXT", "JSON_OBJECT", "JSON_SCHEMA")
_JSON_SCHEMA_MEMBERS: Final = {
    **{name: name for name in ("name", "description", "schema")},
    "strict": "isStrict",
}


def convert_response_format(
    response_format: Mapping[str, Any] | None,
) -> Mapping[str, Any] | None:
    """Convert OpenAI's ``response_format`` to a ``responseFormat``.

    :raises ConfigurationError: if its type is unknown.
    """
    if response_format is None or response_format.get("type") in _OWN_RESPONSE_FORMATS:
        return response_format
    output = parse_response_format(response_format, requires_schema=False)
    if output is None:
        return {"type": "TEXT"}
    json_schema = output.json_schema
    if json_schema is None:
        return {"type": "JSON_OBJECT"}
    converted = {
        own_name: json_schema[name]
        for name, own_name in _JSON_SCHEMA_MEMBERS.items()
        if json_schema.get(name) is not None
    }
    if "schema" in converted:
        converted["schema"] = inline_references(converted["schema"])  # as Gemini needs it
    return {"type": "JSON_SCHEMA", "jsonSchema": converted}
