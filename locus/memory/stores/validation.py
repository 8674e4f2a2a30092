"""What can be stored: names and JSON, checked before anything is kept.

Values are kept as JSON text in every store, so that none shares a list with its caller, and a fact
that one store takes the others take as well.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeAlias

from locus.core.errors import ConfigurationError

Namespace: TypeAlias = str | tuple[str, ...]
"""Whose facts: a name, or several that make a path. ``"ada"`` is the same as ``("ada",)``."""


def namespace_path(namespace: Namespace) -> tuple[str, ...]:
    """The namespace as a tuple.

    :raises TypeError: it is neither a string nor a tuple of strings.
    :raises ConfigurationError: it, or a name in it, is empty or no Unicode text.
    """
    path = (namespace,) if isinstance(namespace, str) else namespace
    if not isinstance(path, tuple):
        raise TypeError(
            f"a namespace is a string or a tuple of strings, not {type(namespace).__name__}"
        )
    if not path:
        raise ConfigurationError("a namespace needs at least one name")
    return tuple(name(part, "a namespace") for part in path)


def name(value: str, what: str = "a key") -> str:
    """A key, or a part of a namespace: any text that is not empty."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is made of strings, not {type(value).__name__}")
    if not value:
        raise ConfigurationError(f"{what} must not be empty")
    _check_text(value, what)
    return str(value)


def to_json(value: Any) -> str:
    """``value`` as JSON text.

    Tuples are taken as lists, and come back as such.

    :raises TypeError: something in it is not JSON; says what and where.
    :raises ConfigurationError: a number that is not finite or has thousands of digits, half a
        surrogate pair, or nesting that is too deep or never ends.
    """
    try:
        _check(value, "value")
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise ConfigurationError("the value is nested too deep, or contains itself") from None
    except ValueError as why:
        if isinstance(why, ConfigurationError):
            raise
        raise ConfigurationError(f"the value cannot be written as JSON: {why}") from why


def from_json(text: str) -> Any:
    """The value that :func:`to_json` wrote: a new one each time."""
    return json.loads(text)


def _check(value: Any, where: str) -> None:
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, Mapping):
        if not isinstance(value, dict):
            raise TypeError(f"{where} is {type(value).__name__}; make it a dict to store it")
        for key, member in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}; in JSON keys are strings")
            _check_text(key, f"a key of {where}")
            _check(member, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for position, member in enumerate(value):
            _check(member, f"{where}[{position}]")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ConfigurationError(f"{where} is {value!r}, which JSON cannot say")
    elif value is not None and not isinstance(value, (bool, int)):
        raise TypeError(
            f"{where} is {type(value).__name__}; what is stored is JSON: None, bool, int, float, "
            "str, list, dict"
        )


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as why:
        raise ConfigurationError(
            f"{where} holds half of a surrogate pair, {text[why.start]!r}, which no text encoding "
            "can carry"
        ) from None


def one_line(text: str) -> str:
    """JSON text without anything that a reader could take for the end of the line.

    JSON itself escapes line feeds, but not the separators that only Unicode knows, nor marks that
    turn the direction of what follows.
    """
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return "".join(
        f"\\u{ord(character):04x}"
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _BIDI
        else character
        for character in text
    )


_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
