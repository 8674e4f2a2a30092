"""A model's arguments: what is asked for, and how what came is read.

One set of kinds (:mod:`locus.core.structured`) says the schema and reads the values, so they cannot
disagree. Reading goes the short way first: what ``msgspec`` reads just as the kinds would, numbers,
text and collections of them, is left to it, all in one call. Where anything is wrong, all of it is
read again by the kinds, which say what and where, every fault of it.
"""

from __future__ import annotations

import datetime
import json
import math
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from types import GenericAlias
from typing import Annotated, Any, Final

import attrs
import msgspec

from locus.core.errors import ConfigurationError
from locus.core.structured.record_nodes import Field
from locus.core.structured.response_format import used
from locus.core.structured.schema_definitions import Definitions, Schema
from locus.core.structured.strict_schema import to_strict
from locus.core.structured.type_nodes import Array, Key, Leaf, Noted, Table, Union
from locus.core.structured.validation import Kind, Reading, no_such
from locus.core.structured.validation import member as place_of
from locus.tools.errors import ToolArgumentsError

_SIMPLE: Final = (str, int, bool, type(None))
_EASY: Final = (*_SIMPLE, bytes, uuid.UUID, datetime.date, datetime.time, datetime.datetime)
_MOST: Final = sys.float_info.max
_FINITE: Final = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]


class _Refused(Exception):
    """Something is wrong; it is not said what."""


