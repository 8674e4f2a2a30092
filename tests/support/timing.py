"""Waiting and measuring that do not depend on how busy the machine is.

No test compares the time on the clock with a limit that a busy machine could exceed. What has to
happen is waited for, as long as it takes; what must not be waited for would take longer than
``HANG_SECONDS``; how much work grows is measured in CPU time, as a ratio.
"""

from __future__ import annotations

import gc
import re
import sys
import time
from collections.abc import Callable
from types import FrameType

import pytest

from locus.testing.formats.hang_guard import FOREVER, HANG_SECONDS, HangGuard, retry_slower

__all__ = [
    "FOREVER",
    "HANG_SECONDS",
    "HangGuard",
    "assert_linear",
    "count_calls",
    "measure_cpu_seconds",
    "remove_slow_callbacks",
    "retry_slower",
    "wait_until",
]


def wait_until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until ``condition()`` is true, in blocking code."""
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {HANG_SECONDS} s for {what}"
        time.sleep(0.002)


def measure_cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time that this process spends on ``work()``, whatever else the machine does.

    Garbage is not collected meanwhile, nor before: what that costs depends on all objects of the
    process, those of other tests included.
    """
    gc.disable()
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()


def assert_linear(
    prepare: Callable[[int], Callable[[], object]], size: int, factor: int = 16
) -> None:
    """Assert that the CPU time of ``prepare(size)()`` grows in proportion to the size.

    For ``factor`` times the size, linear work takes ``factor`` times as long and quadratic work
    ``factor ** 2`` times; the limit is in between. Preparing is not measured.
    """
    small = min(measure_cpu_seconds(prepare(size)) for _ in range(4))
    limit = 3 * factor * max(small, 1e-4)
    for _ in range(3):
        large = measure_cpu_seconds(prepare(size * factor))
        if large < limit:
            return
    pytest.fail(f"{factor} times the size takes {large / small:.0f} times as long")


def count_calls(work: Callable[[], object]) -> int:
    """How many Python functions ``work()`` calls."""
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    previous = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(previous)
    return count


_SLOW_CALLBACK = re.compile(r"^Executing .* took \d+\.\d+ seconds\n?", re.MULTILINE)


def remove_slow_callbacks(stderr: str) -> str:
    """``stderr`` without what asyncio's debug mode (``-X dev``) says where the machine is busy."""
    return _SLOW_CALLBACK.sub("", stderr)
