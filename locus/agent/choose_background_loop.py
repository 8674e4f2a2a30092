"""Chooses the background event loop in which a blocking run calls an async function.

Usually there is one loop for the whole process. An async tool that blocks it, or waits in it for
another blocking run, must not stop the other runs. So a function that finds it blocked gets another
loop, which lives as long as the program. From then on it stays there: a function, or the object
that it is a method of, may keep something that works only in the loop in which it was made. For the
same reason a function that has run in the blocked loop before waits for it, though not forever.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

from locus.agent.background_event_loop import BackgroundLoop
from locus.agent.effects import RunClosed

_RESPONSE_SECONDS: Final = 1.0
"""A loop that takes longer to run a callback is blocked."""

_HOME_SECONDS: Final = 10.0
"""How long a function waits for a blocked loop in which it has run before."""

_POLL_SECONDS: Final = 0.1

_logger = logging.getLogger("locus.agent")


def choose_background_loop(
    function: Callable[..., Any],
    preferred: BackgroundLoop | None,
    is_interrupted: Callable[[], bool],
) -> BackgroundLoop:
    """Return a loop that can run a function now.

    :param function: the function, or a partial of it.
    :param preferred: the loop that other functions of the same run have used.
    :param is_interrupted: whether the run was cancelled while it waited.
    :raises RunClosed: if it was.
    """
    owner = _find_owner(function)
    home = _get_home(owner)
    if home is not None and not home.is_current_thread:
        if _wait_for_response(home.start_probe(), _HOME_SECONDS, is_interrupted):
            return home
        _logger.warning("%r runs in another event loop, because its own is blocked", owner)
        _homes.pop(owner, None)
    chosen = _find_responsive_loop(preferred, is_interrupted)
    with suppress(TypeError):  # no weak references, or no hash
        _homes.setdefault(owner, chosen)
    return chosen


def _find_owner(function: Any) -> Any:
    """Return the object of a method, or the function itself, inside partials."""
    while isinstance(function, partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    return function if owner is None else owner


def _get_home(owner: Any) -> BackgroundLoop | None:
    """Return the loop in which the owner has run before, if it still runs."""
    try:
        home = _homes.get(owner)
    except TypeError:  # it has no hash, or can have no weak reference
        return None
    return home if home is not None and home.is_alive else None


def _find_responsive_loop(
    preferred: BackgroundLoop | None, is_interrupted: Callable[[], bool]
) -> BackgroundLoop:
    """Return the first loop that is not blocked; start one if there is none."""
    with _lock:
        _loops[:] = [loop for loop in _loops if loop.is_alive]
        if not _loops:
            _loops.append(BackgroundLoop())
        loops = _loops if preferred not in _loops else [preferred, *_loops]
        candidates = [loop for loop in dict.fromkeys(loops) if not loop.is_current_thread]
    if candidates:
        first = candidates[0]
        if _wait_for_response(first.start_probe(), _RESPONSE_SECONDS, is_interrupted):
            return first
        others = [(loop, loop.start_probe()) for loop in candidates[1:]]
        for loop, responded in others:
            if _wait_for_response(responded, _POLL_SECONDS, is_interrupted):
                return loop
    loop = BackgroundLoop()
    with _lock:
        _loops.append(loop)
    return loop


def _wait_for_response(
    responded: threading.Event, seconds: float, is_interrupted: Callable[[], bool]
) -> bool:
    """Wait for a loop to respond; return whether it has.

    :raises RunClosed: if the run was cancelled meanwhile.
    """
    deadline = monotonic() + seconds
    while not responded.wait(min(_POLL_SECONDS, max(0.0, deadline - monotonic()))):
        if is_interrupted():
            raise RunClosed
        if monotonic() >= deadline:
            return responded.is_set()
    return True


_lock = threading.Lock()
_loops: list[BackgroundLoop] = []
_homes: WeakKeyDictionary[Any, BackgroundLoop] = WeakKeyDictionary()


@atexit.register
def _close_loops_at_exit() -> None:
    """Close the loops at the end of the program."""
    for loop in _loops:
        loop.close()


def _forget_loops_after_fork() -> None:
    """Forget the parent's loops in a forked child, which gets a new one when it needs it."""
    global _lock, _loops, _homes
    _loops_of_parent.extend(_loops)  # never freed: their threads are only in the parent
    _lock, _loops, _homes = threading.Lock(), [], WeakKeyDictionary()


_loops_of_parent: list[BackgroundLoop] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_loops_after_fork)
