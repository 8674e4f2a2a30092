"""Text for the messages of validation issues: it describes values, unknown names, exceptions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

JSON_TYPE_LABELS: Final[Mapping[str, str]] = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
}
"""The types of JSON Schema, as messages name them."""

VALIDATOR_ERRORS: Final = (TypeError, ValueError, AssertionError)
"""The exceptions of validators. Their text alone says what is wrong with the value."""

_MAX_LISTED_NAMES: Final = 20


def get_json_type(raw: Any) -> str:
    """Return JSON Schema's name for the type of a decoded value."""
    names = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}
    return names.get(type(raw)) or ("array" if isinstance(raw, list) else "null")


def describe_value(raw: Any) -> str:
    """Describe a decoded value for a message: ``the string 'x'``, ``an object``, ``3``."""
    if isinstance(raw, (dict, list)):
        return JSON_TYPE_LABELS[get_json_type(raw)]
    try:
        text = repr(raw) if isinstance(raw, str) else json.dumps(raw, default=repr)
    except ValueError:  # Python refuses to write so many digits
        return "a number with very many digits"
    text = text if len(text) <= 60 else f"{text[:56]} ..."
    return f"the string {text}" if isinstance(raw, str) else text


def describe_unknown_name(name: str, known_names: Iterable[str], noun: str) -> str:
    """Return the message for an unknown name, with the most similar name that is known.

    :param noun: what the name should name: ``"argument"``, ``"member"``.
    """
    from difflib import get_close_matches  # imported here because only errors need it

    known_names = list(known_names)
    matches = get_close_matches(name[:60], known_names, n=1)
    hint = f"; did you mean {matches[0]!r}?" if matches else ""
    omitted = len(known_names) - _MAX_LISTED_NAMES
    more = f", and {omitted} more" if omitted > 0 else ""
    listed = ", ".join(known_names[:_MAX_LISTED_NAMES]) + more if known_names else "none"
    return f"no such {noun}{hint} (known: {listed})"


def describe_exception(exc: Exception) -> str:
    """Return the message for an exception that the caller's own code raised."""
    # attrs adds the attribute, the class and the value as further arguments after the text.
    first = exc.args[0] if exc.args and not isinstance(exc, UnicodeError) else None
    text = first if isinstance(first, str) else str(exc)
    if not text or not isinstance(exc, VALIDATOR_ERRORS):
        text = f"{type(exc).__name__} {text}".strip()
    return text
