"""Grounding reports and GSAR evaluations as JSON in the state of an agent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.agent import AgentState
from locus.core.errors import StateFormatError
from locus.core.reasoning_record import ReasoningRecord
from locus.reasoning import GroundingReport, GSARLook, JudgeOutput, decide, gsar_score
from locus.reasoning.json_records import (
    decode_grounding_report,
    decode_gsar_looks,
    encode_grounding_report,
    encode_gsar_looks,
)
from tests.support.strategies.gsar_values import groups

texts = st.lists(st.text(max_size=5), max_size=3)
verdicts = st.builds(
    JudgeOutput,
    groups,
    groups,
    groups,
    groups,
    st.none() | st.floats(0, 1),
    st.none() | st.booleans(),
    st.none() | st.text(max_size=5),
)
reports = st.builds(
    GroundingReport,
    st.floats(0, 1),
    texts,
    texts,
    st.booleans(),
    st.booleans(),
    st.integers(0, 5),
    st.none() | st.text(max_size=5),
)


def make_look(number: int, verdict: JudgeOutput) -> GSARLook:
    score = gsar_score(verdict.partition)
    return GSARLook(number, score, decide(score), verdict)


@given(st.lists(verdicts, max_size=3), reports, st.none() | st.text(max_size=5))
def test_a_saved_state_gives_back_what_was_found(
    verdicts: list[JudgeOutput], report: GroundingReport, error: str | None
) -> None:
    looks = tuple(make_look(number, verdict) for number, verdict in enumerate(verdicts, 1))
    record = ReasoningRecord(
        3, encode_grounding_report(report), encode_gsar_looks(looks, error), 4, 5
    )
    state = AgentState(reasoning=record)
    loaded = AgentState.from_json(state.to_json())
    assert loaded == state
    assert loaded.reasoning is not None
    assert decode_grounding_report(loaded.reasoning.grounding or {}) == report
    assert decode_gsar_looks(loaded.reasoning.gsar or {}) == (looks, error)
    json.dumps(record.gsar)  # nothing but JSON values


def test_members_of_a_newer_version_are_skipped() -> None:
    document = {"score": 1.0, "colour": "green"}
    assert decode_grounding_report(document) == GroundingReport(1.0)
    verdict = {"grounded_claims": [{"text": "x", "type": "domain", "colour": "green"}], "x": 1}
    looks, _ = decode_gsar_looks(
        {"looks": [{"score": 1, "decision": "proceed", "verdict": verdict}]}
    )
    assert looks[0].score == 1.0


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"looks": None},
        {"looks": [{}]},
        {"looks": [{"score": "x", "decision": "proceed", "verdict": {}}]},
        {"looks": [{"score": 1, "decision": "perhaps", "verdict": {}}]},
        {"looks": [{"score": 1, "decision": "proceed", "verdict": []}]},
        {"looks": [{"score": 1, "decision": "proceed", "verdict": {"grounded_claims": [{}]}}]},
    ],
)
def test_anything_else_is_an_error(document: Any) -> None:
    with pytest.raises(StateFormatError, match="this is not a saved"):
        decode_gsar_looks(document)
    with pytest.raises(StateFormatError, match="this is not a saved GroundingReport"):
        decode_grounding_report({"score": "high"})
