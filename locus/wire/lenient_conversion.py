"""Converts JSON to structs where a server sent a member as another type than the format has.

Servers that follow a format differ in the types of members: an index comes as text, an empty
object as an empty list (PHP has only one kind of both), a missing text as ``false``. A member that
Locus does not need must not cost the response. So, where the strict conversion fails:

- a number in text, and text in place of a number, are converted;
- an empty object, an empty list, an empty text and ``false`` are the same as a missing member;
- any other unfit value is left out, unless the member is one of the struct's ``needed_members``.

This runs only for JSON that msgspec has rejected.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import inspect

T = TypeVar("T")

_UNFIT: Final = object()


def convert_leniently(value: Any, type_: type[T]) -> T:
    """Convert decoded JSON to a struct.

    :raises msgspec.ValidationError: if a needed member is unfit.
    """
    repaired = _repair(value, _get_type_info(cast(Hashable, type_)))
    return msgspec.convert(value if repaired is _UNFIT else repaired, type_)


@cache
def _get_type_info(type_: Hashable) -> inspect.Type:
    return inspect.type_info(type_)


def _repair(value: Any, node: inspect.Type) -> Any:
    """Return the value in a form that the type accepts, or ``_UNFIT``."""
    match node:
        case inspect.AnyType():
            return value
        case inspect.UnionType(types=types):
            return _repair_union(value, types)
        case inspect.StructType() if isinstance(value, Mapping):
            return _repair_struct(value, node)
        case inspect.ListType(item_type=item_type) if isinstance(value, list):
            # An unfit item stays: what it was is decided by the member that holds the list.
            items = [(item, _repair(item, item_type)) for item in value]
            return [item if repaired is _UNFIT else repaired for item, repaired in items]
        case inspect.DictType() if isinstance(value, Mapping):
            return dict(value)
        case inspect.NoneType() if value is None:
            return None
        case inspect.BoolType() if isinstance(value, bool):
            return value
        case inspect.StrType():
            return _repair_text(value)
        case inspect.IntType():
            number = _repair_number(value)
            is_integer = number is not _UNFIT and number == int(number)
            return int(number) if is_integer else _UNFIT
        case inspect.FloatType():
            return _repair_number(value)
    return _UNFIT


def _repair_union(value: Any, types: tuple[inspect.Type, ...]) -> Any:
    for node in types:  # the type that it is, before one that it can be converted to
        if _is_exact(value, node):
            return _repair(value, node)
    for node in types:
        repaired = _repair(value, node)
        if repaired is not _UNFIT:
            return repaired
    return _UNFIT


def _is_exact(value: Any, node: inspect.Type) -> bool:
    match node:
        case inspect.AnyType():
            return True
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.ListType():
            return isinstance(value, list)
        case inspect.DictType() | inspect.StructType():
            return isinstance(value, Mapping)
        case inspect.NoneType():
            return value is None
    return False


def _repair_struct(value: Mapping[str, Any], node: inspect.StructType) -> dict[str, Any]:
    needed: frozenset[str] = getattr(node.cls, "needed_members", frozenset())
    repaired = {}
    for field in node.fields:
        if field.encode_name not in value:
            continue
        member = value[field.encode_name]
        fit = _repair(member, field.type)
        if fit is not _UNFIT and not _is_convertible(fit, field.type):
            fit = _UNFIT
        if fit is not _UNFIT:
            repaired[field.encode_name] = fit
        elif field.name in needed and member not in ({}, [], "", False):
            repaired[field.encode_name] = member  # the conversion names it in its error
    return repaired


def _is_convertible(value: Any, node: inspect.Type) -> bool:
    """Return whether all items of a list are fit, also those of lists in it."""
    if isinstance(node, inspect.UnionType):
        return any(_is_exact(value, t) and _is_convertible(value, t) for t in node.types)
    if isinstance(node, inspect.ListType):
        return all(_is_convertible(item, node.item_type) for item in value)
    return _is_exact(value, node)


def _repair_text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else _UNFIT


def _repair_number(value: Any) -> Any:
    if isinstance(value, bool):
        return _UNFIT
    if isinstance(value, str):
        try:
            value = float(value) if not value.strip().lstrip("+-").isdecimal() else int(value)
        except ValueError:
            return _UNFIT
    is_finite = isinstance(value, int) or (isinstance(value, float) and abs(value) < float("inf"))
    return value if is_finite else _UNFIT
