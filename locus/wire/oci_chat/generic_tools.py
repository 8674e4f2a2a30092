"""Tools, the choice among them and the answer's format, from OpenAI's spelling to Oracle's.

What is written in Oracle's spelling already (``{"type": "FUNCTION", …}``) goes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.errors import ConfigurationError

_REFERENCE: Final = "#/$defs/"


def tool_definitions(schemas: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tools. There is no place for ``strict``, which is left out.

    :raises ConfigurationError: one is no function; says which.
    """
    return [_definition(position, schema) for position, schema in enumerate(schemas)]


def _definition(position: int, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    match schema:
        case {"type": "FUNCTION", "name": str()}:
            return schema
        case {"function": Mapping() as function} if schema.get("type", "function") == "function":
            found = {"type": "FUNCTION", "name": function["name"]}
            if function.get("description") is not None:
                found["description"] = function["description"]
            if function.get("parameters") is not None:
                found["parameters"] = inlined(function["parameters"])
            return found
    raise ConfigurationError(
        f"tools[{position}] is of the type {schema.get('type')!r}; OCI takes functions only"
    )


def inlined(schema: Any) -> Any:
    """A JSON Schema with its definitions put where it refers to them.

    Oracle's own clients do so, for the models behind the service do not all follow references. A
    schema that refers to itself, or to elsewhere, stays as it is.
    """
    if not isinstance(schema, Mapping) or not isinstance(schema.get("$defs"), Mapping):
        return schema
    try:
        return _inlined({name: part for name, part in schema.items() if name != "$defs"}, schema)
    except (LookupError, RecursionError):
        return schema


def _inlined(value: Any, root: Mapping[str, Any], inside: tuple[str, ...] = ()) -> Any:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str):
            name = reference.removeprefix(_REFERENCE)
            if name == reference or name in inside:
                raise LookupError(reference)
            beside = {key: part for key, part in value.items() if key != "$ref"}
            return _inlined({**root["$defs"][name], **beside}, root, (*inside, name))
        return {key: _inlined(part, root, inside) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_inlined(part, root, inside) for part in value]
    return value


def tool_choice(
    choice: str | Mapping[str, Any] | None, definitions: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Which tool the model has to call, or whether any.

    :raises ConfigurationError: it is none of the tools.
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
            raise ConfigurationError(
                f"tool_choice={name!r} is neither 'auto', 'none' or 'required', nor the name of a "
                f"tool of this call ({', '.join(names) or 'there are none'})"
            )
    raise ConfigurationError(
        f"tool_choice={choice!r}: OCI knows 'auto', 'none', 'required' and the name of a tool"
    )


def response_format(wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What the answer's text has to be.

    :raises ConfigurationError: it is none of the formats there are.
    """
    match wanted:
        case None:
            return None
        case {"type": "TEXT" | "JSON_OBJECT" | "JSON_SCHEMA"}:
            return wanted
        case {"type": "text"}:
            return {"type": "TEXT"}
        case {"type": "json_object"}:
            return {"type": "JSON_OBJECT"}
        case {"type": "json_schema", "json_schema": Mapping() as said}:
            names = {"name": "name", "description": "description", "schema": "schema"}
            names["strict"] = "isStrict"
            schema = {names[name]: said[name] for name in names if said.get(name) is not None}
            return {"type": "JSON_SCHEMA", "jsonSchema": schema}
    raise ConfigurationError(
        "response_format is OpenAI's {'type': 'json_schema', 'json_schema': {…}}, "
        f"{{'type': 'json_object'}} or {{'type': 'text'}}, not {wanted!r}"
    )
