"""The loopback server, a separate process, so that its CPU time is not counted.

It replies to ``POST /{framing}/...`` with fixed bytes, in the format of the rest of the path: the
complete response, or, if the request asks for a stream, the streamed one, in one of these framings:

- ``packed``: ``PACKED`` events in each HTTP chunk and each write, as for a client that is slower
  than its server or network;
- ``alone``: fewer events, one in each write with ``EVENT_INTERVAL`` seconds between them, so that
  each one arrives separately;
- ``crowd-N``: the same number, packed; the first write at once, the others ``CROWD_INTERVAL``
  seconds apart as soon as N requests have their first one, or after ``CROWD_TIMEOUT`` seconds;
- ``lone-N-CHUNKS``: so many events with text, one in each write, to N requests in the same way,
  with ``LONE_INTERVAL * N`` seconds between two writes to each of them. That is time enough for
  every client to read one before the next arrives.

The server listens on 127.0.0.1 and prints its port. It ends when its standard input is closed, that
is, when the process that started it has ended, or after ``LIFETIME`` seconds.
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
EVENT_INTERVAL = 0.0005
CROWD_INTERVAL = 0.1
CROWD_TIMEOUT = 30.0
LONE_INTERVAL = 0.0005
MIN_LONE_INTERVAL = 0.005


def _frame_chunks(head: bytes, parts: list[bytes]) -> list[bytes]:
    """Return the writes of a streamed response with these parts as its HTTP chunks."""
    return [head, *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def _group_events(events: list[bytes], size: int) -> list[bytes]:
    return [b"".join(events[i : i + size]) for i in range(0, len(events), size)]


class CannedReplies:
    """The responses in one format, as the bytes that are sent."""

    def __init__(self, wire: ModuleType) -> None:
        def build_head(content_type: str, length: str) -> bytes:
            lines = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{length}\r\n"
            return lines.encode() + wire.HEADERS + b"\r\n"

        body, events = wire.build_body(), wire.build_stream(canned.CHUNKS_ALONE)
        self.whole = build_head("application/json", f"Content-Length: {len(body)}") + body
        stream_head = build_head(wire.STREAM_TYPE, "Transfer-Encoding: chunked")
        self.packed = _frame_chunks(
            stream_head, _group_events(wire.build_stream(canned.CHUNKS), canned.PACKED)
        )
        self.alone = _frame_chunks(stream_head, events)
        self.crowd = _frame_chunks(stream_head, _group_events(events, canned.PACKED))
        self._wire = wire
        self._stream_head = stream_head
        self._lone: dict[int, list[bytes]] = {}

    def get_lone(self, count: int) -> list[bytes]:
        """Return the writes of a stream with so many chunks, each in one of them."""
        if count not in self._lone:
            self._lone[count] = _frame_chunks(self._stream_head, self._wire.build_stream(count))
        return self._lone[count]


_REPLIES = {
    (wire.ROOT + wire.PATH).encode(): CannedReplies(wire)
    for wire in (canned.openai, canned.anthropic, canned.ollama)
}


class RequestHandler(asyncio.Protocol):
    """One connection: reads a request, replies to it, waits for the next."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < _read_content_length(head):
            return
        self.received = b""
        _, framing, path = head.split(b" ")[1].split(b"/", 2)
        replies = _REPLIES[b"/" + path.partition(b"?")[0]]
        if b'"stream":true' not in body.replace(b" ", b""):
            self.transport.write(replies.whole)
        elif framing == b"packed":
            for part in replies.packed:
                self.transport.write(part)
        elif framing == b"alone":
            self._write_slowly(iter(replies.alone))
        elif framing.startswith(b"lone-"):
            _, size, count = map(int, framing.replace(b"lone", b"0").split(b"-"))
            interval = max(MIN_LONE_INTERVAL, LONE_INTERVAL * size)
            self._join_crowd(replies.get_lone(count), size, interval)
        else:
            size = int(framing.removeprefix(b"crowd-"))
            self._join_crowd(replies.crowd, size, CROWD_INTERVAL)

    def _join_crowd(self, parts: list[bytes], size: int, interval: float) -> None:
        first, second, *rest = parts
        self.transport.write(first + second)
        join_crowd(self.transport, rest, size, interval)

    def _write_slowly(self, parts: Iterator[bytes]) -> None:
        part = next(parts, None)
        if part is not None and not self.transport.is_closing():
            self.transport.write(part)
            asyncio.get_running_loop().call_later(EVENT_INTERVAL, self._write_slowly, parts)


_waiting_connections: list[tuple[asyncio.Transport, list[bytes]]] = []


def join_crowd(transport: asyncio.Transport, rest: list[bytes], size: int, interval: float) -> None:
    """Hold back the rest of the response until the crowd is complete."""
    _waiting_connections.append((transport, rest))
    if len(_waiting_connections) == 1:
        asyncio.get_running_loop().call_later(CROWD_TIMEOUT, release_crowd, interval)
    if len(_waiting_connections) >= size:
        release_crowd(interval)


def release_crowd(interval: float) -> None:
    """Send the rest to all waiting connections, one part at a time."""
    waiting, _waiting_connections[:] = _waiting_connections[:], []
    loop = asyncio.get_running_loop()
    for number in range(max((len(rest) for _, rest in waiting), default=0)):
        loop.call_later(number * interval, _write_to_all, waiting, number)


def _write_to_all(waiting: list[tuple[asyncio.Transport, list[bytes]]], number: int) -> None:
    for transport, rest in waiting:
        if number < len(rest):
            transport.write(rest[number])


def _read_content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(RequestHandler, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    parent_ended = asyncio.Event()
    loop.add_reader(sys.stdin, parent_ended.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(parent_ended.wait(), LIFETIME)


if __name__ == "__main__":
    asyncio.run(serve())
