"""The GSAR score against an independent calculation, its properties, and the decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.reasoning import (
    Claim,
    Decision,
    EvidenceType,
    GSARThresholds,
    Partition,
    decide,
    gsar_score,
)
from locus.reasoning.score_partition import DEFAULT_WEIGHTS
from tests.support.strategies.gsar_values import (
    claims,
    complete_weights,
    evidence_types,
    groups,
    partitions,
    positive_weights,
    rhos,
)

GROUPS = ("grounded", "ungrounded", "contradicted", "complementary")
weights_or_none = st.none() | complete_weights()


def compute_score(partition: Partition, weights: Mapping[Any, Any], rho: Any) -> Fraction:
    """Compute the formula of the paper, in decimal numbers as they are written down."""

    def weigh(group: str) -> Fraction:
        total = Fraction(0)
        for claim in getattr(partition, group):
            total += Fraction(str(weights[claim.type]))
        return total

    supported = weigh("grounded") + weigh("complementary")
    return supported / (
        supported + weigh("ungrounded") + Fraction(str(rho)) * weigh("contradicted")
    )


def add_claim(partition: Partition, group: str, claim: Claim) -> Partition:
    return attrs.evolve(partition, **{group: (*getattr(partition, group), claim)})


@given(partitions, weights_or_none, rhos)
def test_the_score_is_that_of_the_formula(
    partition: Partition, weights: dict[EvidenceType, Any] | None, rho: float
) -> None:
    try:
        expected = float(compute_score(partition, weights or DEFAULT_WEIGHTS, rho))
    except ZeroDivisionError:
        expected = 0.5 if partition.is_empty else 0.0
    score = gsar_score(partition, weights=weights, rho=rho)
    assert score == expected
    assert 0 <= score <= 1
    assert type(score) is float


@given(weights_or_none, rhos)
def test_the_score_without_claims_is_one_half(weights: Any, rho: float) -> None:
    assert gsar_score(Partition(), weights=weights, rho=rho) == 0.5


@given(partitions, claims, st.sampled_from(["grounded", "complementary"]), weights_or_none, rhos)
def test_a_supported_claim_never_lowers_the_score(
    partition: Partition, claim: Claim, group: str, weights: Any, rho: float
) -> None:
    before = gsar_score(partition, weights=weights, rho=rho)
    assert gsar_score(add_claim(partition, group, claim), weights=weights, rho=rho) >= before


@given(partitions, claims, st.sampled_from(["ungrounded", "contradicted"]), weights_or_none, rhos)
@example(Partition(), Claim("x", EvidenceType.DOMAIN), "contradicted", None, 0)
def test_an_unsupported_claim_never_raises_the_score(
    partition: Partition, claim: Claim, group: str, weights: Any, rho: float
) -> None:
    before = gsar_score(partition, weights=weights, rho=rho)
    assert gsar_score(add_claim(partition, group, claim), weights=weights, rho=rho) <= before


@given(partitions, claims, weights_or_none, st.floats(0.01, 1))
def test_a_contradicted_claim_lowers_the_score_unless_it_is_zero_or_rho_is(
    partition: Partition, claim: Claim, weights: Any, rho: float
) -> None:
    with_claim = add_claim(partition, "contradicted", claim)
    used = weights or DEFAULT_WEIGHTS
    if partition.grounded or partition.complementary:
        exact = compute_score(partition, used, rho)
        assert compute_score(with_claim, used, rho) < exact
        assert gsar_score(with_claim, weights=weights, rho=0) == gsar_score(
            partition, weights=weights, rho=0
        )
    else:
        assert gsar_score(with_claim, weights=weights, rho=rho) == 0


@given(partitions, claims, weights_or_none, st.floats(0, 0.99))
def test_the_same_claim_costs_less_contradicted_than_ungrounded_if_rho_is_below_one(
    partition: Partition, claim: Claim, weights: Any, rho: float
) -> None:
    """So a judge that calls an unsupported claim contradicted raises the score."""
    ungrounded = add_claim(partition, "ungrounded", claim)
    contradicted = add_claim(partition, "contradicted", claim)
    used = weights or DEFAULT_WEIGHTS
    if partition.grounded or partition.complementary:
        assert compute_score(contradicted, used, rho) > compute_score(ungrounded, used, rho)
    assert gsar_score(contradicted, weights=weights, rho=rho) >= gsar_score(
        ungrounded, weights=weights, rho=rho
    )
    assert gsar_score(contradicted, weights=weights, rho=1) == gsar_score(
        ungrounded, weights=weights, rho=1
    )


@given(groups, groups, groups, groups, weights_or_none)
def test_rho_at_its_ends(
    grounded: Any, ungrounded: Any, contradicted: Any, complementary: Any, weights: Any
) -> None:
    partition = Partition(grounded, ungrounded, contradicted, complementary)
    assert gsar_score(partition, weights=weights, rho=1) == gsar_score(
        Partition(grounded, (*ungrounded, *contradicted), (), complementary), weights=weights
    )
    without_contradicted = Partition(grounded, ungrounded, (), complementary)
    assume(not without_contradicted.is_empty)
    assert gsar_score(partition, weights=weights, rho=0) == gsar_score(
        without_contradicted, weights=weights
    )


@given(st.lists(claims, min_size=1, max_size=3), rhos)
def test_contradicted_claims_alone_have_the_score_zero(contradicted: Any, rho: float) -> None:
    assert gsar_score(Partition(contradicted=contradicted), rho=rho) == 0


@given(partitions, complete_weights(), rhos, st.integers(1, 1000) | st.fractions(Fraction(1, 999)))
def test_scaling_all_weights_changes_nothing(
    partition: Partition, weights: dict[EvidenceType, Any], rho: float, factor: Any
) -> None:
    scaled = {type_: Fraction(str(weight)) * factor for type_, weight in weights.items()}
    assert gsar_score(partition, weights=scaled, rho=rho) == gsar_score(
        partition, weights=weights, rho=rho
    )


@given(partitions, st.randoms())
def test_the_order_of_the_claims_does_not_matter(partition: Partition, random: Any) -> None:
    shuffled = {name: list(getattr(partition, name)) for name in GROUPS}
    for group in shuffled.values():
        random.shuffle(group)
    assert gsar_score(Partition(**shuffled)) == gsar_score(partition)


@given(partitions, evidence_types, positive_weights)
def test_some_weights_leave_the_others_as_they_are(
    partition: Partition, type_: EvidenceType, weight: Any
) -> None:
    expected = gsar_score(partition, weights={**DEFAULT_WEIGHTS, type_: weight})
    assert gsar_score(partition, weights={type_: weight}) == expected
    assert gsar_score(partition, weights={str(type_): weight}) == expected


@given(partitions, evidence_types)
def test_a_claim_whose_type_has_no_weight_does_not_count(
    partition: Partition, type_: EvidenceType
) -> None:
    without = Partition(
        **{
            name: [claim for claim in getattr(partition, name) if claim.type is not type_]
            for name in GROUPS
        }
    )
    assert gsar_score(partition, weights={type_: 0}) == gsar_score(without)


def make_claims(*types: str) -> list[Claim]:
    return [Claim("x", EvidenceType(type_)) for type_ in types]


@pytest.mark.parametrize(
    ("grounded", "ungrounded", "contradicted", "score"),
    [
        (["specific_data"] * 4, ["specific_data"], [], 0.80),
        # In binary numbers this would be a little less: (0.7 + 0.9) / (1.6 + 0.5 * 0.8).
        (["neg_evidence", "signal_match"], [], ["synthesis"], 0.80),
        (["domain"] * 13, ["inference"] * 7, [], 0.65),
    ],
)
def test_a_score_that_is_a_threshold_by_hand_reaches_it(
    grounded: list[str], ungrounded: list[str], contradicted: list[str], score: float
) -> None:
    groups = (make_claims(*types) for types in (grounded, ungrounded, contradicted))
    assert gsar_score(Partition(*groups)) == score
    assert decide(score) == ("proceed" if score == 0.80 else "regenerate")


def test_decimals_and_fractions_are_weights_too() -> None:
    partition = Partition(make_claims("domain"), make_claims("tool_match"))
    for weight in (0.1, Decimal("0.1"), Fraction(1, 10)):
        assert gsar_score(partition, weights={"domain": weight, "tool_match": 0.3}) == 0.25


@pytest.mark.parametrize("rho", [-0.1, 1.1, math.nan, math.inf, "0.5", None, True])
def test_a_wrong_rho_is_an_error(rho: Any) -> None:
    with pytest.raises(ConfigurationError, match="rho must be a number from 0 to 1; not"):
        gsar_score(Partition(), rho=rho)


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, "1", None, True])
def test_a_wrong_weight_is_an_error_that_names_its_type(weight: Any) -> None:
    with pytest.raises(ConfigurationError, match="the weight of domain must be a finite number"):
        gsar_score(Partition(), weights={"domain": weight})


def test_other_wrong_arguments_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="a key of weights is one of tool_match"):
        gsar_score(Partition(), weights={"hearsay": 1})
    with pytest.raises(TypeError, match="weights is a mapping"):
        gsar_score(Partition(), weights=[1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a Partition, not list"):
        gsar_score([])  # type: ignore[arg-type]


# -- decisions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "decision"),
    [
        (1, "proceed"),
        (0.80, "proceed"),
        (math.nextafter(0.80, 0), "regenerate"),
        (0.65, "regenerate"),
        (math.nextafter(0.65, 0), "replan"),
        (0, "replan"),
    ],
)
def test_a_score_at_a_threshold_has_reached_it(score: float, decision: str) -> None:
    assert decide(score) == decision
    assert decide(score, GSARThresholds()) is Decision(decision)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_every_score_has_the_decision_of_its_interval(
    first: float, second: float, s: float
) -> None:
    low, high = sorted([first, second])
    decision = decide(s, GSARThresholds(high, low))
    assert decision == ("proceed" if s >= high else "regenerate" if s >= low else "replan")


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan, None, "1", True])
def test_a_wrong_score_is_an_error(score: Any) -> None:
    with pytest.raises(ConfigurationError, match="a score is a number from 0 to 1"):
        decide(score)


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ((0.5, 0.6), r"regenerate \(0.6\) must not be above proceed \(0.5\)"),
        ((1.5, 0.6), "proceed must be a number from 0 to 1; not 1.5"),
        ((0.8, -1), "regenerate must be a number from 0 to 1; not -1"),
        ((math.nan, 0.6), "proceed must be a number"),
        (("0.8", 0.6), "proceed must be a number"),
    ],
)
def test_wrong_thresholds_are_errors(arguments: Any, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        GSARThresholds(*arguments)
    with pytest.raises(TypeError, match="thresholds are GSARThresholds, not tuple"):
        decide(0.5, arguments)
