"""Streamed messages: equal to the whole answer, however cut, and never half believed."""

from __future__ import annotations

import json
from typing import Any

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
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall
from locus.wire.anthropic_messages import AnthropicMessagesParser
from tests.anthropic_json import (
    KINDS,
    RESPOND,
    answer_of,
    delta,
    ending,
    essence,
    events,
    expected,
    failure_of,
    framed,
    read,
    sse,
    start,
    stop,
    structured,
    text,
    turns,
    whole,
)
from tests.chat_json import check_law
from tests.strategies import ODD, json_values, splits, texts

PARSER = AnthropicMessagesParser()


# The streaming law.


@given(st.data())
def test_a_stream_is_the_whole_answer(data: st.DataObject) -> None:
    turn = data.draw(turns())
    stream = data.draw(framed(data.draw(events(turn))))
    streamed = answer_of(data.draw(splits(stream)))
    assert essence(streamed) == expected(turn)
    assert streamed == PARSER.parse(json.dumps(whole(turn)))


@given(st.data())
def test_what_is_no_json_object_is_kept_to_the_letter(data: st.DataObject) -> None:
    turn = data.draw(turns(kinds=("text", "tool_use"), legible=False))
    stream = data.draw(framed(data.draw(events(turn))))
    assert essence(answer_of(data.draw(splits(stream)))) == expected(turn)


@given(st.data())
def test_a_structured_answer_is_text_in_its_one_form(data: st.DataObject) -> None:
    turn = data.draw(structured())
    stream = data.draw(framed(data.draw(events(turn))))
    streamed = answer_of(data.draw(splits(stream)))
    assert streamed == expected(turn) == PARSER.parse(whole(turn))
    assert json.loads(streamed.content) == turn.blocks[0]["input"]
    assert streamed.tool_calls == ()
    assert (streamed.stop_reason, streamed.finish_reason) == ("tool_use", "stop")


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    turn = data.draw(turns(legible=False) | structured())
    stream = data.draw(framed(data.draw(events(turn))))
    assert read(data.draw(splits(stream)))[0] == read([stream])[0]


# Truncation.


@given(st.data())
def test_a_stream_that_is_cut_is_never_believed_and_keeps_what_had_arrived(
    data: st.DataObject,
) -> None:
    turn = data.draw(turns(kinds=KINDS) | structured())
    stream = data.draw(framed(data.draw(events(turn))))
    complete = expected(turn)
    enough = stream.rindex(b"}") + 1  # the end of message_stop
    for at in [*data.draw(st.lists(st.integers(0, len(stream)), max_size=8)), enough - 1, enough]:
        events_, decoder = read(data.draw(splits(stream[:at])))
        said = "".join(event.content or "" for event in events_)
        thought = "".join(event.reasoning or "" for event in events_)
        if at >= enough:
            assert decoder.failure is None
            assert essence(check_law(events_)) == complete
            continue
        assert isinstance(decoder.failure, StreamInterruptedError), stream[:at]
        assert not decoder.done
        assert not any(event.done for event in events_)
        partial = decoder.failure.partial
        assert partial is not None
        assert (partial.content, partial.reasoning or "") == (said, thought)
        assert complete.content.startswith(said)
        assert (complete.reasoning or "").startswith(thought)
        calls = {call.id: call for call in complete.tool_calls}
        for call in partial.tool_calls:
            arrived = call.malformed_arguments
            if arrived is None:
                assert call.arguments in ({}, calls[call.id].arguments)
            else:
                index = int(call.id.removeprefix("toolu_"))
                assert turn.written[index].startswith(arrived)


@given(st.data())
def test_a_stream_cut_by_the_connection_keeps_what_had_arrived(data: st.DataObject) -> None:
    stream = data.draw(framed(data.draw(events(data.draw(turns())))))
    decoder = PARSER.decoder()
    found = decoder.feed(stream[: data.draw(st.integers(0, stream.rindex(b"message_stop")))])
    error = decoder.interrupted("because the connection was lost")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.content == "".join(event.content or "" for event in found)


