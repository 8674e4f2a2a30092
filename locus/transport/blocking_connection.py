"""Connections of blocking code, over sockets. Mirrors ``async_connection``."""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Self

import attrs

from locus.transport.address import Address
from locus.transport.connection import ENCRYPT_SIZE, RECEIVE_SIZE, Connection
from locus.transport.deadline import Deadline
from locus.transport.http1 import ResponseHead
from locus.transport.http_request import MAX_CONNECT_SECONDS, EncodedRequest
from locus.transport.interruption import current_interruption
from locus.transport.open_socket import (
    NEXT_ADDRESS_DELAY,
    AddressInfo,
    begin_connecting,
    check_connected,
    make_connect_error,
    order_addresses,
)
from locus.transport.transport_errors import (
    ConnectError,
    ConnectTimeout,
    ReadError,
    ReadTimeout,
    TransportTimeout,
    WriteError,
    WriteTimeout,
)

_MAX_TIMEOUT_SECONDS: Final = 2_000_000.0
"""23 days. Longer timeouts fail: sockets are polled with milliseconds in a 32-bit integer."""


@attrs.frozen
class WaitLimit:
    """How long a call may wait for its server.

    :param timeout: how long the server may send or receive nothing, in seconds; None is no limit.
    :param deadline: when all of the call has to be over, however often a byte arrives.
    """

    timeout: float | None
    deadline: Deadline | None = None

    def get_seconds(
        self, error_class: type[TransportTimeout], at_most: float = _MAX_TIMEOUT_SECONDS
    ) -> float:
        """Return how many seconds one operation may take.

        :raises TransportTimeout: one of ``error_class`` if the deadline is over.
        """
        seconds = at_most if self.timeout is None else min(self.timeout, at_most)
        if self.deadline is not None:
            seconds = min(seconds, self.deadline.remaining)
            if seconds <= 0:
                raise error_class("the deadline of the call is over")
        return seconds


class BlockingConnection(Connection):
    """A connection whose methods wait in the thread that calls them."""

    __slots__ = ("_timeout",)

    def __init__(self, address: Address, connected: socket.socket) -> None:
        super().__init__(address, connected)
        self._timeout: float | None = None

    @classmethod
    def open(cls, address: Address, limit: WaitLimit) -> Self:
        """Open a connection.

        :raises TransportError: if that fails, or takes too long.
        """
        if address.is_tls:
            from locus.transport.tls_session import get_tls_context

            get_tls_context()  # its errors come before any of the network
        ends_at = time.monotonic() + limit.get_seconds(ConnectTimeout, MAX_CONNECT_SECONDS)
        connection = cls(address, _connect(address, ends_at))
        if address.is_tls:
            try:
                connection._begin_tls(ends_at)
            except BaseException:
                connection.close()
                raise
        return connection

    def _begin_tls(self, ends_at: float) -> None:
        from locus.transport.tls_session import (
            TlsSession,  # ssl takes as long to import as a connection
        )

        tls = TlsSession(self.address.host)
        try:
            is_complete = False
            while not is_complete:
                is_complete = tls.advance_handshake()
                self._socket.settimeout(max(0.001, ends_at - time.monotonic()))
                if outgoing := tls.take_outgoing():
                    self._socket.sendall(outgoing)
                if not is_complete:
                    tls.feed(self._socket.recv(RECEIVE_SIZE))
        except TimeoutError:
            raise ConnectTimeout("the TLS handshake took too long") from None
        except OSError as exc:  # ssl.SSLError among them
            raise ConnectError(str(exc)) from exc
        self._tls = tls

    def exchange(self, request: EncodedRequest, limit: WaitLimit) -> ResponseHead:
        """Send a request, and return the head of its response.

        :raises TransportError: if there is none.
        """
        reader = self.reader
        reader.begin_response()
        self._send_error = None
        try:
            self._send(request, limit)
            while (head := reader.read_head()) is None:
                self._receive(limit)
        except BaseException:
            self.close()
            raise
        return head

    def read_piece(self, limit: WaitLimit) -> bytes:
        """Return the next bytes of the body; empty at its end.

        :raises TransportError: if the rest of the body cannot be read.
        """
        reader = self.reader
        while not (piece := reader.read_piece()) and not reader.is_complete:
            self._receive(limit)
        return piece

    def _send(self, request: EncodedRequest, limit: WaitLimit) -> None:
        """Send a request, or as much of it as the server takes before it answers.

        A server that refuses a request need not read all of it (RFC 9112, 9.5). It may not close
        either, so that only its answer shows that it has stopped.
        """
        if self._tls is None:
            self._send_bytes(memoryview(request.data), limit)
            return
        for start in range(0, len(request.data), ENCRYPT_SIZE):
            data = self._tls.encrypt(request.data[start : start + ENCRYPT_SIZE])
            if start and not self._wait_until_writable(limit):
                return
            if not self._send_bytes(memoryview(data), limit):
                return

    def _send_bytes(self, data: memoryview, limit: WaitLimit) -> bool:
        """Send all of these bytes; return False if there is an answer before."""
        self._set_timeout(limit.get_seconds(WriteTimeout))
        try:
            sent = self._socket.send(data)
            while sent < len(data):  # the server does not take it as fast
                if not self._wait_until_writable(limit):
                    return False
                sent += self._socket.send(data[sent:])
        except TimeoutError:
            raise WriteTimeout("the server has stopped reading the request") from None
        except OSError as exc:  # its answer may have arrived before it closed the connection
            self._send_error = exc
            return False
        return True

    def _wait_until_writable(self, limit: WaitLimit) -> bool:
        """Wait until more can be sent; return False if the server has answered meanwhile."""
        while True:
            seconds = limit.get_seconds(WriteTimeout)
            is_readable, is_writable = _wait_for_both(self._socket, seconds)
            if is_readable:
                self._receive(limit)
                if self.reader.is_answered:
                    return False
            if is_writable:
                return True
            if not is_readable:
                raise WriteTimeout("the server has stopped reading the request")

    def _receive(self, limit: WaitLimit) -> None:
        """Wait for bytes and give them to the reader."""
        tls = self._tls
        if tls is not None and tls.has_ended:  # the server has said so; it may not close
            self.feed_reader(b"")
            return
        self._set_timeout(limit.get_seconds(ReadTimeout))
        interruption = current_interruption.get()
        try:
            if interruption is None:
                data = self._socket.recv(RECEIVE_SIZE)
            else:
                receive = partial(self._socket.recv, RECEIVE_SIZE)
                data = interruption.run(receive, self.interrupt)
            if tls is not None:
                tls.feed(data)
                data = tls.decrypt()
                if not data and not tls.has_ended:
                    return
        except TimeoutError:
            raise ReadTimeout("the server has sent nothing") from None
        except OSError as exc:
            if self._send_error is not None and not self.reader.has_begun:
                raise WriteError(str(self._send_error)) from exc
            raise ReadError(str(exc)) from exc
        if self._is_interrupted and not data:
            raise ReadError("the connection was closed here")
        self.feed_reader(data)

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._socket.settimeout(seconds)
            self._timeout = seconds

    def interrupt(self) -> None:
        """End what another thread waits for; that thread closes the connection."""
        self._is_interrupted = True
        with suppress(OSError):  # closed already
            self._socket.shutdown(socket.SHUT_RDWR)


