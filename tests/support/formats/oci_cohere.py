"""Cohere's first format on OCI, for the tests of every format."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st

from locus.core.errors import InternalServerError
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.spoken_format import Example, Frame, Split
from locus.wire.oci_chat import CohereV1ChatBuilder, CohereV1ChatParser
from tests.support import junk, request_readers
from tests.support.formats.oci import SAMPLING_MEMBERS, USAGE, OCIFormat
from tests.support.genuine_responses import OPENAI_ID, number_calls
from tests.support.strategies import ResponseContent, byte_splits
from tests.support.wire_json import chat_json, oci_cohere_json
from tests.support.wire_json.chat_json import framed_streams
from tests.support.wire_json.oci_cohere_json import (
    make_v1_chunk,
    make_v1_last_chunk,
    without_generated_ids,
)


@st.composite
def _cohere_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    content = draw(oci_cohere_json.v1_expressible_responses(valid_arguments=valid_arguments))
    events = draw(oci_cohere_json.v1_stream_chunks(content))
    return Example(
        oci_cohere_json.build_v1_expected_response(content),
        oci_cohere_json.build_v1_body(content),
        draw(framed_streams(events, done=draw(st.booleans()))),
        {},  # a call is never split
    )


@st.composite
def _oci_cohere(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(oci_cohere_json.v1_expressible_responses(valid_arguments=False))
    sample = draw(number_calls(sample, first_number, OPENAI_ID))  # no id is sent
    if draw(st.booleans()):
        return CohereV1ChatParser().parse(json.dumps(oci_cohere_json.build_v1_body(sample))).message
    stream = draw(chat_json.framed_streams(draw(oci_cohere_json.v1_stream_chunks(sample))))
    return oci_cohere_json.v1_reader.decode_response(draw(byte_splits(stream))).message


class OCICohere(OCIFormat):
    """Cohere's first format."""

    name = "oci_cohere"
    title = "OCI Cohere"
    builder = CohereV1ChatBuilder()
    base_options: ClassVar = {"model": "cohere.command-r-plus"}
    structured_output = "without_tools"
    thinks = False

    read_request = staticmethod(request_readers.read_oci_cohere)
    read_tools = staticmethod(request_readers.read_oci_cohere_tools)
    sent_options: ClassVar = {
        **{name: f"chatRequest.{member}" for name, member in SAMPLING_MEMBERS.items()},
        "stop": "chatRequest.stopSequences",
        "response_format": {
            "chatRequest.responseFormat": {
                "type": "JSON_OBJECT",
                "schema": {"type": "object", "title": "zq"},
            }
        },
        "tool_choice": {"chatRequest.tools": None},
    }
    id_pattern = None
    system_position = "opening"
    empty_text = " "
    filler_text = "."
    keeps_part_order = False
    image_roles = ()
    marks_failures = True
    orders_results = True

    stop_reasons: ClassVar = {"COMPLETE": "stop", "MAX_TOKENS": "length"}
    call_stop_reason = "COMPLETE"
    sends_call_ids = False
    sends_argument_objects = True
    sends_response_id = False
    api_format = "COHERE"
    parser = CohereV1ChatParser()
    end_frames = (make_v1_last_chunk(), "[DONE]")
    ignored_frames = oci_cohere_json.V1_NOISE
    malformed_frames = ("{", "[3]", "hello", '{"toolCalls": [null]}', "3")
    error_frames = (
        *OCIFormat.error_frames,
        (
            make_v1_last_chunk() | {"finishReason": "ERROR", "errorMessage": "boom"},
            InternalServerError,
            500,
        ),
        (make_v1_chunk("") | {"errorMessage": "boom"}, InternalServerError, 500),
    )

    messages = staticmethod(_oci_cohere)
    examples = staticmethod(lambda valid_arguments=False: _cohere_example(valid_arguments))
    invalid_frames = staticmethod(junk.oci_cohere_events)

    def build_chat_response(self, text: str) -> dict[str, Any]:
        history = [oci_cohere_json.USER_ENTRY, {"role": "CHATBOT", "message": text}]
        return make_v1_last_chunk(text, chatHistory=history, usage=USAGE)

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(make_v1_chunk(text) for text in texts)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return oci_cohere_json.is_complete_stream(stream[:length])

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return without_generated_ids(response)

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        # Token counts follow the finish reason, which already completes the response.
        assert response.usage in ({}, example.expected.usage)
        super().check_response_without_end(
            attrs.evolve(response, usage=example.expected.usage), example
        )

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        assert without_generated_ids(partial).tool_calls in ((), example.expected.tool_calls)

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        return oci_cohere_json.build_v1_body(content)

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        texts = [text for text in split(content.first.text or "") if text]
        return [*map(make_v1_chunk, texts), oci_cohere_json.build_v1_chat_response(content)]