def test_an_empty_stream_is_an_interrupted_one() -> None:
    error = failure_of(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == PARSER.parse('{"content": []}')


def test_a_reason_to_stop_is_no_end() -> None:
    stream = sse(*text("x"), ending()[0])
    error = failure_of(stream)
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert (error.partial.content, error.partial.stop_reason) == ("x", "end_turn")


def test_what_comes_after_the_end_is_not_read() -> None:
    decoder = PARSER.decoder()
    found = decoder.feed(sse(*text("x"), *ending(), *text("y")))
    found += decoder.feed(sse(*text("z"))) + decoder.close()
    assert check_law(found).content == "x"


# Errors in the stream.


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}},
            OverloadedError,
        ),
        (
            {"type": "error", "error": {"type": "rate_limit_error", "message": "boom"}},
            RateLimitError,
        ),
        ({"type": "error", "error": {"type": "api_error", "message": "boom"}}, InternalServerError),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "boom"}},
            BadRequestError,
        ),
        (
            {"type": "error", "error": {"type": "error_of_next_year", "message": "boom"}},
            APIStatusError,
        ),
        ({"type": "error", "message": "boom"}, APIStatusError),
        ({"error": {"message": "boom", "code": 429}}, RateLimitError),
        ({"error": "boom"}, APIStatusError),
        ({"message": "boom"}, APIStatusError),
    ],
)
@given(st.data())
def test_an_error_in_the_stream_comes_after_what_was_said_before_it(
    error: dict[str, Any], kind: type[APIError], data: st.DataObject
) -> None:
    stream = sse(
        start(type="text", text=""),
        delta(type="text_delta", text="so "),
        delta(type="text_delta", text="far"),
        error,
        *ending(),
    )
    found, decoder = read(data.draw(splits(stream)))
    assert [event.content for event in found] == ["so ", "far"]
    assert type(decoder.failure) is kind
    assert "boom" in str(decoder.failure)
    assert not decoder.done
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.content == "so far"


@pytest.mark.parametrize("indent", [None, 2])
@given(st.data())
def test_an_error_that_is_no_event_stream_is_read_all_the_same(
    indent: int | None, data: st.DataObject
) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "slow\u2028down"}}
    body = json.dumps(error, indent=indent, ensure_ascii=False).encode()
    found, decoder = read(data.draw(splits(body)))
    assert found == []
    assert type(decoder.failure) is OverloadedError
    assert "slow\u2028down" in str(decoder.failure)


@given(st.data())
def test_a_whole_answer_to_a_request_for_a_stream_is_read(data: st.DataObject) -> None:
    turn = data.draw(turns() | structured())
    body = json.dumps(whole(turn), indent=data.draw(st.sampled_from([None, 1]))).encode()
    found, decoder = read(data.draw(splits(body + data.draw(st.sampled_from([b"", b"\n"])))))
    assert decoder.failure is None
    assert essence(check_law(found)) == expected(turn)


@pytest.mark.parametrize(
    "page", [b"<html><body>Bad Gateway</body></html>\n", b"{", b"[1]", b'{"content": 5}']
)
def test_a_page_instead_of_a_stream_is_a_parse_error_that_quotes_it(page: bytes) -> None:
    error = failure_of(page)
    assert isinstance(error, ResponseParseError)
    assert error.body == page.decode().strip()


@pytest.mark.parametrize(
    "frame", ["{", "[]", '{"type": 5}', "hello", '{"type": "ping", "delta": 3}']
)
def test_an_event_that_is_not_of_the_format_is_a_parse_error(frame: str) -> None:
    error = failure_of(sse(*text("x"), frame, *ending()))
    assert isinstance(error, ResponseParseError)
    assert error.body == frame
    assert error.partial is not None
    assert error.partial.content == "x"


JUNK = json_values() | st.sampled_from(
    [float("nan"), float("inf"), 1e300, "\ud800", 2**70, -1, {"index": 0}, [{}], {"type": "text"}]
)
KIND = st.sampled_from(
    ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "tool_of_next_year"]
)


@st.composite
def odd_events(draw: st.DrawFn) -> dict[str, Any]:
    """Events with something in the wrong place."""
    some = st.fixed_dictionaries
    block = some(
        {},
        optional={
            "type": KIND | JUNK,
            "text": JUNK | texts(),
            "thinking": JUNK,
            "signature": JUNK,
            "name": JUNK | st.just(RESPOND),
            "id": JUNK,
            "input": JUNK,
            "citations": JUNK,
        },
    )
    piece = some(
        {},
        optional={
            "type": st.sampled_from(
                ["text_delta", "thinking_delta", "signature_delta", "input_json_delta",
                 "citations_delta", "delta_of_next_year"]
            ) | JUNK,
            "text": JUNK | texts(),
            "thinking": JUNK | texts(),
            "signature": JUNK,
            "partial_json": JUNK | texts(),
            "citation": JUNK,
            "stop_reason": JUNK,
            "stop_details": JUNK,
            "container": JUNK,
        },
    )  # fmt: skip
    message = some(
        {},
        optional={
            "id": JUNK,
            "model": JUNK,
            "content": JUNK | st.lists(block, max_size=2),
            "usage": JUNK | some({}, optional={"input_tokens": JUNK, "output_tokens": JUNK}),
        },
    )
    return draw(
        some(
            {},
            optional={
                "type": st.sampled_from(
                    ["message_start", "content_block_start", "content_block_delta",
                     "content_block_stop", "message_delta", "message_stop", "ping", "error"]
                ) | JUNK,
                "index": st.integers(0, 2) | JUNK,
                "delta": JUNK | piece,
                "content_block": JUNK | block,
                "message": JUNK | message,
                "usage": JUNK,
                "error": JUNK,
            },
        )
    )  # fmt: skip


