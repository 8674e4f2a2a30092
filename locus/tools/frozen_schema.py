"""Immutable JSON Schemas: a tool is immutable, and so is its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from locus.core.frozendict import FrozenDict

T = TypeVar("T")


class FrozenList(list[T]):
    """An immutable ``list``, for which ``json`` and ``==`` work. ``list(frozen)`` copies it.

    A tuple is immutable as well, but code that reads a JSON Schema expects lists.
    """

    __slots__ = ()

    def _raise_immutable_error(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this list is immutable; make a copy with list(...) and change that")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _raise_immutable_error
    append = extend = insert = pop = remove = clear = sort = reverse = _raise_immutable_error

    def __reduce__(self) -> tuple[type[FrozenList[T]], tuple[list[T]]]:
        return FrozenList, (list(self),)

    def __copy__(self) -> FrozenList[T]:
        return self


def freeze_schema(schema: Any) -> Any:
    """Copy a schema, with immutable dictionaries and lists."""
    if isinstance(schema, Mapping):
        return FrozenDict({name: freeze_schema(member) for name, member in schema.items()})
    if isinstance(schema, (list, tuple)):
        return FrozenList(freeze_schema(item) for item in schema)
    return schema
