"""Random types, each with its values: what structured output has to ask for and read back."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import itertools
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal, NewType, NotRequired, TypedDict

import attrs
import msgspec
from hypothesis import strategies as st

from tests.support.strategies import texts


class Colour(enum.Enum):
    """A colour, as a painter sees it."""

    RED = "red"
    GREEN = "green"


class Grade(enum.IntEnum):
    LOW = 1
    HIGH = 3


UserId = NewType("UserId", int)


@attrs.frozen
class Typed:
    """A type and a strategy for its values.

    :ivar shape: the JSON type of the values, to tell the members of a union apart.
    :ivar sayable: whether strict mode has words for it.
    """

    hint: Any
    values: st.SearchStrategy[Any]
    shape: str
    sayable: bool = True
    hashable: bool = True


_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=3)
_DATES = st.datetimes(min_value=datetime.datetime(1000, 1, 1))
LEAVES = [
    Typed(int, st.integers(-(2**70), 2**70), "integer"),
    Typed(UserId, st.integers(0, 9), "integer"),
    Typed(float, _FLOATS, "number"),
    Typed(str, texts(max_size=12), "string"),
    Typed(bool, st.booleans(), "boolean"),
    Typed(datetime.date, _DATES.map(datetime.datetime.date), "string"),
    Typed(datetime.datetime, _DATES, "string"),
    Typed(uuid.UUID, st.uuids(), "string"),
    Typed(decimal.Decimal, _DECIMALS, "string"),
    Typed(bytes, st.binary(max_size=8), "string"),
    Typed(Colour, st.sampled_from(Colour), "string"),
    Typed(Grade, st.sampled_from(Grade), "integer"),
    Typed(Literal["a", "b c"], st.sampled_from(["a", "b c"]), "string"),
    Typed(Literal[1, "x", None, True], st.sampled_from([1, "x", None, True]), "mixed"),
]
_fresh = itertools.count()
_NONE = Typed(type(None), st.none(), "null")


@st.composite
def _collections(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    item = draw(inner)
    values = st.lists(item.values, max_size=3)
    ways: list[Callable[[], Typed]] = [
        lambda: Typed(list[item.hint], values, "array", item.sayable, False),
        lambda: Typed(
            tuple[item.hint, ...], values.map(tuple), "array", item.sayable, item.hashable
        ),
        lambda: Typed(dict[str, item.hint], _tables(item), "object", False, False),
    ]
    if item.hashable:
        sets = values.map(frozenset)
        ways.append(lambda: Typed(frozenset[item.hint], sets, "array", item.sayable))
    return draw(st.sampled_from(ways))()


def _tables(item: Typed) -> st.SearchStrategy[Any]:
    return st.dictionaries(texts(max_size=5), item.values, max_size=3)


@st.composite
def _rows(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    items = draw(st.lists(inner, min_size=1, max_size=3))
    hint = tuple[tuple(item.hint for item in items)]  # type: ignore[misc]
    values = st.tuples(*(item.values for item in items))
    return Typed(hint, values, "array", False, all(item.hashable for item in items))


@st.composite
def _unions(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    found = draw(st.lists(inner, min_size=1, max_size=3, unique_by=lambda typed: typed.shape))
    members = [typed for typed in found if typed.shape != "mixed"]
    members += [_NONE] if draw(st.booleans()) or not members else []
    hint = members[0].hint
    for typed in members[1:]:
        hint = hint | typed.hint
    values = st.one_of(typed.values for typed in members)
    sayable = all(typed.sayable for typed in members)
    return Typed(hint, values, "mixed", sayable, all(typed.hashable for typed in members))


@st.composite
def records(draw: st.DrawFn, inner: st.SearchStrategy[Typed], tag: str | None = None) -> Typed:
    """Classes of every sort, made on the spot; with a ``kind`` that is ``tag``, if there is one."""
    number = next(_fresh)
    fields = {
        f"{'xyz'[position]}_{number}": typed
        for position, typed in enumerate(draw(st.lists(inner, max_size=3)))
    }
    if tag is not None:
        fields["kind"] = Typed(Literal[tag], st.just(tag), "string")
    make = draw(st.sampled_from([_attrs_class, _dataclass, _typed_dict, _partial_typed_dict]))
    hint, values, hashable = make(f"C{number}", fields)
    hashable = hashable and all(typed.hashable for typed in fields.values())
    return Typed(hint, values, "object", all(typed.sayable for typed in fields.values()), hashable)


Made = tuple[Any, st.SearchStrategy[Any], bool]


def _attrs_class(name: str, fields: dict[str, Typed]) -> Made:
    parts = {key: attrs.field(type=typed.hint) for key, typed in fields.items()}
    cls = attrs.make_class(name, parts, frozen=True)
    return cls, st.builds(cls, **{key: typed.values for key, typed in fields.items()}), True


def _dataclass(name: str, fields: dict[str, Typed]) -> Made:
    parts = [(key, typed.hint) for key, typed in fields.items()]
    cls = dataclasses.make_dataclass(name, parts, frozen=True)
    return cls, st.builds(cls, **{key: typed.values for key, typed in fields.items()}), True


def _typed_dict(name: str, fields: dict[str, Typed]) -> Made:
    cls = TypedDict(name, {key: typed.hint for key, typed in fields.items()})  # type: ignore[misc]
    values = st.fixed_dictionaries({key: typed.values for key, typed in fields.items()})
    return cls, values, False


def _partial_typed_dict(name: str, fields: dict[str, Typed]) -> Made:
    loose = {key for key in list(fields)[::2] if key != "kind"}
    hints = {
        key: NotRequired[typed.hint] if key in loose else typed.hint
        for key, typed in fields.items()
    }
    cls = TypedDict(name, hints)  # type: ignore[misc]
    values = st.fixed_dictionaries(
        {key: typed.values for key, typed in fields.items() if key not in loose},
        optional={key: typed.values for key, typed in fields.items() if key in loose},
    )
    return cls, values, False


@st.composite
def _unions_of_records(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    members = [draw(records(inner, tag)) for tag in ("one", "two", "three")]
    hint = members[0].hint | members[1].hint | members[2].hint
    values = st.one_of(typed.values for typed in members)
    sayable = all(typed.sayable for typed in members)
    return Typed(hint, values, "object", sayable, all(typed.hashable for typed in members))


def typed(max_leaves: int = 6, leaves: Sequence[Typed] = LEAVES) -> st.SearchStrategy[Typed]:
    """Types of every kind, nested, with their values."""
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.one_of(
            _collections(inner),
            _rows(inner),
            _unions(inner),
            records(inner),
            records(inner),
            _unions_of_records(inner),
        ),
        max_leaves=max_leaves,
    )


@st.composite
def valued(draw: st.DrawFn) -> tuple[Typed, Any, str]:
    """A type, a value of it, and that value as JSON."""
    of = draw(typed())
    value = draw(of.values)
    plain = msgspec.json.decode(msgspec.json.encode(value))
    indent = draw(st.none() | st.integers(0, 2))
    return of, value, json.dumps(plain, ensure_ascii=draw(st.booleans()), indent=indent)


def is_prefix(part: Any, whole: Any) -> bool:
    """Whether a value may become another by growing at its end."""
    if isinstance(part, dict) and isinstance(whole, dict):
        shared = list(part)
        if shared != list(whole)[: len(shared)]:
            return False
        return all(part[key] == whole[key] for key in shared[:-1]) and all(
            is_prefix(part[key], whole[key]) for key in shared[-1:]
        )
    if isinstance(part, list) and isinstance(whole, list):
        done = len(part) - 1
        if done < 0:
            return True
        return (
            len(part) <= len(whole)
            and part[:done] == whole[:done]
            and is_prefix(part[done], whole[done])
        )
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    return part == whole and type(part) is type(whole)
