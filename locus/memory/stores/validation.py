"""Validates namespaces, keys and JSON values before a memory store saves them.

Every store saves values as JSON text. So no store shares a list with its caller, and all stores
accept the same facts.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeAlias

from locus.core.errors import ConfigurationError

Namespace: TypeAlias = str | tuple[str, ...]
"""A name, or several names that form a path. ``"ada"`` is the same as ``("ada",)``."""


def normalize_namespace(namespace: Namespace) -> tuple[str, ...]:
    """Check a namespace, and return it as a tuple.

    :raises TypeError: if it is neither a string nor a tuple of strings.
    :raises ConfigurationError: if it, or a name in it, is empty or not valid Unicode text.
    """
    path = (namespace,) if isinstance(namespace, str) else namespace
    if not isinstance(path, tuple):
        raise TypeError(
            f"a namespace is a string or a tuple of strings, not {type(namespace).__name__}"
        )
    if not path:
        raise ConfigurationError("a namespace needs at least one name")
    return tuple(validate_name(name, "a namespace") for name in path)


def validate_name(value: str, description: str = "a key") -> str:
    """Check a key, or a name in a namespace: any text that is not empty.

    :param description: the value's name in the error message.
    """
    if not isinstance(value, str):
        raise TypeError(f"{description} is made of strings, not {type(value).__name__}")
    if not value:
        raise ConfigurationError(f"{description} must not be empty")
    _validate_unicode_text(value, description)
    return str(value)


def encode_json(value: Any) -> str:
    """Encode ``value`` as JSON text.

    Tuples are written as lists, and are loaded as lists.

    :raises TypeError: if a part of it is not JSON; the message names the part and its path.
    :raises ConfigurationError: if it contains a number that is not finite or has thousands of
        digits, or half a surrogate pair; it is nested too deep, or contains itself.
    """
    try:
        _validate_json_value(value, "value")
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise ConfigurationError("the value is nested too deep, or contains itself") from None
    except ValueError as exc:
        if isinstance(exc, ConfigurationError):
            raise
        raise ConfigurationError(f"the value cannot be written as JSON: {exc}") from exc


def decode_json(text: str) -> Any:
    """Decode a new copy of the value that :func:`encode_json` wrote."""
    return json.loads(text)


def _validate_json_value(value: Any, path: str) -> None:
    """Check that a value is JSON.

    :param path: the path of the value, for the error message.
    """
    if isinstance(value, str):
        _validate_unicode_text(value, path)
    elif isinstance(value, Mapping):
        if not isinstance(value, dict):
            raise TypeError(f"{path} is {type(value).__name__}; make it a dict to store it")
        for key, member in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{path} has the key {key!r}; in JSON keys are strings")
            _validate_unicode_text(key, f"a key of {path}")
            _validate_json_value(member, f"{path}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            _validate_json_value(member, f"{path}[{index}]")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ConfigurationError(f"{path} is {value!r}, which JSON cannot represent")
    elif value is not None and not isinstance(value, (bool, int)):
        raise TypeError(
            f"{path} is {type(value).__name__}; a stored value is JSON: None, bool, int, float, "
            "str, list, dict"
        )


def _validate_unicode_text(text: str, description: str) -> None:
    """Check that text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ConfigurationError(
            f"{description} contains half of a surrogate pair, {text[exc.start]!r}, which no text "
            "encoding can represent"
        ) from None


def escape_line_breaks(text: str) -> str:
    """Escape the characters of a JSON text that look like a line break, or change its direction.

    JSON escapes line feeds, but not Unicode's line and paragraph separators, nor the marks that
    change the direction of the text after them.
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
