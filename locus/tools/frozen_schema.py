"""A schema that cannot change: a tool is immutable, and so is what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from locus.core.frozendict import FrozenDict

T = TypeVar("T")


class FrozenList(list[T]):
    """An immutable ``list``, so that ``json`` and ``==`` work as with any. ``list(frozen)`` copies.

    A tuple would be one too, but readers of JSON Schema look for lists.
    """

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this list is immutable; make a copy with list(...) and change that")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def __reduce__(self) -> tuple[type[FrozenList[T]], tuple[list[T]]]:
        return FrozenList, (list(self),)

    def __copy__(self) -> FrozenList[T]:
        return self


def frozen_schema(value: Any) -> Any:
    """``value`` as JSON has it, its objects and arrays immutable."""
    if isinstance(value, Mapping):
        return FrozenDict({name: frozen_schema(member) for name, member in value.items()})
    if isinstance(value, (list, tuple)):
        return FrozenList(frozen_schema(member) for member in value)
    return value
