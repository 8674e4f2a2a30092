"""OpenAI's responses, for the tests of every format."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
)
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.spoken_format import ERROR_TEXT, Example, Frame, Split
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import Reply
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support import junk, request_readers
from tests.support.chat_replies import TEXT
from tests.support.genuine_responses import OPENAI_ID, call_id_lists
from tests.support.servers import responses_server
from tests.support.strategies import ResponseContent, byte_splits
from tests.support.wire_json import responses_json
from tests.support.wire_json.responses_json import make_last_event as end
from tests.support.wire_json.responses_json import make_message_item, make_text_delta


@st.composite
def _responses_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    response = draw(responses_json.sample_responses(valid_arguments=valid_arguments))
    style = draw(st.sampled_from(responses_json.STYLES))
    return Example(
        responses_json.build_expected_response(response),
        responses_json.build_body(response),
        draw(responses_json.framed_streams(draw(responses_json.stream_events(response, style)))),
        {
            item["call_id"]: item.get("arguments", item.get("input"))
            for item in response.items
            if "call_id" in item
        },
    )


@st.composite
def _responses(draw: st.DrawFn, first_number: int) -> Message:
    response = draw(responses_json.sample_responses(valid_arguments=False))
    drawn_ids = iter(draw(call_id_lists(OPENAI_ID)))
    items, next_number = [], first_number
    suffix = draw(st.sampled_from(["", *"abcdef"]))  # the same response may come twice
    for item in response.items:
        item = {**item, "id": item["id"] + suffix}
        if "call_id" in item:
            item = {**item, "call_id": next(drawn_ids), "name": f"t{next_number}"}
            next_number += 1
        if "input" in item:  # never the text of an object, because that is a function's input
            item["input"] = "! " + item["input"]
        items.append(item)
    response = attrs.evolve(response, items=tuple(items))
    parser = ResponsesParser(draw(st.booleans()))
    if draw(st.booleans()):
        return parser.parse(json.dumps(responses_json.build_body(response))).message
    style = draw(st.sampled_from(responses_json.STYLES))
    stream = draw(
        responses_json.framed_streams(draw(responses_json.stream_events(response, style)))
    )
    return responses_json.decode_response(draw(byte_splits(stream))).message


class Responses(WireFormat):
    """OpenAI's responses, stored by the server."""

    name = "responses"
    title = "Responses"
    builder = ResponsesBuilder()
    base_options: ClassVar = {"model": "gpt-5"}
    sampling_options: ClassVar = {"model": "gpt-4o"}  # reasoning models take none
    path = "/v1/responses"
    credentials: ClassVar = {}  # the smallest model of the format has none
    stream_members: ClassVar = {"stream": True}
    structured_output = "always"

    read_request = staticmethod(request_readers.read_responses)
    read_tools = staticmethod(request_readers.read_responses_tools)
    sent_options: ClassVar = {
        "max_tokens": "max_output_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "response_format": {
            "text.format": {
                "type": "json_schema",
                "name": "zq",
                "schema": {"type": "object", "title": "zq"},
            }
        },
        "tool_choice": "tool_choice",
        "parallel_tool_calls": "parallel_tool_calls",
        "provider_state": {"previous_response_id": "resp_zq"},
        "reasoning_effort": "reasoning.effort",
        "verbosity": "text.verbosity",
        "logprobs": {"include": ["message.output_text.logprobs"]},
        **{
            name: name
            for name in (
                *("top_logprobs", "service_tier", "store", "metadata", "user"),
                *("prompt_cache_key", "safety_identifier"),
            )
        },
    }
    option_samples: ClassVar = {"store": False}
    # "string too long. Expected a string with maximum length 64"
    id_pattern = re.compile(r".{1,64}", re.DOTALL)
    merged_roles = ("assistant",)
    image_roles = ("user", "tool")
    refusal_form = "apart"

    stop_reasons: ClassVar = {
        "completed": "stop",
        "max_output_tokens": "length",
        "content_filter": "content_filter",
    }
    call_stop_reason = "completed"
    provider = "loop"
    environment_prefixes = ("OPENAI_",)
    usage = responses_server.USAGE
    parser = ResponsesParser()
    end_frames = (end(output=[]),)  # the items were sent before
    ignored_frames = responses_json.NOISE
    malformed_frames = (
        "{",
        "[3]",
        '{"type": "response.completed"}',
        '{"type": "response.completed", "response": 5}',
        '{"type": "response.done", "response": {"output":[{"type": "function_call", "name":[1]}]}}',
    )
    error_frames = (
        ({"type": "error", "code": "rate_limit_exceeded", "message": "boom"}, RateLimitError, 429),
        ({"type": "error", "code": "server_error", "message": "boom"}, InternalServerError, 500),
        ({"type": "error", "code": None, "message": "boom", "param": None}, APIStatusError, 200),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "boom"}},
            BadRequestError,
            400,
        ),
        ({"error": {"message": "boom", "type": "overloaded_error"}}, OverloadedError, 529),
        ({"code": "429", "message": "boom"}, RateLimitError, 429),
        (end(error={"code": "server_error", "message": "boom"}), InternalServerError, 500),
        (
            end(status="failed", error={"code": "rate_limit_exceeded", "message": "boom"}),
            RateLimitError,
            429,
        ),
        (
            end(status="failed", error={"code": "invalid_prompt", "message": "boom"}),
            BadRequestError,
            400,
        ),
        (
            {"type": "response.failed", "response": {"error": {"message": "boom \ud800"}}},
            APIStatusError,
            200,
        ),
    )
    error_body = ({"error": {"message": ERROR_TEXT, "code": 429}}, RateLimitError)
    unparsable_bodies: ClassVar = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
        b'{"output": 5}': '{"output": 5}',
    }

    make_model = staticmethod(responses_server.make_model)
    build_stream_reply = staticmethod(responses_server.build_stream_reply)
    encode_frames = staticmethod(responses_json.encode_sse)
    messages = staticmethod(_responses)
    examples = staticmethod(lambda valid_arguments=False: _responses_example(valid_arguments))
    invalid_frames = staticmethod(junk.responses_events)
    invalid_bodies = staticmethod(junk.responses_bodies)

    def build_reply(self, text: str = TEXT) -> Reply:
        return responses_server.build_reply(make_message_item(text))

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(make_text_delta(text) for text in texts)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return length > stream.rindex(b"}")  # the last one ends the event with the response

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return responses_json.remove_native_items(response)

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        super().check_partial(partial, example)
        assert partial.provider_state is None

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        return responses_json.build_body(_make_sample(content))

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        sample = _make_sample(content)
        events = responses_server.build_stream_events(
            *sample.items, id=sample.id, model=sample.model
        )
        end = {"type": f"response.{sample.status}", "response": responses_json.build_body(sample)}
        return [*events[:-1], end]


def _make_sample(content: ResponseContent) -> responses_json.SampleResponse:
    """Make the items of a content."""
    candidate = content.first
    items = [make_message_item(candidate.text)] if candidate.text else []
    items += [
        {
            "type": "function_call",
            "id": f"fc_{index}",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.text,
            "status": "completed",
        }
        for index, call in enumerate(candidate.calls)
    ]
    return responses_json.SampleResponse(
        tuple(items),
        status="completed" if candidate.stop == "completed" else "incomplete",
        reason=None if candidate.stop == "completed" else candidate.stop,
        id=content.id,
        model=content.model,
        input_tokens=content.prompt_tokens or 0,
        output_tokens=content.completion_tokens or 0,
    )
