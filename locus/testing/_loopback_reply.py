"""What the loopback server sends back, as a value.

A `Reply` says three things: what is sent (status, headers, and a body in pieces), how the body
is framed (by length, in chunks, by closing, or not at all), and where and how it ends. Every
fault of a connection is then the same small change to a good reply: "stop after these bytes,
and close / reset / fall silent". Nothing here does I/O; `Reply.steps` yields the writes.
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
"""How a body is delimited. `raw` sends the pieces as they are, with no status line or headers."""

Stop = Literal["accept", "head", "body", "end"]
"""Which part the reply breaks off in; `end` means it is sent whole."""

Ending = Literal["keep", "close", "reset", "stall"]
"""What follows the last byte: the next request, a FIN, an RST, or silence."""


@frozen
class Pause:
    """A silence between two pieces of a body.

    It lasts `seconds`, or until the event `until` is set, whichever comes first. It ends at once
    when the client leaves or the server stops.
    """

    seconds: float = math.inf
    until: Event | None = None


Piece = bytes | Pause
Headers = Mapping[str, str] | Iterable[tuple[str, str]]
SSEvent = str | bytes | Mapping[str, Any] | tuple[str, Any]


def _pieces(body: Piece | Iterable[Piece]) -> tuple[Piece, ...]:
    pieces = (body,) if isinstance(body, (bytes, Pause)) else tuple(body)
    for piece in pieces:
        if not isinstance(piece, (bytes, Pause)):
            raise TypeError(f"a piece of a body is bytes or a Pause, not {piece!r}")
    return pieces


def _pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    items = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((name.lower(), value) for name, value in items)


def _one_of(literal: Any) -> Any:
    return validators.in_(get_args(literal))


def _json(value: object) -> bytes:
    """Compact JSON in UTF-8, characters outside ASCII unescaped."""
    return msgspec.json.encode(value)


@frozen
class Reply:
    """One answer of a `LoopbackServer`, good or broken.

    The constructors `json`, `sse`, `ndjson`, `html`, `error`, `stream` and `raw` make good
    replies; the other methods return a changed copy, so they chain:
    `Reply.sse(events).dribble(3).truncate(100)`.

    Each piece of `body` is one write to the socket, and one chunk when `framing` is `chunked`.
    TCP may join writes on their way; chunks stay apart, so a client that reads chunk by chunk
    (as httpx does) sees exactly these pieces. `content-length`, `transfer-encoding` and
    `connection` are added as the framing needs, unless `headers` has the first or the second.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = field(default=(), converter=_pairs)
    body: tuple[Piece, ...] = field(default=(), converter=_pieces)
    framing: Framing = field(default="length", validator=_one_of(Framing))
    ending: Ending = field(default="keep", validator=_one_of(Ending))
    stop: Stop = field(default="end", validator=_one_of(Stop))
    at: int = 0
    """How many bytes of the part named by `stop` are still sent (framing not counted)."""
    write_size: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    """The largest single write, headers and framing included; `None` for no limit."""

    # -- good replies ----------------------------------------------------------------------

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Headers = ()) -> Reply:
        """A JSON document, whole, with its length. `value` is anything msgspec encodes."""
        return cls(status, _typed("application/json", headers), _json(value))

    @classmethod
    def sse(
        cls,
        events: Iterable[SSEvent],
        done: bool = True,
        newline: Literal["\n", "\r\n", "\r"] = "\n",
        headers: Headers = (),
    ) -> Reply:
        """A stream of server-sent events, one chunk each.

        A mapping becomes one `data:` line of compact JSON, a `str` one `data:` line per line of
        text, a pair `(name, data)` the same under an `event:` line, and `bytes` are sent as they
        are. `done` adds OpenAI's `data: [DONE]`; Anthropic and the Responses API have none.
        """
        pieces = [_sse_event(event, newline) for event in events]
        if done:
            pieces.append(_sse_event("[DONE]", newline))
        return cls.stream(pieces, headers=_typed("text/event-stream", headers))

    @classmethod
    def ndjson(cls, values: Iterable[object], headers: Headers = ()) -> Reply:
        """A stream of JSON documents, one to a line and to a chunk, as Ollama sends them."""
        pieces = [_json(value) + b"\n" for value in values]
        return cls.stream(pieces, headers=_typed("application/x-ndjson", headers))

    @classmethod
    def html(cls, text: str = "<html><body>Bad gateway</body></html>", status: int = 502) -> Reply:
        """A web page where JSON was expected: what proxies and captive portals send."""
        return cls(status, _typed("text/html; charset=utf-8", ()), text.encode())

    @classmethod
    def error(
        cls,
        status: int,
        message: str = "the loopback server was told to fail",
        retry_after: float | str | None = None,
        type: str | None = None,
        code: str | None = None,
        headers: Headers = (),
    ) -> Reply:
        """An error in OpenAI's shape; `retry_after` in seconds, or a date as header text."""
        known = _pairs(headers)
        if retry_after is not None:
            known += (("retry-after", str(retry_after)),)
        kind = type or ("server_error" if status >= 500 else "invalid_request_error")
        error = {"message": message, "type": kind, "param": None, "code": code}
        return cls.json({"error": error}, status, known)

    @classmethod
    def stream(cls, pieces: Iterable[Piece], status: int = 200, headers: Headers = ()) -> Reply:
        """A chunked body of exactly these pieces, with a `Pause` wherever one stands."""
        return cls(status, headers, pieces, "chunked")

    @classmethod
    def raw(cls, *pieces: Piece, ending: Ending = "close") -> Reply:
        """Any bytes at all: no status line, no headers and no framing are added."""
        return cls(body=pieces, framing="raw", ending=ending)

    # -- how it is sent --------------------------------------------------------------------

    def framed(self, framing: Framing) -> Reply:
        """The same body, delimited in another way."""
        return evolve(self, framing=framing)

    def with_body(self, *pieces: Piece) -> Reply:
        """Another body, with the same status, headers and framing."""
        return evolve(self, body=pieces)

    def with_header(self, name: str, value: str) -> Reply:
        """The header set to `value`; a false `content-length` is how to lie about the length."""
        kept = tuple(pair for pair in self.headers if pair[0] != name.lower())
        return evolve(self, headers=(*kept, (name, value)))

    def split_at(self, *offsets: int) -> Reply:
        """The body cut into pieces at these byte offsets. Pauses and older splits are lost."""
        edges = [0, *sorted(offsets), len(self.content)]
        return evolve(self, body=[self.content[a:b] for a, b in pairwise(edges)])

    def dribble(self, n: int = 1, every: float = 0.0) -> Reply:
        """The body in pieces of `n` bytes, `every` seconds apart."""
        if n < 1:
            raise ValueError(f"a piece has at least one byte, not {n}")
        pieces = self.split_at(*range(n, len(self.content), n)).body
        paced = (item for piece in pieces for item in (piece, Pause(every)))
        return evolve(self, body=paced if every else pieces)

    def in_writes_of(self, n: int) -> Reply:
        """Everything on the wire, headers and chunk framing too, in writes of at most `n` bytes."""
        return evolve(self, write_size=n)

    # -- how it breaks ---------------------------------------------------------------------

    def truncate(self, at: int | None = None, stop: Stop = "body") -> Reply:
        """Close after `at` bytes of the body, or of the headers with `stop="head"`.

        `None` is half way and a negative number counts from the end. The framing still promises
        the whole: with a length too few bytes come, with chunks the last one is missing (and one
        that is cut announces its full size), and a close-delimited body looks finished.
        `stop="accept"` closes a new connection without reading the request.
        """
        return self._break_off("close", stop, at)

    def reset(self, at: int | None = None, stop: Stop = "body") -> Reply:
        """As `truncate`, with an RST: the client's read (or write) fails."""
        return self._break_off("reset", stop, at)

    def stall(self, at: int | None = None, stop: Stop = "body") -> Reply:
        """As `truncate`, then silence until the client leaves or the server stops."""
        return self._break_off("stall", stop, at)

    def then(self, ending: Ending) -> Reply:
        """Send everything, then this. After `close` or `reset` the client, which was promised
        keep-alive, holds a dead connection in its pool."""
        return evolve(self, ending=ending, stop="end", at=0)

    def _break_off(self, ending: Ending, stop: Stop, at: int | None) -> Reply:
        sizes = {"head": len(self.head()), "body": len(self.content)}
        if stop not in sizes:
            return evolve(self, ending=ending, stop=stop, at=0)
        size = sizes[stop]
        where = size // 2 if at is None else at + size if at < 0 else at
        if not 0 <= where <= size:
            raise ValueError(f"cannot stop at {at}: the {stop} has {size} bytes")
        return evolve(self, ending=ending, stop=stop, at=where)

    # -- the bytes -------------------------------------------------------------------------

    @property
    def content(self) -> bytes:
        """The whole body, unframed."""
        return b"".join(piece for piece in self.body if isinstance(piece, bytes))

    def head(self, close: bool = False) -> bytes:
        """The status line and the headers; `close` announces the end of the connection."""
        if self.framing == "raw":
            return b""
        headers = list(self.headers)
        names = {name for name, _ in headers}
        bodiless = self.status < 200 or self.status in (204, 304)
        if self.framing == "length" and "content-length" not in names and not bodiless:
            headers.append(("content-length", str(len(self.content))))
        if self.framing == "chunked" and "transfer-encoding" not in names:
            headers.append(("transfer-encoding", "chunked"))
        if (close or self.framing == "close") and "connection" not in names:
            headers.append(("connection", "close"))
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:  # a made-up status is allowed; it only has no phrase
            phrase = ""
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{k}: {v}" for k, v in headers), "", ""]
        return "\r\n".join(lines).encode("utf-8")

    def steps(self, method: str = "GET", close: bool = False) -> Iterator[Piece]:
        """Every write and pause of this reply to a request with `method`, in order."""
        for step in self._steps(method, close):
            if isinstance(step, Pause) or self.write_size is None:
                yield step
            else:
                for start in range(0, len(step), self.write_size):
                    yield step[start : start + self.write_size]

    def _steps(self, method: str, close: bool) -> Iterator[Piece]:
        head = self.head(close)
        if self.stop == "accept":
            return
        if self.stop == "head":
            yield head[: self.at]
            return
        yield head
        if method == "HEAD":
            return
        left = self.at if self.stop == "body" else math.inf
        for piece in self.body:
            if left <= 0:
                return
            if isinstance(piece, Pause):
                yield piece
            elif piece:  # an empty chunk would mean the end
                cut = piece[: int(min(left, len(piece)))]
                whole = len(cut) == len(piece)
                left -= len(cut)
                if self.framing == "chunked":
                    cut = b"%x\r\n%b%b" % (len(piece), cut, b"\r\n" if whole else b"")
                yield cut
        if self.framing == "chunked" and self.stop == "end":
            yield b"0\r\n\r\n"


def _typed(content_type: str, headers: Headers) -> tuple[tuple[str, str], ...]:
    given = _pairs(headers)
    known = any(name == "content-type" for name, _ in given)
    return given if known else (("content-type", content_type), *given)


def _sse_event(event: SSEvent, newline: str) -> bytes:
    if isinstance(event, bytes):
        return event
    name, data = event if isinstance(event, tuple) else (None, event)
    text = data if isinstance(data, str) else _json(data).decode()
    lines = [f"event: {name}"] if name is not None else []
    lines += [f"data: {line}" for line in text.split("\n")]
    return (newline.join(lines) + newline * 2).encode()
