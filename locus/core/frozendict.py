"""``FrozenDict``, the immutable dictionary of Locus's frozen classes, and functions that make one.

It is a subclass of ``dict``, so ``json``, ``msgspec``, ``**call.arguments`` and ``==`` with a
dictionary work as usual. It is hashable if its values are, and can be pickled and copied.
``types.MappingProxyType`` cannot be pickled, nor, before Python 3.12, hashed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """An immutable ``dict``; its values are not frozen. ``dict(frozen)`` is a mutable copy."""

    __slots__ = ()

    def _raise_immutable_error(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this mapping is immutable; make a copy with dict(...) and change that")

    __setitem__ = __delitem__ = _raise_immutable_error
    clear = pop = popitem = setdefault = update = _raise_immutable_error
    __ior__ = _raise_immutable_error

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return FrozenDict, (dict(self),)

    def __copy__(self) -> FrozenDict[K, V]:
        return self

    def __repr__(self) -> str:
        return dict.__repr__(self)


EMPTY: FrozenDict[Any, Any] = FrozenDict()
"""The empty mapping, the default of the mapping fields."""


_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
"""The types of most values; looking them up here is faster than an ``isinstance`` check."""


def make_frozen_copy(value: Any) -> Any:
    """Copy a JSON value: mappings become immutable, lists are copied, all of them recursively."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return FrozenDict({name: make_frozen_copy(member) for name, member in value.items()})
    return [make_frozen_copy(member) for member in value] if isinstance(value, list) else value


MAX_DEPTH: Final = 100
"""How deep a saved value may be nested. Reading it must not exceed the recursion limit, also where
the call stack is deeper than now, or Python's limit is lower."""


def is_too_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than :data:`MAX_DEPTH`, or contains itself."""
    values = [value]
    for _ in range(MAX_DEPTH):
        values = [member for value in values for member in _iter_json_members(value)]
        if not values:
            return False
    return any(isinstance(value, (Mapping, list, tuple)) for value in values)


def _iter_json_members(value: Any) -> Iterable[Any]:
    """Return the members of a mapping or a list; none for other values."""
    if type(value) in _SCALARS:
        return ()
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def to_frozen_dict(value: Mapping[Any, Any] | None, name: str = "this") -> FrozenDict[Any, Any]:
    """Convert a mapping to a :class:`FrozenDict`; None becomes the empty one.

    It is the converter of the mapping fields. The members are not copied.

    :param name: the name of the value in the error message.
    :raises TypeError: if ``value`` is not a mapping.
    """
    if type(value) is FrozenDict:
        return value or EMPTY
    if value is None:
        return EMPTY
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    return FrozenDict(value) if value else EMPTY
