"""Runs the blocking methods of a signer for async callers: at most one thread for each signer.

anyio's worker threads would not do here. When a task is cancelled, its worker thread runs on, and
the next task takes another one: while a credential service hangs, such threads add up, or use up
the worker threads that the application needs for itself. Here a signer has at most one thread in
the whole process. Tasks that need the same result wait for that thread, in whichever event loop
they run. A task that is cancelled only stops waiting: the thread goes on for the other tasks.
"""

from __future__ import annotations

import copy
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import current_token

from locus.core.errors import LocusError
from locus.transport.key_function_signer import KeySigner
from locus.transport.signer import Signer

T = TypeVar("T")


async def ensure_signer_ready(signer: Signer) -> None:
    """Call ``signer.ensure_ready()`` in a thread, unless the signer is ready.

    :raises Exception: whatever that call raises.
    """
    if signer.is_ready():
        return
    if isinstance(signer, KeySigner):
        await signer.ensure_ready_async(lambda: _run_in_shared_thread(signer, signer.ensure_ready))
    else:
        await _run_in_shared_thread(signer, signer.ensure_ready)


async def refresh_credentials(signer: Signer, version: int) -> bool:
    """Call ``signer.refresh_credentials(version)`` in a thread, unless they changed already."""
    if signer.credentials_version != version:
        return True
    return await _run_in_shared_thread(signer, signer.refresh_credentials, version)


async def _run_in_shared_thread(signer: Signer, function: Callable[..., T], *args: Any) -> T:
    """Return the result of ``function(*args)``, from a thread that all callers share."""
    while True:
        waiter = _Waiter()
        with _lock:
            task = _tasks.get(signer)
            if task is None:
                task = _SingleFlightTask(signer, function, args)
                task.start()
                _tasks[signer] = task
            task.waiters.add(waiter)
        try:
            await waiter.finished.wait()
        finally:
            with _lock:
                task.waiters.discard(waiter)
        if task.is_same_call(function, args):
            result: T = task.get_result()
            return result


class _Waiter:
    """An async task that waits until another thread wakes it."""

    def __init__(self) -> None:
        self.finished = anyio.Event()
        # The loop's own method, because anyio.from_thread would wait until the loop has run the
        # call: a loop that is blocked must not delay the waiters of other loops.
        loop: Any = current_token().native_token
        self._call_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon

    def wake(self) -> None:
        """Wake the task, from any thread."""
        with suppress(RuntimeError):  # its loop has ended
            self._call_soon(self.finished.set)


class _SingleFlightTask:
    """One call of a signer's method, in a thread of its own, and the tasks that wait for it."""

    def __init__(self, signer: Signer, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.waiters: set[_Waiter] = set()
        self._signer = signer
        self._function = function
        self._args = args
        self._result: Any = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        # A daemon thread: the end of the program does not wait for a credential service.
        threading.Thread(target=self._run_function, name="locus.signer", daemon=True).start()

    def is_same_call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        """Return whether this task calls ``function(*args)``."""
        return self._function == function and self._args == args

    def get_result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        error = self._error
        if isinstance(error, LocusError):  # a copy, because each caller adds context to its error
            raise copy.copy(error) from error.__cause__
        if error is not None:
            raise error
        return self._result

    def _run_function(self) -> None:
        """Call the function, store what it returns or raises, and wake the waiting tasks."""
        try:
            self._result = self._function(*self._args)
        except BaseException as exc:  # noqa: BLE001 - raised where the result is awaited
            self._error = exc
        with _lock:  # after this, another task of this signer may start
            if _tasks.get(self._signer) is self:
                del _tasks[self._signer]
            waiters = list(self.waiters)
        for waiter in waiters:
            waiter.wake()


_lock = threading.Lock()
_tasks: weakref.WeakKeyDictionary[Signer, _SingleFlightTask] = weakref.WeakKeyDictionary()


def _drop_tasks_after_fork() -> None:
    """In a forked child, forget the parent's tasks, whose threads do not exist here."""
    global _lock
    _lock = threading.Lock()
    _tasks.clear()  # their threads exist only in the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_tasks_after_fork)
