"""Strategies for random types and their values, for the tests of structured output."""

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
    """A colour."""

    RED = "red"
    GREEN = "green"


class Grade(enum.IntEnum):
    LOW = 1
    HIGH = 3


UserId = NewType("UserId", int)


@attrs.frozen
class TypeCase:
    """A type and a strategy for its values.

    :ivar json_type: the JSON type of the values, to tell the members of a union apart.
    :ivar supports_strict: whether strict mode can express the type.
    :ivar hashable: whether the values are hashable.
    """

    hint: Any
    values: st.SearchStrategy[Any]
    json_type: str
    supports_strict: bool = True
    hashable: bool = True


_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=3)
_DATES = st.datetimes(min_value=datetime.datetime(1000, 1, 1))
LEAVES = [
    TypeCase(int, st.integers(-(2**70), 2**70), "integer"),
    TypeCase(UserId, st.integers(0, 9), "integer"),
    TypeCase(float, _FLOATS, "number"),
    TypeCase(str, texts(max_size=12), "string"),
    TypeCase(bool, st.booleans(), "boolean"),
    TypeCase(datetime.date, _DATES.map(datetime.datetime.date), "string"),
    TypeCase(datetime.datetime, _DATES, "string"),
    TypeCase(uuid.UUID, st.uuids(), "string"),
    TypeCase(decimal.Decimal, _DECIMALS, "string"),
    TypeCase(bytes, st.binary(max_size=8), "string"),
    TypeCase(Colour, st.sampled_from(Colour), "string"),
    TypeCase(Grade, st.sampled_from(Grade), "integer"),
    TypeCase(Literal["a", "b c"], st.sampled_from(["a", "b c"]), "string"),
    TypeCase(Literal[1, "x", None, True], st.sampled_from([1, "x", None, True]), "mixed"),
]
_class_numbers = itertools.count()
_NONE = TypeCase(type(None), st.none(), "null")


@st.composite
def _collections(draw: st.DrawFn, inner: st.SearchStrategy[TypeCase]) -> TypeCase:
    item = draw(inner)
    values = st.lists(item.values, max_size=3)
    factories: list[Callable[[], TypeCase]] = [
        lambda: TypeCase(list[item.hint], values, "array", item.supports_strict, False),
        lambda: TypeCase(
            tuple[item.hint, ...], values.map(tuple), "array", item.supports_strict, item.hashable
        ),
        lambda: TypeCase(dict[str, item.hint], _dictionaries(item), "object", False, False),
    ]
    if item.hashable:
        sets = values.map(frozenset)
        factories.append(
            lambda: TypeCase(frozenset[item.hint], sets, "array", item.supports_strict)
        )
    return draw(st.sampled_from(factories))()


def _dictionaries(item: TypeCase) -> st.SearchStrategy[Any]:
    return st.dictionaries(texts(max_size=5), item.values, max_size=3)


@st.composite
def _fixed_tuples(draw: st.DrawFn, inner: st.SearchStrategy[TypeCase]) -> TypeCase:
    items = draw(st.lists(inner, min_size=1, max_size=3))
    hint = tuple[tuple(item.hint for item in items)]  # type: ignore[misc]
    values = st.tuples(*(item.values for item in items))
    return TypeCase(hint, values, "array", False, all(item.hashable for item in items))


@st.composite
def _unions(draw: st.DrawFn, inner: st.SearchStrategy[TypeCase]) -> TypeCase:
    candidates = draw(
        st.lists(inner, min_size=1, max_size=3, unique_by=lambda member: member.json_type)
    )
    members = [member for member in candidates if member.json_type != "mixed"]
    members += [_NONE] if draw(st.booleans()) or not members else []
    hint = members[0].hint
    for member in members[1:]:
        hint = hint | member.hint
    values = st.one_of(member.values for member in members)
    supports_strict = all(member.supports_strict for member in members)
    return TypeCase(
        hint, values, "mixed", supports_strict, all(member.hashable for member in members)
    )


