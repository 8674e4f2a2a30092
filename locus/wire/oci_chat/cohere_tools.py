"""Tools as Cohere's first format takes them: a flat table of parameters, typed as in Python.

Cohere's page "Parameter types in tool use" (API v1) gives the types: ``str``, ``int``, ``float``,
``bool``, ``List[str]``, ``Dict[str, int]``. A JSON Schema says more than that. What no type can
say (a choice of values, limits, the members of an object) goes into the parameter's description,
as the schema itself, so that the model at least reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from locus.core.errors import ConfigurationError
from locus.wire.oci_chat.cohere_shared import functions
from locus.wire.oci_chat.envelope import Written, plain
from locus.wire.oci_chat.generic_tools import inlined

_SCALARS: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_SAID: Final = frozenset({"type", "description", "title"})
"""Keywords of a parameter's schema that the table has a place for, or that say nothing."""

_SAID_OF_ALL: Final = frozenset(
    {"type", "properties", "required", "additionalProperties", "description", "title", "$schema"}
)


class Parameter(Written):
    type: str
    description: str | None = None
    is_required: bool | None = None


class CohereTool(Written):
    name: str
    description: str
    parameter_definitions: dict[str, Parameter] | None = None


def cohere_tools(schemas: tuple[Mapping[str, Any], ...]) -> list[CohereTool]:
    """The tools, from their schemas in OpenAI's format.

    :raises ConfigurationError: a tool is of a provider's built-in kind, or its schema is none.
    """
    return [_tool(position, function) for position, function in enumerate(functions(schemas))]


def _tool(position: int, function: Mapping[str, Any]) -> CohereTool:
    whole = inlined(function.get("parameters") or {})
    properties = whole.get("properties") or {} if isinstance(whole, Mapping) else None
    if not isinstance(properties, Mapping):
        raise ConfigurationError(f"tools[{position}]: its parameters are no JSON Schema")
    required = whole.get("required") or ()
    # The description is not optional here.
    said = [function.get("description") or function["name"], whole.get("description")]
    more = {name: value for name, value in whole.items() if name not in _SAID_OF_ALL}
    if more.keys() - {"$defs"}:
        said.append(f"JSON Schema of the parameters: {_json(position, more)}")
    return CohereTool(
        function["name"],
        "\n\n".join(filter(None, said)),
        {
            name: _parameter(position, schema, whole, name in required)
            for name, schema in properties.items()
        }
        or None,
    )


def _parameter(position: int, schema: Any, root: Mapping[str, Any], required: bool) -> Parameter:
    if not isinstance(schema, Mapping):  # true and false are schemas, too
        schema = {}
    kind, says_all = _type(schema)
    said = [schema.get("description")]
    if not says_all:
        shown = {name: value for name, value in schema.items() if name != "description"}
        if "$defs" in root:  # one that contains itself
            shown["$defs"] = root["$defs"]
        said.append(f"JSON Schema: {_json(position, shown)}")
    return Parameter(kind, "\n".join(filter(None, said)) or None, True if required else None)


def _type(schema: Any) -> tuple[str, bool]:
    """The Python type, and whether it says all that the schema does."""
    if not isinstance(schema, Mapping):
        return "Any", False
    kind = schema.get("type")
    keywords = schema.keys() - _SAID
    if kind == "array":
        if "items" not in schema:
            return "List", not keywords
        item, whole = _type(schema["items"])
        return f"List[{item}]", whole and keywords == {"items"}
    if kind == "object":
        values = schema.get("additionalProperties")
        if schema.get("properties") or not isinstance(values, Mapping):
            return "Dict", not keywords
        value, whole = _type(values)
        return f"Dict[str, {value}]", whole and keywords == {"additionalProperties"}
    if isinstance(kind, str) and kind in _SCALARS:
        return _SCALARS[kind], not keywords
    # Something or null: a parameter may be left out anyhow.
    several = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(kind, (list, tuple)):
        several = [{**schema, "type": one} for one in kind]
    if isinstance(several, (list, tuple)):
        several = [one for one in several if not _is_null(one)]
        if len(several) == 1:
            return _type(several[0])[0], False
    return "Any", "type" not in schema and not keywords


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _json(position: int, value: Any) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=plain).decode()
    except (TypeError, ValueError, RecursionError) as why:
        raise ConfigurationError(f"tools[{position}]: its schema is no JSON: {why}") from why
