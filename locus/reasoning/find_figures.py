"""Finds the figures of a text: numbers, dates, times, and names that have digits in them.

One figure may be read in several ways: ``1,204`` is 1204, or 1.204 in another country, ``[1,204]``
holds two numbers, and ``1.5M`` is 1500000 or 1.5 meters. So a figure of a claim is a tuple of
readings, one of which has to be in the evidence, and a figure of the evidence is all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Context, Decimal
from typing import Any, Final

from locus.reasoning.date_marks import (
    MONTH_NUMBERS,
    iter_marks_of_integer,
    iter_parts_of_mark,
    make_date_readings,
)
from locus.reasoning.figure_items import (
    Absence,
    Figure,
    Item,
    Quantity,
    Reading,
    make_part,
    to_part,
    to_quantity,
)
from locus.reasoning.find_word_stems import stem_word

_MONTH: Final = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_SCALE: Final = "(?:thousand|million|billion|trillion|mn|mio|bn|mrd)"
_UNIT: Final = "(?:degrees?|celsius|fahrenheit|c|f|dollars?|euros?|pounds?|usd|eur|gbp)"
"""Units that go without saying, so that the evidence may leave them out."""
_FIGURE: Final = re.compile(
    rf"""
    (?P<ymd>(?<![\d.])(?P<y1>\d{{4}})(?P<s1>[-/.])(?P<m1>\d\d?)(?P=s1)(?P<d1>\d\d?)(?!\d))
    |(?P<cjk>(?P<y2>\d{{4}})年[ ]?(?P<m2>\d\d?)月(?:[ ]?(?P<d2>\d\d?)日)?)
    |(?P<dmy>(?<![\d./-])(?P<d3>\d\d?)(?:(?P<s3>[-.])(?P<m3>\d\d?)(?P=s3)(?P<y3>\d{{4}})
        |/(?P<m4>\d\d?)/(?P<y4>\d{{4}}|\d\d))(?![\d/]|[.-]\d))
    |(?P<mdy>(?<![a-z])(?P<m5>{_MONTH})\.?[ ](?P<d5>\d\d?)(?:st|nd|rd|th)?(?![a-z0-9])
        (?:,?[ ](?:of[ ])?(?P<y5>\d{{4}})(?!\d))?)
    |(?P<my>(?<![a-z])(?P<m6>{_MONTH})\.?,?[ ](?:of[ ])?(?P<y6>\d{{4}})(?!\d))
    |(?P<dm>(?<![\d.,:])(?P<d7>\d\d?)(?:st|nd|rd|th)?\.?[ ](?:of[ ])?(?P<m7>{_MONTH})(?![a-z0-9])
        (?:\.?,?[ ](?P<y7>\d{{4}})(?!\d))?)
    |(?P<time>(?<![\d:.,])(?P<hour>\d\d?):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,]\d+)?)?
        (?!\d|:\d)(?:[ ]?(?P<half>[ap])\.?m\b\.?)?)
    |(?P<oclock>(?<![\d:.,])(?P<hour2>\d\d?)[ ]?(?P<half2>[ap])\.?m\b\.?)
    |(?P<opaque>(?<![a-z0-9.,])(?:[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}
        |(?=\d*[a-f]+\d+[a-f]|[a-f]*\d+[a-f]+\d)(?!\d+e\d+\b)[0-9a-f]{{7,64}})(?![a-z0-9]))
    |(?P<name>(?<![a-z0-9])(?P<letters>[a-z]{{1,12}})[-_]?(?P<digits>\d++)(?P<rest>[a-z0-9]*+)
        (?![.,:/-]\d))
    |(?P<ratio>(?<![\d./,])(?P<above>\d{{1,3}})/(?P<below>\d{{1,3}})(?![\d/]|[.,]\d))
    |(?P<number>(?P<sign>(?<![a-z])(?:minus|negative)[ ]|(?<![a-z0-9_)\]%.])-[$€£¥]?)?
        (?P<body>\d{{1,3}}(?:[ '_]\d{{3}}){{1,6}}(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)*
            |(?<![a-z0-9_.)\]])\.\d+)
        (?:e(?P<exponent>[+-]?\d{{1,3}})(?![a-z0-9]|\.\d)
            |[ ]?[x*\u00d7][ ]?10(?:\^|\*\*)(?P<power>[+-]?\d{{1,3}})(?!\d))?
        (?:[ ]?(?P<percent>%|percent\b|per[ ]cent\b|pct\b)
            |[ -]?(?P<scale>{_SCALE})(?:s|en)?\b
            |(?P<letter>[kmbt])(?![a-z0-9]))?
        (?:[ -]?°?[ ]?{_UNIT}\b){{0,2}})
    """,
    re.VERBOSE,
)
_DIGIT: Final = re.compile(r"[0-9]")
_MAX_PREFIX: Final = 16
"""How many characters of a figure may come before its first digit, such as a month's name."""
_LONG_NAME: Final = re.compile(r"#[0-9a-f]{8,64}")
_RANGE_WITH_SCALE: Final = re.compile(
    rf" ?(?:-|to|and|or) ?\d+(?:[.,]\d+)*[ -]?({_SCALE}|[kmbt])(?:s|en)?\b"
)
_SCALES: Final = {
    **dict.fromkeys(("thousand", "k"), 3),
    **dict.fromkeys(("million", "mn", "mio", "m"), 6),
    **dict.fromkeys(("billion", "bn", "mrd", "b"), 9),
    **dict.fromkeys(("trillion", "t"), 12),
}
_EXACT: Final = Context(prec=30, Emax=10**9, Emin=-(10**9))


