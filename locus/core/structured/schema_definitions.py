"""The definitions of a JSON Schema: the named schemas in ``$defs`` and the ``$ref`` to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final, TypeAlias

import attrs

Schema: TypeAlias = dict[str, Any]

REF_PREFIX: Final = "#/$defs/"


@attrs.define(eq=False)
class SchemaDefinitions:
    """The schemas that a ``$ref`` can refer to, each under a unique name.

    :param strict: the schema is for OpenAI's strict mode, which requires every member.
    :param forbid_extra: objects accept only the members that the schema names.
    """

    strict: bool = False
    forbid_extra: bool = False
    schemas: dict[str, Schema] = attrs.Factory(dict)
    _names_by_key: dict[Hashable, str] = attrs.Factory(dict)

    def define_and_reference(
        self, key: Hashable, name: str | None, build_schema: Callable[[], Schema]
    ) -> Schema:
        """Add the schema that ``build_schema`` returns to the definitions, and return a ``$ref``.

        It is built once per ``key``. Without a name, nothing is added, and the schema itself is
        returned.
        """
        if name is None:
            return build_schema()
        if key not in self._names_by_key:
            self._names_by_key[key] = unique_name = self._make_unique_name(name)
            # Reserve the name first: a recursive type refers to it while it is being built.
            self.schemas[unique_name] = {}
            self.schemas[unique_name] = build_schema()
        return {"$ref": REF_PREFIX + self._names_by_key[key]}

    def move_definitions_from(self, schema: Schema) -> Schema:
        """Move the ``$defs`` of ``schema`` to these definitions, and return the rest of it.

        A definition whose name already has another schema gets a new name.
        """
        definitions = schema.pop("$defs", {})
        names = {}
        for name, definition in definitions.items():
            is_same = self.schemas.get(name) == definition
            names[name] = new_name = name if is_same else self._make_unique_name(name)
            self.schemas[new_name] = definition
        renamed = {REF_PREFIX + old: REF_PREFIX + new for old, new in names.items() if old != new}
        if not renamed:
            return schema
        for new_name in names.values():
            self.schemas[new_name] = _copy_with_renamed_references(self.schemas[new_name], renamed)
        result: Schema = _copy_with_renamed_references(schema, renamed)
        return result

    def resolve_reference(self, schema: Schema) -> Schema:
        """Return the schema that a ``$ref`` refers to, plus the keywords beside the ``$ref``."""
        while "$ref" in schema:
            siblings = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self.schemas[schema["$ref"].removeprefix(REF_PREFIX)], **siblings}
        return schema

    def collect_used_definitions(self, root: Schema) -> dict[str, Schema]:
        """Return the definitions that ``root`` refers to, directly or through others."""
        used: set[str] = set()
        pending = list(iter_referenced_names(root))
        while pending:
            name = pending.pop()
            if name not in used:
                used.add(name)
                pending += iter_referenced_names(self.schemas[name])
        return {name: schema for name, schema in self.schemas.items() if name in used}

    def _make_unique_name(self, name: str) -> str:
        name = re.sub(r"[^a-zA-Z0-9_.-]+", "_", name).strip("_") or "_"
        number = 1
        while (candidate := name if number == 1 else f"{name}_{number}") in self.schemas:
            number += 1
        return candidate


def _copy_with_renamed_references(schema: Any, new_references: dict[str, str]) -> Any:
    """Copy a schema, with every ``$ref`` in ``names`` replaced."""
    if isinstance(schema, list):
        return [_copy_with_renamed_references(item, new_references) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: new_references.get(value, value)
        if key == "$ref" and isinstance(value, str)
        else _copy_with_renamed_references(value, new_references)
        for key, value in schema.items()
    }


def iter_referenced_names(schema: Any) -> Iterator[str]:
    """Yield the name of every definition that ``schema`` refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from iter_referenced_names(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REF_PREFIX)
            else:
                yield from iter_referenced_names(value)
