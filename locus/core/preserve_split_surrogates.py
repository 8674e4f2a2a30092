"""Saves texts with split surrogate pairs as JSON: both halves side by side, as two characters.

A stream may deliver each half in a chunk of its own, so a text can contain them. JSON writes the
two halves with the same escapes as the one character, and would read them as that. So a separator
is written between the halves: a character that the object contains nowhere else. A member of the
object stores which character that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

_SEPARATOR_MEMBER: Final = "split_pairs"
"""The member that stores the separator. No saved class has a field of this name."""

_SPLIT_PAIR: Final = re.compile("([\ud800-\udbff])(?=[\udc00-\udfff])")
_PRIVATE_USE_AREA: Final = range(0xE000, 0xF900)  # characters to which Unicode gives no meaning


def insert_pair_separators(value: Any, json_text: str) -> Any:
    """Insert a separator into each split pair; returns a copy, or ``value`` if it has no such pair.

    :param value: dictionaries and lists, ready to be written as JSON.
    :param json_text: the JSON of ``value``, in which only what must be is escaped.
    :raises ValueError: if ``value`` is neither an object nor a list of objects, so that no member
        can store the separator.
    """
    if _SPLIT_PAIR.search(json_text) is None:
        return value
    if isinstance(value, list):
        return [insert_pair_separators(member, json_text) for member in value]
    separator = next((char for char in map(chr, _PRIVATE_USE_AREA) if char not in json_text), None)
    if not isinstance(value, dict) or separator is None:
        raise ValueError("it holds both halves of a surrogate pair, which are not one character")
    marked = _map_strings(value, lambda string: _SPLIT_PAIR.sub(rf"\1{separator}", string))
    return marked | {_SEPARATOR_MEMBER: separator}


def remove_pair_separators(value: Any) -> Any:
    """Remove the separators that :func:`insert_pair_separators` inserted; returns a copy."""
    if isinstance(value, list):
        return [remove_pair_separators(member) for member in value]
    separator = value.get(_SEPARATOR_MEMBER) if isinstance(value, dict) else None
    if (
        not isinstance(separator, str)
        or len(separator) != 1
        or ord(separator) not in _PRIVATE_USE_AREA
    ):
        return value
    unmarked = _map_strings(value, lambda string: string.replace(separator, ""))
    del unmarked[_SEPARATOR_MEMBER]
    return unmarked


def _map_strings(value: Any, function: Callable[[str], str]) -> Any:
    """Return a copy in which ``function`` has replaced each string, also the names of members."""
    if isinstance(value, str):
        return function(value)
    if isinstance(value, dict):
        return {function(name): _map_strings(member, function) for name, member in value.items()}
    return (
        [_map_strings(member, function) for member in value] if isinstance(value, list) else value
    )
