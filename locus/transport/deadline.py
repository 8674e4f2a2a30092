"""``Deadline``: the moment at which a call, with all its attempts, has to be over."""

from __future__ import annotations

import time

import attrs

from locus.core.errors import APITimeoutError


@attrs.frozen(eq=False)
class Deadline:
    """The end of one call.

    :param seconds: how long the call may take.
    :param ends_at: the end, on the clock of ``time.monotonic``.
    """

    seconds: float
    ends_at: float

    @classmethod
    def start(cls, seconds: float | None) -> Deadline | None:
        """Return the deadline of a call that begins now; None if there is no limit."""
        return None if seconds is None else cls(seconds, time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """How many seconds are left; 0 if none."""
        return max(0.0, self.ends_at - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.remaining <= 0

    def make_error(self) -> APITimeoutError:
        """Make the error for a call that has taken longer."""
        error = APITimeoutError(f"the call took longer than deadline={self.seconds:g} allows")
        error.response_started = True  # it is not retried: there is no time left
        error.deadline_exceeded = True
        return error


def has_time_for(deadline: Deadline | None, seconds: float) -> bool:
    """Return whether a pause of so many seconds ends before the deadline."""
    return deadline is None or seconds < deadline.remaining
