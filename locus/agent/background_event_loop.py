"""An event loop in a daemon thread, in which blocking runs call async functions.

The loop starts when it is first needed and ends with the program. All runs of a process share it,
so that something that an async tool keeps between its calls, such as a connection, still works in
the next run. Which loop a call gets, if a tool blocks one, ``choose_background_loop`` decides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from locus.agent.survive_system_exit import make_tasks_survive_system_exit

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

_SHUTDOWN_SECONDS: Final = 2.0
"""How long to wait for the thread of a loop to end."""


class BackgroundLoop:
    """An event loop that runs in a thread of its own.

    :ivar portal: starts async functions in the loop.
    """

    portal: BlockingPortal
    _stop: Callable[[], None]
    _call_soon: Callable[..., Any]

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._start_error: BaseException | None = None
        # A daemon: the end of the program does not wait for tools.
        self._thread = threading.Thread(
            target=Context().run, args=(self._run_event_loop,), name="locus loop", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._start_error is not None:
            raise self._start_error

    def _run_event_loop(self) -> None:
        """Run the event loop in its thread, until :meth:`close`."""
        try:
            import anyio  # only if a loop is needed

            anyio.run(self._serve_portal)
        except BaseException as exc:
            if self._ready.is_set():
                raise
            self._start_error = exc
        finally:
            self._ready.set()

    async def _serve_portal(self) -> None:
        """Open the portal and wait until :meth:`close` stops the loop."""
        import anyio
        from anyio.from_thread import BlockingPortal
        from anyio.lowlevel import current_token

        stop = anyio.Event()
        loop: Any = current_token().native_token
        self._stop, self._call_soon = stop.set, loop.call_soon_threadsafe
        await make_tasks_survive_system_exit(loop)
        async with BlockingPortal() as self.portal:
            self._ready.set()
            await stop.wait()
            await self.portal.stop(cancel_remaining=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread of the loop is running."""
        return self._thread.is_alive()

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller is in the thread of the loop, which cannot wait for itself."""
        return threading.current_thread() is self._thread

    def start_probe(self) -> threading.Event:
        """Have the loop set an event as soon as it runs callbacks: not while a tool blocks it."""
        responded = threading.Event()
        if not self.is_current_thread and self.is_alive:
            with suppress(RuntimeError):  # the loop has ended
                self._call_soon(responded.set)
        return responded

    def close(self) -> None:
        """Cancel what is still running in the loop, and end it."""
        with suppress(RuntimeError):  # the loop has ended
            self._call_soon(self._stop)
        if not self.is_current_thread:
            self._thread.join(_SHUTDOWN_SECONDS)
