"""Streamed responses: equal to the whole answer, however cut, and never half believed."""

from __future__ import annotations

import json
import time
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import (
    APIError,
    APIStatusError,
    BadRequestError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.wire.responses import ResponsesParser
from locus.wire.responses.stream import HANDLED
from tests.decoding import check_law
from tests.responses_json import (
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
from tests.strategies import ODD, json_values, splits, texts

PARSER = ResponsesParser()


# The streaming law.


@pytest.mark.parametrize("style", STYLES)
@given(st.data())
def test_a_stream_is_the_whole_answer_in_every_servers_style(
    style: str, data: st.DataObject
) -> None:
    answer = data.draw(response_answers(legible=False))
    store = data.draw(st.booleans())
    stream = data.draw(framed(data.draw(events(answer, style))))
    streamed = reading(store).answer_of(data.draw(splits(stream)))
    assert essence(streamed) == expected(answer, store)
    assert streamed == ResponsesParser(store).parse(json.dumps(whole(answer)))


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    answer = data.draw(response_answers(legible=False))
    stream = data.draw(framed(data.draw(events(answer))))
    assert read(data.draw(splits(stream)))[0] == read([stream])[0]


@given(st.data())
def test_pieces_come_as_they_are_sent(data: st.DataObject) -> None:
    answer = data.draw(response_answers())
    found = data.draw(events(answer))
    deltas = [e["delta"] for e in found if e["type"] == "response.output_text.delta"]
    got, _ = read([sse(*found)])
    assert [e.content for e in got[:-1] if e.content] == [d for d in deltas if d]


# Truncation.


@given(st.data())
def test_a_stream_that_is_cut_is_never_believed_and_keeps_what_had_arrived(
    data: st.DataObject,
) -> None:
    answer = data.draw(response_answers())
    found = data.draw(events(answer, data.draw(st.sampled_from(STYLES))))
    stream, full = sse(*found), expected(answer)
    end = len(sse(*found[:-1]))
    for at in [end, len(stream) - 3, *data.draw(st.lists(st.integers(0, end), max_size=8))]:
        got, decoder = read(data.draw(splits(stream[:at])))
        assert isinstance(decoder.failure, StreamInterruptedError)
        assert not decoder.done
        assert not any(event.done for event in got)
        partial = decoder.failure.partial
        assert partial is not None
        assert partial.content == "".join(event.content or "" for event in got)
        assert (partial.reasoning or "") == "".join(event.reasoning or "" for event in got)
        assert full.content.startswith(partial.content)
        assert (full.reasoning or "").startswith(partial.reasoning or "")
        assert partial.provider_state is None
        calls = {call.id: call for call in full.tool_calls}
        for call in partial.tool_calls:
            assert call == calls[call.id] or call.malformed_arguments is not None


def test_an_empty_stream_is_an_interrupted_one() -> None:
    error = failure_of(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert (error.partial.content, error.partial.tool_calls) == ("", ())


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


def test_what_comes_after_the_end_is_not_read() -> None:
    decoder = PARSER.decoder()
    found = decoder.feed(sse(delta("x"), ending(message("x")), delta("y")))
    found += decoder.feed(sse(delta("z"))) + decoder.close()
    assert check_law(found).content == "x"


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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "boom"}, RateLimitError),
        ({"type": "error", "code": "server_error", "message": "boom"}, InternalServerError),
        ({"type": "error", "code": None, "message": "boom", "param": None}, APIStatusError),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "boom"}},
            BadRequestError,
        ),
        ({"error": {"message": "boom", "type": "overloaded_error"}}, OverloadedError),
        ({"code": "429", "message": "boom"}, RateLimitError),
        (ending(error={"code": "server_error", "message": "boom"}), InternalServerError),
        (
            ending(status="failed", error={"code": "rate_limit_exceeded", "message": "boom"}),
            RateLimitError,
        ),
        (
            ending(status="failed", error={"code": "invalid_prompt", "message": "boom"}),
            BadRequestError,
        ),
        (
            {"type": "response.failed", "response": {"error": {"message": "boom \ud800"}}},
            APIStatusError,
        ),
    ],
)
@given(st.data())
def test_an_error_in_the_stream_comes_after_what_was_said_before_it(
    error: dict[str, Any], kind: type[APIError], data: st.DataObject
) -> None:
    stream = sse(delta("so "), delta("far"), error, ending(message("so far")))
    got, decoder = read(data.draw(splits(stream)))
    assert [event.content for event in got] == ["so ", "far"]
    assert type(decoder.failure) is kind
    assert "boom" in str(decoder.failure)
    assert not decoder.done
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.content == "so far"


def test_a_failure_without_a_word_is_a_failure() -> None:
    error = failure_of(sse({"type": "response.failed", "response": {"id": "resp_1"}}))
    assert isinstance(error, APIStatusError)
    assert "failed" in str(error)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_error_that_is_no_event_stream_is_read_all_the_same(end: bytes) -> None:
    error = failure_of(json.dumps({"error": {"message": "slow", "code": 429}}).encode() + end)
    assert type(error) is RateLimitError


