"""``RawResponse``: the JSON and the HTTP headers that a response was made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from locus.core.frozendict import EMPTY, FrozenDict

JSONSource: TypeAlias = bytes | str | Mapping[str, Any]

_REQUEST_ID_HEADERS: Final = (
    "x-request-id",  # OpenAI, and most servers that follow it
    "request-id",  # Anthropic
    "opc-request-id",  # Oracle
    "apim-request-id",  # Azure
    "x-ms-request-id",
    "x-amzn-requestid",  # Amazon
    "x-amzn-request-id",
    "x-goog-request-id",
    "x-correlation-id",
)


def find_request_id(headers: Mapping[str, str]) -> str | None:
    """Return the provider's id of a request, by which its support finds it; None without one.

    :param headers: the headers of the HTTP response, with lower-case names.
    """
    return next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)


def to_frozen_headers(headers: Mapping[str, str]) -> FrozenDict[str, str]:
    """Return HTTP headers as an immutable mapping with lower-case names."""
    return FrozenDict({name.lower(): value for name, value in headers.items()})


def merge_json_chunks(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the JSON of a stream's chunks: a later value replaces an earlier one, null does not."""
    merged: dict[str, Any] = {}
    for chunk in chunks:
        merged.update(
            (name, value)
            for name, value in chunk.items()
            if value is not None or name not in merged
        )
    return merged


class RawResponse:
    """What a response was made from. The JSON and the headers are converted when first read.

    Most callers never read them, and decoding a response twice would take longer than all other
    work on it.

    :param chunks: the body, as JSON text or decoded; for a stream, the chunks that hold more than
        deltas.
    :param headers: the headers of the HTTP response.
    :param merge: makes the one mapping of the chunks of a stream. It must be a function that can
        be pickled.
    """

    __slots__ = ("_chunks", "_headers", "_merge", "_raw")

    def __init__(
        self,
        *chunks: JSONSource,
        headers: Mapping[str, str] = EMPTY,
        merge: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]] | None = None,
    ) -> None:
        self._chunks = chunks
        self._headers = headers
        self._merge = merge
        self._raw: FrozenDict[str, Any] | None = None

    @property
    def raw(self) -> Mapping[str, Any]:
        """The provider's JSON; empty if there is none."""
        if self._raw is None:
            decoded = [_decode_object(chunk) for chunk in self._chunks]
            self._raw = FrozenDict((self._merge or merge_json_chunks)(decoded))
        return self._raw

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the HTTP response, with lower-case names."""
        if type(self._headers) is not FrozenDict:
            self._headers = to_frozen_headers(self._headers)
        return self._headers

    def with_headers(self, headers: Mapping[str, str]) -> RawResponse:
        """Return a copy with other headers."""
        return RawResponse(*self._chunks, headers=headers, merge=self._merge)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_source, (self._chunks, dict(self.headers), self._merge)


def _rebuild_source(chunks: tuple[JSONSource, ...], headers: Any, merge: Any) -> RawResponse:
    return RawResponse(*chunks, headers=headers, merge=merge)


def _decode_object(source: JSONSource) -> Mapping[str, Any]:
    """Decode a JSON object; Google's endpoint may send it as the only item of a list."""
    value: Any = source
    if isinstance(source, (bytes, str)):
        import msgspec  # not with the module: errors import it, and load no package

        try:
            value = msgspec.json.decode(source)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            value = json.loads(source)  # lone surrogates, NaN, a BOM
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, Mapping) else {}


NO_SOURCE: Final = RawResponse()
"""The source of a response that no server sent."""
