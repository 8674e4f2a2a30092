"""Unusual streams of the native providers: undocumented events, and very large responses.

Where decoding took quadratic time, these tests would take minutes, not a tenth of a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from locus.core.errors import APIStatusError
from tests.support.anthropic_responses import RESPOND_TOOL_NAME
from tests.support.native_state import get_data
from tests.support.timing import assert_linear
from tests.support.wire_json.anthropic_json import (
    decode_failure,
    decode_response,
    encode_sse,
    make_block_delta,
    make_block_start,
    make_block_stop,
    make_last_chunks,
    make_text_chunks,
)


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
    assert (
        decode_response(encode_sse(*make_text_chunks("a"), event, *make_last_chunks())).content
        == "a"
    )


def test_a_gateway_s_message_that_is_no_event_is_still_an_error() -> None:
    error = decode_failure(
        encode_sse(*make_text_chunks("a"), {"message": "blocked by the guardrail"})
    )
    assert isinstance(error, APIStatusError)
    assert "blocked by the guardrail" in str(error)


@pytest.mark.parametrize("junk", [None, "x", [0], {"a": 0}, 0.5])
def test_a_block_keeps_its_text_where_one_of_its_indexes_is_none(junk: Any) -> None:
    chunks = [
        make_block_start(0, type="thinking", thinking=""),
        make_block_delta(0, type="thinking_delta", thinking="hm"),
        make_block_stop(0),
        make_block_start(1, type="text", text="a"),
        make_block_delta(1, type="text_delta", text="b"),
        make_block_delta(1, type="text_delta", text="c"),
        make_block_stop(1),
    ]
    expected = decode_response(encode_sse(*chunks, *make_last_chunks())).message
    for position, chunk in enumerate(chunks):
        changed = [*chunks[:position], chunk | {"index": junk}, *chunks[position + 1 :]]
        response = decode_response(encode_sse(*changed, *make_last_chunks()))
        assert response.message == expected, position


@pytest.mark.parametrize("delta_type", ["prose_delta", None])
def test_text_in_a_delta_of_another_kind_is_delivered_too(delta_type: str | None) -> None:
    stream = encode_sse(
        make_block_start(type="text", text="a"),
        make_block_delta(type=delta_type, text="b", mood="glad"),
        make_block_delta(type="text_delta", text="c"),
        make_block_stop(),
        *make_last_chunks(),
    )
    response = decode_response(stream)
    assert response.content == "abc"
    assert get_data(response.message)["blocks"] == [{"type": "text", "text": "abc", "mood": "glad"}]


def test_chunks_of_an_unknown_kind_are_put_together() -> None:
    response = decode_response(
        encode_sse(
            make_block_start(type="summary", content=None, of=["x"]),
            *(
                make_block_delta(type="summary_delta", content=text_part)
                for text_part in ("a", "b", "c")
            ),
            make_block_delta(type="summary_delta", of=["y"], content="d"),
            make_block_stop(),
            *make_last_chunks(),
        )
    )
    assert get_data(response.message)["blocks"] == [
        {"type": "summary", "content": "abcd", "of": ["y"]}
    ]


def test_citations_are_gathered_whatever_the_block_began_with() -> None:
    for start_fields in ({}, {"citations": None}, {"citations": []}):
        response = decode_response(
            encode_sse(
                make_block_start(type="text", text="a", **start_fields),
                *(make_block_delta(type="citations_delta", citation={"at": at}) for at in (1, 2)),
                make_block_stop(),
                *make_last_chunks(),
            )
        )
        (block,) = get_data(response.message)["blocks"]
        assert block == {"type": "text", "text": "a", "citations": [{"at": 1}, {"at": 2}]}


def _make_calls(count: int) -> list[dict[str, Any]]:
    """Calls whose ends the server does not send."""
    return [
        make_block_start(at, type="tool_use", id=f"t{at}", name="f", input={})
        for at in range(count)
    ]


def _make_citations(count: int) -> list[dict[str, Any]]:
    cited = [make_block_delta(type="citations_delta", citation={"at": at}) for at in range(count)]
    return [make_block_start(type="text", text="a"), *cited]


def _make_summary(count: int) -> list[dict[str, Any]]:
    deltas = [make_block_delta(type="summary_delta", content="x" * 500)] * count
    return [make_block_start(type="summary", content=""), *deltas]


@pytest.mark.parametrize("make_chunks", [_make_calls, _make_citations, _make_summary])
def test_a_long_stream_is_read_in_linear_time(make_chunks: Any) -> None:
    def prepare(count: int) -> Callable[[], object]:
        stream = encode_sse(*make_chunks(count), *make_last_chunks())
        return lambda: decode_response(stream)

    assert_linear(prepare, 500)


def test_a_response_whose_end_is_not_sent_ends_where_the_next_block_begins() -> None:
    part = json.dumps({"a": 1})
    stream = encode_sse(
        make_block_start(0, type="tool_use", id="1", name="look", input={}),
        make_block_start(1, type="tool_use", id="2", name=RESPOND_TOOL_NAME, input={}),
        make_block_delta(1, type="input_json_delta", partial_json=part),
        *make_text_chunks("!", 2),
        *make_last_chunks("tool_use"),
    )
    response = decode_response(stream)
    assert (response.content, [call.id for call in response.tool_calls]) == ('{"a":1}!', ["1"])
