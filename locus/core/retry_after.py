"""Finds how long a server asks to wait: in the headers of an error, or else in its body."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from locus.core.rate_limit_reset import find_seconds_until_reset

_HEADER_UNITS: Final = (("retry-after-ms", 1e3), ("x-ms-retry-after-ms", 1e3), ("retry-after", 1.0))
"""The headers that name a number, the most exact first, and how many of it are a second."""
_BODY_STATUSES: Final = frozenset({429, 503, 529})
"""The statuses of errors that pass. Only there does the body say when to come back."""
_TOO_MANY_REQUESTS: Final = 429
_MAX_SEARCHED_CHARACTERS: Final = 20_000
# https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto (RetryInfo)
_RETRY_INFO: Final = re.compile(r'"retryDelay\\*"\s*:\s*\\*"(\d{1,9}(?:\.\d{1,9})?)s')
_AMOUNT: Final = (
    r"\d{1,9}(?:\.\d{1,9})?\s?"
    r"(?:ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?)"
)
_WORDS: Final = re.compile(
    rf"(?:try(?: your request)? again|retry(?: your request)?) (?:in|after) "
    rf"({_AMOUNT}(?:\s?{_AMOUNT})*)(?![a-z])",
    re.I,
)
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?(ms|mil|s|m|h)", re.I)
_UNIT_SECONDS: Final = {"ms": 1e-3, "mil": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def find_retry_delay(headers: Mapping[str, str], body: str, status_code: int) -> float | None:
    """Return the seconds to wait before a retry; None if the server names no time.

    A header goes before the body, and milliseconds (``retry-after-ms`` of OpenAI,
    ``x-ms-retry-after-ms`` of Azure) before ``Retry-After`` (RFC 9110, 10.2.3). A date in
    ``Retry-After`` is compared with the response's own ``Date`` header, so that the two clocks need
    not agree; without that header it is ignored.

    Servers without such a header (Gemini's among them) name the time in the body of a 429, a 503 or
    a 529: as Google's ``RetryInfo``, or in words, "Please try again in 1m30.5s". Of several times
    the longest counts. If a 429 does not say it so either, the headers of the limits themselves
    may: :func:`~locus.core.rate_limit_reset.find_seconds_until_reset`.
    """
    for name, unit in _HEADER_UNITS:
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    if "retry-after" in headers and "date" in headers:
        return _compute_seconds_between(headers["date"], headers["retry-after"])
    if status_code in _BODY_STATUSES:
        delay = max(_iter_body_delays(body[:_MAX_SEARCHED_CHARACTERS]), default=None)
        if delay is None and status_code == _TOO_MANY_REQUESTS:
            return find_seconds_until_reset(headers)
        return delay
    return None


def _iter_body_delays(body: str) -> Iterator[float]:
    """Yield the times that a body names, in seconds."""
    for match in _RETRY_INFO.finditer(body):
        yield float(match[1])
    for match in _WORDS.finditer(body):
        parts = _PART.findall(match[1])
        seconds = sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in parts)
        yield round(seconds, 6)


def _compute_seconds_between(earlier_date: str, later_date: str) -> float | None:
    """Compute the seconds from one HTTP date to another.

    Returns 0 if the second is earlier than the first, and None if one of them is not a date.
    """
    from datetime import UTC  # imported here: slow to import, and seldom needed
    from email.utils import parsedate_to_datetime

    try:
        # An HTTP date is in GMT (RFC 9110, 5.6.7); its oldest form does not name the zone.
        start, end = (
            date if date.tzinfo else date.replace(tzinfo=UTC)
            for date in map(parsedate_to_datetime, (earlier_date, later_date))
        )
        return max(0.0, (end - start).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
