"""The replies of the loopback server, as values.

A ``Reply`` describes three things: what is sent (status, headers, and a body in chunks), how the
body is framed (by its length, in chunks, by closing, or not at all), and where and how the reply
ends. Every fault of a connection is a small change to a good reply: "stop after these bytes, and
close / reset / stop sending". This module does no I/O; ``Reply.iter_writes`` yields the writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import pairwise
from threading import Event
from typing import Any, Literal, get_args

import msgspec
from attrs import evolve, field, frozen, validators

Framing = Literal["length", "chunked", "close", "raw"]
"""How a body is delimited. ``raw`` sends only the chunks, with no status line or headers."""

ReplyPart = Literal["accept", "head", "body", "end"]
"""The part of the reply in which it stops early; ``end`` means that all of it is sent."""

Ending = Literal["keep", "close", "reset", "stall"]
"""What follows the last byte: the next request, a FIN, an RST, or nothing."""


@frozen
class Pause:
    """A pause between two chunks of a body.

    It lasts ``seconds``, or until the event ``until`` is set, whichever comes first. It ends at
    once if the client leaves or the server stops.
    """

    seconds: float = math.inf
    until: Event | None = None


BodyChunk = bytes | Pause
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
SSEvent = str | bytes | Mapping[str, Any] | tuple[str, Any]


def _to_body_chunks(body: BodyChunk | Iterable[BodyChunk]) -> tuple[BodyChunk, ...]:
    chunks = (body,) if isinstance(body, (bytes, Pause)) else tuple(body)
    for chunk in chunks:
        if not isinstance(chunk, (bytes, Pause)):
            raise TypeError(f"a chunk of a body is bytes or a Pause, not {chunk!r}")
    return chunks


def _to_header_pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    items = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((name.lower(), value) for name, value in items)


def _make_literal_validator(literal: Any) -> Any:
    """Make an attrs validator that accepts the values of a ``Literal``."""
    return validators.in_(get_args(literal))


def _encode_json(value: object) -> bytes:
    """Encode a value as compact JSON in UTF-8; characters outside ASCII are not escaped."""
    return msgspec.json.encode(value)


@frozen
class Reply:
    """One reply of a ``LoopbackServer``, good or faulty.

    The constructors ``json``, ``sse``, ``ndjson``, ``html``, ``error``, ``stream`` and ``raw`` make
    good replies. The other methods return a changed copy, so they can be chained:
    ``Reply.sse(events).dribble(3).truncate(100)``.

    Each element of ``body`` is one write to the socket, and one HTTP chunk if ``framing`` is
    ``chunked``. TCP may join writes, but HTTP chunks stay separate, so a client that reads chunk by
    chunk (as httpx does) receives exactly these elements. ``content-length``, ``transfer-encoding``
    and ``connection`` are added as the framing needs, unless ``headers`` has the first or the
    second.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = field(default=(), converter=_to_header_pairs)
    body: tuple[BodyChunk, ...] = field(default=(), converter=_to_body_chunks)
    framing: Framing = field(default="length", validator=_make_literal_validator(Framing))
    ending: Ending = field(default="keep", validator=_make_literal_validator(Ending))
    stop_part: ReplyPart = field(default="end", validator=_make_literal_validator(ReplyPart))
    stop_offset: int = 0
    """How many bytes of the part named by ``stop_part`` are sent (without framing)."""
    write_size: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    """The largest single write, headers and framing included; ``None`` for no limit."""

    # -- good replies ----------------------------------------------------------------------

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Headers = ()) -> Reply:
        """Make a JSON document with its length. ``value`` is anything that msgspec can encode."""
        return cls(
            status,
            _build_headers_with_content_type("application/json", headers),
            _encode_json(value),
        )

    @classmethod
    def sse(
        cls,
        events: Iterable[SSEvent],
        done: bool = True,
        newline: Literal["\n", "\r\n", "\r"] = "\n",
        headers: Headers = (),
    ) -> Reply:
        """Make a stream of server-sent events, one HTTP chunk each.

        A mapping becomes one ``data:`` line of compact JSON, a ``str`` one ``data:`` line per line
        of text, a pair ``(name, data)`` the same under an ``event:`` line, and ``bytes`` are sent
        unchanged. ``done`` adds OpenAI's ``data: [DONE]``; Anthropic and the Responses API have
        none.
        """
        chunks = [_encode_sse_event(event, newline) for event in events]
        if done:
            chunks.append(_encode_sse_event("[DONE]", newline))
        return cls.stream(
            chunks, headers=_build_headers_with_content_type("text/event-stream", headers)
        )

    @classmethod
    def ndjson(cls, values: Iterable[object], headers: Headers = ()) -> Reply:
        """Make a stream of JSON documents, one per line and HTTP chunk, as Ollama sends them."""
        chunks = [_encode_json(value) + b"\n" for value in values]
        return cls.stream(
            chunks, headers=_build_headers_with_content_type("application/x-ndjson", headers)
        )

    @classmethod
    def html(cls, text: str = "<html><body>Bad gateway</body></html>", status: int = 502) -> Reply:
        """Make a web page in place of JSON, as proxies and captive portals send it."""
        return cls(
            status, _build_headers_with_content_type("text/html; charset=utf-8", ()), text.encode()
        )

    @classmethod
    def error(
        cls,
        status: int,
        message: str = "an error that the loopback server simulates",
        retry_after: float | str | None = None,
        type: str | None = None,
        code: str | None = None,
        headers: Headers = (),
    ) -> Reply:
        """Make an error object in OpenAI's form; ``retry_after`` in seconds, or a date as text."""
        header_pairs = _to_header_pairs(headers)
        if retry_after is not None:
            header_pairs += (("retry-after", str(retry_after)),)
        error_type = type or ("server_error" if status >= 500 else "invalid_request_error")
        error = {"message": message, "type": error_type, "param": None, "code": code}
        return cls.json({"error": error}, status, header_pairs)

    @classmethod
    def stream(cls, chunks: Iterable[BodyChunk], status: int = 200, headers: Headers = ()) -> Reply:
        """Make a body of exactly these HTTP chunks, with a pause wherever there is a ``Pause``."""
        return cls(status, headers, chunks, "chunked")

    @classmethod
    def raw(cls, *chunks: BodyChunk, ending: Ending = "close") -> Reply:
        """Send these bytes only: no status line, no headers and no framing are added."""
        return cls(body=chunks, framing="raw", ending=ending)

    # -- how it is sent --------------------------------------------------------------------

    def framed(self, framing: Framing) -> Reply:
        """Return a copy with the same body, framed in another way."""
        return evolve(self, framing=framing)

    def with_body(self, *chunks: BodyChunk) -> Reply:
        """Return a copy with another body, and the same status, headers and framing."""
        return evolve(self, body=chunks)

    def with_header(self, name: str, value: str) -> Reply:
        """Return a copy with this header set; a ``content-length`` may be false."""
        others = tuple(pair for pair in self.headers if pair[0] != name.lower())
        return evolve(self, headers=(*others, (name, value)))

    def split_at(self, *offsets: int) -> Reply:
        """Return a copy whose body is split at these byte offsets; pauses are removed."""
        edges = [0, *sorted(offsets), len(self.content)]
        return evolve(self, body=[self.content[a:b] for a, b in pairwise(edges)])

    def dribble(self, n: int = 1, every: float = 0.0) -> Reply:
        """Return a copy with the body in chunks of ``size`` bytes, and a pause of ``delay`` seconds
        after each."""
        if n < 1:
            raise ValueError(f"a chunk has at least one byte, not {n}")
        chunks = self.split_at(*range(n, len(self.content), n)).body
        with_pauses = (item for chunk in chunks for item in (chunk, Pause(every)))
        return evolve(self, body=with_pauses if every else chunks)

    def in_writes_of(self, n: int) -> Reply:
        """Return a copy that is sent, headers included, in writes of at most ``size`` bytes."""
        return evolve(self, write_size=n)

    # -- how it fails ----------------------------------------------------------------------

    def truncate(self, at: int | None = None, stop: ReplyPart = "body") -> Reply:
        """Return a copy that closes after ``at`` bytes of the body.

        With ``stop="head"``, ``at`` counts the bytes of the headers. ``None`` is the middle, and
        a negative number counts from the end. The framing still announces the complete body: with
        a length, too few bytes follow; with HTTP chunks, the last one is missing (and one that
        is cut announces its full size); and a body that is delimited by closing looks complete.
        ``stop="accept"`` closes a new connection without reading the request.
        """
        return self._with_early_stop("close", stop, at)

    def reset(self, at: int | None = None, stop: ReplyPart = "body") -> Reply:
        """Do as ``truncate``, but with an RST: the client's read (or write) fails."""
        return self._with_early_stop("reset", stop, at)

    def stall(self, at: int | None = None, stop: ReplyPart = "body") -> Reply:
        """Do as ``truncate``, but keep the connection open without sending anything."""
        return self._with_early_stop("stall", stop, at)

    def then(self, ending: Ending) -> Reply:
        """Return a copy that is sent in full and then ends in this way.

        The headers announce keep-alive, so after ``close`` or ``reset`` the client has a closed
        connection in its pool.
        """
        return evolve(self, ending=ending, stop_part="end", stop_offset=0)

    def _with_early_stop(self, ending: Ending, part: ReplyPart, offset: int | None) -> Reply:
        """Return a copy that stops at ``offset`` of a part, and then ends with ``ending``."""
        sizes = {"head": len(self.encode_head()), "body": len(self.content)}
        if part not in sizes:
            return evolve(self, ending=ending, stop_part=part, stop_offset=0)
        size = sizes[part]
        stop_offset = size // 2 if offset is None else offset + size if offset < 0 else offset
        if not 0 <= stop_offset <= size:
            raise ValueError(f"cannot stop at {offset}: the {part} has {size} bytes")
        return evolve(self, ending=ending, stop_part=part, stop_offset=stop_offset)

    # -- the bytes -------------------------------------------------------------------------

    @property
    def content(self) -> bytes:
        """The complete body, without framing."""
        return b"".join(chunk for chunk in self.body if isinstance(chunk, bytes))

    def encode_head(self, close: bool = False) -> bytes:
        """Encode the status line and the headers; ``close`` announces the connection's end."""
        if self.framing == "raw":
            return b""
        headers = list(self.headers)
        names = {name for name, _ in headers}
        has_no_body = self.status < 200 or self.status in (204, 304)
        if self.framing == "length" and "content-length" not in names and not has_no_body:
            headers.append(("content-length", str(len(self.content))))
        if self.framing == "chunked" and "transfer-encoding" not in names:
            headers.append(("transfer-encoding", "chunked"))
        if (close or self.framing == "close") and "connection" not in names:
            headers.append(("connection", "close"))
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:  # an unknown status is allowed; it has no phrase
            phrase = ""
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{k}: {v}" for k, v in headers), "", ""]
        return "\r\n".join(lines).encode("utf-8")

    def iter_writes(self, method: str = "GET", close: bool = False) -> Iterator[BodyChunk]:
        """Yield every write and pause of this reply to a request with ``method``, in order."""
        for step in self._iter_unlimited_writes(method, close):
            if isinstance(step, Pause) or self.write_size is None:
                yield step
            else:
                for start in range(0, len(step), self.write_size):
                    yield step[start : start + self.write_size]

    def _iter_unlimited_writes(self, method: str, close: bool) -> Iterator[BodyChunk]:
        """Yield the same as ``iter_writes``, without a limit for the size of a write."""
        head = self.encode_head(close)
        if self.stop_part == "accept":
            return
        if self.stop_part == "head":
            yield head[: self.stop_offset]
            return
        yield head
        if method == "HEAD":
            return
        remaining = self.stop_offset if self.stop_part == "body" else math.inf
        for chunk in self.body:
            if remaining <= 0:
                return
            if isinstance(chunk, Pause):
                yield chunk
            elif chunk:  # an empty HTTP chunk would end the body
                data = chunk[: int(min(remaining, len(chunk)))]
                is_complete = len(data) == len(chunk)
                remaining -= len(data)
                if self.framing == "chunked":
                    data = b"%x\r\n%b%b" % (len(chunk), data, b"\r\n" if is_complete else b"")
                yield data
        if self.framing == "chunked" and self.stop_part == "end":
            yield b"0\r\n\r\n"


def _build_headers_with_content_type(
    content_type: str, headers: Headers
) -> tuple[tuple[str, str], ...]:
    """Return the headers as pairs, with this ``content-type`` unless they have one."""
    pairs = _to_header_pairs(headers)
    has_content_type = any(name == "content-type" for name, _ in pairs)
    return pairs if has_content_type else (("content-type", content_type), *pairs)


def _encode_sse_event(event: SSEvent, newline: str) -> bytes:
    if isinstance(event, bytes):
        return event
    name, data = event if isinstance(event, tuple) else (None, event)
    text = data if isinstance(data, str) else _encode_json(data).decode()
    lines = [f"event: {name}"] if name is not None else []
    lines += [f"data: {line}" for line in text.split("\n")]
    return (newline.join(lines) + newline * 2).encode()
