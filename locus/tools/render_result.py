"""What a tool returned, as the text that the model reads: text as it is, anything else as JSON.

Nothing is passed off as JSON by its ``repr``: what JSON has no form for is an error.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any, Final

import attrs
import msgspec

from locus.core.structured.validation import words_of

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def render_result(value: Any) -> str:
    """A tool's result for the model.

    Text stays as it is. JSON is made of numbers, ``None``, lists, tuples, sets, mappings, attrs
    classes, dataclasses, ``TypedDict``, msgspec structs, pydantic models, enums (their values),
    dates and times (RFC 3339), ``timedelta`` (ISO 8601), ``Decimal``, ``UUID`` and paths (text),
    ``bytes`` (base64), and of what has ``tolist()``, as arrays of numpy do. NaN and infinity become
    null. Half a surrogate pair, which nothing could carry to a model, becomes U+FFFD. Keys become
    text, ``None`` and ``True`` as ``json.dumps`` has them, ``null`` and ``true``.

    :raises TypeError: JSON has no form for the value, two of its keys are the same in JSON, or its
        own code failed; says what it is.
    """
    try:
        said = str.__str__(value) if isinstance(value, str) else _json(_tree(value))
        return said if said.isascii() else _carried(said)
    except RecursionError:
        why = "it is nested too deeply, or holds itself"
        cause: Exception | None = None
    except Exception as error:  # noqa: BLE001 - the value's own code may raise anything
        why, cause = words_of(error), error
    raise TypeError(
        f"a tool's result of type {type(value).__name__} cannot be written as JSON: {why}; "
        "return text, or what JSON has a form for"
    ) from cause


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=_plain).decode()
    except UnicodeEncodeError:  # half a surrogate pair, somewhere inside
        plain = msgspec.to_builtins(value, enc_hook=_plain, str_keys=True)
        return msgspec.json.encode(_mended(plain)).decode()


def _mended(value: Any) -> Any:
    """``value``, of JSON's own types, with every text as UTF-8 can carry it."""
    if isinstance(value, str):
        return _carried(value)
    if isinstance(value, dict):
        return _named_once((_carried(name), _mended(part)) for name, part in value.items())
    return [_mended(part) for part in value] if isinstance(value, list) else value


def _carried(text: str) -> str:
    """``text`` as UTF-8 can carry it: a surrogate pair joined, half of one replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _tree(value: Any) -> Any:
    """``value`` with its classes as dictionaries.

    msgspec would do this too, but for attrs classes in the order of the alphabet, without members
    whose names begin with an underscore, and with whatever else is kept in the object.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            return {key: _tree(member) for key, member in value.items()}
        return _named_once((_name(key), _tree(member)) for key, member in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_tree(member) for member in value]
    if kind is not type and not hasattr(kind, "__pydantic_serializer__"):
        if attrs.has(kind):
            return _members(value, attrs.fields(kind))
        if dataclasses.is_dataclass(kind):
            return _members(value, dataclasses.fields(kind))
    return value


def _name(key: Any) -> str:
    """A key as JSON has it, text; of ``None``, ``True`` and ``False`` as ``json.dumps`` does."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return "null" if key is None else str(key).lower()
    (name,) = msgspec.to_builtins({key: None}, str_keys=True)
    return str(name)


def _named_once(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, member in members:
        if name in named:
            raise TypeError(f"two of its keys are {name!r} in JSON")
        named[name] = member
    return named


def _members(value: Any, fields: Iterable[Any]) -> dict[str, Any]:
    names = (field.name for field in fields)
    return {name: _tree(getattr(value, name)) for name in names if hasattr(value, name)}


def _plain(value: Any) -> Any:
    """What msgspec does not know, as something that it does."""
    for kind in (str, int, float):  # of a subclass, such as numpy's float64
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return _tree(dict(value))
    if isinstance(value, (AbstractSet, deque, range)):
        return _tree(list(value))
    if hasattr(type(value), "__pydantic_serializer__"):
        return type(value).__pydantic_serializer__.to_python(value, mode="json")
    if not isinstance(value, type) and callable(listed := getattr(value, "tolist", None)):
        return listed()
    raise TypeError(f"there is no form for {type(value).__name__}")
