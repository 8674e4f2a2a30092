"""Cohere's second format on OCI, for the tests of every format."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.errors import InternalServerError
from locus.core.response import ModelResponse
from locus.wire.oci_chat import CohereV2ChatParser
from tests.support import junk
from tests.support.formats.description import Example
from tests.support.formats.oci import USAGE, OCIFormat
from tests.support.wire_json import oci_cohere_json
from tests.support.wire_json.chat_json import framed_streams
from tests.support.wire_json.oci_cohere_json import make_v2_chunk, make_v2_last_chunk


@st.composite
def _cohere_v2_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    answered = draw(oci_cohere_json.v2_expressible_responses(valid_arguments=valid_arguments))
    events = draw(oci_cohere_json.v2_stream_chunks(answered))
    return Example(
        oci_cohere_json.build_v2_expected_response(answered),
        oci_cohere_json.build_v2_body(answered),
        draw(framed_streams(events, done=draw(st.booleans()))),
        {call.id: call.text for call in answered.first.calls},
    )


class OCICohereV2(OCIFormat):
    """Cohere's second format."""

    name = "oci-cohere-v2"
    api_format = "COHEREV2"
    parser = CohereV2ChatParser()
    ending = (make_v2_last_chunk(), "[DONE]")
    noise = oci_cohere_json.V2_NOISE
    broken = ("{", "[]", '{"message": 3}', "hello", '{"message": {"content": [3]}}')
    errors = (
        *OCIFormat.errors,
        (make_v2_last_chunk(finishReason="ERROR", errorMessage="boom"), InternalServerError, 500),
        (make_v2_chunk("") | {"errorMessage": "boom"}, InternalServerError, 500),
    )

    examples = staticmethod(lambda valid_arguments=False: _cohere_v2_example(valid_arguments))
    odd_frames = staticmethod(junk.oci_cohere_v2_events)

    def answer(self, text: str) -> dict[str, Any]:
        return make_v2_last_chunk(text, usage=USAGE)

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        return tuple(make_v2_chunk(word) for word in words)

    def ended(self, stream: bytes, cut: int) -> bool:
        return oci_cohere_json.is_complete_stream(stream[:cut])

    def check_cut(self, answer: ModelResponse, example: Example) -> None:
        # The bill comes after the reason to stop, which is enough.
        assert answer.usage in ({}, example.expected.usage)
        super().check_cut(attrs.evolve(answer, usage=example.expected.usage), example)
