"""Marks of dates and times, which are the same for all notations of one: 2026-03-01, 15:05."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from locus.reasoning.figure_items import Item, Reading, to_part
from locus.reasoning.find_word_stems import stem_word

_MONTHS: Final = """
    january february march april may june july august september october november december
    """.split()  # noqa: SIM905
_WEEKDAYS: Final = "monday tuesday wednesday thursday friday saturday sunday".split()  # noqa: SIM905
MONTH_NUMBERS: Final = {name[:3]: number for number, name in enumerate(_MONTHS, 1)}
_DATE_MARK: Final = re.compile(r"(?:(\d{4})|-)-(\d\d)(?:-(\d\d))?")
_TIME_MARK: Final = re.compile(r"\d+:\d\d(?::\d\d)?")
_SECONDS: Final = range(10**9, 4 * 10**9)
"""The times of Unix from 2001 to 2096; in milliseconds, too, they are no usual counts."""


def make_date_readings(year: str | None, month: int, day: str | None) -> Iterator[Reading]:
    """Make the readings of a date, some part of which may not be known; none if there is none."""
    if not 1 <= month <= 12 or (day is not None and not 1 <= int(day) <= 31):
        return
    if year is not None:
        year = f"20{year}" if len(year) == 2 else year
        if day is None:
            yield (f"{year}-{month:02}",)
            return
        yield (f"{year}-{month:02}-{int(day):02}",)
        yield f"--{month:02}-{int(day):02}", to_part(year)
    elif day is not None:
        yield (f"--{month:02}-{int(day):02}",)


def iter_parts_of_mark(mark: str) -> Iterator[Item]:
    """Iterate over what a date or a time says beside itself, such as the day of the week."""
    parts = _DATE_MARK.fullmatch(mark)
    if parts is not None:
        year, month, day = parts.groups()
        yield stem_word(_MONTHS[int(month) - 1])
        yield from (to_part(text) for text in (year, month, day) if text)
        if year is not None:
            yield f"{year}-{month}"
            if day is not None:
                with suppress(ValueError):  # such as February 30
                    yield stem_word(_WEEKDAYS[date(int(year), int(month), int(day)).weekday()])
    elif _TIME_MARK.fullmatch(mark):
        hour, minute, *seconds = mark.split(":")
        yield to_part(hour)
        yield to_part(minute)
        if seconds:
            yield f"{hour}:{minute}"


def iter_marks_of_integer(value: Decimal) -> Iterator[str]:
    """Iterate over the marks of the date and time that an integer may be.

    That is a time of Unix, in seconds or milliseconds, read in UTC, or a date such as 20260301.
    """
    if not 10**7 <= value < 4 * 10**12 or value != value.to_integral_value():
        return
    integer = int(value)
    for seconds in (integer, integer // 1000):
        if seconds in _SECONDS:
            moment = datetime.fromtimestamp(seconds, UTC)
            yield moment.date().isoformat()
            yield f"{moment.hour}:{moment.minute:02}"
    if 10**7 <= integer < 10**8:
        with suppress(ValueError):  # it is no date
            yield date(integer // 10**4, integer // 100 % 100, integer % 100).isoformat()
