"""The ``response_format`` that asks a model for a type."""

from __future__ import annotations

import re
from typing import Any, Final

from locus.core.structured.schema_definitions import PREFIX, Definitions, Schema, references
from locus.core.structured.strict_schema import to_strict
from locus.core.structured.type_builder import called, kind_of
from locus.core.structured.validation import Kind

WRAPPED: Final = "value"
"""The member that holds what is not an object itself: the root of an answer has to be one."""


def build_response_format(
    type: Any, strict: bool = True, name: str | None = None
) -> dict[str, Any]:
    """What to pass as ``response_format=`` to be answered in a type.

    :param type: an attrs class, a dataclass, a ``TypedDict``, a pydantic model, or anything made
        of them and of plain types. What is not an object in JSON is asked for as the member
        ``value`` of one; :func:`parse_structured` takes it out again.
    :param strict: stay in OpenAI's strict subset, and have the provider hold the model to it.
    :param name: what the provider calls the schema; the type's name by default.
    :raises ConfigurationError: JSON, or strict mode, has no words for the type; says which field.
    """
    schema, title = schema_of(type, strict)
    called = re.sub(r"[^a-zA-Z0-9_-]+", "_", name or title).strip("_")[:64] or "answer"
    json_schema = {"name": called, "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": json_schema}


def schema_of(type: Any, strict: bool) -> tuple[Schema, str]:
    """The schema of a type, its root an object, and what the type is called."""
    defs = Definitions(strict)
    kind = kind_of(type)
    title = called(type)
    root = _resolved(kind.schema(defs), defs)
    if not _is_object(root):
        root = {
            "type": "object",
            "properties": {WRAPPED: kind.schema(defs)},
            "required": [WRAPPED],
        }
    if parts := used(root, defs):
        root = {**root, "$defs": parts}
    return (to_strict(root, title) if strict else root), title


def wraps(kind: Kind) -> bool:
    """Whether the schema of a kind has it as a member of an object."""
    defs = Definitions()
    return not _is_object(_resolved(kind.schema(defs), defs))


def _is_object(schema: Schema) -> bool:
    return schema.get("type") == "object"


def _resolved(schema: Schema, defs: Definitions) -> Schema:
    while "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**defs.schemas[schema["$ref"].removeprefix(PREFIX)], **beside}
    return schema


def used(root: Schema, defs: Definitions) -> dict[str, Schema]:
    """The definitions that the root leads to."""
    found: dict[str, Schema] = {}
    waiting = list(references(root))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = defs.schemas[name]
            waiting += references(found[name])
    return {name: part for name, part in defs.schemas.items() if name in found}
