"""What a blocking run has others do: whatever is async, in the helper loop.

Nothing of it is left there when the run has ended, but for a tool that does not let itself be
cancelled.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import attrs

from locus.agent.background_loop import HelperLoop, shared
from locus.agent.effects import GRACE_SECONDS
from locus.core.events import ModelChunkEvent


@attrs.frozen(eq=False)
class Settled:
    """What came of an async function."""

    value: Any = None
    error: BaseException | None = None

    def get(self) -> Any:
        """What it has given, or raises what it has raised."""
        if self.error is not None:
            raise self.error
        return self.value


async def _settle(
    function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], ended: threading.Event
) -> Settled:
    """What ends a program is not for the event loop to see: it would end where it stands."""
    from anyio import get_cancelled_exc_class

    try:
        return Settled(await function(*args))
    except get_cancelled_exc_class():  # the loop's own
        raise
    except BaseException as why:  # noqa: BLE001 - see Settled.get
        return Settled(error=why)
    finally:
        ended.set()


class Helpers:
    """What one run has under way in the event loop."""

    def __init__(self) -> None:
        self._own: HelperLoop | None = None
        self._tasks: list[tuple[Future[Settled], threading.Event]] = []
        self._opening = threading.Lock()

    def in_loop(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Future[Settled]:
        """Call an async function in the event loop."""
        ended = threading.Event()
        with self._opening:  # tools in threads may want it, too
            if self._own is None:
                loop = shared()
                if loop is None:
                    loop = self._own = HelperLoop()
            else:
                loop = self._own
            self._tasks = [task for task in self._tasks if not task[1].is_set()]
            future = loop.portal.start_task_soon(_settle, function, args, ended)
            self._tasks.append((future, ended))
        return future

    def await_(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """What an async function gives."""
        future = self.in_loop(function, *args)
        try:
            return future.result().get()
        except BaseException:
            future.cancel()  # it may be this thread that is interrupted
            raise

    def awaited(self, value: Any) -> Any:
        """``value``; if it is to be awaited, what it gives."""
        return self.await_(_await, value) if isawaitable(value) else value

    def stream(self, stream: AsyncIterator[ModelChunkEvent]) -> Iterator[ModelChunkEvent]:
        """A model's async stream, read in the event loop and handed over here."""
        return _Handed(stream, self)

    def close(self) -> None:
        """Cancel what the run has left there, and wait for its end: not for ever."""
        tasks, self._tasks = self._tasks, []
        for future, _ in tasks:
            future.cancel()
        until = monotonic() + GRACE_SECONDS
        for _, ended in tasks:
            ended.wait(max(0.0, until - monotonic()))
        own, self._own = self._own, None
        if own is not None:
            own.close()


async def _await(value: Awaitable[Any]) -> Any:
    return await value


class _Handed(Iterator[ModelChunkEvent]):
    """An async stream, read by one task, since streams may hold cancel scopes."""

    def __init__(self, stream: AsyncIterator[ModelChunkEvent], helpers: Helpers) -> None:
        self._pieces: SimpleQueue[ModelChunkEvent | None] = SimpleQueue()
        self._reading = helpers.in_loop(partial(self._read, stream))
        self._ended = False

    async def _read(self, stream: AsyncIterator[ModelChunkEvent]) -> None:
        try:
            async for piece in stream:
                self._pieces.put(piece)
        finally:
            try:
                close = getattr(stream, "aclose", None)
                if close is not None:
                    import anyio

                    with anyio.move_on_after(GRACE_SECONDS, shield=True):
                        await close()
            finally:
                self._pieces.put(None)

    def __next__(self) -> ModelChunkEvent:
        piece = None if self._ended else self._pieces.get()
        if piece is None:
            self._ended = True
            self._reading.result().get()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Stop reading, and wait until that is done."""
        self._reading.cancel()
        until = monotonic() + 2 * GRACE_SECONDS  # it has one of its own
        with suppress(Empty):
            while not self._ended:
                self._ended = self._pieces.get(timeout=max(0.0, until - monotonic())) is None
        self._ended = True
