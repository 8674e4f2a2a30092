"""Cohere's first format on OCI, for the tests of every format."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.errors import InternalServerError
from locus.core.response import ModelResponse
from locus.wire.oci_chat import CohereChatParser
from tests.support import junk
from tests.support.formats.description import Example
from tests.support.formats.oci import USAGE, OCIFormat
from tests.support.wire_json import oci_cohere_json
from tests.support.wire_json.chat_json import framed
from tests.support.wire_json.oci_cohere_json import end, essence, piece


@st.composite
def _cohere_example(draw: st.DrawFn, legible: bool) -> Example:
    answered = draw(oci_cohere_json.sayable(legible=legible))
    events = draw(oci_cohere_json.events(answered))
    return Example(
        oci_cohere_json.expected(answered),
        oci_cohere_json.whole(answered),
        draw(framed(events, done=draw(st.booleans()))),
        {},  # each call comes whole
    )


class OCICohere(OCIFormat):
    """Cohere's first format."""

    name = "oci-cohere"
    api_format = "COHERE"
    parser = CohereChatParser()
    ending = (end(), "[DONE]")
    noise = oci_cohere_json.NOISE
    broken = ("{", "[]", '{"text": []}', "hello", '{"toolCalls": [null]}', "3")
    errors = (
        *OCIFormat.errors,
        (end() | {"finishReason": "ERROR", "errorMessage": "boom"}, InternalServerError, 500),
        (piece("") | {"errorMessage": "boom"}, InternalServerError, 500),
    )

    examples = staticmethod(lambda legible=False: _cohere_example(legible))
    odd_frames = staticmethod(junk.oci_cohere_events)

    def answer(self, text: str) -> dict[str, Any]:
        history = [oci_cohere_json.USER, {"role": "CHATBOT", "message": text}]
        return end(text, chatHistory=history, usage=USAGE)

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        return tuple(piece(word) for word in words)

    def ended(self, stream: bytes, cut: int) -> bool:
        return oci_cohere_json.ends_well(stream[:cut])

    def essence(self, answer: ModelResponse) -> ModelResponse:
        return essence(answer)

    def check_cut(self, answer: ModelResponse, example: Example) -> None:
        # The bill comes after the reason to stop, which is enough.
        assert answer.usage in ({}, example.expected.usage)
        super().check_cut(attrs.evolve(answer, usage=example.expected.usage), example)

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        assert essence(partial).tool_calls in ((), example.expected.tool_calls)