def _wait_for_both(opened: socket.socket, seconds: float) -> tuple[bool, bool]:
    """Wait until a socket can be read or written; return which, or neither at the end."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(opened, select.POLLIN | select.POLLOUT)
        events = dict(poll.poll(seconds * 1000)).get(opened.fileno(), 0)
        # An error, or the end of the connection, shows when the socket is read.
        return bool(events & ~select.POLLOUT), bool(events & select.POLLOUT)
    readable, writable, _ = select.select([opened], [opened], [], seconds)
    return bool(readable), bool(writable)


def _connect(address: Address, ends_at: float) -> socket.socket:
    """Return a socket that is connected to one of the host's addresses.

    :raises TransportError: if none could be reached in time.
    """
    try:
        infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise ConnectError(str(exc)) from exc
    with selectors.DefaultSelector() as selector:
        try:
            winner = _race(order_addresses(infos), selector, ends_at)
            selector.unregister(winner)
        finally:
            for key in list(selector.get_map().values()):
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()
    return winner


def _race(
    infos: Sequence[AddressInfo], selector: selectors.BaseSelector, ends_at: float
) -> socket.socket:
    """Connect to the addresses one after the other, each a little later than the one before."""
    errors: list[OSError] = []
    waiting = list(reversed(infos))
    while waiting or selector.get_map():
        if waiting:
            try:
                opened, _ = begin_connecting(waiting.pop())
            except OSError as exc:
                errors.append(exc)
                continue
            selector.register(opened, selectors.EVENT_WRITE)
        remaining = ends_at - time.monotonic()
        if remaining <= 0:
            raise ConnectTimeout(f"no connection within {MAX_CONNECT_SECONDS:g} seconds")
        for key, _ in selector.select(min(remaining, NEXT_ADDRESS_DELAY if waiting else remaining)):
            assert isinstance(key.fileobj, socket.socket)
            try:
                check_connected(key.fileobj)
            except OSError as exc:
                errors.append(exc)
                selector.unregister(key.fileobj)
                key.fileobj.close()
            else:
                return key.fileobj
    raise make_connect_error(errors)
