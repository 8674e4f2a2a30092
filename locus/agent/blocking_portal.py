"""Calls async functions from a blocking run, in a background event loop.

When the run has ended, nothing of it is left in the loop, except a tool that ignores cancellation.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from functools import partial
from inspect import isawaitable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import attrs

from locus.agent.await_in_context import call_in_context
from locus.agent.background_event_loop import BackgroundLoop
from locus.agent.choose_background_loop import choose_background_loop
from locus.agent.effects import GRACE_SECONDS
from locus.core.events import ModelChunkEvent


@attrs.frozen(eq=False)
class AsyncOutcome:
    """The return value of an async function, or the error that it raised."""

    value: Any = None
    error: BaseException | None = None

    def unwrap(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


async def _call_and_capture_outcome(
    function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], ended: threading.Event
) -> AsyncOutcome:
    """Call an async function and return its outcome, whatever it raises.

    An error that ends a program, such as ``KeyboardInterrupt``, would end the event loop, so it is
    raised in the thread of the run instead.
    """
    from anyio import get_cancelled_exc_class

    try:
        return AsyncOutcome(await function(*args))
    except get_cancelled_exc_class():  # the loop needs this one
        raise
    except BaseException as exc:  # noqa: BLE001 - unwrap raises it
        return AsyncOutcome(error=exc)
    finally:
        ended.set()


class RunPortal:
    """The async calls of one blocking run."""

    def __init__(self) -> None:
        self._loop: BackgroundLoop | None = None
        self._cancel_count = 0
        self._tasks: list[tuple[Future[AsyncOutcome], threading.Event]] = []
        self._lock = threading.Lock()

    def start_async_function(
        self,
        function: Callable[..., Awaitable[Any]],
        *args: Any,
        owner: Callable[..., Any] | None = None,
    ) -> Future[AsyncOutcome]:
        """Start an async function in a background loop and return a future of its outcome.

        :param owner: the user's function, whose loop it is; ``function`` if None.
        """
        ended = threading.Event()
        count = self._cancel_count
        loop = self._loop = choose_background_loop(
            owner or function, self._loop, lambda: self._cancel_count != count
        )
        with self._lock:  # tools in worker threads may use it, too
            self._tasks = [task for task in self._tasks if not task[1].is_set()]
            future = loop.portal.start_task_soon(_call_and_capture_outcome, function, args, ended)
            self._tasks.append((future, ended))
        return future

    def run_async_function(
        self,
        function: Callable[..., Awaitable[Any]],
        *args: Any,
        owner: Callable[..., Any] | None = None,
    ) -> Any:
        """Call an async function in a background loop and return its result.

        :param owner: the user's function, whose loop it is; ``function`` if None.
        """
        future = self.start_async_function(function, *args, owner=owner)
        try:
            return future.result().unwrap()
        except BaseException:
            future.cancel()  # this thread may have been interrupted
            raise

    def await_if_awaitable(
        self, value: Any, owner: Callable[..., Any], context: Context | None = None
    ) -> Any:
        """Return a value; if it is awaitable, await it and return its result.

        :param owner: the user's function that gave the value.
        :param context: the context that it is awaited in; None is a copy of that of this thread.
        """
        if not isawaitable(value):
            return value
        return self.run_async_function(
            call_in_context, context, partial(_return_value, value), owner=owner
        )

    def iter_stream_events(
        self, stream: AsyncIterator[ModelChunkEvent], owner: Callable[..., Any]
    ) -> Iterator[ModelChunkEvent]:
        """Iterate over a model's async stream, which a background loop reads.

        :param owner: the model's method that gave the stream.
        """
        return _StreamIterator(stream, self, owner)

    def cancel_tasks(self) -> None:
        """Cancel what runs in the loop now; any thread may call this."""
        with self._lock:
            self._cancel_count += 1
            tasks = list(self._tasks)
        for future, _ in tasks:
            future.cancel()

    def close(self) -> None:
        """Cancel what the run left in the loop, and wait a limited time for its end."""
        tasks, self._tasks = self._tasks, []
        for future, _ in tasks:
            future.cancel()
        deadline = monotonic() + GRACE_SECONDS
        for _, ended in tasks:
            ended.wait(max(0.0, deadline - monotonic()))


def _return_value(value: Any) -> Any:
    """Return a value, as a function that gives an awaitable."""
    return value


class _StreamIterator(Iterator[ModelChunkEvent]):
    """An async stream. One task reads it all, because a stream may have a cancel scope open."""

    def __init__(
        self,
        stream: AsyncIterator[ModelChunkEvent],
        portal: RunPortal,
        owner: Callable[..., Any],
    ) -> None:
        self._events: SimpleQueue[ModelChunkEvent | None] = SimpleQueue()
        self._reader = portal.start_async_function(
            self._read_stream_into_queue, stream, owner=owner
        )
        self._ended = False

    async def _read_stream_into_queue(self, stream: AsyncIterator[ModelChunkEvent]) -> None:
        """Put the events of a stream into the queue, close the stream, and put None at the end."""
        try:
            async for event in stream:
                self._events.put(event)
        finally:
            try:
                close = getattr(stream, "aclose", None)
                if close is not None:
                    import anyio

                    with anyio.move_on_after(GRACE_SECONDS, shield=True):
                        await close()
            finally:
                self._events.put(None)

    def __next__(self) -> ModelChunkEvent:
        event = None if self._ended else self._events.get()
        if event is None:
            self._ended = True
            self._reader.result().unwrap()
            raise StopIteration
        return event

    def close(self) -> None:
        """Stop reading, and wait until the stream is closed."""
        self._reader.cancel()
        deadline = monotonic() + 2 * GRACE_SECONDS  # the stream has the first half
        with suppress(Empty):
            while not self._ended:
                self._ended = self._events.get(timeout=max(0.0, deadline - monotonic())) is None
        self._ended = True
