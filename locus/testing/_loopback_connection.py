"""One connection of the loopback server: read a request, play a reply, hang up.

Requests are parsed by `h11`, with a fresh parser for each: the answers do not pass through it,
so it could not know when the next request may begin. Whenever the connection is silent (waiting
for a request, pausing, stalling) it is reading, so that a client that leaves is noticed at once.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import h11
import msgspec
from attrs import frozen

from locus.testing._loopback_reply import Ending, Pause, Reply


@frozen
class Received:
    """A request as the server read it, body and all."""

    method: str
    target: str
    """What stood in the request line: the path with its query."""
    headers: Mapping[str, str]
    """Names in lower case; a repeated header has its values joined by a comma."""
    body: bytes
    connection: int
    """The number of the connection it came over, counted from 1: equal numbers, same socket."""
    at: float
    """When it was complete, on the clock of `time.monotonic`."""
    http_version: str = "1.1"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def wants_close(self) -> bool:
        """Whether the client said this is its last request on the connection."""
        return self.http_version == "1.0" or "close" in self.headers.get("connection", "").lower()

    def json(self) -> Any:
        """The body read as JSON; `msgspec.DecodeError` if it is not."""
        return msgspec.json.decode(self.body)


class Connection:
    """The server's end of one socket. Every method raises `OSError` once the client has gone."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._number = number
        self._unread = b""  # what came after the last request

    def read(self) -> Received | None:
        """The next request; `None` when the client has finished, or left in the middle of one.

        `h11.RemoteProtocolError` if what it sent is not HTTP.
        """
        parser = h11.Connection(h11.SERVER)
        if self._unread:
            parser.receive_data(self._unread)
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                if parser.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self._sock.sendall(parser.send(go_on) or b"")
                data = self._sock.recv(65536)
                if not data:
                    return None
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif request is not None and isinstance(event, h11.EndOfMessage):
                self._unread = parser.trailing_data[0]
                return self._received(request, bytes(body))

    def _received(self, request: h11.Request, body: bytes) -> Received:
        headers: dict[str, str] = {}
        for raw_name, raw_value in request.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Received(
            method=request.method.decode("ascii"),
            target=request.target.decode("latin-1"),
            headers=MappingProxyType(headers),
            body=body,
            connection=self._number,
            at=time.monotonic(),
            http_version=request.http_version.decode("ascii"),
        )

    def play(self, reply: Reply, received: Received | None) -> bool:
        """Send the reply and end as it says; whether another request may follow.

        With `received=None` nothing was read (or not all of it).
        """
        last = received is None or received.wants_close
        for step in reply.steps(received.method if received else "GET", close=last):
            if isinstance(step, Pause):
                self._pause(step)
            else:
                self._sock.sendall(step)
        if reply.ending == "keep" and reply.framing != "close" and not last:
            return True
        self._end(reply.ending, everything_read=received is not None)
        return False

    def _pause(self, pause: Pause) -> None:
        deadline = time.monotonic() + pause.seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                if pause.until is None:
                    self._listen(min(left, 3600.0))
                elif pause.until.is_set():
                    break
                else:
                    self._listen(min(left, 0.005))
        finally:
            self._sock.settimeout(None)

    def _listen(self, seconds: float) -> None:
        """Read ahead for this long, so as to notice that the client has gone."""
        self._sock.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionAbortedError("the client has gone")
            self._unread += data

    def _end(self, ending: Ending, everything_read: bool) -> None:
        if ending == "stall":
            while self._sock.recv(65536):
                pass
        elif ending == "reset":
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._sock.close()
        elif everything_read:
            shutdown(self._sock)
        else:
            # Closing with unread bytes in the socket would send an RST, not a FIN.
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(1.0)
            while self._sock.recv(65536):
                pass


def shutdown(sock: socket.socket) -> None:
    """End both directions now: wakes a thread that reads or writes, and holds for every copy
    of the socket a forked child may have."""
    with contextlib.suppress(OSError):  # the other end was faster
        sock.shutdown(socket.SHUT_RDWR)
