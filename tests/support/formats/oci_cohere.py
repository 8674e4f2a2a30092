"""Cohere's first format on OCI, for the tests of every format."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.errors import InternalServerError
from locus.core.response import ModelResponse
from locus.wire.oci_chat import CohereV1ChatParser
from tests.support import junk
from tests.support.formats.description import Example
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
    answered = draw(oci_cohere_json.v1_expressible_responses(valid_arguments=valid_arguments))
    events = draw(oci_cohere_json.v1_stream_chunks(answered))
    return Example(
        oci_cohere_json.build_v1_expected_response(answered),
        oci_cohere_json.build_v1_body(answered),
        draw(framed_streams(events, done=draw(st.booleans()))),
        {},  # each call comes whole
    )


class OCICohere(OCIFormat):
    """Cohere's first format."""

    name = "oci-cohere"
    api_format = "COHERE"
    parser = CohereV1ChatParser()
    ending = (make_v1_last_chunk(), "[DONE]")
    noise = oci_cohere_json.V1_NOISE
    broken = ("{", "[]", '{"text": []}', "hello", '{"toolCalls": [null]}', "3")
    errors = (
        *OCIFormat.errors,
        (
            make_v1_last_chunk() | {"finishReason": "ERROR", "errorMessage": "boom"},
            InternalServerError,
            500,
        ),
        (make_v1_chunk("") | {"errorMessage": "boom"}, InternalServerError, 500),
    )

    examples = staticmethod(lambda valid_arguments=False: _cohere_example(valid_arguments))
    odd_frames = staticmethod(junk.oci_cohere_events)

    def answer(self, text: str) -> dict[str, Any]:
        history = [oci_cohere_json.USER_ENTRY, {"role": "CHATBOT", "message": text}]
        return make_v1_last_chunk(text, chatHistory=history, usage=USAGE)

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        return tuple(make_v1_chunk(word) for word in words)

    def ended(self, stream: bytes, cut: int) -> bool:
        return oci_cohere_json.is_complete_stream(stream[:cut])

    def essence(self, answer: ModelResponse) -> ModelResponse:
        return without_generated_ids(answer)

    def check_cut(self, answer: ModelResponse, example: Example) -> None:
        # The bill comes after the reason to stop, which is enough.
        assert answer.usage in ({}, example.expected.usage)
        super().check_cut(attrs.evolve(answer, usage=example.expected.usage), example)

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        assert without_generated_ids(partial).tool_calls in ((), example.expected.tool_calls)
