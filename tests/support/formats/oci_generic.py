"""OCI's generic format, for the tests of every format."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st

from locus.core.errors import APIStatusError
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.framing import interleave
from locus.testing.formats.spoken_format import THOUGHT, Example, Frame, Split
from locus.wire.oci_chat import GenericChatBuilder, GenericChatParser
from tests.support import junk, request_readers
from tests.support.formats.oci import SAMPLING_MEMBERS, USAGE, OCIFormat
from tests.support.genuine_responses import OPENAI_ID, number_calls
from tests.support.strategies import ResponseContent, byte_splits
from tests.support.wire_json import chat_json, oci_generic_json
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


@st.composite
def _oci_generic(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(oci_generic_json.expressible_responses(valid_arguments=False))
    sample = draw(number_calls(sample, first_number, OPENAI_ID))
    style = draw(st.sampled_from([None, None, "deltas", "complete", "noids", "indexes"]))
    if style is None:
        body = json.dumps(oci_generic_json.build_body(sample, with_ids=draw(st.booleans())))
        return GenericChatParser().parse(body).message
    events = draw(oci_generic_json.stream_chunks(sample, style))
    return oci_generic_json.decode_response(
        draw(byte_splits(draw(chat_json.framed_streams(events))))
    ).message


class OCIGeneric(OCIFormat):
    """OCI's generic format."""

    name = "oci_generic"
    title = "OCI generic"
    builder = GenericChatBuilder("ocid1.compartment.oc1..a")
    base_options: ClassVar = {"model": "meta.llama-3.3-70b-instruct"}
    structured_output = "always"

    read_request = staticmethod(request_readers.read_oci_generic)
    read_tools = staticmethod(request_readers.read_oci_generic_tools)
    sent_options: ClassVar = {
        **{name: f"chatRequest.{member}" for name, member in SAMPLING_MEMBERS.items()},
        "stop": "chatRequest.stop",
        "response_format": {
            "chatRequest.responseFormat": {
                "type": "JSON_SCHEMA",
                "jsonSchema": {"name": "zq", "schema": {"type": "object", "title": "zq"}},
            }
        },
        "tool_choice": {"chatRequest.toolChoice": {"type": "NONE"}},
        "parallel_tool_calls": "chatRequest.isParallelToolCalls",
        "reasoning_effort": {"chatRequest.reasoningEffort": "LOW"},
        "verbosity": {"chatRequest.verbosity": "LOW"},
        "n": "chatRequest.numGenerations",
        "logprobs": {"chatRequest.logProbs": 1},
        "top_logprobs": "chatRequest.logProbs",
        "logit_bias": "chatRequest.logitBias",
        "prediction": {
            "chatRequest.prediction": {
                "type": "CONTENT",
                "content": [{"type": "TEXT", "text": "zq"}],
            }
        },
        "service_tier": {"chatRequest.serviceTier": "FLEX"},
        "metadata": "chatRequest.metadata",
    }
    # The models behind it are those of OpenAI, too.
    moves_result_images = True
    id_pattern = re.compile(r".{1,40}", re.DOTALL)
    refusal_form = "apart"
    thinking_form = "unsigned"
    keeps_names = True

    stop_reasons: ClassVar = {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
    }
    sends_response_id = False
    sends_refusals = True
    api_format = "GENERIC"
    parser = GenericChatParser()
    wants_back = (THOUGHT,)
    end_frames = (oci_generic_json.make_chunk(None, "stop"), "[DONE]")
    ignored_frames = oci_generic_json.NOISE
    malformed_frames = ("{", "[3]", "hello")
    error_frames = (
        *OCIFormat.error_frames,
        ({"error": "boom", "index": 0, "message": {"role": "ASSISTANT"}}, APIStatusError, 200),
    )
    unparsable_bodies = OCIFormat.unparsable_bodies | {
        b'{"chatResponse": {}}': '{"chatResponse": {}}'
    }

    messages = staticmethod(_oci_generic)
    examples = staticmethod(lambda valid_arguments=False: _generic_example(valid_arguments))
    invalid_frames = staticmethod(junk.oci_generic_events)
    invalid_bodies = staticmethod(junk.oci_generic_bodies)

    def build_chat_response(self, text: str) -> dict[str, Any]:
        choice = oci_generic_json.make_chunk(text, "stop")
        return {"timeCreated": oci_generic_json.CREATED, "choices": [choice], "usage": USAGE}

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(oci_generic_json.make_chunk(text) for text in texts)

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return response

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return oci_generic_json.is_complete_stream(stream[:length])

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        # Token counts follow the finish reasons, and a candidate may have only one chunk.
        complete = example.expected
        assert response.usage in ({}, complete.usage)
        assert response.candidates == complete.candidates[: len(response.candidates)]
        response = attrs.evolve(response, usage=complete.usage, candidates=complete.candidates)
        super().check_response_without_end(response, example)

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        return oci_generic_json.build_body(content)

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        candidate, make_chunk = content.first, oci_generic_json.make_chunk
        frames: list[Frame] = [
            *(make_chunk(reasoningContent=text) for text in split(candidate.reasoning or "")),
            *(make_chunk(text) for text in split(candidate.text or "")),
            *(make_chunk(refusal=text) for text in split(candidate.refusal or "")),
        ]
        calls = []
        for index, call in enumerate(candidate.calls):
            first, *others = split(call.text)
            head = {"type": "FUNCTION", "id": call.id, "name": call.name, "arguments": first}
            deltas = [head, *({"type": "FUNCTION", "arguments": text} for text in others)]
            calls.append([{**delta, "index": index} for delta in deltas])
        frames += [make_chunk(toolCalls=[delta]) for delta in interleave(*calls)]
        frames.append(make_chunk(None, candidate.stop))
        usage = [{"usage": oci_generic_json.build_usage(content)}] if content.usage else []
        return [*frames, *usage, "[DONE]"]
