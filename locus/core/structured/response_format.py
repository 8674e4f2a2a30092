"""Build the ``response_format`` of a request, with which a model answers with a value of a type."""

from __future__ import annotations

import re
from typing import Any, Final

from locus.core.json_schema.array_items import add_array_items
from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.strict_schema import convert_to_strict_schema
from locus.core.structured.type_hints import format_type_name
from locus.core.structured.type_node import TypeNode
from locus.core.structured.type_node_builder import build_type_node

WRAPPER_KEY: Final = "value"
"""The member that holds a value that is not an object: the root of a response has to be one."""


def build_response_format(
    type: Any, strict: bool = True, name: str | None = None
) -> dict[str, Any]:
    """Build the argument ``response_format=`` that asks a model for a value of a type.

    :param type: an attrs class, a dataclass, a ``TypedDict``, a pydantic model, or any type
        composed of these and the builtin types. A type that is not an object in JSON is wrapped in
        an object, as its member ``value``; :func:`parse_structured` unwraps it.
    :param strict: stay within OpenAI's strict subset of JSON Schema, and let the provider enforce
        the schema.
    :param name: the schema's name for the provider; the type's name by default.
    :raises ConfigurationError: if JSON, or strict mode, cannot express the type; the error names
        the field.
    """
    schema, type_name = build_root_schema_and_name(type, strict)
    schema_name = re.sub(r"[^a-zA-Z0-9_-]+", "_", name or type_name).strip("_")[:64] or "answer"
    json_schema = {"name": schema_name, "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": json_schema}


def build_root_schema_and_name(type: Any, strict: bool) -> tuple[Schema, str]:
    """Build the schema of a type, whose root is an object, and format the type's name."""
    defs = SchemaDefinitions(strict)
    node = build_type_node(type)
    type_name = format_type_name(type)
    root = defs.resolve_reference(node.build_schema(defs))
    if not _is_object_schema(root):
        root = {
            "type": "object",
            "properties": {WRAPPER_KEY: node.build_schema(defs)},
            "required": [WRAPPER_KEY],
        }
    if definitions := defs.collect_used_definitions(root):
        root = {**root, "$defs": definitions}
    root = add_array_items(root)
    return (convert_to_strict_schema(root, type_name) if strict else root), type_name


def needs_wrapper(node: TypeNode) -> bool:
    """Return whether a value of the type is not an object in JSON, and so is wrapped in one."""
    defs = SchemaDefinitions()
    return not _is_object_schema(defs.resolve_reference(node.build_schema(defs)))


def _is_object_schema(schema: Schema) -> bool:
    return schema.get("type") == "object"
