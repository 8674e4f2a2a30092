"""Waiting in tests, so that none depends on how busy the machine is.

What has to happen is waited for, as long as it takes; what must not be waited for would take longer
than :data:`HANG_SECONDS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

T = TypeVar("T")

HANG_SECONDS: Final = 60.0
"""Seconds that nothing here takes on any machine: what takes longer hangs."""

FOREVER: Final = 2 * HANG_SECONDS
"""Seconds that are waited by whoever must not be waited for."""


class HangGuard:
    """``with HangGuard():`` fails where the block waited for what it must not wait for."""

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *exc: object) -> None:
        duration = time.monotonic() - self._start
        if duration > HANG_SECONDS:
            pytest.fail(f"it waited: {duration:.1f} s have passed")


def retry_slower(test: Callable[[float], T], longest: float = 64.0) -> T:
    """``test(1)``; where that fails ``test(2)``, ``test(4)`` and so on: what it returns.

    For what can only be seen by timeouts: the test multiplies all its times with the factor. A busy
    machine needs a few rounds, a fault fails in every one of them, and the last failure is raised.
    """
    factor = 1.0
    while True:
        try:
            return test(factor)
        except Exception:  # the last one is raised
            factor *= 2
            if factor > longest:
                raise
