"""Claims, their types, and the partition of them."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from locus.core.errors import ConfigurationError
from locus.reasoning import Claim, EvidenceType, JudgeOutput, Partition
from locus.reasoning.score_partition import DEFAULT_WEIGHTS
from tests.support.strategies.gsar_values import partitions


def test_the_types_and_their_weights_are_those_of_the_paper() -> None:
    assert DEFAULT_WEIGHTS == {
        "tool_match": 1.00,
        "specific_data": 0.95,
        "signal_match": 0.90,
        "complementary_finding": 0.85,
        "synthesis": 0.80,
        "neg_evidence": 0.70,
        "inference": 0.60,
        "domain": 0.60,
    }
    assert list(DEFAULT_WEIGHTS) == list(EvidenceType)


def test_a_claim_takes_the_name_of_its_type() -> None:
    claim = Claim("The pump is off.", "tool_match", ["call_1"])  # type: ignore[arg-type]
    assert claim == Claim("The pump is off.", EvidenceType.TOOL_MATCH, ("call_1",))
    assert claim.type is EvidenceType.TOOL_MATCH
    assert Claim("x", EvidenceType.DOMAIN).evidence_refs == ()
    assert len({claim, Claim("The pump is off.", EvidenceType.TOOL_MATCH, ("call_1",))}) == 1


@given(partitions)
def test_a_partition_counts_its_claims_and_can_be_pickled(partition: Partition) -> None:
    groups = (
        partition.grounded,
        partition.ungrounded,
        partition.contradicted,
        partition.complementary,
    )
    assert partition.total_claims == sum(map(len, groups))
    assert partition.is_empty == (partition == Partition())
    assert pickle.loads(pickle.dumps(partition)) == partition
    assert JudgeOutput(*groups).partition == partition


def test_the_score_of_a_judge_is_a_float_whatever_number_it_gives() -> None:
    score = JudgeOutput(grounding_score=Decimal("0.5")).grounding_score  # type: ignore[arg-type]
    assert (type(score), score) == (float, 0.5)
    assert JudgeOutput(grounding_score=1).grounding_score == 1.0


@pytest.mark.parametrize(
    ("make", "error", "pattern"),
    [
        (
            lambda: Claim("x", "hearsay"),
            ConfigurationError,
            "tool_match, .*; not 'hearsay'",
        ),
        (lambda: Claim("x", None), ConfigurationError, "not None"),
        (lambda: Claim(1, "domain"), TypeError, "Claim.text is text"),
        (lambda: Claim("x", "domain", "call_1"), TypeError, "evidence_refs is a sequence"),
        (lambda: Claim("x", "domain", [1]), TypeError, r"evidence_refs\[0\] is text, not 1"),
        (lambda: Partition(grounded="abc"), TypeError, "sequence of Claim, not str"),
        (lambda: Partition(ungrounded=[{"text": "x"}]), TypeError, "claim 0 is dict, not Claim"),
        (lambda: JudgeOutput(contradicted_claims=None), TypeError, "not NoneType"),
        (lambda: JudgeOutput(explanation=3), TypeError, "explanation is text or None"),
        (lambda: JudgeOutput(grounding_score="high"), TypeError, "a finite number or None"),
        (lambda: JudgeOutput(grounding_score=math.nan), TypeError, "a finite number or None"),
        (lambda: JudgeOutput(grounding_score=True), TypeError, "a finite number or None"),
        (lambda: JudgeOutput(is_grounded=1), TypeError, "is_grounded is a bool or None, not 1"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_it(make: Any, error: Any, pattern: str) -> None:
    with pytest.raises(error, match=pattern):
        make()
