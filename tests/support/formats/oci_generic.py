"""OCI's generic format, for the tests of every format."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.errors import APIStatusError
from locus.core.response import ModelResponse
from locus.wire.oci_chat import GenericChatParser
from tests.support import junk
from tests.support.formats.format_base import Example
from tests.support.formats.oci import USAGE, OCIFormat
from tests.support.wire_json import oci_generic_json
from tests.support.wire_json.chat_json import framed_streams

_STYLES = [style for style in oci_generic_json.CALL_STYLES if style not in ("noids", "object")]
"""The styles of calls with the same ids and arguments as in the complete response."""


@st.composite
def _generic_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    content = draw(
        oci_generic_json.expressible_responses(max_candidates=3, valid_arguments=valid_arguments)
    )
    events = draw(oci_generic_json.stream_chunks(content, draw(st.sampled_from(_STYLES))))
    return Example(
        oci_generic_json.build_expected_response(content),
        oci_generic_json.build_body(content),
        draw(framed_streams(events, done=draw(st.booleans()))),
        {call.id: call.text for call in content.first.calls},
    )


class OCIGeneric(OCIFormat):
    """OCI's generic format."""

    name = "oci-generic"
    api_format = "GENERIC"
    parser = GenericChatParser()
    end_frames = (oci_generic_json.make_chunk(None, "stop"), "[DONE]")
    ignored_frames = oci_generic_json.NOISE
    malformed_frames = ("{", "[]", '{"message": 5}', "hello", '{"message": [null]}')
    error_frames = (
        *OCIFormat.error_frames,
        ({"error": "boom", "index": 0, "message": {"role": "ASSISTANT"}}, APIStatusError, 200),
    )
    unparsable_bodies = OCIFormat.unparsable_bodies | {
        b'{"chatResponse": {}}': '{"chatResponse": {}}'
    }

    examples = staticmethod(lambda valid_arguments=False: _generic_example(valid_arguments))
    invalid_frames = staticmethod(junk.oci_generic_events)
    invalid_bodies = staticmethod(junk.oci_generic_bodies)

    def build_chat_response(self, text: str) -> dict[str, Any]:
        choice = oci_generic_json.make_chunk(text, "stop")
        return {"timeCreated": oci_generic_json.CREATED, "choices": [choice], "usage": USAGE}

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(oci_generic_json.make_chunk(text) for text in texts)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return oci_generic_json.is_complete_stream(stream[:length])

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        # Token counts follow the finish reasons, and a candidate may have only one chunk.
        complete = example.expected
        assert response.usage in ({}, complete.usage)
        assert response.candidates == complete.candidates[: len(response.candidates)]
        response = attrs.evolve(response, usage=complete.usage, candidates=complete.candidates)
        super().check_response_without_end(response, example)
