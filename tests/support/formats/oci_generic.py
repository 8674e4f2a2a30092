"""OCI's generic format, for the tests of every format."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.errors import APIStatusError
from locus.core.response import ModelResponse
from locus.wire.oci_chat import GenericChatParser
from tests.support import junk
from tests.support.formats.description import Example
from tests.support.formats.oci import USAGE, OCIFormat
from tests.support.wire_json import oci_generic_json
from tests.support.wire_json.chat_json import framed_streams

_STYLES = [style for style in oci_generic_json.CALL_STYLES if style not in ("noids", "object")]
"""How models send calls with the ids and the arguments of the whole answer."""


@st.composite
def _generic_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    answered = draw(
        oci_generic_json.expressible_responses(max_candidates=3, valid_arguments=valid_arguments)
    )
    events = draw(oci_generic_json.stream_chunks(answered, draw(st.sampled_from(_STYLES))))
    return Example(
        oci_generic_json.build_expected_response(answered),
        oci_generic_json.build_body(answered),
        draw(framed_streams(events, done=draw(st.booleans()))),
        {call.id: call.text for call in answered.first.calls},
    )


class OCIGeneric(OCIFormat):
    """OCI's generic format."""

    name = "oci-generic"
    api_format = "GENERIC"
    parser = GenericChatParser()
    ending = (oci_generic_json.make_chunk(None, "stop"), "[DONE]")
    noise = oci_generic_json.NOISE
    broken = ("{", "[]", '{"message": 5}', "hello", '{"message": [null]}')
    errors = (
        *OCIFormat.errors,
        ({"error": "boom", "index": 0, "message": {"role": "ASSISTANT"}}, APIStatusError, 200),
    )
    pages = OCIFormat.pages | {b'{"chatResponse": {}}': '{"chatResponse": {}}'}

    examples = staticmethod(lambda valid_arguments=False: _generic_example(valid_arguments))
    odd_frames = staticmethod(junk.oci_generic_events)
    odd_answers = staticmethod(junk.oci_generic_bodies)

    def answer(self, text: str) -> dict[str, Any]:
        said = oci_generic_json.make_chunk(text, "stop")
        return {"timeCreated": oci_generic_json.CREATED, "choices": [said], "usage": USAGE}

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        return tuple(oci_generic_json.make_chunk(word) for word in words)

    def ended(self, stream: bytes, cut: int) -> bool:
        return oci_generic_json.is_complete_stream(stream[:cut])

    def check_cut(self, answer: ModelResponse, example: Example) -> None:
        # The bill comes after the reasons to stop, and a choice may have but one event.
        complete = example.expected
        assert answer.usage in ({}, complete.usage)
        assert answer.candidates == complete.candidates[: len(answer.candidates)]
        answer = attrs.evolve(answer, usage=complete.usage, candidates=complete.candidates)
        super().check_cut(answer, example)
