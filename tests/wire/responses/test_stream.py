"""Streamed responses: equal to the whole answer, however cut, and never half believed."""

from __future__ import annotations

import json
import time
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    StreamInterruptedError,
)
from locus.wire.responses import ResponsesParser
from locus.wire.responses.stream import HANDLED
from tests.support.decoding import check_law
from tests.support.strategies import splits
from tests.support.wire_json.responses_json import (
    STYLES,
    answer_of,
    delta,
    ending,
    essence,
    events,
    expected,
    failure_of,
    framed,
    message,
    read,
    reading,
    response_answers,
    sse,
    whole,
)

PARSER = ResponsesParser()


# The streaming law, beyond what the tests of all formats say.


@given(st.data())
def test_an_unstored_stream_is_the_whole_answer_and_has_no_state(data: st.DataObject) -> None:
    answer = data.draw(response_answers(legible=False))
    style = data.draw(st.sampled_from(STYLES))
    stream = data.draw(framed(data.draw(events(answer, style))))
    streamed = reading(False).answer_of(data.draw(splits(stream)))
    assert essence(streamed) == expected(answer, store=False)
    assert streamed.provider_state is None
    assert streamed == ResponsesParser(False).parse(json.dumps(whole(answer)))


@given(st.data())
def test_pieces_come_as_they_are_sent(data: st.DataObject) -> None:
    answer = data.draw(response_answers())
    found = data.draw(events(answer))
    deltas = [e["delta"] for e in found if e["type"] == "response.output_text.delta"]
    got, _ = read([sse(*found)])
    assert [e.content for e in got[:-1] if e.content] == [d for d in deltas if d]


# Truncation.


def test_a_cut_call_keeps_what_had_arrived_of_its_arguments() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look"}
    place = {"output_index": 0, "item_id": "fc_1"}
    added = {"type": "response.output_item.added", "item": {**call, "arguments": ""}, **place}
    part = {"type": "response.function_call_arguments.delta", "delta": '{"up": ', **place}
    error = failure_of(sse(added, part))
    assert error.partial is not None
    assert error.partial.tool_calls[0].malformed_arguments == '{"up": '
    created = {"type": "response.created", "response": {"id": "resp_7", "model": "m"}}
    nameless = {"type": "response.output_item.added", "item": {"type": "function_call"}, **place}
    error = failure_of(sse(created, nameless, part))
    assert error.partial is not None
    assert (error.partial.tool_calls, error.partial.response_id) == ((), "resp_7")


def test_done_is_no_end() -> None:
    assert isinstance(failure_of(sse(delta("x"), "[DONE]")), StreamInterruptedError)
    assert answer_of(sse(delta("x"), ending(message("x")), "[DONE]")).content == "x"


# Events.

PASSED_OVER = {
    "response.audio.delta": "no answer of this API has audio yet",
    "response.audio.done": "likewise",
    "response.audio.transcript.delta": "likewise",
    "response.audio.transcript.done": "likewise",
    "response.output_text.annotation.added": "the whole item has the annotations",
    "response.compaction.compacting": "the whole item tells of it",
    **dict.fromkeys(
        [
            f"response.{tool}_call.{step}"
            for tool, steps in {
                "code_interpreter": ("completed", "in_progress", "interpreting"),
                "file_search": ("completed", "in_progress", "searching"),
                "image_generation": ("completed", "generating", "in_progress", "partial_image"),
                "mcp": ("completed", "failed", "in_progress"),
                "web_search": ("completed", "in_progress", "searching"),
            }.items()
            for step in steps
        ],
        "a tool of the server's own: the whole item tells what it did",
    ),
    **dict.fromkeys(
        [
            "response.code_interpreter_call_code.delta",
            "response.code_interpreter_call_code.done",
            "response.mcp_call_arguments.delta",
            "response.mcp_call_arguments.done",
            "response.mcp_list_tools.completed",
            "response.mcp_list_tools.failed",
            "response.mcp_list_tools.in_progress",
            "response.shell_call_command.added",
            "response.shell_call_command.delta",
            "response.shell_call_command.done",
            "response.shell_call_output_content.delta",
            "response.shell_call_output_content.done",
        ],
        "likewise",
    ),
}
"""The events that tell nothing which the items do not, and why."""


@pytest.mark.sdk
def test_every_event_that_the_sdk_knows_is_handled_or_passed_over_on_purpose() -> None:
    types = pytest.importorskip("openai.types.responses")
    union = get_args(get_args(types.ResponseStreamEvent)[0])
    kinds = {get_args(event.model_fields["type"].annotation)[0] for event in union}
    assert len(kinds) > 50
    assert kinds - HANDLED == PASSED_OVER.keys() & kinds
    assert not HANDLED & PASSED_OVER.keys()
    assert kinds >= HANDLED


