"""What Locus keeps for each event loop: connections and SDK clients, and what is to close.

An event loop may end in several ways, and what belongs to it ends with it in each of them. A run of
asyncio or trio closes the suspended async generators of its loop at its end: one of them is here,
and releases everything. ``loop.close()`` alone drops the timers of its loop: the state is held by
one of those, and by nothing that outlives the loop, so that it is dropped as well.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
from anyio.lowlevel import RunVar, current_token

from locus.transport.read_watch import ReadWatch

MAX_CLOSE_SECONDS: Final = 2.0
"""Seconds: how long closing may take when the caller has been cancelled."""
_FOR_EVER: Final = 1e9
"""Seconds, 31 years: a timer that holds the state of its loop as long as the loop is open."""


class LoopResource(ABC):
    """Something that is released with its event loop, or after its owner."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release everything, in the event loop."""

    def close_nowait(self) -> bool:
        """Release, in any thread, what needs no loop for that; return whether it is all."""
        return False


class LoopState:
    """The resources and open responses of one event loop.

    :ivar resources: what has been opened in this loop, by owner.
    :ivar open_responses: responses of httpx that have not been closed. They are held here so that
        one in a reference cycle is not collected together with httpx's generators: trio would warn.
    :ivar read_watch: ends the reads that wait for too long.
    :ivar pending_closes: what to close at the next occasion, because nobody could await it.
    """

    def __init__(self) -> None:
        self.read_watch = ReadWatch()
        self.resources: dict[weakref.ref[Any], LoopResource] = {}
        self.open_responses: set[object] = set()
        self.pending_closes: deque[Callable[[], Awaitable[None]]] = deque()
        self.cleanup_generator: AsyncGenerator[None, None] | None = None
        self.forget: Callable[[], None] | None = None

    def release_soon(self, owner: weakref.ref[Any]) -> None:
        """Release the resource of an owner that has been dropped. Any thread may call this."""
        resource = self.resources.pop(owner, None)
        if resource is not None and not resource.close_nowait():
            self.pending_closes.append(resource.aclose)

    async def run_pending_closes(self) -> None:
        """Close everything in ``pending_closes``."""
        while self.pending_closes:
            await self.pending_closes.popleft()()

    async def close_all_at_loop_end(self) -> AsyncGenerator[None, None]:
        """Stay suspended until the loop closes this generator; then close everything."""
        try:
            yield
        finally:
            self.cleanup_generator = None
            if self.forget is not None:
                self.forget()
            self.open_responses.clear()  # the loop closes httpx's generators, and so the responses
            with anyio.move_on_after(MAX_CLOSE_SECONDS, shield=True):
                # Repeated, because other threads may drop owners meanwhile.
                while self.resources or self.pending_closes:
                    for owner in list(self.resources):
                        resource = self.resources.pop(owner, None)
                        if resource is not None:
                            self.pending_closes.append(resource.aclose)
                    await self.run_pending_closes()

    def close_nowait(self) -> None:
        """Release what needs no loop for that."""
        for resource in self.resources.values():
            resource.close_nowait()


class _StateHolder:
    """Held by a timer of the loop alone, so that it is finalized when the loop is closed."""

    def __init__(self, loop_state: LoopState) -> None:
        self._loop_state = loop_state

    def __del__(self) -> None:
        self._loop_state.close_nowait()

    def do_nothing(self) -> None:
        """Be the callback of a timer."""


_loop_state: RunVar[weakref.ref[LoopState] | LoopState] = RunVar("locus.transport")
"""A reference where the loop holds its state, else the state itself."""


async def get_loop_state() -> LoopState:
    """Return the state of the running event loop. Close what is in ``pending_closes`` first."""
    loop_state = get_running_loop_state()
    if loop_state.pending_closes:
        await loop_state.run_pending_closes()
    return loop_state


def get_running_loop_state() -> LoopState:
    """Return the state of the running event loop; create it if there is none."""
    found = _loop_state.get(None)
    loop_state = found() if isinstance(found, weakref.ref) else found
    if loop_state is None:
        loop_state = LoopState()
        call_later = getattr(current_token().native_token, "call_later", None)
        if call_later is None:  # trio, whose runs always close their async generators
            token = _loop_state.set(loop_state)
        else:
            call_later(_FOR_EVER, _StateHolder(loop_state).do_nothing)
            token = _loop_state.set(weakref.ref(loop_state))
        loop_state.forget = partial(_loop_state.reset, token)
        loop_state.cleanup_generator = loop_state.close_all_at_loop_end()
        with suppress(StopIteration):  # it runs to its yield, and awaits nothing before it
            loop_state.cleanup_generator.__anext__().send(None)
    return loop_state


def release_at_loop_end(owner: object, resource: LoopResource) -> None:
    """Release a resource before the running loop ends, or some time after ``owner`` is dropped.

    :param resource: It must not hold a reference to ``owner``.
    """
    loop_state = get_running_loop_state()
    loop_state.resources[weakref.ref(owner, loop_state.release_soon)] = resource
