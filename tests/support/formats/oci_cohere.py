"""Cohere's first format on OCI, for the tests of every format."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.errors import InternalServerError
from locus.core.response import ModelResponse
from locus.wire.oci_chat import CohereV1ChatParser
from tests.support import junk
from tests.support.formats.format_base import Example
from tests.support.formats.oci import USAGE, OCIFormat
from tests.support.wire_json import oci_cohere_json
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


class OCICohere(OCIFormat):
    """Cohere's first format."""

    name = "oci-cohere"
    api_format = "COHERE"
    parser = CohereV1ChatParser()
    end_frames = (make_v1_last_chunk(), "[DONE]")
    ignored_frames = oci_cohere_json.V1_NOISE
    malformed_frames = ("{", "[]", '{"text": []}', "hello", '{"toolCalls": [null]}', "3")
    error_frames = (
        *OCIFormat.error_frames,
        (
            make_v1_last_chunk() | {"finishReason": "ERROR", "errorMessage": "boom"},
            InternalServerError,
            500,
        ),
        (make_v1_chunk("") | {"errorMessage": "boom"}, InternalServerError, 500),
    )

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
