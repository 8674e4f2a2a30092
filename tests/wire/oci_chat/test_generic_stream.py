"""Tests of streamed responses of OCI's generic format: call styles, the end, other members."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    StreamInterruptedError,
)
from locus.core.messages import ToolCall
from locus.core.response import ModelResponse
from locus.testing.formats.stream_reader import StreamReader
from locus.wire.oci_chat import GenericChatParser
from tests.support.formats.oci import OCIFormat
from tests.support.formats.oci_cohere import OCICohere
from tests.support.formats.oci_cohere_v2 import OCICohereV2
from tests.support.formats.oci_generic import OCIGeneric
from tests.support.strategies import byte_splits, response_contents
from tests.support.timing import assert_linear
from tests.support.wire_json.chat_json import encode_sse, framed_streams
from tests.support.wire_json.oci_generic_json import (
    CALL_STYLES,
    STYLES_WITHOUT_IDS,
    build_body,
    decode_failure,
    decode_response,
    make_chunk,
    make_text_content,
    stream_chunks,
)

PARSER = GenericChatParser()


def without_call_ids(response: ModelResponse) -> ModelResponse:
    """Return a response with equal call ids, since generated ids are random."""
    calls = [attrs.evolve(call, id="x") for call in response.tool_calls]
    return attrs.evolve(response, message=attrs.evolve(response.message, tool_calls=calls))


# The streaming law, in addition to the tests of all formats.


@pytest.mark.sdk
@pytest.mark.parametrize("wire", [OCIGeneric(), OCICohere(), OCICohereV2()], ids=repr)
@given(st.data())
def test_the_oci_package_decodes_the_same_events(wire: OCIFormat, data: st.DataObject) -> None:
    sse_client = pytest.importorskip("oci.base_client").sseclient.SSEClient
    stream = data.draw(wire.examples()).stream
    frames = [event.data for event in sse_client([stream]).events()]
    stream_of_frames = wire.encode_frames(
        *(data if data == "[DONE]" else json.loads(data) for data in frames)
    )
    assert wire.stream_reader.decode_response(
        stream_of_frames
    ) == wire.stream_reader.decode_response(stream)


def test_complete_body_instead_of_a_stream_names_the_model() -> None:
    body = {"modelId": "m", "chatResponse": {"choices": [make_chunk("x", "stop")]}}
    response = decode_response(json.dumps(body).encode())
    assert (response.content, response.model) == ("x", "m")


@pytest.mark.parametrize("style", CALL_STYLES)
@given(st.data())
def test_tool_calls_in_every_style_equal_those_of_a_complete_response(
    style: str, data: st.DataObject
) -> None:
    sample = attrs.evolve(data.draw(response_contents()), model="")
    stream = data.draw(framed_streams(data.draw(stream_chunks(sample, style))))
    streamed = decode_response(data.draw(byte_splits(stream)))
    parsed = PARSER.parse(build_body(sample, with_ids=style not in STYLES_WITHOUT_IDS))
    if style in STYLES_WITHOUT_IDS:
        assert len({call.id for call in streamed.tool_calls}) == len(sample.first.calls)
        streamed, parsed = without_call_ids(streamed), without_call_ids(parsed)
    assert streamed == parsed
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, json.loads(call.text)) for call in sample.first.calls
    ]


# Truncation.


@pytest.mark.parametrize("rest", [b"d", b"data:", b"data: ", b'data: {"us', b"data: [DON"])
def test_stream_cut_off_after_the_finish_reason_is_interrupted(rest: bytes) -> None:
    error = decode_failure(encode_sse(make_chunk("x"), {"finishReason": "stop"}) + rest)
    assert isinstance(error, StreamInterruptedError)


@pytest.mark.parametrize("rest", [b"", b": bye\n\n", b"data: [DONE]", b"data: [DONE]\n\n"])
def test_finish_reason_and_normal_end_are_complete_without_done(rest: bytes) -> None:
    response = decode_response(encode_sse(make_chunk("x"), {"finishReason": "stop"}) + rest)
    assert (response.content, response.stop_reason) == ("x", "stop")


def test_token_counts_after_the_finish_reason_are_parsed() -> None:
    usage_chunk = {"usage": {"completionTokens": 10, "promptTokens": 42, "totalTokens": 52}}
    for done in (True, False):
        stream = encode_sse(make_chunk("Hi"), make_chunk("", "stop"), usage_chunk, done=done)
        assert decode_response(stream).usage == {
            "prompt_tokens": 42,
            "completion_tokens": 10,
            "total_tokens": 52,
        }


def test_choices_may_be_counted_from_one() -> None:
    chunks = [make_chunk("He"), make_chunk("llo"), {"finishReason": "stop"}]
    reader = StreamReader(PARSER)
    events, _ = reader.read_stream([encode_sse(*({**chunk, "index": 1} for chunk in chunks))])
    response = events[-1].response
    assert response is not None
    assert "".join(event.content or "" for event in events) == response.content == "Hello"
    assert (response.stop_reason, response.candidates) == ("stop", ())


def test_a_stream_that_is_cut_before_its_first_choice_begins_keeps_the_others() -> None:
    error = decode_failure(encode_sse(make_chunk("y") | {"index": 1}))
    assert error.partial is not None
    assert not error.partial.content
    assert [candidate.message.content for candidate in error.partial.candidates][1] == "y"


def test_every_choice_needs_its_finish_reason() -> None:
    second_choice = make_chunk("y") | {"index": 1}
    error = decode_failure(encode_sse(make_chunk("x", "stop"), second_choice))
    assert isinstance(error, StreamInterruptedError)


# Errors.


def test_a_call_without_a_name_is_one_that_the_agent_can_answer() -> None:
    response = decode_response(
        encode_sse(
            make_chunk("x", toolCalls=[{"id": "1", "arguments": '{"a": 1}'}]),
            make_chunk(None, "tool_calls"),
        )
    )
    assert response.content == "x"
    assert response.tool_calls == (ToolCall("1", "unnamed_tool", {"a": 1}),)


# Other members.


@pytest.mark.parametrize(
    "members",
    [
        {"toolCalls": [{"type": "FUNCTION", "id": "1", "name": "f", "arguments": "{}"}]},
        {"reasoningContent": "hm"},
        {"refusal": "no"},
        {"annotations": [{"type": "url_citation"}]},
        {"content": [make_text_content("x"), {"type": "IMAGE", "imageUrl": {"url": "https://x"}}]},
        {"content": [make_text_content("x"), make_text_content("y")]},
        {"content": "x"},
    ],
)
def test_other_members_beside_text_are_parsed(members: dict[str, Any]) -> None:
    chunk = make_chunk("x", "stop", **members)
    response = decode_response(encode_sse(chunk))
    assert response == PARSER.parse({"chatResponse": {"choices": [chunk]}})
    assert response.content[0] == "x"


def test_members_beside_the_message_are_parsed() -> None:
    sources = {"webSearchQueries": ["q"]}
    first_logprobs = {"tokens": ["a"], "tokenLogprobs": [-1.0]}
    second_logprobs = {"tokens": ["b"], "tokenLogprobs": [-2.0]}
    response = decode_response(
        encode_sse(
            make_chunk("a") | {"logprobs": first_logprobs},
            make_chunk("b") | {"logprobs": second_logprobs, "groundingMetadata": sources},
            make_chunk(None, "stop"),
        )
    )
    assert response.content == "ab"
    assert response.logprobs == {"tokens": ["a", "b"], "tokenLogprobs": [-1.0, -2.0]}
    assert response.message.metadata == {"grounding_metadata": sources}


def test_long_response_is_decoded_in_linear_time() -> None:
    call_delta = {"type": "FUNCTION", "arguments": "x" * 300}
    call_start = {"type": "FUNCTION", "id": "1", "name": "f"}

    def prepare(count: int) -> Callable[[], object]:
        stream = [
            encode_sse(make_chunk(toolCalls=[call_start])),
            *[encode_sse(make_chunk(toolCalls=[call_delta]))] * count,
            encode_sse(make_chunk(None, "tool_calls")),
        ]
        return lambda: decode_response(stream)

    assert_linear(prepare, 500)


def test_a_choice_with_an_index_below_0_does_not_replace_the_first() -> None:
    chunks = [make_chunk("x"), make_chunk("y") | {"index": -1}]
    assert decode_failure(encode_sse(*chunks)).partial.content == "x"
    choices = [
        {"index": index, "message": {"content": [make_text_content(text)]}, "finishReason": "stop"}
        for index, text in ((0, "x"), (-1, "y"))
    ]
    body = {"chatResponse": {"apiFormat": "GENERIC", "choices": choices}}
    assert PARSER.parse(body).content == "x"