@given(st.lists(odd_events(), max_size=6), st.booleans())
def test_nothing_in_a_stream_makes_the_decoder_raise(found: list[Any], done: bool) -> None:
    got, decoder = read([sse(*found, *(ending() if done else ()))])
    if decoder.failure is None:
        check_law(got)
    else:
        assert not decoder.done
        assert decoder.failure.partial is not None


@given(odd_events())
def test_nothing_in_a_whole_answer_makes_the_parser_raise_anything_else(event: Any) -> None:
    body = event.get("message")
    try:
        PARSER.parse(json.dumps(body))
    except (APIStatusError, ResponseParseError) as error:
        str(error).encode()
        error.body.encode(errors="replace")


@given(st.binary(max_size=80), st.data())
def test_no_bytes_make_the_decoder_raise(noise: bytes, data: st.DataObject) -> None:
    stream = sse(*text("x")) + noise + sse(*ending())
    found, decoder = read(data.draw(splits(stream)))
    assert found[0].content == "x"
    assert decoder.done or decoder.failure is not None


# Details.


@example(said="".join(ODD))
@given(said=texts(min_size=1))
def test_text_is_kept_to_the_letter_in_single_bytes(said: str) -> None:
    piece = json.dumps(delta(type="text_delta", text=said), ensure_ascii=False)
    stream = sse(start(type="text", text=""), piece, stop(), *ending())
    assert answer_of([bytes([byte]) for byte in stream]).content == said


def test_thinking_comes_as_reasoning_and_stays_with_its_seal() -> None:
    stream = sse(
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm, "),
        delta(0, type="thinking_delta", thinking="so"),
        delta(0, type="signature_delta", signature="seal"),
        stop(0),
        start(1, type="redacted_thinking", data="dark"),
        stop(1),
        *text("x", 2),
        *ending(),
    )
    got = read([stream])[0]
    assert [event.reasoning for event in got[:2]] == ["hm, ", "so"]
    answer = answer_of(stream)
    assert answer.reasoning == "hm, so"
    assert answer.message == Message.assistant(
        [ThinkingPart("hm, so", "seal"), ThinkingPart(redacted="dark"), TextPart("x")]
    )


def test_thinking_that_is_not_shown_is_kept_all_the_same() -> None:
    stream = sse(
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="signature_delta", signature="seal"),
        stop(0),
        *text("x", 1),
        *ending(),
    )
    answer = answer_of(stream)
    assert answer.message == Message.assistant([ThinkingPart("", "seal"), TextPart("x")])
    assert answer.reasoning is None


def test_a_call_without_arguments_has_none() -> None:
    for deltas in ((), (delta(type="input_json_delta", partial_json=""),)):
        block = start(type="tool_use", id="t", name="f", input={})
        stream = sse(block, *deltas, stop(), *ending("tool_use"))
        assert answer_of(stream).tool_calls == (ToolCall("t", "f"),)


def test_a_call_that_comes_whole_is_read() -> None:
    stream = sse(start(type="tool_use", id="t", name="f", input={"a": 1}), stop(), *ending())
    assert answer_of(stream).tool_calls == (ToolCall("t", "f", {"a": 1}),)
    assert answer_of(stream).finish_reason == "tool_calls"


def test_token_counts_are_totals_and_the_later_ones_count() -> None:
    stream = sse(
        {
            "type": "message_start",
            "message": {
                "usage": {
                    "input_tokens": 10,
                    "cache_read_input_tokens": 3,
                    "cache_creation_input_tokens": 4,
                    "output_tokens": 1,
                }
            },
        },
        *text("x"),
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        *ending(output_tokens=9, input_tokens=12, output_tokens_details={"thinking_tokens": 2}),
    )
    assert answer_of(stream).usage == {
        "prompt_tokens": 12,
        "completion_tokens": 9,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
        "reasoning_tokens": 2,
    }


def test_token_counts_that_are_no_numbers_are_left_out() -> None:
    event = '{"type": "message_delta", "usage": {"input_tokens": NaN, "output_tokens": 2.0}}'
    assert answer_of(sse(event, *ending())).usage == {"completion_tokens": 2}