@pytest.mark.parametrize("kind", [*PASSED_OVER, "response.of_next_year", "keepalive", "", None])
@pytest.mark.parametrize("extra", [{}, {"delta": {"a": 1}, "item": 7, "output_index": "x"}])
def test_what_is_passed_over_changes_nothing(kind: str | None, extra: dict[str, Any]) -> None:
    if kind is None and extra:
        return  # without a type, it may as well have been one of those that are handled
    odd = {"type": kind, "sequence_number": 1, **extra}
    stream = sse(odd, delta("x"), odd, ending(message("x")))
    assert answer_of(stream) == answer_of(sse(delta("x"), ending(message("x"))))


@pytest.mark.parametrize(
    "told",
    [
        {"type": "response.output_text.done", "text": "x y", "output_index": 0, "content_index": 0},
        {
            "type": "response.content_part.done",
            "part": {"type": "output_text", "text": "x y"},
            "output_index": 0,
            "content_index": 0,
        },
        {"type": "response.output_item.done", "item": message("x y"), "output_index": 0},
        ending(message("x y")),
    ],
    ids=lambda event: event["type"],
)
def test_what_no_delta_told_is_told_as_soon_as_it_is_known(told: dict[str, Any]) -> None:
    for before in ([], [delta("x")]):
        got, _ = read([sse(*before, told)])
        assert "".join(event.content or "" for event in got) == "x y"
        whole_ = answer_of(sse(*before, told, told, ending(message("x y"))))
        assert whole_.content == "x y"


def test_the_text_of_two_items_is_in_the_order_of_arrival() -> None:
    both = [message("a b", at=0), message("c d", at=1)]
    mixed = [delta("a ", 0), delta("c", 1), delta("b", 0), delta(" d", 1)]
    answer = answer_of(sse(*mixed, ending(*both)))
    assert answer.content == "a cb d"
    assert "output_items" not in answer.message.metadata


def test_where_the_pieces_and_the_whole_disagree_the_pieces_count() -> None:
    answer = answer_of(sse(delta("  x"), ending(message("x"))))
    assert answer.content == "  x"


def test_reasoning_in_parts_has_paragraphs_in_pieces_too() -> None:
    def thought(at: int, text: str) -> dict[str, Any]:
        kind = "response.reasoning_summary_text.delta"
        return {"type": kind, "output_index": 0, "summary_index": at, "delta": text}

    summary = [{"type": "summary_text", "text": text} for text in ("**A** a", "**B** b")]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary}
    pieces = [thought(0, "**A**"), thought(0, " a"), thought(1, "**B**"), thought(1, " b")]
    got, _ = read([sse(*pieces, ending(item))])
    assert [event.reasoning for event in got[:-1]] == ["**A**", " a", "\n\n**B**", " b"]
    assert check_law(got).reasoning == "**A** a\n\n**B** b"
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    for before in range(5):
        got, _ = read([sse(*pieces[:before], done, ending(item))])
        assert check_law(got).reasoning == "**A** a\n\n**B** b"


def test_a_refusal_is_the_answers_and_no_text() -> None:
    place = {"output_index": 0, "content_index": 0}
    said = {"type": "message", "content": [{"type": "refusal", "refusal": "I won't."}]}
    stream = [{"type": "response.refusal.delta", "delta": piece, **place} for piece in ("I ", "wo")]
    assert failure_of(sse(*stream)).partial.message.refusal == "I wo"  # type: ignore[union-attr]
    for last in (ending(said), ending(output=[])):
        done = {"type": "response.refusal.done", "refusal": "I won't.", **place}
        answer = answer_of(sse(*stream, done, last))
        assert (answer.message.refusal, answer.content) == ("I won't.", "")


# Errors in the stream.


def test_a_failure_without_a_word_is_a_failure() -> None:
    error = failure_of(sse({"type": "response.failed", "response": {"id": "resp_1"}}))
    assert isinstance(error, APIStatusError)
    assert "failed" in str(error)


# What servers do otherwise.


@pytest.mark.slow
@pytest.mark.parametrize(
    "burst",
    [
        lambda n: [delta("word ")] * n,
        lambda n: [delta("word ", at % 2) for at in range(n)],
        lambda n: [delta("word ", at, at % 3) for at in range(n)],
        lambda n: [
            event
            for at in range(n)
            for event in (
                delta("word "),
                {"type": "response.output_text.done", "text": "x", "output_index": 0},
                {"type": "response.output_item.done", "item": message("x"), "output_index": 0},
            )
        ],
        lambda n: (
            [
                {
                    "type": "response.function_call_arguments.delta",
                    "delta": '{"a',
                    "output_index": 0,
                    "item_id": "fc",
                }
            ]
            * n
        ),
    ],
    ids=["one", "two", "many", "done", "call"],
)
def test_the_time_grows_with_the_size_and_no_faster(burst: Any) -> None:
    def taken(size: int) -> float:
        stream = sse(*burst(size))
        best = float("inf")
        for _ in range(3):
            decoder = PARSER.decoder()
            began = time.process_time()
            for at in range(0, len(stream), 4096):
                decoder.feed(stream[at : at + 4096])
            decoder.close()
            best = min(best, time.process_time() - began)
        return best

    assert taken(8000) < 8 * 3 * taken(1000)