@attrs.frozen(eq=False)
class Arguments:
    """What a tool takes from a model.

    :param tool: the tool's name.
    :param others: the kind of arguments besides those with a name; None where there are none.
    :param reserved: names that none of these others may have.
    """

    tool: str
    fields: tuple[Field, ...]
    others: Kind | None = None
    reserved: frozenset[str] = frozenset()
    _shape: Any = attrs.field(init=False)
    _quick: Mapping[str, str] = attrs.field(init=False)
    _careful: Mapping[str, Callable[[Any], Any]] = attrs.field(init=False)
    _required: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        hints = {field.name: quick_hint(field.kind) for field in self.fields}
        quick = [field for field in self.fields if hints[field.name] is not None]
        careful = [field for field in self.fields if field not in quick]
        # Members of names of our own, for a parameter may be called what no member can be: `__x`.
        # Of those with a default only those are looked at that were given.
        members = {field.name: f"_{position}" for position, field in enumerate(quick)}
        shape = msgspec.defstruct(
            "Arguments",
            [
                (members[field.name], hints[field.name], *(() if field.required else (None,)))
                for field in quick
            ],
            rename={member: name for name, member in members.items()},
            kw_only=True,
        )
        put = object.__setattr__
        put(self, "_shape", shape)
        put(self, "_quick", members)
        put(self, "_careful", {field.name: _reader(field.kind) for field in careful})
        put(self, "_required", frozenset(f.name for f in careful if f.required))

    def schema(self, strict: bool) -> Schema:
        """The JSON Schema of the object that holds them.

        :param strict: in the subset that OpenAI holds a model to.
        :raises ConfigurationError: the subset has no words for one of them.
        """
        if strict and self.others is not None:
            raise ConfigurationError(
                f"tool {self.tool!r} takes further arguments, which strict mode cannot say; take a "
                "list, or use strict=False"
            )
        defs = Definitions(strict, closed=True)
        others = self.others.schema(defs) or True if self.others else False
        root: Schema = {
            "type": "object",
            "properties": {field.name: field.schema(defs) for field in self.fields},
            "required": [field.name for field in self.fields if field.required],
            "additionalProperties": others,
        }
        if parts := used(root, defs):
            root["$defs"] = parts
        return to_strict(root, self.tool) if strict else root

    def read(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The values to call the function with, of those that were given.

        :raises ToolArgumentsError: they are not what is wanted; says everything that is wrong.
        """
        try:
            return self._read_quickly(raw)
        except (_Refused, msgspec.ValidationError, UnicodeError, SystemError, RecursionError):
            return self._read_slowly(raw)

    def _read_quickly(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        shaped = msgspec.convert(raw, self._shape)
        values = {}
        for name, value in raw.items():
            if member := self._quick.get(name):
                values[name] = getattr(shaped, member)
            elif reader := self._careful.get(name):
                values[name] = reader(value)
            else:
                raise _Refused
        if not self._required <= values.keys():
            raise _Refused
        return values

    def _read_slowly(self, raw: Mapping[Any, Any]) -> dict[str, Any]:
        if not isinstance(raw, Mapping):
            raise ToolArgumentsError.of_problems(
                self.tool, [f"they are to be an object, not {type(raw).__name__}"]
            )
        reading = Reading(exact=True)
        values = {}
        for field in self.fields:
            if field.name in raw:
                values[field.name] = _read(field.kind, raw[field.name], field.name, reading)
            elif field.required:
                reading.fault(field.name, "required, but missing")
        known = [field.name for field in self.fields]
        for name in raw:
            if name in values:
                continue
            place = name if isinstance(name, str) and name.isidentifier() else _quoted(name)
            if self.others is None or not isinstance(name, str) or name in self.reserved:
                reading.fault(place, no_such(str(name), known, "argument"))
            else:
                values[name] = _read(self.others, raw[name], place, reading)
        if reading.faults:
            raise ToolArgumentsError.of_problems(self.tool, reading.faults)
        return values


def _quoted(name: Any) -> str:
    return json.dumps(str(name)[:60])


# The short way.


def quick_hint(kind: Kind) -> Any:
    """What msgspec reads just as ``kind`` does; None where there is no such thing."""
    match kind:
        case Noted():
            return quick_hint(kind.kind)
        case Key():
            return str if kind.hint is str else None
        case Leaf():
            return _FINITE if kind.hint is float else kind.hint if kind.hint in _EASY else None
        case Array() if kind.bounds.least is kind.bounds.most is None:
            item, made = quick_hint(kind.item), kind.make
            if item is None or made not in (list, tuple, set, frozenset):
                return None
            return GenericAlias(made, (item, ...) if made is tuple else (item,))
        case Table() if kind.bounds.least is kind.bounds.most is None:
            key, value = quick_hint(kind.key), quick_hint(kind.value)
            return None if key is None or value is None else GenericAlias(dict, (key, value))
        case Union():
            return _quick_union(kind.members)
    return None


def _quick_union(members: Sequence[Kind]) -> Any:
    hints = [quick_hint(kind) for kind in members]
    several = [hint for hint in hints if hint is not type(None)]
    if None in hints or (len(several) > 1 and not all(hint in _SIMPLE for hint in several)):
        return None
    return reduce(or_, hints)


# The long way.


def _reader(kind: Kind) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        reading = Reading(exact=True)
        value = _read(kind, raw, "", reading)
        if reading.faults:
            raise _Refused
        return value

    return read


def _read(kind: Kind, raw: Any, at: str, reading: Reading) -> Any:
    before = len(reading.faults)
    try:
        plain = plain_json(raw, at, reading)
        return kind.read(plain, at, reading) if len(reading.faults) == before else None
    except RecursionError:
        return reading.fault(at, "nested too deeply")


def plain_json(raw: Any, at: str, reading: Reading) -> Any:
    """``raw`` as JSON has it, no part of it the caller's own, so that a tool may change it.

    A hook may have put in what JSON has no form for; of that, NaN and keys that are not text are
    noted as faults, the rest the kinds see for themselves.
    """
    if isinstance(raw, Mapping):
        plain = {}
        for name, value in raw.items():
            if not isinstance(name, str):
                reading.fault(at, f"the keys of an object are text, not {name!r}")
            else:
                plain[name] = plain_json(value, place_of(at, name), reading)
        return plain
    if isinstance(raw, (list, tuple)):
        return [plain_json(value, f"{at}[{i}]", reading) for i, value in enumerate(raw)]
    if isinstance(raw, float) and not math.isfinite(raw):
        reading.fault(at, f"JSON has no {raw}")
    return raw
