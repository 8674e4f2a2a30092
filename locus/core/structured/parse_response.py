"""Parse the text of a response into a value of a type, or into an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar, overload

import attrs

from locus.core.errors import StructuredOutputError
from locus.core.structured.extract_json import extract_json_values
from locus.core.structured.response_format import WRAPPER_KEY, needs_wrapper
from locus.core.structured.type_hints import format_type_name
from locus.core.structured.type_node import MAX_DISTANCE, TypeNode
from locus.core.structured.type_node_builder import build_type_node
from locus.core.structured.validation_context import ValidationContext, ValidationIssue

T = TypeVar("T")

_MAX_LISTED_ISSUES: Final = 10


@attrs.frozen
class StructuredOutput(Generic[T]):
    """The result of parsing a response: a value or an error.

    :param parsed: the value, or None if there is none.
    :param error: why there is no value: which fields are wrong, and what is wrong with each.
    """

    parsed: T | None = None
    error: StructuredOutputError | None = None

    @property
    def success(self) -> bool:
        """Whether there is a value. The value may be None if the type allows that."""
        return self.error is None

    def unwrap(self) -> T:
        """Return the value.

        :raises StructuredOutputError: if there is none.
        """
        if self.error is not None:
            raise self.error
        return self.parsed  # type: ignore[return-value]  # None only where T has None


@overload
def parse_structured(content: str, type: type[T]) -> StructuredOutput[T]: ...
@overload
def parse_structured(content: str, type: Any) -> StructuredOutput[Any]: ...
def parse_structured(content: str, type: Any) -> StructuredOutput[Any]:
    """Parse the text of a response into a value of a type.

    The JSON may be the entire text, or be in a code fence or in prose. If several values are valid,
    the one closest to the type is used, and the last one of those. Validation is strict: a number
    is not read from a string nor a string from a number, though an integer is accepted for a float.
    Members that are not fields are ignored. Malformed JSON is not repaired.

    :param content: the text of the response.
    :param type: the type that :func:`build_response_format` got.
    :return: the value or the error; nothing is raised because of the model's text.
    :raises ConfigurationError: if the type cannot be represented in JSON.
    :raises TypeError: if ``content`` is not a string.
    """
    if not isinstance(content, str):
        raise TypeError(
            "content must be the text of a response, such as response.content, not "
            f"{content.__class__.__name__}"
        )
    node = build_type_node(type)
    extracted = extract_json_values(content)
    candidates = [
        candidate
        for raw in extracted.values
        for candidate in _iter_unwrapped_and_whole_value(node, raw)
    ]
    candidates.sort(key=lambda candidate: candidate.distance)
    closest_issues: list[ValidationIssue] = []
    for candidate in candidates:
        value, issues = _validate_value(node, candidate.raw, candidate.path)
        if not issues:
            return StructuredOutput(value)
        closest_issues = closest_issues or issues
    if closest_issues:
        reason = "; ".join(map(str, closest_issues[:_MAX_LISTED_ISSUES]))
        omitted = len(closest_issues) - _MAX_LISTED_ISSUES
        reason += f"; and {omitted} more" if omitted > 0 else ""
    else:
        reason = extracted.problem or "there is no JSON in it"
    message = f"the response is not a valid {format_type_name(type)}: {reason}"
    return StructuredOutput(error=StructuredOutputError(message, content=content))


@attrs.frozen
class _Candidate:
    """A JSON value that may be the value of the type: its distance from the type, and its path."""

    distance: int
    raw: Any
    path: str


def _iter_unwrapped_and_whole_value(node: TypeNode, raw: Any) -> Iterator[_Candidate]:
    """Yield a JSON value without its wrapper, if it has one, and as it is."""
    if isinstance(raw, dict) and raw.keys() == {WRAPPER_KEY} and needs_wrapper(node):
        unwrapped = raw[WRAPPER_KEY]
        yield _Candidate(_measure_distance(node, unwrapped), unwrapped, f"$.{WRAPPER_KEY}")
    yield _Candidate(_measure_distance(node, raw), raw, "$")


def _measure_distance(node: TypeNode, raw: Any) -> int:
    """Measure the distance of ``raw`` from the type; the greatest if it is nested too deeply."""
    try:
        return node.measure_distance(raw, ValidationContext())
    except RecursionError:
        return MAX_DISTANCE


def _validate_value(node: TypeNode, raw: Any, path: str) -> tuple[Any, list[ValidationIssue]]:
    """Validate a candidate and return its value and its issues."""
    ctx = ValidationContext()
    try:
        return node.validate(raw, path, ctx), ctx.issues
    except RecursionError:
        return None, [ValidationIssue(path, "nested too deeply")]
