"""SQLite connections that are shared out: one user at a time, none open across a fork.

An agent calls a checkpointer from whatever worker thread is free, so connections belong to no
thread. Who needs one takes one that is idle, or opens one.

SQLite remembers for the whole process which locks it has on a file. A child that is forked has that
memory and not the locks, so even a connection of its own would read what its parent is
overwriting, or wait for a writer that does not exist in it. Before a fork, therefore, those who are
at work finish, newcomers wait, and what is idle is closed.

What was idle may also have been left behind: by a file that was removed or replaced, or by a newer
version that has brought the tables up to date. Such a connection is closed, and another one opened.
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

_gate = threading.Condition(threading.Lock())
"""Closed while somebody forks; also guards what is below and what is idle."""
_at_work = 0
_forking = False
_all: Final[weakref.WeakSet[Connections]] = weakref.WeakSet()


class Unchanging(sqlite3.Connection):
    """A connection that takes the file to stay as it is: for one use, as somebody may write."""


_File: TypeAlias = tuple[int, int] | None
"""Which file a path leads to; None where to none."""


class Connections:
    """The connections of this process to one database.

    :param path: the database file.
    :param open_one: opens another one.
    :param is_current: whether the tables that a connection sees, inside a transaction, are those
        that ``open_one`` leaves. Where they are not, another one is opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        open_one: Callable[[], sqlite3.Connection],
        is_current: Callable[[sqlite3.Connection], bool],
    ) -> None:
        self._path = path
        self._open = open_one
        self._is_current = is_current
        self._idle: list[tuple[_File, sqlite3.Connection]] = []
        self._closed = 0  # how many times; what was taken before the last one is not kept
        self._writing = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)
        with _gate:
            _all.add(self)

    @contextmanager
    def taken(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection to use alone, inside a transaction. After an error it is not used again.

        :param write: wait for others who write. Those of this process take turns, which is fairer
            and faster than waiting at SQLite's own lock.
        """
        with ExitStack() as stack:
            stack.enter_context(_work())
            if write:
                stack.enter_context(self._writing)
            with _gate:
                closed = self._closed
            file, connection = self._begun("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # and with it ends what it has begun
                raise
            with _gate:
                keep = closed == self._closed and len(self._idle) < _MAX_IDLE
                if keep:
                    self._idle.append((file, connection))
            if not keep:
                connection.close()

    def _begun(self, begin: str) -> tuple[_File, sqlite3.Connection]:
        """A connection in a transaction, to the file that is there, with tables that are known."""
        while True:
            there = _file_at(self._path)
            with _gate:
                file, connection = self._idle.pop() if self._idle else (None, None)
            if connection is not None and (file is None or file != there):
                connection.close()
                continue
            if connection is None:
                connection = self._open()
                file = None if isinstance(connection, Unchanging) else _file_at(self._path)
            try:
                connection.execute(begin)
                if self._is_current(connection):
                    return file, connection
            except BaseException:
                connection.close()
                raise
            connection.close()  # to open another one brings them up to date, or says why not

    def close(self) -> None:
        """Close those that are idle now, and the others when they are given back."""
        with _work():
            with _gate:
                idle = self._take_idle()
            _close_all(idle)

    def _take_idle(self) -> list[tuple[_File, sqlite3.Connection]]:
        self._closed += 1
        idle = self._idle[:]
        self._idle.clear()
        return idle


def _close_all(connections: list[tuple[_File, sqlite3.Connection]]) -> None:
    while connections:
        connections.pop()[1].close()


def _file_at(path: str | os.PathLike[str]) -> _File:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _work() -> Iterator[None]:
    """Nobody forks meanwhile."""
    global _at_work
    with _gate:
        while _forking:  # or those at work would never be done
            _gate.wait()
        _at_work += 1
    try:
        yield
    finally:
        with _gate:
            _at_work -= 1
            _gate.notify_all()


def _before_fork() -> None:
    global _forking
    _gate.acquire()
    while _forking:  # another thread
        _gate.wait()
    _forking = True
    while _at_work:
        _gate.wait()
    for connections in list(_all):
        _close_all(connections._take_idle())


def _after_fork() -> None:
    global _forking
    _forking = False
    _gate.notify_all()
    _gate.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
