"""A server of HTTP/2 without TLS (RFC 9113, 3.3), for clients that a caller brings."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from locus.testing.server import Reply
from tests.support.raw_servers import RawServer


class Http2Connection:
    """One connection, whose requests are answered each in a thread of its own.

    :param pause: called between two pieces of a streamed answer, with the last message of the
        request and the number of pieces that have been sent.
    """

    def __init__(
        self, connection: socket.socket, reply: Reply, pause: Callable[[str, int], None]
    ) -> None:
        h2_connection: Any = pytest.importorskip("h2.connection")
        h2_config: Any = pytest.importorskip("h2.config")
        self._events: Any = pytest.importorskip("h2.events")
        self._h2 = h2_connection.H2Connection(h2_config.H2Configuration(client_side=False))
        self._socket = connection
        self._reply = reply
        self._pause = pause
        self._lock = threading.Lock()
        self._bodies: dict[int, bytes] = {}

    def serve(self) -> None:
        """Answer all requests, until the client closes the connection."""
        self._send(self._h2.initiate_connection)
        while data := self._socket.recv(65536):
            with self._lock:
                events = self._h2.receive_data(data)
                for event in events:
                    if isinstance(event, self._events.DataReceived):
                        body = self._bodies.get(event.stream_id, b"") + event.data
                        self._bodies[event.stream_id] = body
                        self._h2.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                self._socket.sendall(self._h2.data_to_send())
            for event in events:
                if isinstance(event, self._events.StreamEnded):
                    answer = threading.Thread(target=self._answer, args=(event.stream_id,))
                    answer.daemon = True
                    answer.start()

    def _answer(self, number: int) -> None:
        prompt = json.loads(self._bodies[number])["messages"][-1]["content"]
        headers = [(":status", str(self._reply.status)), *self._reply.headers]
        # The client may let go of the stream; h2 then has errors of many kinds.
        with contextlib.suppress(OSError, KeyError, ValueError, AttributeError, self._h2_error):
            self._send(lambda: self._h2.send_headers(number, headers))
            for sent, piece in enumerate(self._reply.body, start=1):
                self._send(lambda piece=piece: self._h2.send_data(number, piece))  # type: ignore[misc]
                self._pause(prompt, sent)
            self._send(lambda: self._h2.end_stream(number))

    @property
    def _h2_error(self) -> type[Exception]:
        error: type[Exception] = pytest.importorskip("h2.exceptions").H2Error
        return error

    def _send(self, act: Callable[[], object]) -> None:
        with self._lock:
            act()
            self._socket.sendall(self._h2.data_to_send())


def start_http2_server(reply: Reply, pause: Callable[[str, int], None]) -> RawServer:
    """Make a server that gives every request this answer."""
    pytest.importorskip("h2")
    return RawServer(lambda connection: Http2Connection(connection, reply, pause).serve())
