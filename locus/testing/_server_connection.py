"""One connection of the loopback server: reads requests, sends replies, closes the socket.

Requests are parsed by ``h11``, with a new parser for each: the replies do not pass through it, so
it could not know when the next request may begin. While the connection sends nothing (it waits for
a request, pauses or stalls), it reads, and so notices at once that the client has closed its end.
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
    """A request that the server received, with its complete body."""

    method: str
    target: str
    """The target of the request line: the path with its query."""
    headers: Mapping[str, str]
    """Names in lower case; the values of a repeated header are joined by a comma."""
    body: bytes
    connection: int
    """The number of its connection, from 1. Requests with the same number used the same socket."""
    at: float
    """The time when it was complete, by ``time.monotonic``."""
    http_version: str = "1.1"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def wants_close(self) -> bool:
        """Whether the client announced that this is its last request on the connection."""
        return self.http_version == "1.0" or "close" in self.headers.get("connection", "").lower()

    def json(self) -> Any:
        """Decode the body as JSON.

        :raises msgspec.DecodeError: if it is not JSON.
        """
        return msgspec.json.decode(self.body)


class Connection:
    """The server's end of one socket. Every method raises ``OSError`` after the client has left."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._number = number
        self._unread = b""  # the bytes after the last request

    def read_request(self) -> Received | None:
        """Read the next request; return ``None`` if the client closes the connection first.

        :raises h11.RemoteProtocolError: if the bytes are not HTTP.
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
                    response = h11.InformationalResponse(status_code=100, headers=[])
                    self._sock.sendall(parser.send(response) or b"")
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
                return self._build_received_request(request, bytes(body))

    def _build_received_request(self, request: h11.Request, body: bytes) -> Received:
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

    def send_reply(self, reply: Reply, request: Received | None) -> bool:
        """Send the reply and end the connection as it says; returns whether it stays open.

        :param request: ``None`` if no complete request was read.
        """
        is_last_request = request is None or request.wants_close
        for step in reply.iter_writes(request.method if request else "GET", close=is_last_request):
            if isinstance(step, Pause):
                self._wait_for_pause(step)
            else:
                self._sock.sendall(step)
        if reply.ending == "keep" and reply.framing != "close" and not is_last_request:
            return True
        self._end_connection(reply.ending, request_read=request is not None)
        return False

    def _wait_for_pause(self, pause: Pause) -> None:
        """Wait until the pause ends; raise ``OSError`` if the client leaves."""
        deadline = time.monotonic() + pause.seconds
        try:
            while (remaining := deadline - time.monotonic()) > 0:
                if pause.until is None:
                    self._buffer_incoming_data(min(remaining, 3600.0))
                elif pause.until.is_set():
                    break
                else:
                    self._buffer_incoming_data(min(remaining, 0.005))
        finally:
            self._sock.settimeout(None)

    def _buffer_incoming_data(self, seconds: float) -> None:
        """Read ahead for some seconds, to notice when the client leaves."""
        self._sock.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionAbortedError("the client has gone")
            self._unread += data

    def _end_connection(self, ending: Ending, request_read: bool) -> None:
        """Stall, reset or close the connection."""
        if ending == "stall":
            while self._sock.recv(65536):
                pass
        elif ending == "reset":
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._sock.close()
        elif request_read:
            shut_down_socket(self._sock)
        else:
            # Closing with unread bytes in the socket would send an RST, not a FIN.
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(1.0)
            while self._sock.recv(65536):
                pass


def shut_down_socket(sock: socket.socket) -> None:
    """Shut down both directions. This wakes a thread that reads or writes, and also ends the copies
    of the socket that a forked child may have."""
    with contextlib.suppress(OSError):  # the client closed it first
        sock.shutdown(socket.SHUT_RDWR)
