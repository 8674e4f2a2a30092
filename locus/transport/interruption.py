"""``Interruption``: ends what a thread waits for, on the request of another thread.

Nothing can stop a thread that waits for a socket, except the end of the connection. So whatever is
about to wait registers how its waiting is ended, and asks afterwards whether it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Interrupted(BaseException):
    """Raised in the waiting thread. No ``Exception``: nothing may retry or answer it."""


class Interruption:
    """The request to end what a thread waits for, which any thread may make, once.

    :ivar outer: another interruption that ends the same waiting, or None.
    """

    __slots__ = ("_end_waiting", "_lock", "is_requested", "outer")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end_waiting: Callable[[], None] | None = None
        self.is_requested = False
        self.outer: Interruption | None = None

    def request(self) -> None:
        """End the waiting, now and from now on."""
        with self._lock:
            self.is_requested = True
            if self._end_waiting is not None:
                self._end_waiting()

    def attach(self, end_waiting: Callable[[], None]) -> None:
        """Have a function called once the request is made, now if it was made before."""
        with self._lock:
            self._end_waiting = end_waiting
            if self.is_requested:
                end_waiting()

    def detach(self) -> None:
        """Have nothing called from now on."""
        with self._lock:
            self._end_waiting = None

    def run(self, wait: Callable[[], T], end_waiting: Callable[[], None]) -> T:
        """Call a function that waits, and return its result.

        :param end_waiting: makes the function return or raise soon; called by another thread.
        :raises Interrupted: if the request was made before or meanwhile.
        """
        if self.outer is not None:
            return self.outer.run(partial(self._run, wait, end_waiting), end_waiting)
        return self._run(wait, end_waiting)

    def _run(self, wait: Callable[[], T], end_waiting: Callable[[], None]) -> T:
        with self._lock:
            if self.is_requested:
                raise Interrupted
            outer, self._end_waiting = self._end_waiting, end_waiting
        try:
            result = wait()
        except BaseException as exc:
            if self.is_requested:
                raise Interrupted from exc
            raise
        finally:
            with self._lock:
                self._end_waiting = outer
        if self.is_requested:
            raise Interrupted
        return result


current_interruption: ContextVar[Interruption | None] = ContextVar(
    "locus_interruption", default=None
)
"""The interruption that applies to what this thread waits for; None if nobody can interrupt it."""


def sleep_interruptibly(seconds: float) -> None:
    """Wait, unless the interruption that applies to this thread ends that.

    :raises Interrupted: if it does.
    """
    interruption = current_interruption.get()
    if interruption is None:
        time.sleep(seconds)
        return
    is_over = threading.Event()
    interruption.run(partial(is_over.wait, seconds), is_over.set)


@contextmanager
def allow_interruption(interruption: Interruption) -> Iterator[None]:
    """Apply an interruption to everything in the block that waits for a socket, or for a retry."""
    token = current_interruption.set(interruption)
    try:
        yield
    finally:
        current_interruption.reset(token)
