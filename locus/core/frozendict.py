"""A dictionary that cannot change: the mapping inside every immutable value of Locus.

It is a real ``dict``, so that ``json``, ``msgspec``, ``**call.arguments`` and ``==`` with a plain
dictionary work as everywhere else. It is hashable where its values are, and survives ``pickle``
and ``copy``. ``types.MappingProxyType`` was looked at: it neither pickles nor, before Python 3.12,
hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """An immutable, shallow ``dict``. ``dict(frozen)`` gives a copy that can be changed."""

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this mapping is immutable; make a copy with dict(...) and change that")

    __setitem__ = __delitem__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse
    __ior__ = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return FrozenDict, (dict(self),)

    def __copy__(self) -> FrozenDict[K, V]:
        return self

    def __repr__(self) -> str:
        return dict.__repr__(self)


EMPTY: FrozenDict[Any, Any] = FrozenDict()
"""The one empty mapping, shared by every value whose mapping was left out."""


_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
"""Most values by far: to ask each whether it is a ``Mapping`` would take longer than the rest."""


def snapshot(value: Any) -> Any:
    """``value`` as JSON has it, apart from the caller's own: mappings frozen, lists copied."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return FrozenDict({name: snapshot(member) for name, member in value.items()})
    return [snapshot(member) for member in value] if isinstance(value, list) else value


DEEPEST: Final = 100
"""How deep values that are saved may be nested: what is written here must also be read where the
stack is fuller, and by a Python that has less of it."""


def too_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than :data:`DEEPEST`, or contains itself."""
    level = [value]
    for _ in range(DEEPEST):
        level = [member for one in level for member in _members(one)]
        if not level:
            return False
    return any(isinstance(one, (Mapping, list, tuple)) for one in level)


def _members(value: Any) -> Iterable[Any]:
    if type(value) in _SCALARS:
        return ()
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def frozen_dict(value: Mapping[Any, Any] | None, name: str = "this") -> FrozenDict[Any, Any]:
    """``value`` as a :class:`FrozenDict`; the converter of the mapping fields.

    :param name: what the error calls the value.
    :raises TypeError: ``value`` is not a mapping.
    """
    if type(value) is FrozenDict:
        return value or EMPTY
    if value is None:
        return EMPTY
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    return FrozenDict(value) if value else EMPTY
