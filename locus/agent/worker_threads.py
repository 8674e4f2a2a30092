"""Threads for blocking functions of the user's, the same on every runtime.

Each call has a thread to itself, and a daemon one: nothing can stop a thread that does not come
back, but the end of the program waits for none that a run has left behind. One that has done its
work waits a moment for more.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final

import anyio
from anyio.lowlevel import current_token
from sniffio import current_async_library_cvar


def in_thread(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Call ``function`` in another thread, with the context variables of this one."""
    future: Future[Any] = Future()
    context = copy_context()
    context.run(current_async_library_cvar.set, None)  # no event loop runs there

    def work() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            came = context.run(function, *args)
        except BaseException as why:  # noqa: BLE001 - raised where it is waited for
            future.set_exception(why)
        else:
            future.set_result(came)

    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.queue.put(work)
    return future


class _Worker:
    """A thread that does one piece of work at a time."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name=_IDLE, daemon=True).start()

    def _run(self) -> None:
        thread = threading.current_thread()
        while True:
            try:
                work = self.queue.get(timeout=_IDLE_SECONDS)
            except Empty:
                try:
                    _idle.remove(self)
                except (ValueError, IndexError):
                    continue  # somebody has taken it: there will be work
                return
            thread.name = "locus tool"
            work()
            del work  # and what it holds
            thread.name = _IDLE
            _idle.append(self)


_IDLE: Final = "locus tool (idle)"
_IDLE_SECONDS: Final = 2.0
_idle: deque[_Worker] = deque()  # its methods are atomic, and so need no lock
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # the threads are the parent's


async def from_thread(function: Callable[..., Any], *args: Any) -> Any:
    """What ``function`` gives in another thread; cancelled, the thread is left behind."""
    woken = anyio.Event()
    # The loop's own way to be called from another thread, which waits for nothing there.
    loop: Any = current_token().native_token
    soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon

    def wake(future: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            soon(woken.set)

    await anyio.lowlevel.checkpoint()  # who is cancelled begins nothing
    future = in_thread(function, *args)
    future.add_done_callback(wake)
    await woken.wait()
    return future.result()


def as_failure(error: BaseException) -> Exception | None:
    """What a tool has raised as an error for the model; None where it is no tool's failure.

    A cancellation is one: whoever calls this knows that it is not the run's. So is the end of a
    generator, which would be taken for the end of the run's own.
    """
    if _is_cancellation(error):
        failure = RuntimeError("the tool was cancelled")
    elif isinstance(error, GeneratorExit):
        failure = RuntimeError("the tool raised GeneratorExit")
    else:
        return error if isinstance(error, Exception) else None
    failure.__cause__ = error
    return failure


def _is_cancellation(error: BaseException) -> bool:
    """That of a future, or of asyncio's, told by its name: no event loop is imported for it."""
    return isinstance(error, CancelledError) or any(
        (kind.__module__, kind.__name__) == ("asyncio.exceptions", "CancelledError")
        for kind in type(error).__mro__
    )
