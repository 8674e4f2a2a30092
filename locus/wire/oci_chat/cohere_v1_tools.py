"""Converts tools to Cohere's first format: a flat table of parameters with Python type names.

Cohere's page "Parameter types in tool use" (API v1) lists the types: ``str``, ``int``, ``float``,
``bool``, ``List[str]``, ``Dict[str, int]``. A JSON Schema can express more than that. What no type
can express (an enumeration, limits, the members of an object) goes into the parameter's
description, as the schema itself, so that the model can at least read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from locus.core.errors import ConfigurationError
from locus.core.json_schema.references import inline_references
from locus.wire.cohere_chat.tools_and_messages import extract_functions
from locus.wire.oci_chat.envelope import RequestStruct
from locus.wire.provider_json import convert_mapping_to_dict

_SCALAR_TYPES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_CONVERTED_KEYWORDS: Final = frozenset({"type", "description", "title"})
"""Keywords of a parameter's schema that are converted, or that are not needed."""

_CONVERTED_ROOT_KEYWORDS: Final = frozenset(
    {"type", "properties", "required", "additionalProperties", "description", "title", "$schema"}
)


class Parameter(RequestStruct):
    type: str
    description: str | None = None
    is_required: bool | None = None


class CohereTool(RequestStruct):
    name: str
    description: str
    parameter_definitions: dict[str, Parameter] | None = None


def convert_tools(schemas: tuple[Mapping[str, Any], ...]) -> list[CohereTool]:
    """Convert tools from OpenAI's format.

    :raises ConfigurationError: if a tool is not a function, or its parameters are no JSON Schema.
    """
    functions = extract_functions(schemas)
    return [_convert_tool(index, function) for index, function in enumerate(functions)]


def _convert_tool(index: int, function: Mapping[str, Any]) -> CohereTool:
    root = inline_references(function.get("parameters") or {})
    properties = root.get("properties") or {} if isinstance(root, Mapping) else None
    if not isinstance(properties, Mapping):
        raise ConfigurationError(f"tools[{index}]: its parameters are no JSON Schema")
    required = root.get("required") or ()
    # The format requires a description.
    descriptions = [function.get("description") or function["name"], root.get("description")]
    others = {name: value for name, value in root.items() if name not in _CONVERTED_ROOT_KEYWORDS}
    if others.keys() - {"$defs"}:
        descriptions.append(f"JSON Schema of the parameters: {_encode_schema(index, others)}")
    return CohereTool(
        function["name"],
        "\n\n".join(filter(None, descriptions)),
        {
            name: _convert_parameter(index, schema, root, name in required)
            for name, schema in properties.items()
        }
        or None,
    )


def _convert_parameter(
    index: int, schema: Any, root_schema: Mapping[str, Any], is_required: bool
) -> Parameter:
    if not isinstance(schema, Mapping):  # true and false are schemas, too
        schema = {}
    type_name, is_exact = _convert_schema_to_type_name(schema)
    descriptions = [schema.get("description")]
    if not is_exact:
        shown_schema = {name: value for name, value in schema.items() if name != "description"}
        if "$defs" in root_schema:  # a recursive schema
            shown_schema["$defs"] = root_schema["$defs"]
        descriptions.append(f"JSON Schema: {_encode_schema(index, shown_schema)}")
    description = "\n".join(filter(None, descriptions)) or None
    return Parameter(type_name, description, True if is_required else None)


def _convert_schema_to_type_name(schema: Any) -> tuple[str, bool]:
    """Return the Python type name for a schema, and whether it expresses all of the schema."""
    if not isinstance(schema, Mapping):
        return "Any", False
    type_ = schema.get("type")
    other_keywords = schema.keys() - _CONVERTED_KEYWORDS
    if type_ == "array":
        if "items" not in schema:
            return "List", not other_keywords
        item_type, is_exact = _convert_schema_to_type_name(schema["items"])
        return f"List[{item_type}]", is_exact and other_keywords == {"items"}
    if type_ == "object":
        value_schema = schema.get("additionalProperties")
        if schema.get("properties") or not isinstance(value_schema, Mapping):
            return "Dict", not other_keywords
        value_type, is_exact = _convert_schema_to_type_name(value_schema)
        return f"Dict[str, {value_type}]", is_exact and other_keywords == {"additionalProperties"}
    if isinstance(type_, str) and type_ in _SCALAR_TYPES:
        return _SCALAR_TYPES[type_], not other_keywords
    # A type or null: ignore the null, since a parameter may be left out anyway.
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(type_, (list, tuple)):
        alternatives = [{**schema, "type": name} for name in type_]
    if isinstance(alternatives, (list, tuple)):
        alternatives = [
            alternative for alternative in alternatives if not _is_null_schema(alternative)
        ]
        if len(alternatives) == 1:
            return _convert_schema_to_type_name(alternatives[0])[0], False
    return "Any", "type" not in schema and not other_keywords


def _is_null_schema(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _encode_schema(index: int, schema: Any) -> str:
    """Encode a schema as JSON text; ``index`` is that of its tool, for the error message."""
    try:
        return msgspec.json.encode(schema, enc_hook=convert_mapping_to_dict).decode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError(
            f"tools[{index}]: its schema cannot be represented in JSON: {exc}"
        ) from exc
