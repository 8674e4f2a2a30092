"""What Locus keeps for each event loop: its connections, its open streams, and what is to close.

A connection belongs to the event loop that opened it. The state of a loop holds a suspended async
generator: asyncio and trio both close such generators when a run ends, and this one then closes the
loop's connections.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import RunVar

MAX_CLOSE_SECONDS = 2.0
"""Seconds: how long closing may take when the caller has been cancelled."""


class LoopState:
    """The connections and open streams of one event loop.

    :ivar senders: the sender of each connection pool that has been used in this loop.
    :ivar open_streams: the streams that have not been closed. They are held here so that a stream
        in a reference cycle is not collected together with httpx's generators: trio would warn.
    :ivar pending_closes: what to close at the next occasion, because nobody could await it.
    :ivar end_callbacks: what to call before the loop ends, by owner.
    """

    def __init__(self) -> None:
        self.senders: dict[weakref.ref[Any], Any] = {}
        self.open_streams: set[object] = set()
        self.pending_closes: deque[Callable[[], Awaitable[None]]] = deque()
        self.end_callbacks: dict[weakref.ref[Any], Callable[[], Awaitable[None]]] = {}
        self.cleanup_generator: AsyncGenerator[None, None] | None = None
        self.reset_variable: Callable[[], None] | None = None

    def schedule_pool_close(self, pool: weakref.ref[Any]) -> None:
        """Schedule the closing of a dropped pool's sender. Any thread may call this."""
        sender = self.senders.pop(pool, None)
        if sender is not None:
            self.pending_closes.append(sender.close)

    def schedule_end_callback(self, owner: weakref.ref[Any]) -> None:
        """Schedule the callback that a dropped owner has registered by :func:`call_at_loop_end`."""
        callback = self.end_callbacks.pop(owner, None)
        if callback is not None:
            self.pending_closes.append(callback)

    async def run_pending_closes(self) -> None:
        """Close everything in ``pending_closes``."""
        while self.pending_closes:
            await self.pending_closes.popleft()()

    async def close_all_at_loop_end(self) -> AsyncGenerator[None, None]:
        """Stay suspended until the loop closes this generator; then close everything."""
        try:
            yield
        finally:
            # This generator refers to the loop. A loop that is referred to from here never dies.
            self.cleanup_generator = None
            if self.reset_variable is not None:
                self.reset_variable()
            self.open_streams.clear()  # the loop closes httpx's generators, and so the responses
            with anyio.move_on_after(MAX_CLOSE_SECONDS, shield=True):
                # Repeated, because other threads may drop pools meanwhile.
                while self.senders or self.end_callbacks or self.pending_closes:
                    for pool in list(self.senders):
                        self.schedule_pool_close(pool)
                    for owner in list(self.end_callbacks):
                        self.schedule_end_callback(owner)
                    await self.run_pending_closes()


_loop_state: RunVar[LoopState] = RunVar("locus.transport")


async def get_loop_state() -> LoopState:
    """Return the state of the running event loop. Close what is in ``pending_closes`` first."""
    loop_state = _get_or_create_loop_state()
    if loop_state.pending_closes:
        await loop_state.run_pending_closes()
    return loop_state


def _get_or_create_loop_state() -> LoopState:
    """Return the state of the running event loop; create it if there is none."""
    loop_state = _loop_state.get(None)
    if loop_state is None:
        loop_state = LoopState()
        loop_state.reset_variable = partial(_loop_state.reset, _loop_state.set(loop_state))
        loop_state.cleanup_generator = loop_state.close_all_at_loop_end()
        with suppress(StopIteration):  # it runs to its yield, and awaits nothing before it
            loop_state.cleanup_generator.__anext__().send(None)
    return loop_state


def call_at_loop_end(owner: object, callback: Callable[[], Awaitable[None]]) -> None:
    """Call ``callback`` before the running loop ends, or some time after ``owner`` is dropped.

    :param callback: releases what belongs to the loop. It must not hold a reference to ``owner``.
    """
    loop_state = _get_or_create_loop_state()
    loop_state.end_callbacks[weakref.ref(owner, loop_state.schedule_end_callback)] = callback
