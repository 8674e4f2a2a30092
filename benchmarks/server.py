"""The loopback server: a process of its own, so that its CPU time is nobody's.

It answers ``POST /{framing}/...`` with canned bytes, in the format that the rest of the path stands
for: the whole answer, or, where the request asks for a stream, the streamed one, in one of these
framings:

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
from types import ModuleType

import canned
import canned.anthropic
import canned.ollama
import canned.openai

LIFETIME = 3600.0
PACE = 0.0005
CROWD_PACE = 0.1
PATIENCE = 30.0


def _answer(head: bytes, parts: list[bytes]) -> list[bytes]:
    """The writes of a streamed answer with these parts as its HTTP chunks."""
    return [head, *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def _groups(events: list[bytes], size: int) -> list[bytes]:
    return [b"".join(events[i : i + size]) for i in range(0, len(events), size)]


class Answers:
    """The answers in one format, as they are written."""

    def __init__(self, wire: ModuleType) -> None:
        def head(content_type: str, length: str) -> bytes:
            first = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{length}\r\n"
            return first.encode() + wire.HEADERS + b"\r\n"

        body, few = wire.whole(), wire.stream(canned.CHUNKS_ALONE)
        self.whole = head("application/json", f"Content-Length: {len(body)}") + body
        begun = head(wire.STREAM_TYPE, "Transfer-Encoding: chunked")
        self.packed = _answer(begun, _groups(wire.stream(canned.CHUNKS), canned.PACKED))
        self.alone = _answer(begun, few)
        self.crowd = _answer(begun, _groups(few, canned.PACKED))


_ANSWERS = {
    (wire.ROOT + wire.PATH).encode(): Answers(wire)
    for wire in (canned.openai, canned.anthropic, canned.ollama)
}


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
        _, framing, path = head.split(b" ")[1].split(b"/", 2)
        answers = _ANSWERS[b"/" + path.partition(b"?")[0]]
        if b'"stream":true' not in body.replace(b" ", b""):
            self.transport.write(answers.whole)
        elif framing == b"packed":
            for part in answers.packed:
                self.transport.write(part)
        elif framing == b"alone":
            self._write_slowly(iter(answers.alone))
        else:
            first, second, *rest = answers.crowd
            self.transport.write(first + second)
            join_crowd(self.transport, rest, int(framing.removeprefix(b"crowd-")))

    def _write_slowly(self, parts: Iterator[bytes]) -> None:
        part = next(parts, None)
        if part is not None and not self.transport.is_closing():
            self.transport.write(part)
            asyncio.get_running_loop().call_later(PACE, self._write_slowly, parts)


_waiting: list[tuple[asyncio.Transport, list[bytes]]] = []


def join_crowd(transport: asyncio.Transport, rest: list[bytes], size: int) -> None:
    """Let the transport wait for the rest of its answer until the crowd is complete."""
    _waiting.append((transport, rest))
    if len(_waiting) == 1:
        asyncio.get_running_loop().call_later(PATIENCE, release_crowd)
    if len(_waiting) >= size:
        release_crowd()


def release_crowd() -> None:
    """Send everybody who waits the rest, a part at a time."""
    waiting, _waiting[:] = _waiting[:], []
    loop = asyncio.get_running_loop()
    for number in range(max(len(rest) for _, rest in waiting)):
        loop.call_later(number * CROWD_PACE, _write_to_all, waiting, number)


def _write_to_all(waiting: list[tuple[asyncio.Transport, list[bytes]]], number: int) -> None:
    for transport, rest in waiting:
        if number < len(rest):
            transport.write(rest[number])


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
