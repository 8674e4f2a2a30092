"""Anthropic's messages, for the tests of every format."""

from __future__ import annotations

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
from locus.core.response import ModelResponse
from locus.testing.server import Reply
from locus.wire.anthropic_messages import AnthropicMessagesParser
from tests.support import junk
from tests.support.anthropic_responses import (
    anthropic_responses,
    build_expected_response,
    remove_metadata,
    structured_responses,
)
from tests.support.chat_replies import TEXT
from tests.support.formats.format_base import ERROR_TEXT, Example, Format
from tests.support.servers import anthropic_server
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


class AnthropicMessages(Format):
    """Anthropic's messages."""

    name = provider = "anthropic"
    environment_prefixes = ("ANTHROPIC_", "AWS_", "CLOUD_ML_")
    usage = anthropic_server.USAGE
    parser = AnthropicMessagesParser()
    end_frames = (anthropic_json.make_block_stop(), *anthropic_json.make_last_chunks())
    ignored_frames = anthropic_json.NOISE
    malformed_frames = ("{", "[]", '{"type": 5}', "hello", '{"type": "ping", "delta": 3}')
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
