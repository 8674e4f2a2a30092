"""``ReadWatch``: one timer of an event loop for all reads that wait for a server.

A cancel scope for each read costs as much as all else that reading takes: in a stream whose chunks
arrive alone, half of its time. Here a read that begins leaves a note of when it has waited for too
long, and takes it back when it ends. Only where that time comes does anything happen.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from anyio.lowlevel import current_token


class WatchedRead(Protocol):
    """Something that waits for a server."""

    def end_silence(self) -> None:
        """End the waiting, unless something has arrived."""
        ...


class ReadWatch:
    """Ends the reads of one event loop that wait for too long."""

    __slots__ = ("_ends_at", "_next_check", "_timer")

    def __init__(self) -> None:
        self._ends_at: dict[WatchedRead, float] = {}
        self._next_check: float | None = None
        self._timer = _make_timer()

    def begin(self, read: WatchedRead, max_silence: float) -> None:
        """Note that a read waits from now on, so many seconds at most."""
        ends_at = self._ends_at[read] = time.monotonic() + max_silence
        if self._next_check is None or ends_at < self._next_check:
            self._schedule(ends_at)

    def end(self, read: WatchedRead) -> None:
        """Note that a read does not wait any more."""
        self._ends_at.pop(read, None)

    def _schedule(self, at: float) -> None:
        self._next_check = at
        self._timer.start(max(0.0, at - time.monotonic()), self._check)

    def _check(self) -> None:
        """End the reads that have waited for too long; look again when the next one may have."""
        self._next_check = None
        now = time.monotonic()
        for read in [read for read, ends_at in self._ends_at.items() if ends_at <= now]:
            self.end(read)
            read.end_silence()
        if self._ends_at:
            self._schedule(min(self._ends_at.values()))


class _Timer(ABC):
    """One timer of the running event loop."""

    @abstractmethod
    def start(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call a function after so many seconds, and forget what was to be called before."""


class _LoopTimer(_Timer):
    """The timer of an event loop of asyncio's kind."""

    def __init__(self, loop: Any) -> None:
        self._call_later = loop.call_later
        self._handle: Any = None

    def start(self, seconds: float, callback: Callable[[], None]) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._call_later(seconds, callback)


class _TrioTimer(_Timer):
    """A timer of trio: a system task, which ends with the run."""

    def __init__(self) -> None:
        self._trio: Any = sys.modules["trio"]
        self._scope: Any = None

    def start(self, seconds: float, callback: Callable[[], None]) -> None:
        if self._scope is not None:
            self._scope.cancel()
        scope = self._scope = self._trio.CancelScope()

        async def wait() -> None:
            with scope:
                await self._trio.sleep(seconds)
                callback()

        self._trio.lowlevel.spawn_system_task(wait)


def _make_timer() -> _Timer:
    loop = current_token().native_token
    return _LoopTimer(loop) if hasattr(loop, "call_later") else _TrioTimer()
