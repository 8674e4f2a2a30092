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

    def make_reference(
        self, key: Hashable, name: str | None, build_schema: Callable[[], Schema]
    ) -> Schema:
        """Define the schema that ``build_schema`` returns, once per ``key``, and return a ``$ref``.

        Without a name, nothing is defined, and the schema itself is returned.
        """
        if name is None:
            return build_schema()
        if key not in self._names_by_key:
            self._names_by_key[key] = unique_name = self._make_unique_name(name)
            # Reserve the name first: a recursive type refers to it while it is being built.
            self.schemas[unique_name] = {}
            self.schemas[unique_name] = build_schema()
        return {"$ref": REF_PREFIX + self._names_by_key[key]}

    def merge_definitions(self, schema: Schema) -> Schema:
        """Move the ``$defs`` of ``schema`` in here and return the rest of it.

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
            self.schemas[new_name] = _rename_references(self.schemas[new_name], renamed)
        result: Schema = _rename_references(schema, renamed)
        return result

    def resolve_reference(self, schema: Schema) -> Schema:
        """The schema that a ``$ref`` refers to, with the keywords beside the ``$ref`` added."""
        while "$ref" in schema:
            siblings = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self.schemas[schema["$ref"].removeprefix(REF_PREFIX)], **siblings}
        return schema

    def collect_used(self, root: Schema) -> dict[str, Schema]:
        """The definitions that ``root`` refers to, directly or through others."""
        used: set[str] = set()
        pending = list(iter_references(root))
        while pending:
            name = pending.pop()
            if name not in used:
                used.add(name)
                pending += iter_references(self.schemas[name])
        return {name: schema for name, schema in self.schemas.items() if name in used}

    def _make_unique_name(self, name: str) -> str:
        name = re.sub(r"[^a-zA-Z0-9_.-]+", "_", name).strip("_") or "_"
        number = 1
        while (candidate := name if number == 1 else f"{name}_{number}") in self.schemas:
            number += 1
        return candidate


def _rename_references(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_rename_references(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: names.get(value, value)
        if key == "$ref" and isinstance(value, str)
        else _rename_references(value, names)
        for key, value in schema.items()
    }


def iter_references(schema: Any) -> Iterator[str]:
    """Yield the name of every definition that ``schema`` refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from iter_references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REF_PREFIX)
            else:
                yield from iter_references(value)
