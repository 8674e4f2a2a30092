"""Converts grounding reports and GSAR evaluations to JSON and back, for the state of an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from locus.core.errors import StateFormatError
from locus.core.json_converter import (
    CONVERSION_ERRORS,
    build_json_converter,
    format_conversion_error,
)
from locus.reasoning.claim_partition import EvidenceType
from locus.reasoning.grounding_evaluator import GroundingReport
from locus.reasoning.gsar_evaluator import GSARLook
from locus.reasoning.judge_output import JudgeOutput
from locus.reasoning.score_partition import Decision

T = TypeVar("T")


@cache
def _get_converter() -> Any:
    """Return the converter, which is built once. It skips members that it does not know."""
    converter = build_json_converter(strict=False)
    converter.register_unstructure_hook(EvidenceType, str)
    return converter


def _structure(document: Any, cls: type[T]) -> T:
    """Convert dictionaries and lists to a value of a class.

    :raises StateFormatError: if they are no such value.
    """
    try:
        value: T = _get_converter().structure(document, cls)
    except CONVERSION_ERRORS as exc:
        raise StateFormatError(
            f"this is not a saved {cls.__name__}: {format_conversion_error(exc)}"
        ) from exc
    return value


def encode_grounding_report(report: GroundingReport) -> dict[str, Any]:
    """Convert a report to JSON values."""
    document: dict[str, Any] = _get_converter().unstructure(report)
    return document


def decode_grounding_report(document: Mapping[str, Any]) -> GroundingReport:
    """Convert JSON values to the report that they were made of."""
    return _structure(dict(document), GroundingReport)


def encode_gsar_looks(looks: Iterable[GSARLook], error: str | None) -> dict[str, Any]:
    """Convert the looks of an evaluation, and the error that ended it, to JSON values."""
    return {
        "looks": [
            {
                "score": look.score,
                "decision": str(look.decision),
                "verdict": _get_converter().unstructure(look.verdict),
            }
            for look in looks
        ],
        "error": error,
    }


def decode_gsar_looks(document: Mapping[str, Any]) -> tuple[tuple[GSARLook, ...], str | None]:
    """Convert JSON values to the looks and the error that they were made of."""
    try:
        looks = tuple(
            GSARLook(
                iteration,
                float(look["score"]),
                Decision(look["decision"]),
                _structure(look["verdict"], JudgeOutput),
            )
            for iteration, look in enumerate(document["looks"], 1)
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise StateFormatError(f"this is not a saved GSAR evaluation: {exc!r}") from exc
    return looks, document.get("error")
