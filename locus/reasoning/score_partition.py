"""The GSAR score of a partition of claims, and the decision that follows from a score.

Source: https://arxiv.org/abs/2604.23366. With W(P) the sum of the weights of the claims in P::

    S = (W(G) + W(K)) / (W(G) + W(U) + rho * W(X) + W(K))

The calculation is exact: a weight of 0.7 is the decimal number 7/10, and the result is rounded
once. So a score that is 0.8 by hand is not a little less than the threshold 0.80.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, TypeAlias

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.reasoning.claim_partition import Claim, EvidenceType, Partition, parse_evidence_type
from locus.reasoning.field_checks import is_finite_number, is_fraction_of_one, validate_fraction

Weights: TypeAlias = Mapping[EvidenceType, float]
"""The weight of a claim of each type."""

DEFAULT_WEIGHTS: Final[Weights] = FrozenDict(
    {
        EvidenceType.TOOL_MATCH: 1.00,
        EvidenceType.SPECIFIC_DATA: 0.95,
        EvidenceType.SIGNAL_MATCH: 0.90,
        EvidenceType.COMPLEMENTARY_FINDING: 0.85,
        EvidenceType.SYNTHESIS: 0.80,
        EvidenceType.NEG_EVIDENCE: 0.70,
        EvidenceType.INFERENCE: 0.60,
        EvidenceType.DOMAIN: 0.60,
    }
)
DEFAULT_RHO: Final = 0.5
EMPTY_SCORE: Final = 0.5
"""The score of a partition without claims: nothing speaks for the report, nothing against it."""


class Decision(StrEnum):
    """What to do with a report: accept it, write it anew, or look for more evidence first."""

    PROCEED = "proceed"
    REGENERATE = "regenerate"
    REPLAN = "replan"


def gsar_score(
    partition: Partition, *, weights: Mapping[Any, float] | None = None, rho: float = DEFAULT_RHO
) -> float:
    """Return the GSAR score of a partition, from 0 to 1.

    A further grounded or complementary claim never lowers the score, a further ungrounded or
    contradicted one never raises it. But with ``rho`` < 1 a contradicted claim costs less than an
    ungrounded one: the same claim lowers the score less in X than in U, and with ``rho`` = 0 not at
    all, unless nothing else has any weight.

    :param weights: weights of some types, from 0; the others keep those of the paper. Only their
        ratios matter. A claim whose type has the weight 0 does not count.
    :param rho: how much a contradicted claim counts, from 0 to 1.
    :return: 0.5 if no claim has any weight; 0 if only contradicted ones have, also for ``rho`` = 0.
    :raises ConfigurationError: if ``rho`` or a weight is out of range, or there is no such type.
    """
    if not isinstance(partition, Partition):
        raise TypeError(f"gsar_score takes a Partition, not {type(partition).__name__}")
    exact_rho = _to_exact_number(check_rho(rho))
    exact_weights = {
        type_: _to_exact_number(weight) for type_, weight in merge_weights(weights).items()
    }

    def sum_weights(claims: tuple[Claim, ...]) -> Fraction:
        return sum((exact_weights[claim.type] for claim in claims), Fraction(0))

    supported = sum_weights(partition.grounded) + sum_weights(partition.complementary)
    contradicted = sum_weights(partition.contradicted)
    total = supported + sum_weights(partition.ungrounded) + exact_rho * contradicted
    if not total:
        return 0.0 if contradicted else EMPTY_SCORE
    return float(supported / total)


def merge_weights(weights: Mapping[Any, float] | None) -> Weights:
    """Check weights, and complete them with the default ones.

    :raises ConfigurationError: if one is not a finite number from 0, or there is no such type.
    """
    if weights is None:
        return DEFAULT_WEIGHTS
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights is a mapping or None, not {type(weights).__name__}")
    merged = dict(DEFAULT_WEIGHTS)
    for key, weight in weights.items():
        type_ = parse_evidence_type(key, "a key of weights")
        if not is_finite_number(weight) or weight < 0:
            raise ConfigurationError(
                f"the weight of {type_} must be a finite number from 0; not {weight!r}"
            )
        merged[type_] = weight
    return FrozenDict(merged)


def check_rho(rho: float) -> float:
    """Check ``rho``, and return it.

    :raises ConfigurationError: if it is not a number from 0 to 1.
    """
    if not is_fraction_of_one(rho):
        raise ConfigurationError(f"rho must be a number from 0 to 1; not {rho!r}")
    return rho


def _to_exact_number(value: Any) -> Fraction:
    """Convert a number to a fraction; a float is the decimal number that it is written as."""
    return Fraction(float.__repr__(value)) if isinstance(value, float) else Fraction(value)


@attrs.frozen
class GSARThresholds:
    """The scores from which a report is accepted or written anew.

    :param proceed: from this score on, the report is accepted.
    :param regenerate: from this score on, it is written anew from the same evidence; below it,
        more evidence is needed. At most ``proceed``.
    :raises ConfigurationError: if a threshold is not from 0 to 1, or they are in the wrong order.
    """

    proceed: float = attrs.field(default=0.80, validator=validate_fraction)
    regenerate: float = attrs.field(default=0.65, validator=validate_fraction)

    def __attrs_post_init__(self) -> None:
        if self.regenerate > self.proceed:
            raise ConfigurationError(
                f"the threshold regenerate ({self.regenerate!r}) must not be above proceed "
                f"({self.proceed!r})"
            )


DEFAULT_THRESHOLDS: Final = GSARThresholds()


def decide(score: float, thresholds: GSARThresholds = DEFAULT_THRESHOLDS) -> Decision:
    """Return what to do with a report of this score; a score at a threshold has reached it.

    :raises ConfigurationError: if the score is not a number from 0 to 1.
    """
    if not is_fraction_of_one(score):
        raise ConfigurationError(f"a score is a number from 0 to 1; not {score!r}")
    if not isinstance(thresholds, GSARThresholds):
        raise TypeError(f"thresholds are GSARThresholds, not {type(thresholds).__name__}")
    if score >= thresholds.proceed:
        return Decision.PROCEED
    return Decision.REGENERATE if score >= thresholds.regenerate else Decision.REPLAN
