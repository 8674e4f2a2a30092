"""The kinds of JSON that have no fields of their own: scalars, choices, collections, unions.

Scalars, and what else ``msgspec`` knows, are left to it; what it cannot do, unions of several
classes and more than one error at a time, is done here.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import attrs
import msgspec

from locus.core.structured.schema_definitions import PREFIX, Definitions, Schema
from locus.core.structured.validation import (
    FAR,
    WORDS,
    Kind,
    Reading,
    fits,
    is_refusal,
    json_type,
    made,
    member,
    named,
    words_of,
)


def _converted(raw: Any, hint: Any, exact: bool = False) -> Any:
    if exact and type(raw) is float:
        raw = _with_all_digits(raw, getattr(hint, "__origin__", hint))
    try:
        return msgspec.convert(raw, hint, strict=True)
    except SystemError as error:  # how msgspec before 0.22 fails at a number too large for a float
        raise msgspec.ValidationError("Number out of range") from error
    except (msgspec.ValidationError, RecursionError):
        raise
    except Exception as error:  # of a struct's own code, which may raise anything
        if not is_refusal(error, exact):
            raise
        raise msgspec.ValidationError(f"its class says: {words_of(error)}") from error


def _with_all_digits(raw: float, wanted: Any) -> Any:
    """A number as what is wanted, where no digit can have been lost on the way here."""
    if wanted is int and raw.is_integer():
        return int(raw)
    if wanted is Decimal and len(Decimal(repr(raw)).as_tuple().digits) > sys.float_info.dig:
        raise msgspec.ValidationError("a number of so many digits has to be written as text")
    return raw


@attrs.frozen(eq=False)
class Leaf:
    """What msgspec both describes and reads."""

    hint: Any

    @property
    def words(self) -> str:
        if names := getattr(self.hint, "_fields", None):
            return f"an array ({', '.join(names)})"  # a NamedTuple
        defs = Definitions()
        schema = self.schema(defs)
        if "$ref" in schema:
            schema = defs.schemas[schema["$ref"].removeprefix(PREFIX)]
        wanted = WORDS.get(str(schema.get("type")), "another kind of value")
        return f"{wanted} ({schema['format']})" if "format" in schema else wanted

    def schema(self, defs: Definitions) -> Schema:
        (schema,), parts = msgspec.json.schema_components([self.hint])
        # msgspec says these only where an offset is required; a model has to be told the form.
        if self.hint in (datetime.datetime, datetime.time):
            schema["format"] = "date-time" if self.hint is datetime.datetime else "time"
        return defs.adopt({**schema, "$defs": parts})

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        try:
            return _converted(raw, self.hint, reading.exact)
        except msgspec.ValidationError as error:
            why, _, inside = str(error).partition(" - at `$")
            if inside:
                return reading.fault(at + inside.rstrip("`"), why)
            if " got `" in why:
                return reading.unwanted(at, self.words, raw)
            why = why[:1].lower() + why[1:].replace("`", "")
            instead = "" if isinstance(raw, (dict, list)) else f", not {named(raw)}"
            return reading.fault(at, why + instead)

    def distance(self, raw: Any, reading: Reading) -> int:
        try:
            value = _converted(raw, self.hint, reading.exact)
        except msgspec.ValidationError as error:
            return FAR if " got `" in str(error) else FAR - 1
        return int(type(raw) in (int, float) and type(value) is not type(raw))


@attrs.frozen(eq=False)
class Key(Leaf):
    """A key of an object, where everything is text: ``"1"`` is the key 1."""

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        table: Any = dict[self.hint, None]  # type: ignore[name-defined]
        try:
            (key,) = msgspec.convert({raw: None}, table, str_keys=True)
        except (msgspec.ValidationError, UnicodeError):
            return reading.unwanted(at, self.words, raw)
        return key

    def distance(self, raw: Any, reading: Reading) -> int:
        return 0 if fits(self, raw, reading) else FAR


@attrs.frozen(eq=False)
class Path:
    """The path of a file or directory, as text."""

    make: type[PurePath]

    words = "text (path)"

    def schema(self, defs: Definitions) -> Schema:
        return {"type": "string", "format": "path"}

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        if not isinstance(raw, str):
            return reading.unwanted(at, self.words, raw)
        return self.make(raw)

    def distance(self, raw: Any, reading: Reading) -> int:
        return 0 if isinstance(raw, str) else FAR


@attrs.frozen(eq=False)
class Choice:
    """One of several values: an enum or a ``Literal``. ``values`` are pairs: JSON, Python."""

    values: Sequence[tuple[Any, Any]]
    name: str | None = None
    description: str | None = None

    @property
    def words(self) -> str:
        several = "one of " if len(self.values) > 1 else ""
        return several + ", ".join(json.dumps(raw) for raw, _ in self.values)

    def schema(self, defs: Definitions) -> Schema:
        return defs.refer(self, self.name, self._schema)

    def _schema(self) -> Schema:
        values = [raw for raw, _ in self.values]
        types = list(dict.fromkeys(map(json_type, values)))
        schema: Schema = {"type": types[0] if len(types) == 1 else types, "enum": values}
        return {"description": self.description, **schema} if self.description else schema

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        for value, meaning in self.values:
            if value == raw and (type(value) is bool) == (type(raw) is bool):
                return meaning
        return reading.unwanted(at, self.words, raw)

    def distance(self, raw: Any, reading: Reading) -> int:
        return 0 if fits(self, raw, reading) else FAR


@attrs.frozen(eq=False)
class Bounds:
    """How many members a collection may have."""

    least: int | None = None
    most: int | None = None

    def schema(self, what: str) -> Schema:
        """The keywords for it."""
        bounds = {f"min{what}": self.least, f"max{what}": self.most}
        return {name: bound for name, bound in bounds.items() if bound is not None}

    def check(self, raw: Any, at: str, reading: Reading) -> None:
        """Note where there are too few or too many."""
        if self.least is not None and len(raw) < self.least:
            reading.fault(at, f"at least {self.least} wanted, not {len(raw)}")
        if self.most is not None and len(raw) > self.most:
            reading.fault(at, f"at most {self.most} wanted, not {len(raw)}")


@attrs.frozen(eq=False)
class Array:
    """A list, set or tuple of any length."""

    item: Kind
    make: Callable[[list[Any]], Any]
    bounds: Bounds

    words = WORDS["array"]

    def schema(self, defs: Definitions) -> Schema:
        return {"type": "array", "items": self.item.schema(defs), **self.bounds.schema("Items")}

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        if not isinstance(raw, list):
            return reading.unwanted(at, self.words, raw)
        before = len(reading.faults)
        items = [self.item.read(item, f"{at}[{i}]", reading) for i, item in enumerate(raw)]
        self.bounds.check(raw, at, reading)
        if len(reading.faults) > before:
            return None
        return made(lambda: self.make(items), at, reading)

    def distance(self, raw: Any, reading: Reading) -> int:
        return 0 if isinstance(raw, list) else FAR


@attrs.frozen(eq=False)
class Row:
    """A tuple of a fixed length."""

    items: Sequence[Kind]

    @property
    def words(self) -> str:
        return f"an array of {len(self.items)}"

    def schema(self, defs: Definitions) -> Schema:
        items = [item.schema(defs) for item in self.items]
        same = bool(items) and items.count(items[0]) == len(items)
        members = {"items": items[0]} if same else {"prefixItems": items, "items": False}
        return {"type": "array", **members, "minItems": len(items), "maxItems": len(items)}

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        if not isinstance(raw, list):
            return reading.unwanted(at, self.words, raw)
        if len(raw) != len(self.items):
            return reading.fault(at, f"{self.words} is wanted, not of {len(raw)}")
        pairs = zip(self.items, raw, strict=True)
        return tuple(kind.read(item, f"{at}[{i}]", reading) for i, (kind, item) in enumerate(pairs))

    def distance(self, raw: Any, reading: Reading) -> int:
        if not isinstance(raw, list):
            return FAR
        return min(10 * abs(len(raw) - len(self.items)), FAR - 1)


@attrs.frozen(eq=False)
class Table:
    """A mapping whose keys are not known beforehand."""

    key: Kind
    value: Kind
    bounds: Bounds

    words = WORDS["object"]

    def schema(self, defs: Definitions) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.value.schema(defs)}
        keys = self.key.schema(defs)
        if "$ref" in keys or (keys.get("type") == "string" and len(keys) > 1):
            schema["propertyNames"] = keys
        return {**schema, **self.bounds.schema("Properties")}

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        if not isinstance(raw, dict):
            return reading.unwanted(at, self.words, raw)
        table = {}
        for name, item in raw.items():
            place = member(at, name)
            before = len(reading.faults)
            key = self.key.read(name, f"{place} (its name)", reading)
            value = self.value.read(item, place, reading)
            if len(reading.faults) == before:
                table[key] = value
        self.bounds.check(raw, at, reading)
        return table

    def distance(self, raw: Any, reading: Reading) -> int:
        return 1 if isinstance(raw, dict) else FAR


@attrs.frozen(eq=False)
class Union:
    """One of several kinds: the nearest that fits; of two as near, the one that stands first."""

    members: Sequence[Kind]

    @property
    def words(self) -> str:
        return " or ".join(dict.fromkeys(kind.words for kind in self.members))

    def schema(self, defs: Definitions) -> Schema:
        found: list[Schema] = []
        for kind in self.members:
            schema = kind.schema(defs)
            found += [schema] if schema not in found else []
        return {"anyOf": found} if len(found) > 1 else found[0]

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        key = (id(raw), id(self))
        value, faults = reading.seen.get(key) or self._read(raw, at, reading)
        if isinstance(raw, (dict, list)):
            reading.seen[key] = value, faults
        reading.faults += faults
        return value

    def _read(self, raw: Any, at: str, reading: Reading) -> tuple[Any, list[str]]:
        far = {kind: kind.distance(raw, reading) for kind in self.members}
        if (untold := self._untold(raw, at, reading)) is not None:
            return None, untold
        nearest: list[str] = []
        for kind in sorted(self.members, key=far.__getitem__):
            if far[kind] == FAR:
                break
            trial = reading.trial()
            value = kind.read(raw, at, trial)
            if not trial.faults:
                return value, []
            nearest = nearest or trial.faults
        if not nearest:
            reading = reading.trial()
            reading.unwanted(at, self.words, raw)
        return None, nearest or reading.faults

    def _untold(self, raw: Any, at: str, reading: Reading) -> list[str] | None:
        """The fault of an object whose tag is that of none of the classes, if all have one."""
        if not isinstance(raw, dict):
            return None
        plain = [kind.kind if isinstance(kind, Noted) else kind for kind in self.members]
        tags: list[dict[str, Choice]] = [k.tags for k in plain if hasattr(k, "tags")]
        if len(tags) < 2:
            return None
        if any(k.distance(raw, reading) < FAR for k in plain if not hasattr(k, "tags")):
            return None  # an object of another kind may be meant
        for name in tags[0]:
            choices = [found[name] for found in tags if name in found]
            if len(choices) == len(tags) and len({repr(c.values) for c in choices}) > 1:
                either = Choice([pair for choice in choices for pair in choice.values])
                trial = reading.trial()
                if name in raw:
                    either.read(raw[name], member(at, name), trial)
                else:
                    trial.fault(member(at, name), f"required, but missing: {either.words}")
                if trial.faults:
                    return trial.faults
        return None

    def distance(self, raw: Any, reading: Reading) -> int:
        return min(kind.distance(raw, reading) for kind in self.members)


@attrs.frozen(eq=False)
class Noted:
    """A kind with something to say about it: a description, examples."""

    kind: Kind
    notes: Schema

    @property
    def words(self) -> str:
        return self.kind.words

    def schema(self, defs: Definitions) -> Schema:
        return {**self.kind.schema(defs), **self.notes}

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        return self.kind.read(raw, at, reading)

    def distance(self, raw: Any, reading: Reading) -> int:
        return self.kind.distance(raw, reading)


@attrs.define(eq=False)
class Alias:
    """A named type, which may speak of itself: ``type Tree = int | list[Tree]``."""

    words: str
    kind: Kind = attrs.field(init=False)

    def schema(self, defs: Definitions) -> Schema:
        return defs.refer(self, self.words, lambda: self.kind.schema(defs))

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        return self.kind.read(raw, at, reading)

    def distance(self, raw: Any, reading: Reading) -> int:
        return self.kind.distance(raw, reading)