@given(st.data())
def test_a_whole_answer_to_a_request_for_a_stream_is_read(data: st.DataObject) -> None:
    answer = data.draw(response_answers(legible=False))
    body = json.dumps(whole(answer), indent=data.draw(st.sampled_from([None, 1]))).encode()
    assert essence(answer_of(data.draw(splits(body)))) == expected(answer)


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[]",
        '{"type": "response.completed"}',
        '{"type": "response.completed", "response": 5}',
        '{"type": "response.completed", "response": {"output": {}}}',
        '{"type": "response.incomplete", "response": {"output": [{"type": "reasoning", '
        '"summary": 5}]}}',
        '{"type": "response.completed", "response": {"output": [{"type": "function_call"}]}}',
        '{"type": "response.output_text.delta", "output_index": "one"}',
        '{"type": 5}',
    ],
)
def test_an_event_that_is_not_of_the_format_is_a_parse_error(frame: str) -> None:
    error = failure_of(sse(delta("x"), frame, ending(message("x"))))
    assert isinstance(error, ResponseParseError)
    assert error.body == frame
    assert error.partial is not None
    assert error.partial.content == "x"


# What servers do otherwise.


@example(text="".join(ODD))
@given(text=texts(min_size=1))
def test_text_is_kept_to_the_letter_in_single_bytes(text: str) -> None:
    said = json.dumps(delta(text), ensure_ascii=False)
    stream = sse(said, ending(message(text)))
    assert answer_of([bytes([byte]) for byte in stream]).content == text


def test_half_a_surrogate_pair_is_read() -> None:
    assert answer_of(sse(delta("\ud800"), ending(message("\ud800")))).content == "\ud800"


JUNK = json_values() | st.sampled_from(
    [float("nan"), 1e300, "\ud800", 2**70, -1, [{}], {"index": 0}, {"type": "message"}]
)
_KINDS = st.sampled_from(sorted(HANDLED))
_PARTS = st.fixed_dictionaries(
    {}, optional={"type": JUNK, "text": JUNK | texts(), "refusal": JUNK, "annotations": JUNK}
)
_ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "function_call", "reasoning", "custom_tool_call"])
        | JUNK,
        "id": JUNK,
        "call_id": JUNK,
        "name": JUNK | texts(),
        "arguments": JUNK | texts(),
        "input": JUNK,
        "content": JUNK | st.lists(_PARTS, max_size=2),
        "summary": JUNK | st.lists(_PARTS, max_size=2),
        "encrypted_content": JUNK,
        "role": JUNK,
        "status": JUNK,
    },
)
_BODIES = st.fixed_dictionaries(
    {},
    optional={
        "id": JUNK | texts(),
        "model": JUNK,
        "status": JUNK | st.sampled_from(["completed", "failed", "incomplete"]),
        "output": JUNK | st.lists(_ITEMS, max_size=3),
        "usage": JUNK,
        "incomplete_details": JUNK,
        "error": JUNK,
        "message": JUNK,
        "store": JUNK,
    },
)
_EVENTS = st.fixed_dictionaries(
    {"type": _KINDS},
    optional={
        "output_index": st.integers(0, 1) | JUNK,
        "content_index": st.integers(0, 1),
        "summary_index": st.integers(0, 1),
        "item_id": texts() | st.none(),
        "delta": texts() | JUNK,
        "text": texts() | JUNK,
        "refusal": JUNK,
        "arguments": JUNK | texts(),
        "input": JUNK,
        "item": _ITEMS | JUNK,
        "part": _PARTS | JUNK,
        "response": _BODIES,
        "code": JUNK,
        "message": JUNK,
        "error": JUNK,
    },
)


@st.composite
def odd_streams(draw: st.DrawFn) -> list[Any]:
    """Events with something in the wrong place."""
    return [
        draw(_EVENTS) if draw(st.integers(0, 4)) else {"type": draw(JUNK)}
        for _ in range(draw(st.integers(0, 5)))
    ]


@st.composite
def odd_answers(draw: st.DrawFn) -> Any:
    """Whole answers with something in the wrong place."""
    return draw(_BODIES if draw(st.booleans()) else _ITEMS)


@given(odd_streams())
def test_nothing_in_a_stream_makes_the_decoder_raise(found: list[Any]) -> None:
    got, decoder = read([sse(*found)])
    if decoder.failure is None:
        check_law(got)
        return
    assert not decoder.done
    assert decoder.failure.partial is not None
    said = "".join(event.content or "" for event in got)
    assert decoder.failure.partial.content == said


@given(odd_answers())
def test_nothing_in_a_whole_answer_makes_the_parser_raise_anything_else(body: Any) -> None:
    try:
        PARSER.parse(json.dumps(body))
    except (APIStatusError, ResponseParseError) as error:
        str(error).encode()
        error.body.encode(errors="replace")


@given(st.binary(max_size=80), st.data())
def test_no_bytes_make_the_decoder_raise(noise: bytes, data: st.DataObject) -> None:
    stream = sse(delta("x")) + noise + sse(ending(message("x")))
    got, decoder = read(data.draw(splits(stream)))
    assert got[0].content == "x"
    assert decoder.done or decoder.failure is not None


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
