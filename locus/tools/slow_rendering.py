"""Tells whether a value may take long to render, so that an event loop should not wait for it."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import islice
from types import MemberDescriptorType
from typing import Any, Final

from locus.core.messages import ImagePart
from locus.tools.result_renderer import SCALAR_TYPES

_LARGE: Final = 500
"""Values, or thousands of characters: rendering so many takes a millisecond or more."""

_TEXT_CLASSES: Final[tuple[Any, ...]] = (str, bytes, bytearray)
_CONTAINERS: Final[tuple[Any, ...]] = (list, tuple, set, frozenset, deque)

_ITERATED_TYPES: Final = (Iterator, Mapping, AbstractSet, ValuesView, UserList)
"""Rendering one that is not built in runs its own code, which may take as long as it likes."""


def is_slow_to_render(result: Any) -> bool:
    """Return whether rendering a result may take so long that an event loop should not wait for it.

    It is so for a large value, and for one whose own code runs meanwhile, such as an iterator. No
    code of a class of the user's is called to find that out.
    """
    if type(result) in SCALAR_TYPES:
        return type(result) is str and len(result) >= 1000 * _LARGE
    pending, count = [result], 0
    while pending:
        value = pending.pop()
        if type(value) in SCALAR_TYPES:
            count += len(value) // 1000 if type(value) is str else 0
        elif isinstance(value, ImagePart):
            count += len(value.data or value.url or "") // 1000
        else:
            for text_class in _TEXT_CLASSES:
                if isinstance(value, text_class):
                    count += text_class.__len__(value) // 1000
            children = _find_children(value)
            if children is None:
                return True
            pending += islice(children, _LARGE + 1)
        count += 1
        if count + len(pending) > _LARGE:
            return True
    return False


def _find_children(value: Any) -> Iterable[Any] | None:
    """Return the values in a value; None if only its own code can tell them."""
    if isinstance(value, dict):
        return dict.values(value)
    for container in _CONTAINERS:
        if isinstance(value, container):
            members: Iterable[Any] = container.__iter__(value)
            return members
    cls = type(value)
    if issubclass(cls, type):  # that of an enum's member, for one
        return ()
    if isinstance(value, _ITERATED_TYPES) or hasattr(cls, "tolist"):
        return None
    children = list(getattr(value, "__dict__", {}).values())
    for base in cls.__mro__:
        for name in vars(base).get("__slots__", ()):
            slot = vars(base).get(name)
            if isinstance(slot, MemberDescriptorType):
                with suppress(AttributeError):  # it has no value
                    children.append(slot.__get__(value))
    return children
