"""Anthropic's messages, for the tests of every format."""

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
from locus.testing.formats.spoken_format import ERROR_TEXT, THOUGHT, Example, Frame, Split
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import Reply
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from tests.support import junk, request_readers
from tests.support.anthropic_responses import (
    AnthropicResponse,
    anthropic_responses,
    build_expected_response,
    remove_metadata,
    structured_responses,
)
from tests.support.chat_replies import TEXT
from tests.support.genuine_responses import call_id_lists
from tests.support.servers import anthropic_server
from tests.support.strategies import ResponseContent, byte_splits
from tests.support.wire_json import anthropic_json


@st.composite
def _anthropic_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    sample = draw(anthropic_responses(valid_arguments=valid_arguments) | structured_responses())
    return Example(
        build_expected_response(sample),
        anthropic_json.build_body(sample),
        draw(anthropic_json.framed_streams(draw(anthropic_json.stream_chunks(sample)))),
        {sample.blocks[index].get("id", ""): text for index, text in sample.input_json.items()},
    )


def _anthropic_error(error_type: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": error_type, "message": "boom"}}


@st.composite
def _anthropic(draw: st.DrawFn, first_number: int) -> Message:
    anthropic_response = draw(anthropic_responses(valid_arguments=False))
    drawn_ids = iter(draw(call_id_lists(r"\Atoolu_01[a-zA-Z0-9]{22}\Z")))
    blocks, next_number = [], first_number
    for block in anthropic_response.blocks:
        if block["type"] == "tool_use":
            block = {**block, "id": next(drawn_ids), "name": f"t{next_number}"}
            next_number += 1
        elif block["type"] == "text" and not block["text"].strip():
            block = {**block, "text": "So."}
        blocks.append(block)
    anthropic_response = attrs.evolve(anthropic_response, blocks=tuple(blocks))
    if draw(st.booleans()):
        return (
            AnthropicMessagesParser()
            .parse(json.dumps(anthropic_json.build_body(anthropic_response)))
            .message
        )
    events = draw(anthropic_json.stream_chunks(anthropic_response))
    return anthropic_json.decode_response(
        draw(byte_splits(draw(anthropic_json.framed_streams(events))))
    ).message


class AnthropicMessages(WireFormat):
    """Anthropic's messages."""

    name = "anthropic_messages"
    title = "Anthropic"
    provider = "anthropic"
    builder = AnthropicMessagesBuilder()
    base_options: ClassVar = {"model": "claude-sonnet-4-20250514", "max_tokens": 9}
    path = "/v1/messages"
    credentials: ClassVar = {"x-api-key": re.compile(anthropic_server.API_KEY)}
    stream_members: ClassVar = {"stream": True}
    structured_output = "without_tools"

    read_request = staticmethod(request_readers.read_anthropic_messages)
    read_tools = staticmethod(request_readers.read_anthropic_tools)
    sent_options: ClassVar = {
        "max_tokens": "max_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "stop": "stop_sequences",
        "response_format": {
            "tools": ...,
            "tool_choice": {
                "type": "tool",
                "name": "respond_with_schema",
                "disable_parallel_tool_use": True,
            },
        },
        "tool_choice": {"tool_choice": {"type": "none"}},
        "parallel_tool_calls": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        "reasoning_effort": "output_config.effort",
        "service_tier": "service_tier",
        "metadata": "metadata",
        "user": "metadata.user_id",
    }
    # "String should match pattern '^[a-zA-Z0-9_-]+$'"
    id_pattern = re.compile(r"[a-zA-Z0-9_-]+")
    system_position = "first"
    merged_roles = ("user", "assistant")
    accepts_blank_text = False
    image_types = ("image/jpeg", "image/png", "image/gif", "image/webp")
    image_roles = ("user", "tool")
    refusal_form = "part"
    thinking_form = "signed"
    marks_failures = True

    stop_reasons: ClassVar = {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
    call_stop_reason = "tool_use"
    environment_prefixes = ("ANTHROPIC_", "AWS_", "CLOUD_ML_")
    usage = anthropic_server.USAGE
    parser = AnthropicMessagesParser()
    wants_back = (THOUGHT,)
    end_frames = (anthropic_json.make_block_stop(), *anthropic_json.make_last_chunks())
    ignored_frames = anthropic_json.NOISE
    malformed_frames = ("{", "[3]", "hello", '{"type": "ping", "delta": 3}')
    error_frames = (
        (_anthropic_error("overloaded_error"), OverloadedError, 529),
        (_anthropic_error("rate_limit_error"), RateLimitError, 429),
        (_anthropic_error("api_error"), InternalServerError, 500),
        (_anthropic_error("invalid_request_error"), BadRequestError, 400),
        (_anthropic_error("error_of_next_year"), APIStatusError, 200),
        ({"type": "error", "message": "boom"}, APIStatusError, 200),
        ({"error": {"message": "boom", "code": 429}}, RateLimitError, 429),
        ({"error": "boom"}, APIStatusError, 200),
        ({"message": "boom"}, APIStatusError, 200),
    )
    error_body = (
        {"type": "error", "error": {"type": "overloaded_error", "message": ERROR_TEXT}},
        OverloadedError,
    )
    unparsable_bodies: ClassVar = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
        b'{"content": 5}': '{"content": 5}',
    }

    make_model = staticmethod(anthropic_server.make_model)
    build_stream_reply = staticmethod(anthropic_server.build_stream_reply)
    encode_frames = staticmethod(anthropic_json.encode_sse)
    messages = staticmethod(_anthropic)
    examples = staticmethod(lambda valid_arguments=False: _anthropic_example(valid_arguments))
    invalid_frames = staticmethod(junk.anthropic_events)
    invalid_bodies = staticmethod(junk.anthropic_messages)

    def build_reply(self, text: str = TEXT) -> Reply:
        return anthropic_server.build_reply({"type": "text", "text": text})

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        deltas = (anthropic_json.make_block_delta(type="text_delta", text=text) for text in texts)
        return (anthropic_json.make_block_start(type="text", text=""), *deltas)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return length > stream.rindex(b"}")  # the last one ends message_stop

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return remove_metadata(response)

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        started = [
            call for call in partial.tool_calls if call.arguments or call.malformed_arguments
        ]
        message = attrs.evolve(partial.message, tool_calls=started)
        super().check_partial(attrs.evolve(partial, message=message), example)
        calls = {call.id: call.name for call in example.expected.tool_calls}
        assert {call.id: call.name for call in partial.tool_calls}.items() <= calls.items()

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        return anthropic_json.build_body(_make_sample(content))

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        sample = _make_sample(content)
        calls = iter(content.first.calls)
        frames: list[Frame] = [
            {"type": "message_start", "message": {**self.build_body(content), "content": []}}
        ]
        for index, block in enumerate(sample.blocks):
            if block["type"] == "tool_use":
                start, member, text = {**block, "input": {}}, "partial_json", next(calls).text
                delta_type = "input_json_delta"
            else:
                member = block["type"]
                start, text, delta_type = {**block, member: ""}, block[member], f"{member}_delta"
            frames.append(anthropic_json.make_block_start(index, **start))
            frames += [
                anthropic_json.make_block_delta(index, **{"type": delta_type, member: chunk})
                for chunk in split(text)
            ]
            frames.append(anthropic_json.make_block_stop(index))
        usage = {"output_tokens": sample.output_tokens}
        return [*frames, *anthropic_json.make_last_chunks(sample.stop_reason, **usage)]


def _make_sample(content: ResponseContent) -> AnthropicResponse:
    """Make Anthropic's blocks of a content."""
    candidate = content.first
    blocks: list[dict[str, Any]] = []
    if candidate.reasoning is not None:
        blocks.append({"type": "thinking", "thinking": candidate.reasoning, "signature": "s"})
    if candidate.text:
        blocks.append({"type": "text", "text": candidate.text})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.text)}
        for call in candidate.calls
    ]
    return AnthropicResponse(
        tuple(blocks),
        stop_reason=candidate.stop,
        id=content.id,
        model=content.model,
        input_tokens=content.prompt_tokens or 0,
        output_tokens=content.completion_tokens or 0,
    )
