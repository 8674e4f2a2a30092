"""The loopback server: a process of its own, so that its CPU time is nobody's.

It answers ``POST /{framing}/v1/chat/completions`` with canned bytes: the whole answer, or, where
the request asks for a stream, the streamed one, in one of these framings:

- ``packed``: ``PACKED`` events in each HTTP chunk and each write, as a client sees them whose
  server or network runs ahead of it;
- ``alone``: one event a write with ``PACE`` seconds between them, so that each one really arrives
  by itself; fewer of them;
- ``crowd-N``: as few, packed; the first write at once, the others ``CROWD_PACE`` seconds apart when
  N requests have got theirs, or after ``PATIENCE`` seconds.

The server listens on 127.0.0.1, prints its port, and ends when its standard input does, that is,
when the process that started it is gone, or after ``LIFETIME`` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

import canned

LIFETIME = 3600.0
PACE = 0.0005
CROWD_PACE = 0.1
PATIENCE = 30.0


def _answer(head: bytes, parts: list[bytes]) -> list[bytes]:
    """The writes of a streamed answer with these parts as its HTTP chunks."""
    return [head, *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def _groups(events: list[bytes], size: int) -> list[bytes]:
    return [b"".join(events[i : i + size]) for i in range(0, len(events), size)]


_BODY = canned.whole()
_WHOLE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(_BODY)
    + canned.HEADERS
    + b"\r\n"
    + _BODY
)
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n" + canned.HEADERS + b"\r\n"
)
_PACKED = _answer(_HEAD, _groups(canned.stream(canned.CHUNKS), canned.PACKED))
_ALONE = _answer(_HEAD, canned.stream(canned.CHUNKS_ALONE))
_CROWD = _answer(_HEAD, _groups(canned.stream(canned.CHUNKS_ALONE), canned.PACKED))


class Answerer(asyncio.Protocol):
    """One connection: collects a request, answers it, waits for the next."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self.received = b""
        if b'"stream":true' not in body.replace(b" ", b""):
            self.transport.write(_WHOLE)
        elif head.startswith(b"POST /packed/"):
            for part in _PACKED:
                self.transport.write(part)
        elif head.startswith(b"POST /alone/"):
            self._write_slowly(iter(_ALONE))
        else:
            self.transport.write(_CROWD[0] + _CROWD[1])
            join_crowd(self.transport, int(head.split(b"/")[1].removeprefix(b"crowd-")))

    def _write_slowly(self, parts: Iterator[bytes]) -> None:
        part = next(parts, None)
        if part is not None and not self.transport.is_closing():
            self.transport.write(part)
            asyncio.get_running_loop().call_later(PACE, self._write_slowly, parts)


_waiting: list[asyncio.Transport] = []


def join_crowd(transport: asyncio.Transport, size: int) -> None:
    """Let the transport wait for the rest of its answer until the crowd is complete."""
    _waiting.append(transport)
    if len(_waiting) == 1:
        asyncio.get_running_loop().call_later(PATIENCE, release_crowd)
    if len(_waiting) >= size:
        release_crowd()


def release_crowd() -> None:
    """Send everybody who waits the rest, a part at a time."""
    waiting, _waiting[:] = _waiting[:], []
    loop = asyncio.get_running_loop()
    for number, part in enumerate(_CROWD[2:]):
        loop.call_later(number * CROWD_PACE, _write_to_all, waiting, part)


def _write_to_all(transports: list[asyncio.Transport], part: bytes) -> None:
    for transport in transports:
        transport.write(part)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answerer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    parent_gone = asyncio.Event()
    loop.add_reader(sys.stdin, parent_gone.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(parent_gone.wait(), LIFETIME)


if __name__ == "__main__":
    asyncio.run(serve())
