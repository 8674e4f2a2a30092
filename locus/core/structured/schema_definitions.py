"""The named parts of a JSON Schema: ``$defs``, each under a name of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final, TypeAlias

import attrs

Schema: TypeAlias = dict[str, Any]

PREFIX: Final = "#/$defs/"


@attrs.define(eq=False)
class Definitions:
    """What the ``$ref`` of a schema lead to.

    :param strict: the schema is for OpenAI's strict mode, which wants every member to be there.
    :param closed: objects take no members but those that are named.
    """

    strict: bool = False
    closed: bool = False
    schemas: dict[str, Schema] = attrs.Factory(dict)
    _names: dict[Hashable, str] = attrs.Factory(dict)

    def refer(self, key: Hashable, name: str | None, build: Callable[[], Schema]) -> Schema:
        """A ``$ref`` to what ``build`` gives, built once a ``key``; without a name, that itself."""
        if name is None:
            return build()
        if key not in self._names:
            self._names[key] = free = self._free(name)
            self.schemas[free] = {}  # the place is taken; `build` may come by here again
            self.schemas[free] = build()
        return {"$ref": PREFIX + self._names[key]}

    def adopt(self, schema: Schema) -> Schema:
        """``schema``, its own ``$defs`` moved in here, under other names where theirs are taken."""
        own = schema.pop("$defs", {})
        names = {}
        for name, part in own.items():
            same = self.schemas.get(name) == part
            names[name] = taken = name if same else self._free(name)
            self.schemas[taken] = part
        renamed = {PREFIX + old: PREFIX + new for old, new in names.items() if old != new}
        if not renamed:
            return schema
        for new in names.values():
            self.schemas[new] = _renamed(self.schemas[new], renamed)
        renewed: Schema = _renamed(schema, renamed)
        return renewed

    def _free(self, name: str) -> str:
        name = re.sub(r"[^a-zA-Z0-9_.-]+", "_", name).strip("_") or "_"
        number = 1
        while (free := name if number == 1 else f"{name}_{number}") in self.schemas:
            number += 1
        return free


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: names.get(value, value)
        if key == "$ref" and isinstance(value, str)
        else _renamed(value, names)
        for key, value in schema.items()
    }


def references(schema: Any) -> Iterator[str]:
    """The names that a schema refers to."""
    if isinstance(schema, list):
        for item in schema:
            yield from references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(PREFIX)
            else:
                yield from references(value)
