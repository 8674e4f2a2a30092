"""Streamed messages: blocks and their deltas, counts and the end.

What holds for the streams of every format is in ``test_streaming_law.py``.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall
from locus.wire.anthropic_messages import AnthropicMessagesParser
from tests.support.strategies import splits
from tests.support.wire_json.anthropic_json import (
    RESPOND,
    answer_of,
    delta,
    ending,
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
    whole,
)

PARSER = AnthropicMessagesParser()


@given(st.data())
def test_a_structured_answer_is_text_in_its_one_form(data: st.DataObject) -> None:
    turn = data.draw(structured())
    stream = data.draw(framed(data.draw(events(turn))))
    streamed = answer_of(data.draw(splits(stream)))
    assert streamed == expected(turn) == PARSER.parse(whole(turn))
    assert json.loads(streamed.content) == turn.blocks[0]["input"]
    assert streamed.tool_calls == ()
    assert (streamed.stop_reason, streamed.finish_reason) == ("tool_use", "stop")


def test_a_reason_to_stop_is_no_end() -> None:
    stream = sse(*text("x"), ending()[0])
    error = failure_of(stream)
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert (error.partial.content, error.partial.stop_reason) == ("x", "end_turn")


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
