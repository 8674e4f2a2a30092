"""Tests of streamed responses of the Messages API: blocks and deltas, token counts and the end.

The tests that all formats share are in ``locus/testing/formats/stream_suite.py``.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    StreamInterruptedError,
)
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall
from locus.wire.anthropic_messages import AnthropicMessagesParser
from locus.wire.response_parts import UNNAMED_TOOL_NAME
from tests.support.anthropic_responses import (
    RESPOND_TOOL_NAME,
    build_expected_response,
    structured_responses,
)
from tests.support.native_state import get_data, make_state
from tests.support.strategies import byte_splits
from tests.support.wire_json.anthropic_json import (
    build_body,
    decode_failure,
    decode_response,
    encode_sse,
    framed_streams,
    make_block_delta,
    make_block_start,
    make_block_stop,
    make_last_chunks,
    make_text_chunks,
    read_stream,
    stream_chunks,
)

PARSER = AnthropicMessagesParser()


@given(st.data())
def test_structured_output_is_canonical_json_text(data: st.DataObject) -> None:
    sample = data.draw(structured_responses())
    stream = data.draw(framed_streams(data.draw(stream_chunks(sample))))
    streamed = decode_response(data.draw(byte_splits(stream)))
    assert streamed == build_expected_response(sample) == PARSER.parse(build_body(sample))
    assert json.loads(streamed.content) == sample.blocks[0]["input"]
    assert streamed.tool_calls == ()
    assert (streamed.stop_reason, streamed.finish_reason) == ("tool_use", "stop")


def test_stop_reason_is_not_the_end_marker() -> None:
    stream = encode_sse(*make_text_chunks("x"), make_last_chunks()[0])
    error = decode_failure(stream)
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert (error.partial.content, error.partial.stop_reason) == ("x", "end_turn")


def test_thinking_is_reasoning_and_keeps_its_signature() -> None:
    stream = encode_sse(
        make_block_start(0, type="thinking", thinking="", signature=""),
        make_block_delta(0, type="thinking_delta", thinking="hm, "),
        make_block_delta(0, type="thinking_delta", thinking="so"),
        make_block_delta(0, type="signature_delta", signature="signature"),
        make_block_stop(0),
        make_block_start(1, type="redacted_thinking", data="encrypted"),
        make_block_stop(1),
        *make_text_chunks("x", 2),
        *make_last_chunks(),
    )
    events = read_stream([stream])[0]
    assert [event.reasoning for event in events[:2]] == ["hm, ", "so"]
    response = decode_response(stream)
    assert response.reasoning == "hm, so"
    assert response.message == Message.assistant(
        [ThinkingPart("hm, so", "signature"), ThinkingPart(redacted="encrypted"), TextPart("x")],
        native_state=make_state("anthropic_messages", bound_to_history=True),
    )


def test_thinking_without_text_keeps_its_signature() -> None:
    stream = encode_sse(
        make_block_start(0, type="thinking", thinking="", signature=""),
        make_block_delta(0, type="signature_delta", signature="signature"),
        make_block_stop(0),
        *make_text_chunks("x", 1),
        *make_last_chunks(),
    )
    response = decode_response(stream)
    assert response.message == Message.assistant(
        [ThinkingPart("", "signature"), TextPart("x")],
        native_state=make_state("anthropic_messages", bound_to_history=True),
    )
    assert response.reasoning is None


def test_call_without_arguments() -> None:
    for deltas in ((), (make_block_delta(type="input_json_delta", partial_json=""),)):
        block = make_block_start(type="tool_use", id="t", name="f", input={})
        stream = encode_sse(block, *deltas, make_block_stop(), *make_last_chunks("tool_use"))
        assert decode_response(stream).tool_calls == (ToolCall("t", "f"),)


def test_call_with_complete_input_in_its_start() -> None:
    stream = encode_sse(
        make_block_start(type="tool_use", id="t", name="f", input={"a": 1}),
        make_block_stop(),
        *make_last_chunks(),
    )
    assert decode_response(stream).tool_calls == (ToolCall("t", "f", {"a": 1}),)
    assert decode_response(stream).finish_reason == "tool_calls"


def test_later_token_counts_replace_earlier_ones() -> None:
    stream = encode_sse(
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
        *make_text_chunks("x"),
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
        *make_last_chunks(
            output_tokens=9, input_tokens=12, output_tokens_details={"thinking_tokens": 2}
        ),
    )
    assert decode_response(stream).usage == {
        "prompt_tokens": 19,
        "completion_tokens": 9,
        "cached_tokens": 3,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
        "reasoning_tokens": 2,
    }


def test_token_counts_that_are_not_numbers_are_left_out() -> None:
    chunk = '{"type": "message_delta", "usage": {"input_tokens": NaN, "output_tokens": 2.0}}'
    assert decode_response(encode_sse(chunk, *make_last_chunks())).usage == {"completion_tokens": 2}


def test_structured_output_cut_off_by_max_tokens_is_the_partial_text() -> None:
    stream = encode_sse(
        make_block_start(type="tool_use", id="t", name=RESPOND_TOOL_NAME, input={}),
        make_block_delta(type="input_json_delta", partial_json='{"city": "Os'),
        make_block_stop(),
        *make_last_chunks("max_tokens"),
    )
    response = decode_response(stream)
    assert (response.content, response.tool_calls) == ('{"city": "Os', ())
    assert response.finish_reason == "length"


def test_structured_output_without_content_block_stop() -> None:
    stream = encode_sse(
        make_block_start(0, type="tool_use", id="t", name=RESPOND_TOOL_NAME, input={}),
        make_block_delta(0, type="input_json_delta", partial_json='{"b": 1, "a": 2}'),
        *make_text_chunks(" and more", 1),
        *make_last_chunks("tool_use"),
    )
    assert decode_response(stream).content == '{"a":2,"b":1} and more'
    block_start = make_block_start(type="tool_use", id="t", name=RESPOND_TOOL_NAME, input={"a": 1})
    assert (
        decode_response(encode_sse(block_start, *make_last_chunks("tool_use"))).content == '{"a":1}'
    )


def test_call_without_a_name_has_one_that_no_tool_has() -> None:
    response = decode_response(
        encode_sse(
            *make_text_chunks("x"),
            make_block_start(1, type="tool_use", id="1"),
            *make_last_chunks("tool_use"),
        )
    )
    assert response.tool_calls == (ToolCall("1", UNNAMED_TOOL_NAME),)


def test_calls_with_the_same_id_or_none_get_unique_ids() -> None:
    def block(index: int, **members: Any) -> dict[str, Any]:
        return make_block_start(index, type="tool_use", name="f", input={"a": 1}, **members)

    same_ids = encode_sse(block(0, id="1"), block(1, id="1"), *make_last_chunks())
    assert [call.id for call in decode_response(same_ids).tool_calls] == ["1", "1_1"]
    calls_without_ids = decode_response(
        encode_sse(block(0), block(1), *make_last_chunks())
    ).tool_calls
    assert len({call.id for call in calls_without_ids}) == 2
    blocks = [{"type": "tool_use", "name": "f", "input": {"a": 1}}] * 2
    assert PARSER.parse({"content": blocks}).tool_calls == calls_without_ids


def test_blocks_with_the_same_index_are_separate_blocks() -> None:
    call = make_block_start(0, type="tool_use", id="t", name="f", input={})
    delta = make_block_delta(0, type="input_json_delta", partial_json='{"a": 1}')
    response = decode_response(
        encode_sse(*make_text_chunks("x")[:2], call, delta, *make_last_chunks("tool_use"))
    )
    assert response.message == Message.assistant("x", [ToolCall("t", "f", {"a": 1})])


def test_delta_without_content_block_start_starts_a_block() -> None:
    stream = encode_sse(
        make_block_delta(0, type="thinking_delta", thinking="hm"),
        make_block_delta(1, type="text_delta", text="x"),
        *make_last_chunks(),
    )
    response = decode_response(stream)
    assert (response.reasoning, response.content) == ("hm", "x")


def test_content_in_message_start_and_content_block_start_is_used() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "signature"}
    message = {"id": "m", "content": [thinking, {"type": "text", "text": "so "}]}
    stream = encode_sse(
        {"type": "message_start", "message": message},
        make_block_delta(1, type="text_delta", text="far"),
        make_block_start(2, type="text", text=" and"),
        make_block_delta(2, type="text_delta", text=" on"),
        *make_last_chunks(),
    )
    response = decode_response(stream)
    assert (response.reasoning, response.content) == ("hm", "so far and on")


def test_unknown_blocks_are_stored_with_all_their_deltas() -> None:
    stream = encode_sse(
        make_block_start(0, type="compaction", content=None, note="a"),
        make_block_delta(0, type="compaction_delta", content="so far: "),
        make_block_delta(0, type="compaction_delta", content="nothing", note="b", depth=2),
        make_block_stop(0),
        *make_text_chunks("x", 1),
        *make_last_chunks(),
    )
    response = decode_response(stream)
    assert response.content == "x"
    assert get_data(response.message)["blocks"] == [
        {"type": "compaction", "content": "so far: nothing", "note": "ab", "depth": 2},
        {"type": "text", "text": "x"},
    ]


def test_done_marker_of_openai_is_not_the_end() -> None:
    response = decode_response(
        encode_sse(*make_text_chunks("x"), "[DONE]", *make_last_chunks(), "[DONE]")
    )
    assert response.content == "x"
    assert isinstance(
        decode_failure(encode_sse(*make_text_chunks("x"), "[DONE]")), StreamInterruptedError
    )


def test_stop_details_are_stored_in_the_metadata() -> None:
    delta = {"stop_reason": "stop_sequence", "stop_sequence": "END", "container": {"id": "c"}}
    stream = encode_sse(
        *make_text_chunks("x"), {"type": "message_delta", "delta": delta}, {"type": "message_stop"}
    )
    response = decode_response(stream)
    assert response.message.metadata == {"stop_sequence": "END", "container": {"id": "c"}}
    assert get_data(response.message) == {"container": "c"}
    assert response.finish_reason == "stop"
