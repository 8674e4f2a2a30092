"""Connections of async code, over sockets that anyio waits for. Mirrors ``blocking_connection``.

anyio's own streams are not used: under asyncio they belong to a transport of their loop, which
throws away the answer to a request that it could not send to its end, cannot be closed when the
loop has ended, and is lost by a task that is cancelled while it connects.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

import anyio

from locus.transport.address import Address
from locus.transport.connection import ENCRYPT_SIZE, RECEIVE_SIZE, Connection
from locus.transport.http1 import ResponseHead
from locus.transport.http_request import MAX_CONNECT_SECONDS, EncodedRequest
from locus.transport.open_socket import (
    NEXT_ADDRESS_DELAY,
    AddressInfo,
    begin_connecting,
    check_connected,
    find_numeric_address,
    make_connect_error,
    order_addresses,
)
from locus.transport.read_watch import ReadWatch
from locus.transport.transport_errors import (
    ConnectError,
    ConnectTimeout,
    ReadError,
    ReadTimeout,
    TransportTimeout,
    WriteError,
    WriteTimeout,
)


class AsyncConnection(Connection):
    """A connection whose methods are awaited, under asyncio or trio.

    Their ``max_silence`` is how long the server may send or receive nothing, in seconds; None is no
    limit. A deadline is a cancel scope around them.
    """

    __slots__ = ("_is_waiting", "_was_silent", "_watch")

    def __init__(self, address: Address, connected: socket.socket, watch: ReadWatch) -> None:
        super().__init__(address, connected)
        self._watch = watch
        self._is_waiting = self._was_silent = False

    @classmethod
    async def open(cls, address: Address, max_silence: float | None, watch: ReadWatch) -> Self:
        """Open a connection.

        :param watch: the watch of the running loop.
        :raises TransportError: if that fails, or takes too long.
        """
        seconds = min(
            MAX_CONNECT_SECONDS, MAX_CONNECT_SECONDS if max_silence is None else max_silence
        )
        if address.is_tls:
            from locus.transport.tls_session import get_tls_context

            get_tls_context()  # its errors come before any of the network
        with _limit(seconds, ConnectTimeout, f"no connection within {seconds:g} seconds"):
            connection = cls(address, await _connect(address), watch)
            if address.is_tls:
                try:
                    await connection._begin_tls()
                except BaseException:
                    connection.close()
                    raise
            return connection

    async def _begin_tls(self) -> None:
        from locus.transport.tls_session import (
            TlsSession,  # ssl takes as long to import as a connection
        )

        tls = TlsSession(self.address.host)
        try:
            is_complete = False
            while not is_complete:
                is_complete = tls.advance_handshake()
                outgoing = tls.take_outgoing()
                while outgoing:
                    await anyio.wait_writable(self._socket)
                    outgoing = outgoing[self._socket.send(outgoing) :]
                if not is_complete:
                    await anyio.wait_readable(self._socket)
                    tls.feed(self._socket.recv(RECEIVE_SIZE))
        except OSError as exc:  # ssl.SSLError among them
            raise ConnectError(str(exc)) from exc
        self._tls = tls

    async def exchange(self, request: EncodedRequest, max_silence: float | None) -> ResponseHead:
        """Send a request, and return the head of its response.

        :raises TransportError: if there is none.
        """
        reader = self.reader
        reader.begin_response()
        self._send_error = None
        try:
            await self._send(request, max_silence)
            while (head := reader.read_head()) is None:
                await self._receive(max_silence)
        except BaseException:
            self.close()
            raise
        return head

    async def read_piece(self, max_silence: float | None) -> bytes:
        """Return the next bytes of the body; empty at its end.

        :raises TransportError: if the rest of the body cannot be read.
        """
        reader = self.reader
        while not (piece := reader.read_piece()) and not reader.is_complete:
            await self._receive(max_silence)
        return piece

    async def _send(self, request: EncodedRequest, max_silence: float | None) -> None:
        """Send a request, or as much of it as the server takes before it answers.

        A server that refuses a request need not read all of it (RFC 9112, 9.5). It may not close
        either, so that only its answer shows that it has stopped.
        """
        if self._tls is None:
            await self._send_bytes(memoryview(request.data), max_silence)
            return
        for start in range(0, len(request.data), ENCRYPT_SIZE):
            data = self._tls.encrypt(request.data[start : start + ENCRYPT_SIZE])
            if not await self._send_bytes(memoryview(data), max_silence):
                return

    async def _send_bytes(self, data: memoryview, max_silence: float | None) -> bool:
        """Send all of these bytes; return False if there is an answer before."""
        try:
            sent = 0
            while True:
                with suppress(BlockingIOError):
                    sent += self._socket.send(data[sent:])
                if sent == len(data):
                    return True
                if not await self._wait_until_writable(max_silence):  # the server is not as fast
                    return False
        except OSError as exc:  # its answer may have arrived before it closed the connection
            self._send_error = exc
            return False

    async def _wait_until_writable(self, max_silence: float | None) -> bool:
        """Wait until more can be sent; return False if the server has answered meanwhile."""
        while True:
            with _limit(max_silence, WriteTimeout, "the server has stopped reading the request"):
                is_readable, is_writable = await self._wait_for_both()
            if is_readable:
                await self._receive(max_silence)
                if self.reader.is_answered:
                    return False
            if is_writable:
                return True
            if self.is_closed:
                raise WriteError("the connection was closed here")

    async def _wait_for_both(self) -> tuple[bool, bool]:
        """Wait until the socket can be read or written; return which; neither if it is closed."""
        found: set[str] = set()

        async def wait(name: str, wait_for: Callable[[socket.socket], Awaitable[None]]) -> None:
            with suppress(anyio.ClosedResourceError):
                await wait_for(self._socket)
                found.add(name)
            group.cancel_scope.cancel()

        self._is_waiting = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(wait, "read", anyio.wait_readable)
                group.start_soon(wait, "write", anyio.wait_writable)
        finally:
            self._is_waiting = False
        return "read" in found, "write" in found

    async def _receive(self, max_silence: float | None) -> None:
        """Wait for bytes and give them to the reader."""
        tls = self._tls
        if tls is not None and tls.has_ended:  # the server has said so; it may not close
            self.feed_reader(b"")
            return
        try:
            await self._wait_until_readable(max_silence)
            data = self._socket.recv(RECEIVE_SIZE)
            if tls is not None:
                tls.feed(data)
                data = tls.decrypt()
                if not data and not tls.has_ended:
                    return
        except BlockingIOError:  # it was readable, and is not any more: RFC 9293 leaves that open
            return
        except OSError as exc:
            if self.is_closed:
                raise ReadError("the connection was closed here") from None
            if self._send_error is not None and not self.reader.has_begun:
                raise WriteError(str(self._send_error)) from exc
            raise ReadError(str(exc)) from exc
        self.feed_reader(data)

    async def _wait_until_readable(self, max_silence: float | None) -> None:
        if self.is_closed:
            raise ReadError("the connection was closed here")
        self._is_waiting = True
        if max_silence is not None:
            self._watch.begin(self, max_silence)
        try:
            await anyio.wait_readable(self._socket)
        except anyio.ClosedResourceError:
            raise ReadError("the connection was closed here") from None
        finally:
            self._is_waiting = False
            if max_silence is not None:
                self._watch.end(self)
        if self._was_silent:
            raise ReadTimeout("the server has sent nothing")

    def end_silence(self) -> None:
        """End the waiting for a server that has sent nothing for too long."""
        if not self._is_readable():  # a loop that was busy may only not have read it
            self._was_silent = True
            with suppress(OSError):  # closed by the server, just now
                self._socket.shutdown(socket.SHUT_RD)

    def interrupt(self) -> None:
        """Close the connection in its own event loop, and end what another task waits for."""
        self._is_interrupted = True
        if self._is_waiting and not self.is_closed:
            anyio.notify_closing(self._socket)
        self.close()


@contextmanager
def _limit(
    seconds: float | None, error_class: type[TransportTimeout], message: str
) -> Iterator[None]:
    """Limit what is awaited in this block.

    :raises TransportTimeout: one of ``error_class`` if it takes longer.
    """
    with anyio.CancelScope() as scope:
        if seconds is not None:
            scope.deadline = anyio.current_time() + seconds
        yield
        return
    if scope.cancelled_caught:
        raise error_class(message)


async def _connect(address: Address) -> socket.socket:
    """Return a socket that is connected to one of the host's addresses.

    :raises TransportError: if none can be reached.
    """
    infos = find_numeric_address(address.host, address.port)
    if infos is None:
        try:
            infos = await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise ConnectError(str(exc)) from exc
    return await _race(order_addresses(infos))


async def _race(infos: Sequence[AddressInfo]) -> socket.socket:
    """Connect to the addresses one after the other, each a little later than the one before."""
    errors: list[OSError] = []
    winners: list[socket.socket] = []

    async def connect(info: AddressInfo, failed: anyio.Event) -> None:
        try:
            opened = await _connect_socket(info)
        except OSError as exc:
            errors.append(exc)
            failed.set()
            return
        if winners:
            opened.close()
        else:
            winners.append(opened)
            group.cancel_scope.cancel()

    if len(infos) == 1:
        try:
            return await _connect_socket(infos[0])
        except OSError as exc:
            raise make_connect_error([exc]) from None
    try:
        async with anyio.create_task_group() as group:
            for info in infos:
                failed = anyio.Event()
                group.start_soon(connect, info, failed)
                with anyio.move_on_after(NEXT_ADDRESS_DELAY):
                    await failed.wait()
    except BaseException:
        for opened in winners:  # the caller has been cancelled
            opened.close()
        raise
    if not winners:
        raise make_connect_error(errors)
    return winners[0]


async def _connect_socket(info: AddressInfo) -> socket.socket:
    """Return a socket that is connected to one address.

    :raises OSError: if it cannot be reached.
    """
    opened, is_connected = begin_connecting(info)
    try:
        if not is_connected:
            await anyio.wait_writable(opened)
            check_connected(opened)
    except BaseException:
        opened.close()
        raise
    return opened
