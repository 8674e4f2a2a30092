"""Streams in OCI's generic format: equal to the whole answer, however cut; never half believed."""

from __future__ import annotations

import json
import time
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.wire.oci_chat import GenericChatParser
from tests.support.formats.oci import OCIFormat
from tests.support.formats.oci_cohere import OCICohere
from tests.support.formats.oci_cohere_v2 import OCICohereV2
from tests.support.formats.oci_generic import OCIGeneric
from tests.support.strategies import answers, splits
from tests.support.wire_json.chat_json import framed, sse
from tests.support.wire_json.oci_generic_json import (
    STYLES,
    WITHOUT_IDS,
    answer_of,
    delta,
    events,
    failure_of,
    text,
    whole,
)

PARSER = GenericChatParser()


def unnamed(answer: ModelResponse) -> ModelResponse:
    """An answer without the ids of its calls, which are made afresh where the server has none."""
    calls = [attrs.evolve(call, id="x") for call in answer.tool_calls]
    return attrs.evolve(answer, message=attrs.evolve(answer.message, tool_calls=calls))


# The streaming law, beyond what the tests of all formats say.


@pytest.mark.sdk
@pytest.mark.parametrize("wire", [OCIGeneric(), OCICohere(), OCICohereV2()], ids=repr)
@given(st.data())
def test_the_package_sees_the_same_events(wire: OCIFormat, data: st.DataObject) -> None:
    reader = pytest.importorskip("oci.base_client").sseclient.SSEClient
    stream = data.draw(wire.examples()).stream
    seen = [event.data for event in reader([stream]).events()]
    told = wire.frames(*(data if data == "[DONE]" else json.loads(data) for data in seen))
    assert wire.reading.answer_of(told) == wire.reading.answer_of(stream)


def test_a_whole_answer_to_a_request_for_a_stream_names_the_model() -> None:
    body = {"modelId": "m", "chatResponse": {"choices": [delta("x", "stop")]}}
    answer = answer_of(json.dumps(body).encode())
    assert (answer.content, answer.model) == ("x", "m")


@pytest.mark.parametrize("style", STYLES)
@given(st.data())
def test_tool_calls_in_every_models_style_are_those_of_the_whole_answer(
    style: str, data: st.DataObject
) -> None:
    answered = attrs.evolve(data.draw(answers()), model="")
    stream = data.draw(framed(data.draw(events(answered, style))))
    streamed = answer_of(data.draw(splits(stream)))
    parsed = PARSER.parse(whole(answered, ids=style not in WITHOUT_IDS))
    if style in WITHOUT_IDS:
        assert len({call.id for call in streamed.tool_calls}) == len(answered.first.calls)
        streamed, parsed = unnamed(streamed), unnamed(parsed)
    assert streamed == parsed
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, json.loads(call.text)) for call in answered.first.calls
    ]


# Truncation.


@pytest.mark.parametrize("rest", [b"d", b"data:", b"data: ", b'data: {"us', b"data: [DON"])
def test_a_cut_after_the_finish_reason_is_still_a_cut(rest: bytes) -> None:
    error = failure_of(sse(delta("x"), {"finishReason": "stop"}) + rest)
    assert isinstance(error, StreamInterruptedError)


@pytest.mark.parametrize("rest", [b"", b": bye\n\n", b"data: [DONE]", b"data: [DONE]\n\n"])
def test_a_finish_reason_and_an_orderly_end_need_no_done(rest: bytes) -> None:
    answer = answer_of(sse(delta("x"), {"finishReason": "stop"}) + rest)
    assert (answer.content, answer.stop_reason) == ("x", "stop")


def test_token_counts_that_come_after_the_finish_reason_are_read() -> None:
    counts = {"usage": {"completionTokens": 10, "promptTokens": 42, "totalTokens": 52}}
    for done in (True, False):
        stream = sse(delta("Hi"), delta("", "stop"), counts, done=done)
        assert answer_of(stream).usage == {"prompt_tokens": 42, "completion_tokens": 10}


def test_every_choice_needs_its_finish_reason() -> None:
    second = delta("y") | {"index": 1}
    error = failure_of(sse(delta("x", "stop"), second))
    assert isinstance(error, StreamInterruptedError)


# Errors.


def test_a_call_without_a_name_is_a_parse_error() -> None:
    error = failure_of(sse(delta("x", toolCalls=[{"id": "1"}]), delta(None, "tool_calls")))
    assert isinstance(error, ResponseParseError)
    assert "tool call 0 has no name" in str(error)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x")


# Particulars.


@pytest.mark.parametrize(
    "more",
    [
        {"toolCalls": [{"type": "FUNCTION", "id": "1", "name": "f", "arguments": "{}"}]},
        {"reasoningContent": "hm"},
        {"refusal": "no"},
        {"annotations": [{"type": "url_citation"}]},
        {"content": [text("x"), {"type": "IMAGE", "imageUrl": {"url": "https://x"}}]},
        {"content": [text("x"), text("y")]},
        {"content": "x"},
    ],
)
def test_what_comes_beside_text_is_read_as_well(more: dict[str, Any]) -> None:
    event = delta("x", "stop", **more)
    answer = answer_of(sse(event))
    assert answer == PARSER.parse({"chatResponse": {"choices": [event]}})
    assert answer.content[0] == "x"


def test_what_an_event_says_beside_its_message_is_read() -> None:
    sources = {"webSearchQueries": ["q"]}
    one = {"tokens": ["a"], "tokenLogprobs": [-1.0]}
    two = {"tokens": ["b"], "tokenLogprobs": [-2.0]}
    answer = answer_of(
        sse(
            delta("a") | {"logprobs": one},
            delta("b") | {"logprobs": two, "groundingMetadata": sources},
            delta(None, "stop"),
        )
    )
    assert answer.content == "ab"
    assert answer.logprobs == {"tokens": ["a", "b"], "tokenLogprobs": [-1.0, -2.0]}
    assert answer.message.metadata == {"grounding_metadata": sources}


def test_a_long_answer_is_read_in_linear_time() -> None:
    call = {"type": "FUNCTION", "arguments": "x" * 300}
    head = {"type": "FUNCTION", "id": "1", "name": "f"}
    began = time.process_time()
    answer_of(
        [
            sse(delta(toolCalls=[head])),
            *[sse(delta(toolCalls=[call]))] * 10_000,
            sse(delta(None, "tool_calls")),
        ]
    )
    assert time.process_time() - began < 5  # it takes less than one; in the square, over fifteen
