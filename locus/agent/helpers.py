"""The threads that help a blocking run: a pool for tools, and one with an event loop.

Neither is there before it is needed, and none is left when the run has ended, but for the thread of
a tool that has run out of time: nothing can stop that.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from locus.agent.effects import Closed
from locus.core.events import ModelChunkEvent

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal


class Helpers:
    """The helping threads of one run."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._open: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._opening = threading.Lock()

    def in_thread(self, limit: int, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Call ``function`` in a thread of the pool, which has ``limit`` of them."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(limit, thread_name_prefix="locus tool")
        return self._pool.submit(copy_context().run, function, *args)

    def leave_pool(self) -> None:
        """Some thread of the pool does not come back: others take its place from now on."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def in_loop(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Future[Any]:
        """Call an async function in the event loop."""
        with self._opening:  # tools in threads may want it, too
            if self._portal is None:
                from anyio.from_thread import start_blocking_portal  # where it is needed at all

                self._open = start_blocking_portal()
                self._portal = self._open.__enter__()
        return self._portal.start_task_soon(function, *args)

    def await_(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """What an async function gives."""
        future = self.in_loop(function, *args)
        try:
            return future.result()
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
        """End the threads."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        opened, self._open, self._portal = self._open, None, None
        if opened is not None:
            with suppress(Closed):  # an error makes it cancel what is still running there
                opened.__exit__(Closed, Closed(), None)


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

                    with anyio.move_on_after(2, shield=True):
                        await close()
            finally:
                self._pieces.put(None)

    def __next__(self) -> ModelChunkEvent:
        piece = None if self._ended else self._pieces.get()
        if piece is None:
            self._ended = True
            self._reading.result()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Stop reading, and wait until that is done."""
        self._reading.cancel()
        while not self._ended:
            self._ended = self._pieces.get() is None