def split_figures(normalized: str) -> tuple[tuple[Figure, ...], str]:
    """Split a normalized text into its figures and the text without them."""
    figures: list[Figure] = []
    rest: list[str] = []
    position = 0
    for match in _iter_matches(normalized):
        figures.append(_read_figure(match))
        rest.append(normalized[position : match.start()])
        position = match.end()
    return tuple(figures), " ".join([*rest, normalized[position:]])


def has_figure(normalized: str) -> bool:
    """Whether a normalized text has a figure: each has a digit, and each digit is part of one."""
    return _DIGIT.search(normalized) is not None


def _iter_matches(normalized: str) -> Iterator[re.Match[str]]:
    """Iterate over the matches of figures, fast where there are no digits."""
    position = 0
    while (digit := _DIGIT.search(normalized, position)) is not None:
        match = _FIGURE.search(normalized, max(position, digit.start() - _MAX_PREFIX))
        assert match is not None
        yield match
        position = match.end()


def iter_items(normalized: str) -> Iterator[Item]:
    """Iterate over the items of all readings of all figures, and over the parts of dates and times.

    The items of equal figures come once.
    """
    seen: set[tuple[str, bool]] = set()
    for match in _iter_matches(normalized):
        key = match[0], _is_sign_doubtful(match)
        if key in seen:
            continue
        seen.add(key)
        readings = _read_figure(match)
        if match["number"] and "," in match["body"]:  # it may be a list
            first, *others = next(_read_list(match["body"]))
            readings += ((first, *others), (_negate(first),))
        for reading in readings:
            for item in reading:
                yield item
                marks = [item] if isinstance(item, str) else []
                if isinstance(item, Quantity) and not item.is_part:
                    marks = list(iter_marks_of_integer(item.value))
                    yield from marks
                for mark in marks:
                    yield from iter_parts_of_mark(mark)
                    if _LONG_NAME.fullmatch(mark):  # it may be cut off
                        yield from (mark[: length + 1] for length in range(7, 13))


def _read_figure(match: re.Match[str]) -> Figure:
    """Return the ways to read a figure."""
    kind = match.lastgroup
    assert kind is not None
    readings: list[Reading] = list(_READERS[kind](match))
    return tuple(dict.fromkeys(readings))


# Dates and times.


def _read_numeric_date(match: re.Match[str]) -> Iterator[Reading]:
    """Read a date of digits. Of 3/4/2026 nobody knows which is the month."""
    texts = match.groupdict()
    year = texts["y1"] or texts["y2"] or texts["y3"] or texts["y4"]
    month = texts["m1"] or texts["m2"] or texts["m3"] or texts["m4"]
    day = texts["d1"] or texts["d2"] or texts["d3"]
    found = False
    pairs = [(month, day)] if match["y1"] or match["y2"] else [(month, day), (day, month)]
    for month_text, day_text in pairs:
        for reading in make_date_readings(year, int(month_text), day_text):
            found = True
            yield reading
    if not found:
        yield tuple(to_quantity(text) for text in re.findall(r"\d+", match[0]))


def _read_date_with_month_name(match: re.Match[str]) -> Iterator[Reading]:
    """Read a date with the name of its month."""
    texts = match.groupdict()
    name = texts["m5"] or texts["m6"] or texts["m7"]
    day, year = texts["d5"] or texts["d7"], texts["y5"] or texts["y6"] or texts["y7"]
    dates = list(make_date_readings(year, MONTH_NUMBERS[name[:3]], day))
    yield from dates
    if not (day and year and dates):
        number = to_part(day or year) if dates else to_quantity(day or year)
        yield (number,) if name == "may" else (stem_word(name), number)


def _read_time(match: re.Match[str]) -> Iterator[Reading]:
    """Read a time of day, or a duration; half a day later, too, if it may be."""
    half = match["half"] or match["half2"]
    hour, minute = int(match["hour"] or match["hour2"]), match["minute"] or "00"
    second = match["second"] if match["second"] not in (None, "00") else ""
    tail = f"{minute}:{second}" if second else minute
    if half is None:
        yield (f"{hour}:{tail}",)
        if 0 < hour < 12:
            yield (f"{hour + 12}:{tail}",)
    else:
        yield (f"{hour % 12 + (12 if half == 'p' else 0)}:{tail}",)
    if match["minute"] is None:
        yield to_quantity(match["hour2"]), f"#{half}m"


