"""An answer's text as a value of the type that was asked for, or why it is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar, overload

import attrs

from locus.core.errors import StructuredOutputError
from locus.core.structured.extract_json import find_json
from locus.core.structured.response_format import WRAPPED, wraps
from locus.core.structured.type_builder import called, kind_of
from locus.core.structured.validation import FAR, Kind, Reading

T = TypeVar("T")

_MOST_FAULTS: Final = 10


@attrs.frozen
class StructuredOutput(Generic[T]):
    """What came of an answer.

    :param parsed: the value, or None where there is none.
    :param error: why there is none: which field, and what is wrong with it.
    """

    parsed: T | None = None
    error: StructuredOutputError | None = None

    @property
    def success(self) -> bool:
        """Whether there is a value; it may be None, where the type allows that."""
        return self.error is None

    def unwrap(self) -> T:
        """The value.

        :raises StructuredOutputError: there is none.
        """
        if self.error is not None:
            raise self.error
        return self.parsed  # type: ignore[return-value]  # None only where T has None


@overload
def parse_structured(content: str, type: type[T]) -> StructuredOutput[T]: ...
@overload
def parse_structured(content: str, type: Any) -> StructuredOutput[Any]: ...
def parse_structured(content: str, type: Any) -> StructuredOutput[Any]:
    """Read an answer as a value of a type.

    The JSON may be the whole text, or stand in a fence or among prose; of several that fit, the one
    nearest to the type counts, and of those the last. It is read strictly: numbers are not made
    from text nor text from numbers, though a whole number may stand for a float. Members that no
    field is named after are passed over. Broken JSON is not repaired.

    :param content: the answer's text.
    :param type: what :func:`build_response_format` was given.
    :return: the value or the error; nothing is raised for what the model wrote.
    :raises ConfigurationError: JSON has no form for the type.
    :raises TypeError: ``content`` is no text.
    """
    if not isinstance(content, str):
        given = content.__class__.__name__
        raise TypeError(f"content is an answer's text, such as answer.content, not {given}")
    kind = kind_of(type)
    found = find_json(content)
    ways = [way for raw in found.values for way in _ways(kind, raw)]
    ways.sort(key=lambda way: way[0])
    nearest: list[str] = []
    for _, raw, at in ways:
        value, faults = _read(kind, raw, at)
        if not faults:
            return StructuredOutput(value)
        nearest = nearest or faults
    if nearest:
        more = len(nearest) - _MOST_FAULTS
        why = "; ".join(nearest[:_MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")
    else:
        why = found.broken or "there is no JSON in it"
    message = f"the answer is not the {called(type)} that was asked for: {why}"
    return StructuredOutput(error=StructuredOutputError(message, content=content))


def _ways(kind: Kind, raw: Any) -> Iterator[tuple[int, Any, str]]:
    """How a JSON value may be taken: how far each is from the kind, what is read, and its place."""
    if isinstance(raw, dict) and raw.keys() == {WRAPPED} and wraps(kind):
        yield _distance(kind, raw[WRAPPED]), raw[WRAPPED], f"$.{WRAPPED}"
    yield _distance(kind, raw), raw, "$"


def _distance(kind: Kind, raw: Any) -> int:
    try:
        return kind.distance(raw, Reading())
    except RecursionError:
        return FAR


def _read(kind: Kind, raw: Any, at: str) -> tuple[Any, list[str]]:
    reading = Reading()
    try:
        return kind.read(raw, at, reading), reading.faults
    except RecursionError:
        return None, [f"{at}: nested too deeply"]
