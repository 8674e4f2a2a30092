"""Strategies of claims, partitions, weights and rho, for the score of GSAR."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from locus.reasoning import Claim, EvidenceType, Partition

evidence_types = st.sampled_from(EvidenceType)
claims = st.builds(Claim, st.text(max_size=5), evidence_types)
groups = st.lists(claims, max_size=4)
partitions = st.builds(Partition, groups, groups, groups, groups)
rhos = st.floats(0, 1) | st.sampled_from([0, 1, 0.5])
positive_weights = st.floats(1e-6, 1e6) | st.sampled_from([0.7, 0.95, 1, 3])


def complete_weights(weights: Any = positive_weights) -> st.SearchStrategy[dict[EvidenceType, Any]]:
    """A weight for each type."""
    return st.fixed_dictionaries(dict.fromkeys(EvidenceType, weights))
