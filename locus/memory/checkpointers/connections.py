"""SQLite connections that are shared out: one user at a time, none open across a fork.

An agent calls a checkpointer from whatever worker thread is free, so connections belong to no
thread. Who needs one takes one that is idle, or opens one.

SQLite remembers for the whole process which locks it has on a file. A child that is forked has that
memory and not the locks, so even a connection of its own would read what its parent is
overwriting, or wait for a writer that does not exist in it. Before a fork, therefore, those who are
at work finish, newcomers wait, and what is idle is closed.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

_MAX_IDLE: Final = 4

_gate = threading.Condition(threading.Lock())
"""Closed while somebody forks; also guards what is below and what is idle."""
_at_work = 0
_all: Final[weakref.WeakSet[Connections]] = weakref.WeakSet()


class Connections:
    """The connections of this process to one database.

    :param open_one: opens another one.
    """

    def __init__(self, open_one: Callable[[], sqlite3.Connection]) -> None:
        self._open = open_one
        self._idle: list[sqlite3.Connection] = []
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
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._open()
            try:
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()  # and with it ends what it has begun
                raise
            with _gate:
                keep = closed == self._closed and len(self._idle) < _MAX_IDLE
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def close(self) -> None:
        """Close those that are idle now, and the others when they are given back."""
        with _work():
            with _gate:
                idle = self._take_idle()
            _close_all(idle)

    def _take_idle(self) -> list[sqlite3.Connection]:
        self._closed += 1
        idle = self._idle[:]
        self._idle.clear()
        return idle


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


@contextmanager
def _work() -> Iterator[None]:
    """Nobody forks meanwhile."""
    global _at_work
    with _gate:
        _at_work += 1
    try:
        yield
    finally:
        with _gate:
            _at_work -= 1
            _gate.notify_all()


def _before_fork() -> None:
    _gate.acquire()
    while _at_work:
        _gate.wait()
    for connections in list(_all):
        _close_all(connections._take_idle())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_gate.release, after_in_child=_gate.release
    )
