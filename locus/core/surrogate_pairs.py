"""Both halves of a surrogate pair side by side, which JSON would read as the one character.

A text can come to hold them: each half may have arrived in a piece of its own. JSON has the same
escapes for such a text and for the character, so the halves are written with a character between
them that the object does not have anywhere else, and a member of the object says which that is.
"""

from __future__ import annotations

import re
from typing import Any, Final

_MARK: Final = "split_pairs"
"""The member that names the character. No value that is written has a field of this name."""

_SPLIT: Final = re.compile("([\ud800-\udbff])(?=[\udc00-\udfff])")
_PRIVATE: Final = range(0xE000, 0xF900)  # characters that Unicode leaves to whoever wants them


def mark(plain: Any, text: str) -> Any:
    """``plain`` with its split pairs held apart; itself where there are none.

    :param text: all that is in it, as JSON with nothing escaped that need not be.
    :raises ValueError: there is no place to say so: ``plain`` is no object, nor a list of them.
    """
    if _SPLIT.search(text) is None:
        return plain
    if isinstance(plain, list):
        return [mark(member, text) for member in plain]
    free = next((sign for sign in map(chr, _PRIVATE) if sign not in text), None)
    if not isinstance(plain, dict) or free is None:
        raise ValueError("it holds both halves of a surrogate pair, which are not one character")
    return _each(plain, lambda words: _SPLIT.sub(rf"\1{free}", words)) | {_MARK: free}


def unmark(plain: Any) -> Any:
    """What :func:`mark` was given."""
    if isinstance(plain, list):
        return [unmark(member) for member in plain]
    free = plain.get(_MARK) if isinstance(plain, dict) else None
    if not isinstance(free, str) or len(free) != 1 or ord(free) not in _PRIVATE:
        return plain
    found = _each(plain, lambda words: words.replace(free, ""))
    del found[_MARK]
    return found


def _each(plain: Any, change: Any) -> Any:
    """A copy in which each text is changed, the names of members too."""
    if isinstance(plain, str):
        return change(plain)
    if isinstance(plain, dict):
        return {change(name): _each(member, change) for name, member in plain.items()}
    return [_each(member, change) for member in plain] if isinstance(plain, list) else plain
