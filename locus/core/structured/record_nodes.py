"""Objects with known members: attrs classes, dataclasses, ``TypedDict`` and msgspec's structs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import attrs

from locus.core.structured.schema_definitions import Definitions, Schema
from locus.core.structured.type_nodes import Choice
from locus.core.structured.validation import FAR, Kind, Reading, made, member, no_such

_SHOWN: Final = 5


@attrs.frozen(eq=False)
class Field:
    """A member of a :class:`Record`.

    :param name: in the JSON.
    :param keyword: of the constructor; empty where it does not want the member.
    :param required: there is no default.
    :param omissible: may be absent from the value itself, as ``NotRequired`` says.
    :param notes: further members of its schema: the description, the default.
    """

    name: str
    keyword: str
    kind: Kind
    required: bool = True
    omissible: bool = False
    notes: Schema = attrs.Factory(dict)

    def schema(self, defs: Definitions) -> Schema:
        """The schema of the member."""
        schema = self.kind.schema(defs)
        if self.omissible and defs.strict:
            schema = {"anyOf": [schema, {"type": "null"}]}
        return {**schema, **self.notes}

    def absent(self, raw: dict[str, Any], reading: Reading) -> bool:
        """Whether the object does not have the member; strict mode says so by null."""
        if self.name not in raw:
            return True
        null = self.omissible and raw[self.name] is None
        return null and self.kind.distance(None, reading) > 0


@attrs.define(eq=False, slots=False)
class Record:
    """An object with known members.

    Members that no field is named after are passed over, unless the reading is exact or the class
    closed to them.
    """

    name: str
    make: Callable[..., Any]
    description: str | None = None
    fields: Sequence[Field] = ()
    closed: bool = False

    @cached_property
    def tags(self) -> dict[str, Choice]:
        """The members that are choices: these often tell one class from another."""
        return {f.name: f.kind for f in self.fields if isinstance(f.kind, Choice) and f.required}

    @property
    def words(self) -> str:
        return f"an object ({self.name})"

    def schema(self, defs: Definitions) -> Schema:
        return defs.refer(self, self.name, lambda: self._schema(defs))

    def _schema(self, defs: Definitions) -> Schema:
        schema: Schema = {"description": self.description} if self.description else {}
        schema["type"] = "object"
        schema["properties"] = {field.name: field.schema(defs) for field in self.fields}
        schema["required"] = [field.name for field in self.fields if field.required]
        if defs.closed or self.closed:
            schema["additionalProperties"] = False
        return schema

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        if not isinstance(raw, dict):
            return reading.unwanted(at, self.words, raw)
        before = len(reading.faults)
        values = {}
        strange: str | None = None
        for field in self.fields:
            place = member(at, field.name)
            if not field.absent(raw, reading):
                value = field.kind.read(raw[field.name], place, reading)
                if field.keyword:
                    values[field.keyword] = value
            elif field.required:
                strange = self._strange(raw, reading) if strange is None else strange
                reading.fault(place, f"required, but missing{strange}")
        if reading.exact or self.closed:
            self._refuse_strange(raw, at, reading)
        if len(reading.faults) > before:
            return None
        return made(lambda: self.make(**values), at, reading)

    def distance(self, raw: Any, reading: Reading) -> int:
        if not isinstance(raw, dict):
            return FAR
        far = len(raw.keys() - {field.name for field in self.fields})
        for field in self.fields:
            if field.name not in raw:
                far += 10 * field.required
            elif isinstance(field.kind, Choice):  # often there to tell one class from another
                far += 100 * (field.kind.distance(raw[field.name], reading) > 0)
        return min(far, FAR - 1)

    def _refuse_strange(self, raw: dict[str, Any], at: str, reading: Reading) -> None:
        known = [field.name for field in self.fields]
        for name in raw:
            if name not in known:
                reading.fault(member(at, name), no_such(name, known, "member"))

    def _strange(self, raw: dict[str, Any], reading: Reading) -> str:
        """What is there that no field is named after: one of them may be meant."""
        if reading.exact or self.closed:
            return ""  # it is a fault of its own
        names = sorted(raw.keys() - {field.name for field in self.fields})
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        said = ", ".join(repr(name[:60]) for name in names[:_SHOWN])
        return f" (no field is called {said}{more})" if names else ""
