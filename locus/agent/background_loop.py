"""The event loop in which blocking runs call what is async: one in a process, in a daemon thread.

It stays from run to run, so that what an async tool keeps between its calls, a connection say, is
still good in the next run. It begins when it is first wanted, and ends with the program. Who cannot
have it, since something that waits stands in its way, has another one for the length of a run.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

_ANSWERS_WITHIN: Final = 1.0
_ENDS_WITHIN: Final = 2.0
"""Seconds."""


class HelperLoop:
    """An event loop in a thread of its own, which runs already.

    :ivar portal: calls what is async there.
    """

    portal: BlockingPortal
    _stop: Callable[[], None]
    _soon: Callable[..., Any]

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        # A daemon: the end of the program waits for no tool.
        self._thread = threading.Thread(
            target=Context().run, args=(self._run,), name="locus loop", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            import anyio  # where it is needed at all

            anyio.run(self._serve)
        except BaseException as why:
            if self._ready.is_set():
                raise
            self._failure = why
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        import anyio
        from anyio.from_thread import BlockingPortal
        from anyio.lowlevel import current_token

        stop = anyio.Event()
        loop: Any = current_token().native_token
        self._stop, self._soon = stop.set, loop.call_soon_threadsafe
        async with BlockingPortal() as self.portal:
            self._ready.set()
            await stop.wait()
            await self.portal.stop(cancel_remaining=True)

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def here(self) -> bool:
        """Whether this is its thread, which cannot wait for itself."""
        return threading.current_thread() is self._thread

    def answers(self) -> bool:
        """Whether it does what it is asked to: it does not while a tool blocks it."""
        if self.here or not self.alive:
            return False
        answered = threading.Event()
        try:
            self._soon(answered.set)
        except RuntimeError:  # it has ended
            return False
        return answered.wait(_ANSWERS_WITHIN)

    def close(self) -> None:
        """Cancel what is still running there, and end it."""
        with suppress(RuntimeError):  # it has ended
            self._soon(self._stop)
        if not self.here:
            self._thread.join(_ENDS_WITHIN)


def shared() -> HelperLoop | None:
    """The one of the process; None where it cannot be had now."""
    global _shared
    with _lock:
        if _shared is None or not _shared.alive:
            _shared = HelperLoop()
        loop = _shared
    return loop if loop.answers() else None


_lock = threading.Lock()
_shared: HelperLoop | None = None


@atexit.register
def _at_exit() -> None:
    if _shared is not None:
        _shared.close()


def _after_fork() -> None:
    global _lock, _shared
    if _shared is not None:
        _parents.append(_shared)  # whose thread is not here, to end it
    _lock, _shared = threading.Lock(), None


_parents: list[HelperLoop] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
