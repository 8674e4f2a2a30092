"""Streams of the native providers at their edges: what is not in any document, and what is large.

What takes the square of its length here takes minutes, where it should take a tenth of a second.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from locus.core.errors import APIStatusError
from tests.support.wire_json.anthropic_json import (
    RESPOND,
    answer_of,
    delta,
    ending,
    failure_of,
    sse,
    start,
    stop,
)
from tests.support.wire_json.anthropic_json import text as say

MANY = 20_000


@pytest.mark.parametrize(
    "event",
    [
        {"type": "progress", "message": "half way"},
        {"type": "progress", "message": ["half", "way"]},
        {"type": "progress", "delta": 3, "index": "first"},
        {"type": "progress", "usage": "little", "content_block": [1]},
    ],
)
def test_an_event_of_a_kind_that_does_not_exist_yet_may_hold_anything(
    event: dict[str, Any],
) -> None:
    assert answer_of(sse(*say("a"), event, *ending())).content == "a"


def test_a_gateway_s_message_that_is_no_event_is_still_an_error() -> None:
    error = failure_of(sse(*say("a"), {"message": "the guardrail said no"}))
    assert isinstance(error, APIStatusError)
    assert "the guardrail said no" in str(error)


@pytest.mark.parametrize("kind", ["prose_delta", None])
def test_text_in_a_delta_of_another_kind_is_handed_out_too(kind: str | None) -> None:
    stream = sse(
        start(type="text", text="a"),
        delta(type=kind, text="b", mood="glad"),
        delta(type="text_delta", text="c"),
        stop(),
        *ending(),
    )
    answer = answer_of(stream)
    assert answer.content == "abc"
    assert answer.message.metadata["blocks"] == [{"type": "text", "text": "abc", "mood": "glad"}]


def test_pieces_of_an_unknown_kind_are_put_together() -> None:
    answer = answer_of(
        sse(
            start(type="summary", content=None, of=["x"]),
            *(delta(type="summary_delta", content=said) for said in ("a", "b", "c")),
            delta(type="summary_delta", of=["y"], content="d"),
            stop(),
            *ending(),
        )
    )
    assert answer.message.metadata["blocks"] == [
        {"type": "summary", "content": "abcd", "of": ["y"]}
    ]


def test_citations_are_gathered_whatever_the_block_began_with() -> None:
    for begun in ({}, {"citations": None}, {"citations": []}):
        answer = answer_of(
            sse(
                start(type="text", text="a", **begun),
                *(delta(type="citations_delta", citation={"at": at}) for at in (1, 2)),
                stop(),
                *ending(),
            )
        )
        (block,) = answer.message.metadata["blocks"]
        assert block == {"type": "text", "text": "a", "citations": [{"at": 1}, {"at": 2}]}


def _calls() -> list[dict[str, Any]]:
    """Calls whose ends a server does not tell."""
    return [start(at, type="tool_use", id=f"t{at}", name="f", input={}) for at in range(MANY)]


def _citations() -> list[dict[str, Any]]:
    cited = [delta(type="citations_delta", citation={"at": at}) for at in range(MANY)]
    return [start(type="text", text="a"), *cited]


def _summary() -> list[dict[str, Any]]:
    told = [delta(type="summary_delta", content="x" * 500)] * MANY
    return [start(type="summary", content=""), *told]


@pytest.mark.parametrize("many", [_calls, _citations, _summary])
def test_a_long_stream_takes_time_in_proportion(many: Any) -> None:
    stream = sse(*many(), *ending())
    begun = time.perf_counter()
    answer_of(stream)
    assert time.perf_counter() - begun < 5


def test_an_answer_whose_end_is_not_told_ends_where_the_next_block_begins() -> None:
    part = json.dumps({"a": 1})
    stream = sse(
        start(0, type="tool_use", id="1", name="look", input={}),
        start(1, type="tool_use", id="2", name=RESPOND, input={}),
        delta(1, type="input_json_delta", partial_json=part),
        *say("!", 2),
        *ending("tool_use"),
    )
    answer = answer_of(stream)
    assert (answer.content, [call.id for call in answer.tool_calls]) == ('{"a":1}!', ["1"])
