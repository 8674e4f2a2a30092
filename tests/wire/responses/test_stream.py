"""Streams of the responses format: equal to the complete response, however they are split."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.testing.formats.stream_reader import check_streaming_law
from locus.wire.responses import ResponsesParser
from locus.wire.responses.stream import HANDLED_EVENTS
from tests.support.native_state import get_data
from tests.support.strategies import byte_splits
from tests.support.timing import assert_linear
from tests.support.wire_json.responses_json import (
    STYLES,
    build_body,
    build_expected_response,
    decode_failure,
    decode_response,
    encode_sse,
    framed_streams,
    get_stream_reader,
    make_last_event,
    make_message_item,
    make_text_delta,
    read_stream,
    remove_native_items,
    sample_responses,
    stream_events,
)

PARSER = ResponsesParser()


# The streaming law, beyond the tests of all formats.


@given(st.data())
def test_an_unstored_stream_is_the_complete_response_and_has_no_state(data: st.DataObject) -> None:
    sample = data.draw(sample_responses(valid_arguments=False))
    style = data.draw(st.sampled_from(STYLES))
    stream = data.draw(framed_streams(data.draw(stream_events(sample, style))))
    streamed = get_stream_reader(False).decode_response(data.draw(byte_splits(stream)))
    assert remove_native_items(streamed) == build_expected_response(sample, store=False)
    assert streamed.provider_state is None
    assert streamed == ResponsesParser(False).parse(json.dumps(build_body(sample)))


@given(st.data())
def test_chunks_come_as_they_are_sent(data: st.DataObject) -> None:
    sample = data.draw(sample_responses())
    chunks = data.draw(stream_events(sample))
    deltas = [e["delta"] for e in chunks if e["type"] == "response.output_text.delta"]
    events, _ = read_stream([encode_sse(*chunks)])
    assert [e.content for e in events[:-1] if e.content] == [d for d in deltas if d]


# Truncation.


def test_a_cut_call_keeps_the_arguments_that_had_arrived() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look"}
    position = {"output_index": 0, "item_id": "fc_1"}
    added = {"type": "response.output_item.added", "item": {**call, "arguments": ""}, **position}
    part = {"type": "response.function_call_arguments.delta", "delta": '{"up": ', **position}
    error = decode_failure(encode_sse(added, part))
    assert error.partial is not None
    assert error.partial.tool_calls[0].malformed_arguments == '{"up": '
    created = {"type": "response.created", "response": {"id": "resp_7", "model": "m"}}
    nameless = {"type": "response.output_item.added", "item": {"type": "function_call"}, **position}
    error = decode_failure(encode_sse(created, nameless, part))
    assert error.partial is not None
    assert (error.partial.tool_calls, error.partial.response_id) == ((), "resp_7")


def test_done_is_no_end() -> None:
    assert isinstance(
        decode_failure(encode_sse(make_text_delta("x"), "[DONE]")), StreamInterruptedError
    )
    assert (
        decode_response(
            encode_sse(make_text_delta("x"), make_last_event(make_message_item("x")), "[DONE]")
        ).content
        == "x"
    )


# Events.

IGNORED_EVENTS = {
    "response.audio.delta": "no response of this API has audio yet",
    "response.audio.done": "likewise",
    "response.audio.transcript.delta": "likewise",
    "response.audio.transcript.done": "likewise",
    "response.output_text.annotation.added": "the complete item has the annotations",
    "response.compaction.compacting": "the complete item contains it",
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
        "a tool of the server: the complete item contains the result",
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
"""The events that contain nothing which the items do not contain, with the reason."""


@pytest.mark.sdk
def test_every_event_that_the_sdk_knows_is_handled_or_ignored_on_purpose() -> None:
    types = pytest.importorskip("openai.types.responses")
    union = get_args(get_args(types.ResponseStreamEvent)[0])
    kinds = {get_args(event.model_fields["type"].annotation)[0] for event in union}
    assert len(kinds) > 50
    assert kinds - HANDLED_EVENTS == IGNORED_EVENTS.keys() & kinds
    assert not HANDLED_EVENTS & IGNORED_EVENTS.keys()
    assert kinds >= HANDLED_EVENTS - {"response.done"}  # OpenRouter's


@pytest.mark.parametrize(
    "event_type", [*IGNORED_EVENTS, "response.of_next_year", "keepalive", "", None]
)
@pytest.mark.parametrize("extra", [{}, {"delta": {"a": 1}, "item": 7, "output_index": "x"}])
def test_what_is_ignored_changes_nothing(event_type: str | None, extra: dict[str, Any]) -> None:
    if event_type is None and extra:
        return  # without a type, it may as well have been one of those that are handled
    ignored = {"type": event_type, "sequence_number": 1, **extra}
    stream = encode_sse(
        ignored, make_text_delta("x"), ignored, make_last_event(make_message_item("x"))
    )
    assert decode_response(stream) == decode_response(
        encode_sse(make_text_delta("x"), make_last_event(make_message_item("x")))
    )


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.done", "text": "x y", "output_index": 0, "content_index": 0},
        {
            "type": "response.content_part.done",
            "part": {"type": "output_text", "text": "x y"},
            "output_index": 0,
            "content_index": 0,
        },
        {"type": "response.output_item.done", "item": make_message_item("x y"), "output_index": 0},
        make_last_event(make_message_item("x y")),
    ],
    ids=lambda event: event["type"],
)
def test_text_that_no_delta_had_is_delivered_as_soon_as_it_is_known(event: dict[str, Any]) -> None:
    for before in ([], [make_text_delta("x")]):
        events, _ = read_stream([encode_sse(*before, event)])
        assert "".join(event.content or "" for event in events) == "x y"
        response = decode_response(
            encode_sse(*before, event, event, make_last_event(make_message_item("x y")))
        )
        assert response.content == "x y"


def test_the_text_of_two_items_is_in_the_order_of_arrival() -> None:
    both = [make_message_item("a b", index=0), make_message_item("c d", index=1)]
    mixed = [
        make_text_delta("a ", 0),
        make_text_delta("c", 1),
        make_text_delta("b", 0),
        make_text_delta(" d", 1),
    ]
    response = decode_response(encode_sse(*mixed, make_last_event(*both)))
    assert response.content == "a cb d"
    assert get_data(response.message) == {}


def test_where_deltas_and_response_disagree_the_deltas_count() -> None:
    response = decode_response(
        encode_sse(make_text_delta("  x"), make_last_event(make_message_item("x")))
    )
    assert response.content == "  x"


def test_reasoning_in_parts_has_paragraphs_in_chunks_too() -> None:
    def make_reasoning_delta(index: int, text: str) -> dict[str, Any]:
        event_type = "response.reasoning_summary_text.delta"
        return {"type": event_type, "output_index": 0, "summary_index": index, "delta": text}

    summary = [{"type": "summary_text", "text": text} for text in ("**A** a", "**B** b")]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary}
    deltas = [
        make_reasoning_delta(0, "**A**"),
        make_reasoning_delta(0, " a"),
        make_reasoning_delta(1, "**B**"),
        make_reasoning_delta(1, " b"),
    ]
    events, _ = read_stream([encode_sse(*deltas, make_last_event(item))])
    assert [event.reasoning for event in events[:-1]] == ["**A**", " a", "\n\n**B**", " b"]
    assert check_streaming_law(events).reasoning == "**A** a\n\n**B** b"
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    for before in range(5):
        events, _ = read_stream([encode_sse(*deltas[:before], done, make_last_event(item))])
        assert check_streaming_law(events).reasoning == "**A** a\n\n**B** b"


def test_a_refusal_belongs_to_the_response_and_is_no_text() -> None:
    position = {"output_index": 0, "content_index": 0}
    item = {"type": "message", "content": [{"type": "refusal", "refusal": "I won't."}]}
    stream = [
        {"type": "response.refusal.delta", "delta": text, **position} for text in ("I ", "wo")
    ]
    assert decode_failure(encode_sse(*stream)).partial.message.refusal == "I wo"  # type: ignore[union-attr]
    for last in (make_last_event(item), make_last_event(output=[])):
        done = {"type": "response.refusal.done", "refusal": "I won't.", **position}
        response = decode_response(encode_sse(*stream, done, last))
        assert (response.message.refusal, response.content) == ("I won't.", "")


# Errors in the stream.


def test_a_failure_without_a_message_is_a_failure() -> None:
    error = decode_failure(encode_sse({"type": "response.failed", "response": {"id": "resp_1"}}))
    assert isinstance(error, APIStatusError)
    assert "failed" in str(error)


# Large streams.


@pytest.mark.parametrize(
    "burst",
    [
        lambda n: [make_text_delta("word ")] * n,
        lambda n: [make_text_delta("word ", index % 2) for index in range(n)],
        lambda n: [make_text_delta("word ", index, index % 3) for index in range(n)],
        lambda n: [
            event
            for index in range(n)
            for event in (
                make_text_delta("word "),
                {"type": "response.output_text.done", "text": "x", "output_index": 0},
                {
                    "type": "response.output_item.done",
                    "item": make_message_item("x"),
                    "output_index": 0,
                },
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
        lambda n: [
            event
            for index in range(n)
            for event in (
                {**make_text_delta("x"), "content_index": index},
                {
                    "type": "response.output_text.done",
                    "text": "x",
                    "output_index": 0,
                    "content_index": index,
                },
            )
        ],
        lambda n: [
            *({**make_text_delta("x"), "output_index": index} for index in range(n)),
            *(
                {"type": "response.output_text.done", "text": "y", "output_index": n + index}
                for index in range(n)
            ),
            *(
                {
                    "type": "response.output_item.added",
                    "output_index": index,
                    "item": {"type": "message", "id": f"m{index}"},
                }
                for index in range(n)
            ),
            *[{"type": "response.function_call_arguments.delta", "delta": "x"}] * n,
        ],
    ],
    ids=["one", "two", "many", "done", "call", "parts", "unfinished"],
)
def test_decoding_takes_linear_time(burst: Any) -> None:
    def prepare(count: int) -> Callable[[], object]:
        stream = encode_sse(*burst(count))

        def decode() -> None:
            decoder = PARSER.make_decoder()
            for index in range(0, len(stream), 4096):
                decoder.feed(stream[index : index + 4096])
            decoder.close()

        return decode

    assert_linear(prepare, 500)


# Events whose indexes and ids differ from the specification.


def _make_event(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **members}


def _make_text_events(*places: dict[str, Any], texts: tuple[str, ...] = ("a", "b")) -> list[Any]:
    """Deltas, each at one of the places, and the full text at the last place."""
    deltas = [
        _make_event("output_text.delta", delta=text, **place)
        for text, place in zip(texts, places, strict=False)
    ]
    return [*deltas, _make_event("output_text.done", text="".join(texts), **places[-1])]


@pytest.mark.parametrize(
    "places",
    [
        [{"output_index": 0, "content_index": 0}] * 2 + [{"output_index": 1, "content_index": 0}],
        [{"output_index": index, "content_index": 0} for index in range(3)],
        [{"item_id": f"x{index}"} for index in range(3)],
        [{}] * 3,
        [{"output_index": 0, "content_index": index} for index in (0, 0, 1)],
    ],
)
@pytest.mark.parametrize("item_index", [0, 1, 5, None])
@pytest.mark.parametrize("has_output", [True, False])
def test_text_is_given_once_whatever_its_index(
    places: list[dict[str, Any]], item_index: int | None, has_output: bool
) -> None:
    item = make_message_item("ab")
    stream = encode_sse(
        *_make_text_events(*places),
        _make_event("output_item.done", output_index=item_index, item=item),
        make_last_event(*([item] if has_output else ())),
    )
    events, _ = read_stream([stream])
    assert "".join(event.content or "" for event in events) == "ab"
    assert decode_response(stream).content == "ab"


def test_the_same_text_in_two_items_is_two_texts() -> None:
    items = [make_message_item("ab"), make_message_item("ab")]
    stream = encode_sse(
        *_make_text_events(*[{"output_index": 0, "content_index": 0}] * 3),
        _make_event("output_item.done", output_index=0, item=items[0]),
        _make_event("output_item.done", output_index=1, item=items[1]),
        make_last_event(*items),
    )
    assert decode_response(stream).content == "abab"


@pytest.mark.parametrize("announced", ["Hel", "H", "Hello"])
@pytest.mark.parametrize("deltas", [("Hel", "lo"), ("Hello",), ("H", "ello")])
@pytest.mark.parametrize("repeats", [True, False])
def test_a_part_may_begin_with_text_that_its_deltas_repeat_or_continue(
    announced: str, deltas: tuple[str, ...], repeats: bool
) -> None:
    place = {"output_index": 0, "content_index": 0}
    if not repeats:
        joined = "".join(deltas)[len(announced) :]
        deltas = (joined,) if joined else ()
    stream = encode_sse(
        _make_event("content_part.added", part={"type": "output_text", "text": announced}, **place),
        *(_make_event("output_text.delta", delta=delta, **place) for delta in deltas),
        _make_event("output_text.done", text="Hello", **place),
        make_last_event(make_message_item("Hello")),
    )
    events, _ = read_stream([stream])
    assert "".join(event.content or "" for event in events) == "Hello"
    assert decode_response(stream).content == "Hello"


def _make_call(number: int, **members: Any) -> dict[str, Any]:
    ids = {"id": f"fc_{number}", "call_id": f"call_{number}"}
    return {"type": "function_call", "name": "f", "arguments": "", **ids, **members}


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("index", [0, None])
def test_calls_under_one_index_are_several_calls(begins: bool, index: int | None) -> None:
    whole = [_make_call(number, arguments=f'{{"n": {number}}}') for number in (1, 2)]
    chunks: list[Any] = []
    if begins:
        for number in (1, 2):
            item = _make_call(number)
            chunks.append(_make_event("output_item.added", output_index=index, item=item))
    chunks += [
        _make_event(
            "function_call_arguments.delta",
            output_index=index,
            item_id=item["id"],
            delta=item["arguments"],
        )
        for item in whole
    ]
    chunks += [_make_event("output_item.done", output_index=index, item=item) for item in whole]
    response = decode_response(encode_sse(*chunks, make_last_event()))
    assert [(call.id, dict(call.arguments)) for call in response.tool_calls] == [
        ("call_1", {"n": 1}),
        ("call_2", {"n": 2}),
    ]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([make_message_item("")], ["call_1"]),  # as SGLang's router ends a stream with calls
        ([_make_call(2, arguments="{}")], ["call_2"]),
    ],
)
def test_calls_that_the_last_event_leaves_out_are_kept(output: Any, expected: list[str]) -> None:
    chunks = [
        _make_event("output_item.added", output_index=0, item=_make_call(1)),
        _make_event("function_call_arguments.done", item_id="fc_1", arguments='{"n": 1}'),
    ]
    response = decode_response(encode_sse(*chunks, make_last_event(*output)))
    assert [call.id for call in response.tool_calls] == expected


def test_ids_that_change_with_every_event_name_one_item_with_its_index() -> None:
    chunks = [
        _make_event("output_item.added", output_index=3, item=_make_call(1, id="a")),
        _make_event("function_call_arguments.delta", output_index=3, item_id="b", delta='{"n": 1}'),
        _make_event(
            "output_item.done",
            output_index=3,
            item=_make_call(1, id="c", call_id="call_1", arguments='{"n": 1}'),
        ),
    ]
    (call,) = decode_response(encode_sse(*chunks, make_last_event())).tool_calls
    assert (call.id, dict(call.arguments)) == ("call_1", {"n": 1})


def test_reasoning_whose_events_have_new_ids_is_one_text() -> None:
    deltas = [
        _make_event("reasoning_summary_text.delta", item_id=f"x{number}", delta=text)
        for number, text in enumerate(("Let ", "me ", "see"))
    ]
    response = decode_response(
        encode_sse(*deltas, _make_event("output_text.delta", delta="x"), make_last_event())
    )
    assert response.reasoning == "Let me see"


def test_response_done_ends_a_stream() -> None:
    """OpenRouter's name for ``response.completed``."""
    last = make_last_event(make_message_item("x"))
    done = {**last, "type": "response.done"}
    assert decode_response(encode_sse(make_text_delta("x"), done)) == decode_response(
        encode_sse(make_text_delta("x"), last)
    )
    del done["response"]["status"]
    assert decode_response(encode_sse(done)).stop_reason == "completed"


@pytest.mark.parametrize("junk", [5, "junk", [1], True, {"output": "x"}, {"output": [5]}], ids=str)
def test_what_an_event_only_announces_may_be_anything(junk: Any) -> None:
    """The last events say it again; there it has to be what it is."""
    item = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "hi"}]}
    key = {"item_id": "m", "output_index": 0, "content_index": 0}
    events = [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_text.delta", **key, "delta": "hi"},
        {"type": "response.completed", "response": {"status": "completed", "output": [item]}},
    ]
    for position in range(4):
        members = (
            {"response": junk}
            if isinstance(junk, dict)
            else dict.fromkeys(("item", "response"), junk)
        )
        changed = [e | members if i == position else e for i, e in enumerate(events)]
        decoder = ResponsesParser().make_decoder()
        received = decoder.feed(encode_sse(*changed)) + decoder.close()
        if position == 3:
            assert isinstance(decoder.failure, ResponseParseError)
        else:
            assert received[-1].response is not None
            assert "".join(event.content or "" for event in received) == "hi"
            assert received[-1].response.content == "hi"
