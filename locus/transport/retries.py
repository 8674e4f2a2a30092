"""The retry policy: which errors are retried, and how long to wait before the next attempt.

stamina runs the retry loop. It supports blocking code, asyncio and trio, users can switch it off in
their tests, and it reports retries to their instrumentation. This module is its back-off hook. The
drivers make the first attempt outside stamina: importing it costs 30 ms and entering it 20 to
40 µs, and most calls need no retry.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any, Final

import attrs

from locus.core.errors import APIConnectionError, APIStatusError, APITimeoutError
from locus.transport.deadline import Deadline, has_time_for

_RETRYABLE_STATUSES: Final = frozenset({408, 409, 429})
INITIAL_RETRY_DELAY: Final = 0.5
"""Seconds: the upper bound of the first delay; it doubles with each attempt."""
MAX_RETRY_DELAY: Final = 8.0
"""Seconds: the upper bound of a delay that the server did not request."""
MAX_RETRY_AFTER: Final = 60.0
"""Seconds. If a server asks for a longer delay (``retry_after``), there is no further attempt: the
caller gets the error at once, and can decide what to do in that time."""

_NULL_HANDLER: Final = logging.NullHandler()


def is_retryable(error: BaseException) -> bool:
    """Return whether the same request may succeed later: by ``x-should-retry`` or its type."""
    if isinstance(error, APIStatusError):
        if error.retry_after is not None and error.retry_after > MAX_RETRY_AFTER:
            return False
        match error.headers.get("x-should-retry"):
            case "true":
                return True
            case "false":
                return False
        return error.status_code in _RETRYABLE_STATUSES or error.status_code >= 500
    if isinstance(error, APITimeoutError):
        return not error.response_started
    return isinstance(error, APIConnectionError)


@attrs.define
class RetryPolicy:
    """The retry policy of one call: the back-off hook of ``stamina.retry_context``.

    :ivar deadline: the end of the call, or None. No pause outlasts it.
    """

    deadline: Deadline | None = None
    failures: int = 0

    def __call__(self, error: BaseException) -> bool | float:
        """Seconds to wait before the next attempt, or False if there is none."""
        if not is_retryable(error):
            return False
        self.failures += 1
        if isinstance(error, APIStatusError) and error.retry_after is not None:
            delay = error.retry_after
        else:
            longest = min(MAX_RETRY_DELAY, INITIAL_RETRY_DELAY * 2 ** (self.failures - 1))
            if self.deadline is not None:  # leave time for the attempt itself
                longest = min(longest, self.deadline.remaining / 2)
            # Full jitter: clients that failed at the same time do not retry at the same time.
            delay = random.uniform(0, longest)
        return delay if has_time_for(self.deadline, delay) else False


def pause_with(attempt: Any, sleep: Callable[[float], None]) -> None:
    """Let a function make the pause that may follow a blocking attempt.

    stamina has no argument for it: this sets it where tenacity, which makes the pause, has it.
    Elsewhere nothing is set, and the pause is that of ``time.sleep``.
    """
    state = getattr(getattr(attempt, "_t_attempt", None), "retry_state", None)
    retrying: Any = getattr(state, "retry_object", None)
    if retrying is not None:
        retrying.sleep = sleep


def iter_attempts(max_retries: int, deadline: Deadline | None = None) -> Any:
    """Return stamina's attempts. The first is the one already made: raise its error inside it."""
    import stamina

    # stamina logs each retry as a warning, which would be printed where logging is not set up.
    logging.getLogger("stamina").addHandler(_NULL_HANDLER)
    return stamina.retry_context(on=RetryPolicy(deadline), attempts=1 + max_retries, timeout=None)
