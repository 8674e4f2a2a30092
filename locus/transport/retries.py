"""When to try again, and how long to wait before it.

The loops are stamina's, which knows blocking code, asyncio and trio, can be switched off in a
user's tests, and reports to a user's instruments; the policy is here, as its back-off hook. The
first try is made outside stamina: importing it costs 30 ms and entering it 20 to 40 µs, and most
calls need neither.
"""

from __future__ import annotations

import logging
import random
from typing import Any, Final

import attrs

from locus.core.errors import APIConnectionError, APIStatusError, APITimeoutError

_STATUSES: Final = frozenset({408, 409, 429})
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 8.0
LONGEST_OBEYED: Final = 60.0
"""Seconds. A server that asks for a longer pause than this gets the last of them."""

_QUIET: Final = logging.NullHandler()


def worth_retrying(error: BaseException) -> bool:
    """Whether the same request may do better: the provider's word, else the kind of failure."""
    if isinstance(error, APIStatusError):
        match error.headers.get("x-should-retry"):
            case "true":
                return True
            case "false":
                return False
        return error.status_code in _STATUSES or error.status_code >= 500
    if isinstance(error, APITimeoutError):
        return not error.answer_begun
    return isinstance(error, APIConnectionError)


@attrs.define
class Backoff:
    """The patience of one call: a hook for ``stamina.retry_context``."""

    tries: int = 0

    def __call__(self, error: BaseException) -> bool | float:
        """Seconds to wait before the next try, or False."""
        if not worth_retrying(error):
            return False
        self.tries += 1
        if isinstance(error, APIStatusError) and error.retry_after is not None:
            return min(error.retry_after, LONGEST_OBEYED)
        # Full jitter: clients that failed together do not come back together.
        return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (self.tries - 1)))


def attempts(max_retries: int) -> Any:
    """stamina's attempts. The first stands for the try already made: raise its error in it."""
    import stamina

    # stamina logs each retry as a warning, which would appear where nobody has set up logging.
    logging.getLogger("stamina").addHandler(_QUIET)
    return stamina.retry_context(on=Backoff(), attempts=1 + max_retries, timeout=None)
