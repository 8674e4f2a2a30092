"""``IdleConnections``: the connections that a model keeps for its next call.

It holds only those that nobody uses, and counts nothing, so that no call has to give anything back:
a connection that is lost, in whatever way, is simply not there.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final, Generic, TypeVar

from locus.transport.address import Address
from locus.transport.connection import Connection

MAX_IDLE_CONNECTIONS: Final = 100
"""How many connections to one address are kept."""

C = TypeVar("C", bound=Connection)


class IdleConnections(Generic[C]):
    """Idle connections by address. Any number of threads may use it."""

    __slots__ = ("__weakref__", "_idle", "_opened")

    def __init__(self) -> None:
        # A deque can be changed by many threads without a lock, which a forked child could inherit.
        self._idle: dict[Address, deque[C]] = {}
        self._opened: weakref.WeakSet[C] = weakref.WeakSet()

    def take(self, address: Address) -> C | None:
        """Take the connection that was used last, or return None."""
        idle = self._idle.get(address)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.can_be_used():
                return connection
            connection.close()
        return None

    def put(self, connection: C) -> None:
        """Keep a connection that nobody uses any more."""
        connection.mark_idle()
        idle = self._idle.setdefault(connection.address, deque())
        idle.append(connection)
        try:
            while len(idle) > MAX_IDLE_CONNECTIONS or idle[0].has_expired():
                idle.popleft().close()
        except IndexError:  # another thread has taken them
            pass

    def remember(self, connection: C) -> None:
        """Remember a new connection that is in use, for :meth:`list_open`."""
        self._opened.add(connection)

    def list_open(self) -> list[C]:
        """Return all connections that are open, used ones as well."""
        return [connection for connection in list(self._opened) if not connection.is_closed]

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for idle in list(self._idle.values()):
            while idle:
                try:
                    idle.pop().close()
                except IndexError:
                    break
