"""``Claim``, ``EvidenceType``, ``Partition``: the claims of a report, by how far it is supported.

The terms are those of GSAR (https://arxiv.org/abs/2604.23366).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import attrs

from locus.core.attrs_validators import validate_string
from locus.core.errors import ConfigurationError


class EvidenceType(StrEnum):
    """How a claim is related to the evidence; the types differ in how much they weigh."""

    TOOL_MATCH = "tool_match"
    SPECIFIC_DATA = "specific_data"
    SIGNAL_MATCH = "signal_match"
    COMPLEMENTARY_FINDING = "complementary_finding"
    SYNTHESIS = "synthesis"
    NEG_EVIDENCE = "neg_evidence"
    INFERENCE = "inference"
    DOMAIN = "domain"


def _to_evidence_type(value: EvidenceType | str) -> EvidenceType:
    """Convert the name of a type to the type."""
    return parse_evidence_type(value, "Claim.type")


def parse_evidence_type(value: Any, name: str) -> EvidenceType:
    """Convert the name of an evidence type to the type.

    :param name: what has the value, for the error message.
    :raises ConfigurationError: if there is no such type; the message lists all of them.
    """
    try:
        return EvidenceType(value)
    except ValueError:
        raise ConfigurationError(
            f"{name} is one of {', '.join(EvidenceType)}; not {value!r}"
        ) from None


def _to_reference_tuple(value: Iterable[str]) -> tuple[str, ...]:
    """Convert references to a tuple of strings."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"Claim.evidence_refs is a sequence of text, not {type(value).__name__}")
    references = tuple(value)
    for position, reference in enumerate(references):
        if not isinstance(reference, str):
            raise TypeError(f"Claim.evidence_refs[{position}] is text, not {reference!r:.80}")
    return references


@attrs.frozen
class Claim:
    """One statement of a report that can be checked.

    :param text: the statement.
    :param type: how it is related to the evidence: an :class:`EvidenceType` or its name.
    :param evidence_refs: which evidence it refers to, such as the ids of tool calls.
    """

    text: str = attrs.field(
        validator=validate_string, metadata={"description": "the statement, as in the report"}
    )
    type: EvidenceType = attrs.field(converter=_to_evidence_type)
    evidence_refs: tuple[str, ...] = attrs.field(
        default=(),
        converter=_to_reference_tuple,
        metadata={"description": "the labels of the evidence that bears on it"},
    )


def to_claim_tuple(value: Iterable[Claim]) -> tuple[Claim, ...]:
    """Convert claims to a tuple, and check that each is a :class:`Claim`."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"claims are a sequence of Claim, not {type(value).__name__}")
    claims = tuple(value)
    for position, claim in enumerate(claims):
        if not isinstance(claim, Claim):
            raise TypeError(f"claim {position} is {type(claim).__name__}, not Claim")
    return claims


@attrs.frozen
class Partition:
    """The claims of a report in four groups.

    :param grounded: G, the claims that the evidence supports.
    :param ungrounded: U, the claims that no evidence supports.
    :param contradicted: X, the claims that evidence contradicts.
    :param complementary: K, the claims that add something to the supported ones and agree with
        the evidence.
    """

    grounded: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)
    ungrounded: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)
    contradicted: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)
    complementary: tuple[Claim, ...] = attrs.field(default=(), converter=to_claim_tuple)

    @property
    def total_claims(self) -> int:
        """The number of claims in all four groups."""
        return sum(1 for _ in self._iter_claims())

    @property
    def is_empty(self) -> bool:
        """Whether there is no claim at all."""
        return not self.total_claims

    def _iter_claims(self) -> Iterator[Claim]:
        """Iterate over the claims of all groups."""
        yield from self.grounded
        yield from self.ungrounded
        yield from self.contradicted
        yield from self.complementary
