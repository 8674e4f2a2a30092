"""A pool of SQLite connections: each has one user at a time, and none is open during a fork.

An agent calls a checkpointer from any free worker thread, so a connection belongs to no thread: a
caller takes an idle connection from the pool, or opens a new one.

SQLite stores in the memory of the process which locks it has on a file. A forked child has this
memory, but not the locks. So even a connection that the child opens could read what its parent is
writing, or wait for a writer that does not exist in the child. Therefore a fork waits until no
connection is in use, new users wait for the fork, and the idle connections are closed before it.

An idle connection may be outdated: the file was removed or replaced, or a newer version of Locus
has migrated the tables. Such a connection is closed, and a new one is opened.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, TypeAlias

_MAX_IDLE: Final = 4

_condition = threading.Condition(threading.Lock())
"""Guards the variables below and the idle connections; notified when they change."""
_active_users = 0
_forking = False
_pools: Final[weakref.WeakSet[ConnectionPool]] = weakref.WeakSet()


class ImmutableConnection(sqlite3.Connection):
    """A connection for which the file must not change. Used once only, since others may write."""


_FileIdentity: TypeAlias = tuple[int, int] | None
"""The device and inode of a file; None if there is no file."""


class ConnectionPool:
    """The connections of this process to one database.

    :param path: the database file.
    :param open_connection: opens a new connection.
    :param is_schema_current: called with a connection in a transaction: whether the tables have the
        version that ``open_connection`` migrates to. If not, a new connection is opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        open_connection: Callable[[], sqlite3.Connection],
        is_schema_current: Callable[[sqlite3.Connection], bool],
    ) -> None:
        self._path = path
        self._open_connection = open_connection
        self._is_schema_current = is_schema_current
        self._idle: list[tuple[_FileIdentity, sqlite3.Connection]] = []
        self._close_count = 0  # a connection acquired before the last close() is not reused
        self._write_lock = threading.Lock()
        weakref.finalize(self, _close_connections, self._idle)
        with _condition:
            _pools.add(self)

    @contextmanager
    def open_transaction(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a transaction for the ``with`` block, and commit at its end.

        After an error the transaction is rolled back, and the connection is not reused.

        :param write: wait for other writers. The writers of this process wait for a lock of Python,
            which is fairer and faster than SQLite's own lock.
        """
        with ExitStack() as stack:
            stack.enter_context(_block_forks())
            if write:
                stack.enter_context(self._write_lock)
            with _condition:
                close_count = self._close_count
            identity, connection = self._begin_transaction("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # this rolls the transaction back
                raise
            with _condition:
                reusable = close_count == self._close_count and len(self._idle) < _MAX_IDLE
                if reusable:
                    self._idle.append((identity, connection))
            if not reusable:
                connection.close()

    def _begin_transaction(self, begin_statement: str) -> tuple[_FileIdentity, sqlite3.Connection]:
        """Begin a transaction on a connection to the file that exists now, with the current schema.

        Returns the file's identity and the connection.
        """
        while True:
            current_identity = _get_file_identity(self._path)
            with _condition:
                identity, connection = self._idle.pop() if self._idle else (None, None)
            if connection is not None and (identity is None or identity != current_identity):
                connection.close()
                continue
            if connection is None:
                connection = self._open_connection()
                reusable = not isinstance(connection, ImmutableConnection)
                identity = _get_file_identity(self._path) if reusable else None
            try:
                connection.execute(begin_statement)
                if self._is_schema_current(connection):
                    return identity, connection
            except BaseException:
                connection.close()
                raise
            connection.close()  # opening a new one migrates the tables, or raises an error

    def close(self) -> None:
        """Close the idle connections now, and the others when they are returned."""
        with _block_forks():
            with _condition:
                idle = self._take_idle_connections()
            _close_connections(idle)

    def _take_idle_connections(self) -> list[tuple[_FileIdentity, sqlite3.Connection]]:
        """Remove the idle connections from the pool and return them, not closed yet."""
        self._close_count += 1
        idle = self._idle[:]
        self._idle.clear()
        return idle


def _close_connections(connections: list[tuple[_FileIdentity, sqlite3.Connection]]) -> None:
    """Close the connections and empty the list."""
    while connections:
        connections.pop()[1].close()


def _get_file_identity(path: str | os.PathLike[str]) -> _FileIdentity:
    """Return the identity of the file that exists now; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _block_forks() -> Iterator[None]:
    """Make forks wait until the end of this ``with`` block."""
    global _active_users
    with _condition:
        while _forking:  # otherwise the fork might wait forever
            _condition.wait()
        _active_users += 1
    try:
        yield
    finally:
        with _condition:
            _active_users -= 1
            _condition.notify_all()


def _close_connections_before_fork() -> None:
    """Wait until no connection is in use, and close the idle ones."""
    global _forking
    _condition.acquire()
    while _forking:  # in another thread
        _condition.wait()
    _forking = True
    while _active_users:
        _condition.wait()
    for pool in list(_pools):
        _close_connections(pool._take_idle_connections())


def _unblock_users_after_fork() -> None:
    """Let users of connections continue after a fork."""
    global _forking
    _forking = False
    _condition.notify_all()
    _condition.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_close_connections_before_fork,
        after_in_parent=_unblock_users_after_fork,
        after_in_child=_unblock_users_after_fork,
    )
