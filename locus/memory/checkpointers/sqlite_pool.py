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
        weakref.finalize(self, _close_all, self._idle)
        with _condition:
            _pools.add(self)

    @contextmanager
    def acquire(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction, for one user. After an error it is closed, not reused.

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

    def _begin_transaction(self, begin: str) -> tuple[_FileIdentity, sqlite3.Connection]:
        """A connection in a transaction, to the file that exists now, with the current schema."""
        while True:
            current_identity = _identify_file(self._path)
            with _condition:
                identity, connection = self._idle.pop() if self._idle else (None, None)
            if connection is not None and (identity is None or identity != current_identity):
                connection.close()
                continue
            if connection is None:
                connection = self._open_connection()
                reusable = not isinstance(connection, ImmutableConnection)
                identity = _identify_file(self._path) if reusable else None
            try:
                connection.execute(begin)
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
                idle = self._take_idle()
            _close_all(idle)

    def _take_idle(self) -> list[tuple[_FileIdentity, sqlite3.Connection]]:
        self._close_count += 1
        idle = self._idle[:]
        self._idle.clear()
        return idle


def _close_all(connections: list[tuple[_FileIdentity, sqlite3.Connection]]) -> None:
    while connections:
        connections.pop()[1].close()


def _identify_file(path: str | os.PathLike[str]) -> _FileIdentity:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _block_forks() -> Iterator[None]:
    """A fork waits until the end of this ``with`` block."""
    global _active_users
    with _condition:
        while _forking:  # otherwise the fork might wait for ever
            _condition.wait()
        _active_users += 1
    try:
        yield
    finally:
        with _condition:
            _active_users -= 1
            _condition.notify_all()


def _before_fork() -> None:
    global _forking
    _condition.acquire()
    while _forking:  # in another thread
        _condition.wait()
    _forking = True
    while _active_users:
        _condition.wait()
    for pool in list(_pools):
        _close_all(pool._take_idle())


def _after_fork() -> None:
    global _forking
    _forking = False
    _condition.notify_all()
    _condition.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
