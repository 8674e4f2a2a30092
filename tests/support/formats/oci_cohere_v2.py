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
from tests.support.wire_json.chat_json import framed
from tests.support.wire_json.oci_cohere_json import v2_end, v2_piece


@st.composite
def _cohere_v2_example(draw: st.DrawFn, legible: bool) -> Example:
    answered = draw(oci_cohere_json.v2_sayable(legible=legible))
    events = draw(oci_cohere_json.v2_events(answered))
    return Example(
        oci_cohere_json.v2_expected(answered),
        oci_cohere_json.v2_whole(answered),
        draw(framed(events, done=draw(st.booleans()))),
        {call.id: call.text for call in answered.first.calls},
    )


class OCICohereV2(OCIFormat):
    """Cohere's second format."""

    name = "oci-cohere-v2"
    api_format = "COHEREV2"
    parser = CohereV2ChatParser()
    ending = (v2_end(), "[DONE]")
    noise = oci_cohere_json.V2_NOISE
    broken = ("{", "[]", '{"message": 3}', "hello", '{"message": {"content": [3]}}')
    errors = (
        *OCIFormat.errors,
        (v2_end(finishReason="ERROR", errorMessage="boom"), InternalServerError, 500),
        (v2_piece("") | {"errorMessage": "boom"}, InternalServerError, 500),
    )

    examples = staticmethod(lambda legible=False: _cohere_v2_example(legible))
    odd_frames = staticmethod(junk.oci_cohere_v2_events)

    def answer(self, text: str) -> dict[str, Any]:
        return v2_end(text, usage=USAGE)

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        return tuple(v2_piece(word) for word in words)

    def ended(self, stream: bytes, cut: int) -> bool:
        return oci_cohere_json.ends_well(stream[:cut])

    def check_cut(self, answer: ModelResponse, example: Example) -> None:
        # The bill comes after the reason to stop, which is enough.
        assert answer.usage in ({}, example.expected.usage)
        super().check_cut(attrs.evolve(answer, usage=example.expected.usage), example)
