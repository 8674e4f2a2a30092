"""Cohere's second format on OCI, for the tests of every format."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st

from locus.core.errors import InternalServerError
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.spoken_format import THOUGHT, Example, Frame, Split
from locus.wire.oci_chat import CohereV2ChatBuilder, CohereV2ChatParser
from tests.support import junk, request_readers
from tests.support.formats.oci import SAMPLING_MEMBERS, USAGE, OCIFormat
from tests.support.genuine_responses import number_calls
from tests.support.strategies import ResponseContent, byte_splits
from tests.support.wire_json import chat_json, oci_cohere_json
from tests.support.wire_json.chat_json import framed_streams
from tests.support.wire_json.oci_cohere_json import make_v2_chunk, make_v2_last_chunk


@st.composite
def _cohere_v2_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    content = draw(oci_cohere_json.v2_expressible_responses(valid_arguments=valid_arguments))
    events = draw(oci_cohere_json.v2_stream_chunks(content))
    return Example(
        oci_cohere_json.build_v2_expected_response(content),
        oci_cohere_json.build_v2_body(content),
        draw(framed_streams(events, done=draw(st.booleans()))),
        {call.id: call.text for call in content.first.calls},
    )


@st.composite
def _oci_cohere_v2(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(oci_cohere_json.v2_expressible_responses(valid_arguments=False))
    sample = draw(number_calls(sample, first_number, r"\A[a-z]{3,9}_[a-z0-9]{12}\Z"))
    if draw(st.booleans()):
        return CohereV2ChatParser().parse(json.dumps(oci_cohere_json.build_v2_body(sample))).message
    stream = draw(chat_json.framed_streams(draw(oci_cohere_json.v2_stream_chunks(sample))))
    return oci_cohere_json.v2_reader.decode_response(draw(byte_splits(stream))).message


class OCICohereV2(OCIFormat):
    """Cohere's second format."""

    name = "oci_cohere_v2"
    title = "OCI Cohere v2"
    builder = CohereV2ChatBuilder()
    base_options: ClassVar = {"model": "cohere.command-a-vision"}
    structured_output = "without_tools"

    read_request = staticmethod(request_readers.read_oci_cohere_v2)
    read_tools = staticmethod(request_readers.read_oci_cohere_v2_tools)
    sent_options: ClassVar = {
        **{name: f"chatRequest.{member}" for name, member in SAMPLING_MEMBERS.items()},
        "stop": "chatRequest.stopSequences",
        "response_format": {
            "chatRequest.responseFormat": {
                "type": "JSON_OBJECT",
                "schema": {"type": "object", "title": "zq"},
            }
        },
        "tool_choice": {"chatRequest.toolsChoice": "NONE"},
        "logprobs": "chatRequest.isLogProbsEnabled",
    }
    moves_result_images = True
    id_pattern = re.compile(r".+", re.DOTALL)
    refusal_form = "part"
    thinking_form = "unsigned"

    stop_reasons: ClassVar = {
        "COMPLETE": "stop",
        "STOP_SEQUENCE": "stop",
        "MAX_TOKENS": "length",
        "TOOL_CALL": "tool_calls",
    }
    call_stop_reason = "TOOL_CALL"
    sends_response_id = False
    api_format = "COHEREV2"
    parser = CohereV2ChatParser()
    wants_back = (THOUGHT,)
    end_frames = (make_v2_last_chunk(), "[DONE]")
    ignored_frames = oci_cohere_json.V2_NOISE
    malformed_frames = ("{", "[3]", "hello", '{"message": {"content": [3]}}')
    error_frames = (
        *OCIFormat.error_frames,
        (make_v2_last_chunk(finishReason="ERROR", errorMessage="boom"), InternalServerError, 500),
        (make_v2_chunk("") | {"errorMessage": "boom"}, InternalServerError, 500),
    )

    messages = staticmethod(_oci_cohere_v2)
    examples = staticmethod(lambda valid_arguments=False: _cohere_v2_example(valid_arguments))
    invalid_frames = staticmethod(junk.oci_cohere_v2_events)

    def build_chat_response(self, text: str) -> dict[str, Any]:
        return make_v2_last_chunk(text, usage=USAGE)

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(make_v2_chunk(text) for text in texts)

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return response

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return oci_cohere_json.is_complete_stream(stream[:length])

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        # Token counts follow the finish reason, which already completes the response.
        assert response.usage in ({}, example.expected.usage)
        super().check_response_without_end(
            attrs.evolve(response, usage=example.expected.usage), example
        )

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        return oci_cohere_json.build_v2_body(content)

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        candidate, body = content.first, oci_cohere_json.build_v2_chat_response(content)
        thoughts = map(oci_cohere_json.make_v2_thinking_content, split(candidate.reasoning or ""))
        frames: list[Frame] = [make_v2_chunk("", content=[thought]) for thought in thoughts]
        frames += [make_v2_chunk(text) for text in split(candidate.text or "")]
        calls = [oci_cohere_json.build_v2_call(call) for call in candidate.calls]
        frames += [make_v2_chunk("", toolCalls=[call]) for call in calls]
        del body["message"]
        return [*frames, body]
