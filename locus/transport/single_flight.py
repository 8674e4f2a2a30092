"""What a signer does blocking, done for async callers: in one thread, which all of them join.

anyio's worker threads would not do. A task that is cancelled leaves its thread running and the
next one takes another: with a service that hangs they add up, or use up what the application has
for its own. Here a signer has one thread at a time in the whole process. Whoever wants the same
waits for its end, from any loop, and whoever is cancelled leaves it to the others and to the next.
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
from locus.transport.http_call import Signer

T = TypeVar("T")


async def prepare(signer: Signer) -> None:
    """``signer.prepare()``, unless it is ready; raises what that raises."""
    if not signer.ready():
        await _done(signer, signer.prepare)


async def renew(signer: Signer, version: int) -> bool:
    """``signer.renew(version)``, unless there are other credentials by now."""
    return signer.version != version or await _done(signer, signer.renew, version)


async def _done(signer: Signer, work: Callable[..., T], *args: Any) -> T:
    while True:
        waiter = _Waiter()
        with _lock:
            errand = _running.get(signer)
            if errand is None:
                errand = _Errand(signer, work, args)
                errand.start()
                _running[signer] = errand
            errand.waiting.add(waiter)
        try:
            await waiter.woken.wait()
        finally:
            with _lock:
                errand.waiting.discard(waiter)
        if errand.is_for(work, args):
            result: T = errand.outcome()
            return result


class _Waiter:
    """A task that waits, to be woken from another thread."""

    def __init__(self) -> None:
        self.woken = anyio.Event()
        # The loop's own way, which does not wait for it to listen as anyio.from_thread does: a
        # loop that stands still must not keep those of other loops waiting.
        loop: Any = current_token().native_token
        self._soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon

    def wake(self) -> None:
        with suppress(RuntimeError):  # its loop has ended
            self._soon(self.woken.set)


class _Errand:
    """One piece of work, in a thread of its own, and who waits for it."""

    def __init__(self, signer: Signer, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.waiting: set[_Waiter] = set()
        self._signer = signer
        self._work = work
        self._args = args
        self._result: Any = None
        self._error: BaseException | None = None

    def start(self) -> None:
        # A daemon: the end of the program waits for no service.
        threading.Thread(target=self._run, name="locus.signer", daemon=True).start()

    def is_for(self, work: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        """Whether this is the work that somebody wants."""
        return self._work == work and self._args == args

    def outcome(self) -> Any:
        """What the work gave, or raises what it raised."""
        error = self._error
        if isinstance(error, LocusError):  # a copy: whoever raises an error adds to it
            raise copy.copy(error) from error.__cause__
        if error is not None:
            raise error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work(*self._args)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        with _lock:  # from here on, somebody else may begin
            if _running.get(self._signer) is self:
                del _running[self._signer]
            waiting = list(self.waiting)
        for waiter in waiting:
            waiter.wake()


_lock = threading.Lock()
_running: weakref.WeakKeyDictionary[Signer, _Errand] = weakref.WeakKeyDictionary()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _running.clear()  # the threads are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
