"""JSON in and out: the one place that decodes bytes, and the converter for Locus's own values.

Wire shapes are ``msgspec.Struct`` classes, decoded straight from the bytes in C and checked on
the way: 0.4 µs for a streamed chunk, where attrs classes took 2.5 µs and plain dictionaries 0.8.
Locus's own values are attrs classes; cattrs, in its msgspec configuration, turns those to JSON
and back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

import msgspec

from locus.core.errors import ConfigurationError, ResponseParseError

if TYPE_CHECKING:
    from cattrs.preconf.msgspec import MsgspecJsonConverter

T = TypeVar("T")


class Read(msgspec.Struct, gc=False):
    """A shape that is read. JSON has no cycles, so the garbage collector need not look at it."""


class Reader(Generic[T]):
    """Reads one wire shape from bytes, text, or a decoded mapping."""

    def __init__(self, shape: type[T]) -> None:
        self._shape = shape
        self.decode = msgspec.json.Decoder(shape).decode

    def read(self, body: bytes | str | Mapping[str, Any]) -> T:
        """The shape that ``body`` holds.

        :raises ResponseParseError: it is not JSON, or not of this shape; says where.
        """
        try:
            if isinstance(body, (bytes, str)):
                return self.decode(body)
            return msgspec.convert(body, self._shape)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as why:
            return self._read_leniently(body, why)

    def _read_leniently(self, body: bytes | str | Mapping[str, Any], why: Exception) -> T:
        """What msgspec refuses and the standard library reads: lone surrogates, NaN, a BOM."""
        try:
            if isinstance(body, (bytes, str)):
                return msgspec.convert(json.loads(body), self._shape)
        except (ValueError, msgspec.DecodeError, RecursionError):
            pass  # the first error says it better
        raise ResponseParseError(f"the answer cannot be read: {why}", body=_text(body)) from why


def text_of(body: Any) -> str:
    """A body as the text that error messages quote."""
    if isinstance(body, bytes):
        return body.decode(errors="replace")
    return body if isinstance(body, str) else json.dumps(body, default=str)


def encode(body: Any) -> bytes:
    """``body`` as JSON bytes.

    :raises ConfigurationError: it holds something that JSON or UTF-8 cannot; says what.
    """
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as why:
        raise ConfigurationError(
            f"the request holds half of a surrogate pair, {why.object[why.start]!r} in "
            f"{why.object[max(0, why.start - 20) : why.end + 20]!r}, which no text encoding can "
            "carry: mend it, or drop it with text.encode('utf-8', 'ignore').decode()"
        ) from None
    except (TypeError, ValueError, OverflowError, RecursionError) as why:
        raise ConfigurationError(f"the request cannot be written as JSON: {why}") from why


def _text(body: Any) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body)


@cache
def converter() -> MsgspecJsonConverter:
    """The cattrs converter for messages, answers and events; built when first asked for."""
    from locus.core.json_converter import build  # cattrs costs 45 ms to import

    return build()


def dumps(value: Any) -> bytes:
    """A message, an answer, an event, or a list or tuple of them, as JSON.

    :func:`loads` gives an equal value.

    :raises ConfigurationError: JSON cannot say all of it; says what.
    """
    from locus.core.json_converter import FAILURES, dump

    try:
        return dump(converter(), value)
    except FAILURES as why:
        raise ConfigurationError(f"this cannot be written as JSON: {why}") from why


def loads(data: bytes | str, kind: type[T]) -> T:
    """The value of type ``kind`` that :func:`dumps` wrote, such as ``tuple[Message, ...]``.

    :raises ConfigurationError: ``data`` is something else; says which field and why.
    """
    from locus.core.json_converter import FAILURES, explain, load

    try:
        value: T = load(converter(), data, kind)
    except FAILURES as why:
        name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
        raise ConfigurationError(f"this is not {name}: {explain(why)}") from why
    return value