def test_a_structured_answer_cut_short_by_length_is_what_had_come() -> None:
    stream = sse(
        start(type="tool_use", id="t", name=RESPOND, input={}),
        delta(type="input_json_delta", partial_json='{"city": "Os'),
        stop(),
        *ending("max_tokens"),
    )
    answer = answer_of(stream)
    assert (answer.content, answer.tool_calls) == ('{"city": "Os', ())
    assert answer.finish_reason == "length"


def test_a_structured_answer_needs_no_end_of_its_block() -> None:
    stream = sse(
        start(0, type="tool_use", id="t", name=RESPOND, input={}),
        delta(0, type="input_json_delta", partial_json='{"b": 1, "a": 2}'),
        *text(" and more", 1),
        *ending("tool_use"),
    )
    assert answer_of(stream).content == '{"a":2,"b":1} and more'
    begun = start(type="tool_use", id="t", name=RESPOND, input={"a": 1})
    assert answer_of(sse(begun, *ending("tool_use"))).content == '{"a":1}'


def test_a_call_without_a_name_is_a_parse_error() -> None:
    error = failure_of(sse(*text("x"), start(1, type="tool_use", id="1"), *ending("tool_use")))
    assert isinstance(error, ResponseParseError)
    assert "content[1] is a tool call without a name" in str(error)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x")


def test_calls_with_one_id_or_none_are_told_apart() -> None:
    def block(index: int, **more: Any) -> dict[str, Any]:
        return start(index, type="tool_use", name="f", input={"a": 1}, **more)

    same = sse(block(0, id="1"), block(1, id="1"), *ending())
    assert [call.id for call in answer_of(same).tool_calls] == ["1", "1_1"]
    none = answer_of(sse(block(0), block(1), *ending())).tool_calls
    assert len({call.id for call in none}) == 2
    blocks = [{"type": "tool_use", "name": "f", "input": {"a": 1}}] * 2
    assert PARSER.parse({"content": blocks}).tool_calls == none


def test_blocks_that_all_have_one_index_are_several_blocks() -> None:
    call = start(0, type="tool_use", id="t", name="f", input={})
    piece = delta(0, type="input_json_delta", partial_json='{"a": 1}')
    answer = answer_of(sse(*text("x")[:2], call, piece, *ending("tool_use")))
    assert answer.message == Message.assistant("x", [ToolCall("t", "f", {"a": 1})])


def test_a_delta_of_a_block_that_never_began_begins_it() -> None:
    stream = sse(
        delta(0, type="thinking_delta", thinking="hm"),
        delta(1, type="text_delta", text="x"),
        *ending(),
    )
    answer = answer_of(stream)
    assert (answer.reasoning, answer.content) == ("hm", "x")


def test_what_comes_with_the_beginning_is_read() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "seal"}
    begun = {"id": "m", "content": [thought, {"type": "text", "text": "so "}]}
    stream = sse(
        {"type": "message_start", "message": begun},
        delta(1, type="text_delta", text="far"),
        start(2, type="text", text=" and"),
        delta(2, type="text_delta", text=" on"),
        *ending(),
    )
    answer = answer_of(stream)
    assert (answer.reasoning, answer.content) == ("hm", "so far and on")


def test_blocks_of_next_year_are_kept_with_all_their_deltas() -> None:
    stream = sse(
        start(0, type="compaction", content=None, note="a"),
        delta(0, type="compaction_delta", content="so far: "),
        delta(0, type="compaction_delta", content="nothing", note="b", depth=2),
        stop(0),
        *text("x", 1),
        *ending(),
    )
    answer = answer_of(stream)
    assert answer.content == "x"
    assert answer.message.metadata["blocks"] == [
        {"type": "compaction", "content": "so far: nothing", "note": "ab", "depth": 2},
        {"type": "text", "text": "x"},
    ]


def test_the_done_of_another_format_is_not_the_end() -> None:
    answer = answer_of(sse(*text("x"), "[DONE]", *ending(), "[DONE]"))
    assert answer.content == "x"
    assert isinstance(failure_of(sse(*text("x"), "[DONE]")), StreamInterruptedError)


def test_what_is_known_of_the_end_is_kept() -> None:
    said = {"stop_reason": "stop_sequence", "stop_sequence": "END", "container": {"id": "c"}}
    stream = sse(*text("x"), {"type": "message_delta", "delta": said}, {"type": "message_stop"})
    answer = answer_of(stream)
    assert answer.message.metadata == {"stop_sequence": "END", "container": {"id": "c"}}
    assert answer.finish_reason == "stop"
