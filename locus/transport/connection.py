"""What connections have in common, in blocking and in async code: a socket and a reader.

A connection is used by one call at a time. Its socket belongs to no event loop, so that it can be
closed at any time, from anywhere: by a finalizer, in another thread, after the end of its loop.
"""

from __future__ import annotations

import os
import select
import socket
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from locus.transport.address import Address
from locus.transport.http1 import ResponseReader
from locus.transport.transport_errors import TransportError, TransportTimeout

if TYPE_CHECKING:
    from locus.transport.tls_session import TlsSession

MAX_IDLE_SECONDS: Final = 30.0
"""How long a connection is kept that nobody uses. Many servers close it after a minute."""
RECEIVE_SIZE: Final = 65_536
ENCRYPT_SIZE: Final = 65_536
"""How much of a request is encrypted at once."""


class Connection:
    """A socket to a server, and the reader of its responses.

    :ivar address: where it leads.
    :ivar reader: the reader of the response to the last request.
    :ivar is_closed: whether it has been closed, here or in the process that this one was forked of.
    """

    __slots__ = (
        "__weakref__",
        "_close_socket",
        "_idle_until",
        "_is_interrupted",
        "_poll",
        "_send_error",
        "_socket",
        "_tls",
        "address",
        "is_closed",
        "reader",
    )

    def __init__(self, address: Address, connected: socket.socket) -> None:
        self.is_closed = False
        self._socket = connected
        self.address = address
        self._tls: TlsSession | None = None
        self._is_interrupted = False
        self.reader = ResponseReader()
        self._send_error: OSError | None = None
        self._idle_until = 0.0
        self._poll: Any = None
        # Not __del__: in a reference cycle the socket may be finalized before its connection.
        self._close_socket = weakref.finalize(self, connected.close)
        _connections.add(self)

    def mark_idle(self) -> None:
        """Note that nobody uses the connection from now on."""
        self._idle_until = time.monotonic() + MAX_IDLE_SECONDS

    def has_expired(self) -> bool:
        """Return whether nobody has used the connection for too long."""
        return time.monotonic() > self._idle_until

    def can_be_used(self) -> bool:
        """Return whether an idle connection is open, as far as that can be seen without waiting."""
        # The server has closed it if there is something to read, or sends what nobody asked for.
        return not self.is_closed and not self.has_expired() and not self._is_readable()

    def _is_readable(self) -> bool:
        if not hasattr(select, "poll"):  # on Windows
            return bool(select.select([self._socket], [], [], 0)[0])
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
        return bool(self._poll.poll(0))

    def has_died_silently(self, error: TransportError) -> bool:
        """Return whether the error of a call means that the idle connection had died before.

        Then the server cannot have answered, and the request is sent on a fresh connection.
        """
        is_silent = not (self.reader.has_begun or isinstance(error, TransportTimeout))
        return is_silent and not self._is_interrupted

    def feed_reader(self, data: bytes) -> None:
        """Give the reader what has arrived; no bytes are the end of the connection."""
        if data:
            self.reader.feed(data)
        else:
            self.reader.feed_eof(is_clean=self._tls is None or self._tls.ends_cleanly)

    def close(self) -> None:
        """Close the connection at once. Nobody may be waiting for it."""
        if self.is_closed:
            return
        self.is_closed = True
        with suppress(OSError):
            if self._tls is not None and (farewell := self._tls.close()):
                self._socket.setblocking(False)
                self._socket.send(farewell)
        self._close_socket()

    def abandon(self) -> None:
        """In a forked child, let go of the parent's connection, of which the server hears nothing.

        A copy of the socket that stayed open here would keep the parent from closing its own.
        """
        self.is_closed = True
        self._close_socket()


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def _abandon_connections_after_fork() -> None:
    """In a forked child, abandon all connections of the parent."""
    for connection in list(_connections):
        connection.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_connections_after_fork)
