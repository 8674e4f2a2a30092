"""Reads the iterators that tools return to their end, blocking ones and async ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from io import IOBase
from itertools import islice
from typing import Any, Final

_MAX_LENGTH: Final = 1_000_000
"""Items: an iterator with more of them is taken for one that does not end."""


def make_iterator_reader(value: Any) -> Callable[[], Any] | None:
    """Return the function, blocking or async, that reads an iterator; None for other values.

    An open file is none: its lines are not what a tool means by it.
    """
    if isinstance(value, IOBase):
        return None
    if isinstance(value, Iterator):
        return partial(read_iterator, value)
    return partial(_read_async_iterator, value) if isinstance(value, AsyncIterator) else None


def read_iterator(iterator: Iterator[Any]) -> list[Any]:
    """Read an iterator to its end.

    :raises TypeError: if it has more than a million items.
    """
    items = list(islice(iterator, _MAX_LENGTH + 1))
    _check_length(items)
    return items


async def _read_async_iterator(iterator: AsyncIterator[Any]) -> list[Any]:
    items = []
    async for item in iterator:
        items.append(item)
        if len(items) > _MAX_LENGTH:
            break
    _check_length(items)
    return items


def _check_length(items: list[Any]) -> None:
    if len(items) > _MAX_LENGTH:
        raise TypeError(f"its iterator has more than {_MAX_LENGTH:,} items")
