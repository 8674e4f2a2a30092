"""Replaces the references in a JSON Schema by what they refer to.

Several providers do not follow references, or drop the definitions: Ollama (its issues 8063 and
10091), Gemini, and models behind OCI. So a reference says nothing there, and the model invents what
it stands for. A reference that cannot be replaced stays: one to another document, and one inside of
the definition that it refers to, because a recursive schema has no finite form without references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import attrs

from locus.core.json_schema.subschemas import (
    DEFINITION_KEYWORDS,
    iter_subschemas,
    map_subschemas,
)

_MAX_SUBSCHEMAS: Final = 20_000
"""Definitions that refer to each other several times grow by powers of two when they are copied."""

SchemaPath = tuple[Mapping[str, Any], ...]
"""The schemas around a subschema, the root first."""


def inline_references(schema: Any) -> Any:
    """Return a copy of a JSON Schema with its references replaced, where that is possible.

    Keywords beside a reference win over those of the definition. ``definitions`` of older drafts,
    ``$defs`` of a subschema and pointers to any other place in the schema count as well. The
    definitions that no reference needs any more are left out. A schema without references, and one
    that would become very large, is returned as it is.

    :param schema: any JSON; what is no object is returned as it is.
    """
    try:
        if not isinstance(schema, Mapping) or not has_reference(schema):
            return schema
        return _remove_unused_definitions(_ReferenceInliner(schema).inline(schema, (), (schema,)))
    except (_SchemaTooLargeError, RecursionError):
        return schema


def has_reference(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema, or one of its subschemas, is a reference."""
    return isinstance(schema.get("$ref"), str) or any(map(has_reference, iter_subschemas(schema)))


class _SchemaTooLargeError(Exception):
    """The schema without references would be too large."""


@attrs.define
class _ReferenceInliner:
    """Replaces references, and counts the subschemas that result."""

    root: Mapping[str, Any]
    count: int = 0

    def inline(
        self,
        schema: Mapping[str, Any],
        path: SchemaPath,
        open_targets: tuple[Mapping[str, Any], ...],
    ) -> dict[str, Any]:
        """Replace the references in ``schema``.

        :param path: the schemas that ``schema`` is in.
        :param open_targets: the definitions that are being copied.
        """
        self.count += 1
        if self.count > _MAX_SUBSCHEMAS or len(path) > 200:
            raise _SchemaTooLargeError
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = _find_target(reference, self.root, (*path, schema))
            if target is not None and not any(target is other for other in open_targets):
                siblings = {key: value for key, value in schema.items() if key != "$ref"}
                without_definitions = {
                    key: value for key, value in target.items() if key not in DEFINITION_KEYWORDS
                }
                return self.inline(
                    {**without_definitions, **siblings},
                    (*path, schema, target),
                    (*open_targets, target),
                )
        # What the discriminator of OpenAPI refers to is gone, and it only helps a parser.
        if isinstance(schema.get("discriminator"), Mapping):
            schema = {key: value for key, value in schema.items() if key != "discriminator"}
        definitions = {
            key: value
            for key, value in schema.items()
            if key in DEFINITION_KEYWORDS and isinstance(value, Mapping)
        }
        inlined = map_subschemas(
            {key: value for key, value in schema.items() if key not in definitions},
            lambda member: self.inline(member, (*path, schema), open_targets),
        )
        for key, members in definitions.items():
            # Inside of a definition, a reference to itself has to stay.
            inlined[key] = {
                name: self.inline(member, (*path, schema), (*open_targets, member))
                if isinstance(member, Mapping)
                else member
                for name, member in members.items()
            }
        return inlined


def _find_target(
    reference: str, root: Mapping[str, Any], path: SchemaPath
) -> Mapping[str, Any] | None:
    """Return the schema that a reference refers to; None if it is not in this document.

    A pointer counts from the root. Tools that put together schemas of several sources leave
    pointers in them that count from a schema in between, so the schemas around it are asked next,
    the nearest first.
    """
    if reference != "#" and not reference.startswith("#/"):
        return None  # another document, or the name of an anchor
    steps = [_unescape_step(step) for step in reference.split("/")[1:]]
    for start in (root, *reversed(path)):
        target: Any = start
        for step in steps:
            if isinstance(target, Mapping):
                target = target.get(step)
            elif isinstance(target, (list, tuple)) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                target = None
        if isinstance(target, Mapping):
            return target
    return None


def _unescape_step(step: str) -> str:
    """Return the name that a step of a JSON pointer in a URL stands for (RFC 6901, section 6)."""
    return unquote(step).replace("~1", "/").replace("~0", "~")


def _remove_unused_definitions(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without the definitions that no reference needs."""
    if not has_reference(schema):
        return _remove_definitions(schema)
    kept = {key: value for key, value in schema.items() if key not in DEFINITION_KEYWORDS}
    pending = _list_references(kept)
    while pending:
        reference = pending.pop()
        keyword, _, step = reference.removeprefix("#/").partition("/")
        name, members = _unescape_step(step), schema.get(keyword)
        if keyword not in DEFINITION_KEYWORDS or not isinstance(members, Mapping):
            continue
        if name not in members:
            return schema  # a pointer to a place inside of a definition: all of them stay
        if name not in kept.setdefault(keyword, {}):
            kept[keyword][name] = members[name]
            pending += _list_references(members[name])
    return kept


def _remove_definitions(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references and without definitions, in its subschemas as well."""
    return map_subschemas(
        {key: value for key, value in schema.items() if key not in DEFINITION_KEYWORDS},
        _remove_definitions,
    )


def _list_references(schema: Any) -> list[str]:
    """Return the references in a schema and its subschemas."""
    if not isinstance(schema, Mapping):
        return []
    reference = schema.get("$ref")
    found = [reference] if isinstance(reference, str) else []
    for subschema in iter_subschemas(schema):
        found += _list_references(subschema)
    return found
