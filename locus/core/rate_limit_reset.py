"""Reads when a rate limit is reset from the headers that servers send with each response.

There is one header for each limit, as ``x-ratelimit-reset-tokens``, beside one for what is left of
it and one for the limit itself. OpenAI, Groq, Azure and Cerebras name a duration ("1m2s", "6ms",
11.38): https://developers.openai.com/api/docs/guides/rate-limits#rate-limits-in-headers. Anthropic
names a time of RFC 3339: https://platform.claude.com/docs/en/api/rate-limits#response-headers.
OpenRouter and others name a Unix time, in seconds or in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_RESET_NAME: Final = re.compile(
    r"((?:anthropic-|x-)?ratelimit(?:bysize)?-(?:[a-z-]+-)?)reset(-[a-z-]+)?"
)
_DURATION: Final = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?"
)
_DURATION_UNITS: Final = (86_400.0, 3_600.0, 60.0, 1.0, 1e-3)
_EARLIEST_UNIX_TIME: Final = 1e9
"""Seconds since 1970. A smaller number is a duration: this one would be of thirty years."""
_EARLIEST_UNIX_MILLISECONDS: Final = 1e12


def find_seconds_until_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the limit that was reached is reset; None if no header tells.

    That limit is the one of which nothing is left, or else of which the least is left. Of several
    such limits the longest time counts. A point in time is compared with the response's own
    ``Date`` header; without that header it is ignored.

    :param headers: the headers of a response of the status 429, with lower-case names.
    """
    found: list[tuple[float, float]] = []
    for name, value in headers.items():
        match = _RESET_NAME.fullmatch(name)
        if match is None:
            continue
        seconds = _read_seconds(value, headers.get("date"))
        if seconds is not None:
            before, after = match[1], match[2] or ""
            left = _read_number(headers.get(f"{before}remaining{after}"))
            limit = _read_number(headers.get(f"{before}limit{after}"))
            share = 0.0 if not left else left / limit if limit else 1.0
            found.append((share, seconds))
    if not found:
        return None
    smallest_share = min(share for share, _ in found)
    return max(seconds for share, seconds in found if share == smallest_share)


def _read_seconds(value: str, date: str | None) -> float | None:
    """Read a duration, or a point in time; None if it is neither."""
    number = _read_number(value)
    if number is None:
        match = _DURATION.fullmatch(value.strip())
        if match is not None and value.strip():
            amounts = (_read_number(text or "0") or 0.0 for text in match.groups())
            pairs = zip(amounts, _DURATION_UNITS, strict=True)
            return round(sum(amount * unit for amount, unit in pairs), 6)
        time = _read_timestamp(value)
    elif number < _EARLIEST_UNIX_TIME:
        return number if number >= 0 else None
    else:
        time = number / 1e3 if number >= _EARLIEST_UNIX_MILLISECONDS else number
    now = None if date is None else _read_timestamp(date)
    return None if time is None or now is None else max(0.0, time - now)


def _read_number(text: str | None) -> float | None:
    """Read a finite number; None if it is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None  # also false for NaN


def _read_timestamp(text: str) -> float | None:
    """Read a time of RFC 3339, or the date of an HTTP header, in seconds since 1970."""
    from datetime import UTC, datetime  # imported here: slow to import, and seldom needed
    from email.utils import parsedate_to_datetime

    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = read(text.strip())
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        except (TypeError, ValueError, OverflowError):
            continue
    return None
