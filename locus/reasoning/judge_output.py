"""``JudgeOutput``: how a judge partitions the claims of a report, in the paper's field names."""

from __future__ import annotations

from math import isfinite
from typing import Any

import attrs

from locus.core.attrs_validators import validate_optional_string
from locus.reasoning.claim_partition import Claim, Partition, to_claim_tuple


def _to_optional_float(value: Any) -> float | None:
    """Convert a number, of whatever class, to a float; None stays None."""
    if value is None:
        return None
    try:
        if not isinstance(value, (bool, str, bytes)) and isfinite(number := float(value)):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise TypeError(f"JudgeOutput.grounding_score is a finite number or None, not {value!r:.80}")


def _validate_optional_bool(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"JudgeOutput.{field.name} is a bool or None, not {value!r:.80}")


@attrs.frozen
class JudgeOutput:
    """The claims of a report in four groups, as a judge sees them.

    It can be the structured answer of a model. The judge's own score and verdict are for people to
    read: the score that decides is computed from the claims.

    :param grounded_claims: the claims that the evidence supports.
    :param ungrounded_claims: the claims that no evidence supports.
    :param contradicted_claims: the claims that evidence contradicts.
    :param complementary_claims: the claims that add something and agree with the evidence.
    :param grounding_score: the judge's own estimate of the score.
    :param is_grounded: the judge's own verdict.
    :param explanation: the judge's reasons.
    """

    grounded_claims: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)
    ungrounded_claims: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)
    contradicted_claims: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)
    complementary_claims: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)
    grounding_score: float | None = attrs.field(default=None, converter=_to_optional_float)
    is_grounded: bool | None = attrs.field(default=None, validator=_validate_optional_bool)
    explanation: str | None = attrs.field(default=None, validator=validate_optional_string)

    @property
    def partition(self) -> Partition:
        """The claims as a :class:`~locus.reasoning.Partition`, which has a score."""
        return Partition(
            self.grounded_claims,
            self.ungrounded_claims,
            self.contradicted_claims,
            self.complementary_claims,
        )
