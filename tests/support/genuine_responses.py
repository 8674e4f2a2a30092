"""What the records of the formats share to draw genuine responses: ids, and numbered calls."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from locus.testing.formats.spoken_format import ODD_IDS
from tests.support.strategies import ResponseContent

OPENAI_ID = r"\Acall_[a-zA-Z0-9]{24}\Z"
"""The form of OpenAI's ids."""


def call_id_lists(pattern: str) -> st.SearchStrategy[list[str]]:
    """Ids of the calls of one response. Another response may have the same."""
    return st.lists(
        st.from_regex(pattern) | st.sampled_from(ODD_IDS), min_size=4, max_size=4, unique=True
    )


@st.composite
def number_calls(
    draw: st.DrawFn, sample: ResponseContent, first_number: int, pattern: str
) -> ResponseContent:
    """Number the calls of a response, and give them ids."""
    candidate = sample.first
    drawn_ids = draw(call_id_lists(pattern)) if candidate.calls else []
    calls = [
        attrs.evolve(call, id=drawn_ids[index], name=f"t{first_number + index}")
        for index, call in enumerate(candidate.calls)
    ]
    return attrs.evolve(sample, candidates=(attrs.evolve(candidate, calls=tuple(calls)),))
