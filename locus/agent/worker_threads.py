"""Worker threads for the user's blocking functions, the same on every runtime.

Each call has a thread to itself. Nothing can stop a thread whose function does not return. So the
threads are daemons, and the end of the program does not wait for one that a run left behind. An
idle thread waits a short time for more work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final

import anyio
from anyio.lowlevel import current_token
from sniffio import (
    AsyncLibraryNotFoundError,
    current_async_library,
    current_async_library_cvar,
)


def start_in_thread(
    function: Callable[..., Any], *args: Any, context: Context | None = None
) -> Future[Any]:
    """Start a function in another thread and return a future of its result.

    :param context: the context that it runs in; None is a copy of that of this thread.
    """
    future: Future[Any] = Future()
    if context is None:
        context = copy_context()
    context.run(current_async_library_cvar.set, None)  # no event loop runs in that thread

    def run_function() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = context.run(function, *args)
        except BaseException as exc:  # noqa: BLE001 - the future raises it
            future.set_exception(exc)
        else:
            future.set_result(result)

    try:
        worker = _idle_workers.pop()
    except IndexError:
        worker = _Worker()
    worker.queue.put(run_function)
    return future


class _Worker:
    """A thread that runs one function after another."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run_queued_functions, name=_IDLE_NAME, daemon=True).start()

    def _run_queued_functions(self) -> None:
        """Run functions from the queue, until none comes for a while."""
        thread = threading.current_thread()
        while True:
            try:
                function = self.queue.get(timeout=_IDLE_SECONDS)
            except Empty:
                try:
                    _idle_workers.remove(self)
                except (ValueError, IndexError):
                    continue  # another thread took it from the idle workers: work follows
                return
            thread.name = "locus tool"
            function()
            del function  # and everything that it refers to
            thread.name = _IDLE_NAME
            _idle_workers.append(self)


_IDLE_NAME: Final = "locus tool (idle)"
_IDLE_SECONDS: Final = 2.0
_idle_workers: deque[_Worker] = deque()  # no lock: its methods are atomic
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle_workers.clear)  # its threads exist only in the parent


def is_in_event_loop() -> bool:
    """Return whether an event loop runs in this thread."""
    try:
        current_async_library()
    except AsyncLibraryNotFoundError:
        return False
    return True


async def run_in_thread(
    function: Callable[..., Any], *args: Any, context: Context | None = None
) -> Any:
    """Call a function in another thread and return its result.

    If the caller is cancelled, the thread is left behind.

    :param context: the context that it runs in; None is a copy of that of this thread.
    """
    done = anyio.Event()
    # The loop's own method to schedule a call from another thread, which does not block there.
    loop: Any = current_token().native_token
    call_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon

    def notify_loop(future: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            call_soon(done.set)

    await anyio.lowlevel.checkpoint()  # a task that is cancelled starts nothing
    future = start_in_thread(function, *args, context=context)
    future.add_done_callback(notify_loop)
    await done.wait()
    return future.result()