# Names with digits.


def _read_opaque_name(match: re.Match[str]) -> Iterator[Reading]:
    """Read an id such as that of a commit, whose digits are no numbers."""
    yield (f"#{match[0]}",)


def _read_name(match: re.Match[str]) -> Iterator[Reading]:
    """Read a name such as ``db1``, which is not ``db2``.

    If the evidence has no name with these letters, it may have the number: Q3, the quarter 3.
    """
    letters, digits = match["letters"], match["digits"]
    yield (f"#{letters}{digits}{match['rest']}",)
    if not match["rest"]:
        yield Absence(f"#{letters}"), to_part(digits)


# Numbers.


def _read_ratio(match: re.Match[str]) -> Iterator[Reading]:
    """Read a fraction, which may also be two numbers."""
    above, below = to_quantity(match["above"]), to_quantity(match["below"])
    yield above, below
    if below.value:
        value = _EXACT.divide(above.value, below.value)
        yield (Quantity(value, Decimal(0)),)


def _read_number(match: re.Match[str]) -> Iterator[Reading]:
    """Read a number, with what is written around it."""
    body_readings = list(_read_body(match["body"]))
    if match["sign"]:
        negative = [(_negate(first), *others) for first, *others in body_readings]
        body_readings = negative + (body_readings if _is_sign_doubtful(match) else [])
    exponent = match["exponent"] or match["power"]
    scale, letter = match["scale"], match["letter"]
    for reading in body_readings:
        if exponent:
            yield _shift(reading, int(exponent))
            yield (*reading, Quantity(Decimal(abs(int(exponent))), Decimal(1)))
        elif match["percent"]:
            yield reading
            yield _shift(reading, -2)
        elif scale:
            yield _shift(reading, _SCALES[scale])
            yield (*map(make_part, reading), stem_word(scale))
        elif letter:
            yield _shift(reading, _SCALES[letter])
            yield reading
        else:
            yield reading
            end_of_range = _RANGE_WITH_SCALE.match(match.string, match.end())
            if end_of_range is not None:
                yield _shift(reading, _SCALES[end_of_range[1]])


def _is_sign_doubtful(match: re.Match[str]) -> bool:
    """Whether the minus of a number may be a dash: ``3 -5``."""
    start = match.start()
    return start >= 2 and match.string[start - 1] == " " and match.string[start - 2].isdigit()


def _read_body(body: str) -> Iterator[Reading]:
    """Read the digits of a number, with any separators of thousands and of decimals."""
    groups = re.split(r"[ '_]", body)
    if len(groups) > 1:
        yield (to_quantity("".join(groups).replace(",", ".")),)
        yield tuple(to_quantity(group.replace(",", ".")) for group in groups)
        return
    commas, points = body.count(","), body.count(".")
    has_thousands = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", body) is not None
    if has_thousands:
        yield (to_quantity(body.replace(",", "")),)
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", body) and not body.startswith("0."):
        yield (to_quantity(body.replace(".", "").replace(",", ".")),)
    if commas + points <= 1:
        yield (to_quantity(body.replace(",", ".")),)
    if commas and not has_thousands:
        yield from _read_list(body)
    elif points > 1:
        yield (f"#{body}",)  # a version


def _read_list(body: str) -> Iterator[Reading]:
    """Read the digits of several numbers with commas between them."""
    parts = body.split(",")
    yield tuple(to_quantity(part) if part.count(".") <= 1 else f"#{part}" for part in parts)


def _negate(item: Item) -> Item:
    """Change the sign of a number."""
    if not isinstance(item, Quantity):
        return item
    return Quantity(item.value.copy_negate(), item.step)


def _shift(reading: Reading, exponent: int) -> Reading:
    """Multiply the last number by a power of ten."""
    *others, last = reading
    if not isinstance(last, Quantity):
        return reading
    value, step = _shift_number(last.value, exponent), _shift_number(last.step, exponent)
    return *others, Quantity(value, step)


def _shift_number(number: Decimal, exponent: int) -> Decimal:
    """Multiply a number by a power of ten, exactly."""
    sign, digits, own_exponent = number.as_tuple()
    return Decimal((sign, digits, int(own_exponent) + exponent))


_READERS: Final[dict[str, Callable[[re.Match[str]], Iterator[Any]]]] = {
    **dict.fromkeys(("ymd", "cjk", "dmy"), _read_numeric_date),
    **dict.fromkeys(("mdy", "my", "dm"), _read_date_with_month_name),
    **dict.fromkeys(("time", "oclock"), _read_time),
    "opaque": _read_opaque_name,
    "name": _read_name,
    "ratio": _read_ratio,
    "number": _read_number,
}
