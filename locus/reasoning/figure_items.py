"""What the figures of a text are read as: numbers, and marks such as dates."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs


@attrs.frozen
class Quantity:
    """A number, as precise as it is written.

    :param value: the number.
    :param step: the unit of its last digit: 0.1 for 21.5, and 100000 for 1.2 million.
    :param is_part: whether it is what is left of a figure without the rest: the 1.5 of 1.5 million,
        the 1 of db1. The part of one figure is not to be found in that of another.
    """

    value: Decimal
    step: Decimal
    is_part: bool = False


@attrs.frozen
class Absence:
    """That the evidence has no such mark."""

    mark: str


Item: TypeAlias = Quantity | Absence | str
"""A number, a mark (a date, a time, a name with digits), or the stem of a word."""
Reading: TypeAlias = tuple[Item, ...]
"""What has to be in the evidence, all of it."""
Figure: TypeAlias = tuple[Reading, ...]
"""The ways to read one figure."""


def to_quantity(text: str) -> Quantity:
    """Convert digits, with at most one point, to a number and the unit of its last digit."""
    return Quantity(Decimal(text), Decimal((0, (1,), -len(text.partition(".")[2]))))


def to_part(text: str) -> Quantity:
    """Convert digits to what is left of a figure."""
    return attrs.evolve(to_quantity(text), is_part=True)


def make_part(item: Item) -> Item:
    """Make a number what is left of a figure."""
    return attrs.evolve(item, is_part=True) if isinstance(item, Quantity) else item