@st.composite
def class_types(
    draw: st.DrawFn, inner: st.SearchStrategy[TypeCase], tag: str | None = None
) -> TypeCase:
    """New classes of every sort; with ``tag``, they have a field ``kind`` with that value."""
    number = next(_class_numbers)
    fields = {
        f"{'xyz'[position]}_{number}": field
        for position, field in enumerate(draw(st.lists(inner, max_size=3)))
    }
    if tag is not None:
        fields["kind"] = TypeCase(Literal[tag], st.just(tag), "string")
    make_class = draw(
        st.sampled_from(
            [_make_attrs_class, _make_dataclass, _make_typed_dict, _make_partial_typed_dict]
        )
    )
    hint, values, hashable = make_class(f"C{number}", fields)
    hashable = hashable and all(field.hashable for field in fields.values())
    supports_strict = all(field.supports_strict for field in fields.values())
    return TypeCase(hint, values, "object", supports_strict, hashable)


NewClass = tuple[Any, st.SearchStrategy[Any], bool]


def _make_attrs_class(name: str, fields: dict[str, TypeCase]) -> NewClass:
    attributes = {key: attrs.field(type=field.hint) for key, field in fields.items()}
    cls = attrs.make_class(name, attributes, frozen=True)
    return cls, st.builds(cls, **{key: field.values for key, field in fields.items()}), True


def _make_dataclass(name: str, fields: dict[str, TypeCase]) -> NewClass:
    definitions = [(key, field.hint) for key, field in fields.items()]
    cls = dataclasses.make_dataclass(name, definitions, frozen=True)
    return cls, st.builds(cls, **{key: field.values for key, field in fields.items()}), True


def _make_typed_dict(name: str, fields: dict[str, TypeCase]) -> NewClass:
    cls = TypedDict(name, {key: field.hint for key, field in fields.items()})  # type: ignore[misc]
    values = st.fixed_dictionaries({key: field.values for key, field in fields.items()})
    return cls, values, False


def _make_partial_typed_dict(name: str, fields: dict[str, TypeCase]) -> NewClass:
    optional_keys = {key for key in list(fields)[::2] if key != "kind"}
    hints = {
        key: NotRequired[field.hint] if key in optional_keys else field.hint
        for key, field in fields.items()
    }
    cls = TypedDict(name, hints)  # type: ignore[misc]
    values = st.fixed_dictionaries(
        {key: field.values for key, field in fields.items() if key not in optional_keys},
        optional={key: field.values for key, field in fields.items() if key in optional_keys},
    )
    return cls, values, False


@st.composite
def _unions_of_classes(draw: st.DrawFn, inner: st.SearchStrategy[TypeCase]) -> TypeCase:
    members = [draw(class_types(inner, tag)) for tag in ("one", "two", "three")]
    hint = members[0].hint | members[1].hint | members[2].hint
    values = st.one_of(member.values for member in members)
    supports_strict = all(member.supports_strict for member in members)
    return TypeCase(
        hint, values, "object", supports_strict, all(member.hashable for member in members)
    )


def type_cases(
    max_leaves: int = 6, leaves: Sequence[TypeCase] = LEAVES
) -> st.SearchStrategy[TypeCase]:
    """Types of every sort, nested, with their values."""
    return st.recursive(
        st.sampled_from(leaves),
        lambda inner: st.one_of(
            _collections(inner),
            _fixed_tuples(inner),
            _unions(inner),
            class_types(inner),
            class_types(inner),
            _unions_of_classes(inner),
        ),
        max_leaves=max_leaves,
    )


@st.composite
def values_with_type(draw: st.DrawFn) -> tuple[TypeCase, Any, str]:
    """A type, a value of it, and that value as JSON."""
    type_case = draw(type_cases())
    value = draw(type_case.values)
    raw = msgspec.json.decode(msgspec.json.encode(value))
    indent = draw(st.none() | st.integers(0, 2))
    return type_case, value, json.dumps(raw, ensure_ascii=draw(st.booleans()), indent=indent)


def is_prefix(partial: Any, complete: Any) -> bool:
    """Return whether a value can become another one by growing at its end."""
    if isinstance(partial, dict) and isinstance(complete, dict):
        shared = list(partial)
        if shared != list(complete)[: len(shared)]:
            return False
        return all(partial[key] == complete[key] for key in shared[:-1]) and all(
            is_prefix(partial[key], complete[key]) for key in shared[-1:]
        )
    if isinstance(partial, list) and isinstance(complete, list):
        last = len(partial) - 1
        if last < 0:
            return True
        return (
            len(partial) <= len(complete)
            and partial[:last] == complete[:last]
            and is_prefix(partial[last], complete[last])
        )
    if isinstance(partial, str) and isinstance(complete, str):
        return complete.startswith(partial)
    return partial == complete and type(partial) is type(complete)
