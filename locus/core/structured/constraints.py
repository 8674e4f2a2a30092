"""Kinds that msgspec would read too loosely: decimal numbers, and what ``Predicate`` checks."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs

from locus.core.structured.schema_definitions import Definitions, Schema
from locus.core.structured.type_nodes import Leaf
from locus.core.structured.validation import FAR, Kind, Reading, named, words_of

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SAID: Final[Mapping[str, tuple[str, str, Callable[[Any, Any], bool]]]] = {
    "gt": ("exclusiveMinimum", "above {}", operator.gt),
    "ge": ("minimum", "at least {}", operator.ge),
    "lt": ("exclusiveMaximum", "below {}", operator.lt),
    "le": ("maximum", "at most {}", operator.le),
    "multiple_of": ("multipleOf", "a multiple of {}", lambda value, of: value % of == 0),
}
RANGES: Final = frozenset(_SAID)
"""The bounds that a number may have, as ``msgspec.Meta`` calls them."""


@attrs.frozen(eq=False)
class Number:
    """A ``Decimal``: a number, or one as text, written as JSON writes numbers."""

    bounds: Mapping[str, Any]

    words = "a decimal number"

    def schema(self, defs: Definitions) -> Schema:
        schema = _DECIMAL.schema(defs)
        for name, bound in self.bounds.items():  # of text JSON Schema asks no range: it informs
            schema[_SAID[name][0]] = bound
        return schema

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        if isinstance(raw, str) and not _NUMBER.fullmatch(raw):
            return reading.unwanted(at, self.words, raw)
        before = len(reading.faults)
        value = _DECIMAL.read(raw, at, reading)
        if len(reading.faults) > before:
            return None
        if not value.is_finite():
            return reading.unwanted(at, self.words, raw)
        for name, bound in self.bounds.items():
            _, wanted, holds = _SAID[name]
            try:
                held = holds(value, Decimal(repr(bound)))
            except ArithmeticError:  # the remainder of a number far too large
                held = False
            if not held:
                reading.fault(at, f"{wanted.format(bound)} is wanted, not {named(raw)}")
        return value

    def distance(self, raw: Any, reading: Reading) -> int:
        if isinstance(raw, str):
            return 0 if _NUMBER.fullmatch(raw) else FAR - 1
        return _DECIMAL.distance(raw, reading)


_DECIMAL: Final = Leaf(Decimal)


@attrs.frozen(eq=False)
class Checked:
    """A kind whose values have to pass checks, each with its name; null is not checked."""

    kind: Kind
    checks: Sequence[tuple[str, Callable[[Any], Any]]]

    @property
    def words(self) -> str:
        return self.kind.words

    def schema(self, defs: Definitions) -> Schema:
        return self.kind.schema(defs)

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        before = len(reading.faults)
        value = self.kind.read(raw, at, reading)
        if value is None or len(reading.faults) > before:
            return value
        for name, check in self.checks:
            try:
                why = "" if check(value) else f"does not pass the check {name}"
            except RecursionError:
                raise
            except Exception as error:  # noqa: BLE001 - the check is the caller's own code
                why = f"the check {name} failed: {words_of(error)}"
            if why:
                reading.fault(at, why)
        return value

    def distance(self, raw: Any, reading: Reading) -> int:
        return self.kind.distance(raw, reading)
