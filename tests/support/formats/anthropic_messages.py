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
from locus.testing.loopback_server import Reply
from locus.wire.anthropic_messages import AnthropicMessagesParser
from tests.support import junk
from tests.support.anthropic_responses import (
    anthropic_responses,
    build_expected_response,
    structured_responses,
    without_metadata,
)
from tests.support.chat_replies import TEXT
from tests.support.formats.description import SLOW, Example, Format
from tests.support.servers import anthropic_server
from tests.support.wire_json import anthropic_json


@st.composite
def _anthropic_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    turn = draw(anthropic_responses(valid_arguments=valid_arguments) | structured_responses())
    return Example(
        build_expected_response(turn),
        anthropic_json.build_body(turn),
        draw(anthropic_json.framed_streams(draw(anthropic_json.stream_chunks(turn)))),
        {turn.blocks[at].get("id", ""): text for at, text in turn.input_json.items()},
    )


def _anthropic_error(kind: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": "boom"}}


class AnthropicMessages(Format):
    """Anthropic's messages."""

    name = provider = "anthropic"
    variables = ("ANTHROPIC_", "AWS_", "CLOUD_ML_")
    usage = anthropic_server.USAGE
    parser = AnthropicMessagesParser()
    ending = (anthropic_json.make_block_stop(), *anthropic_json.make_last_chunks())
    noise = anthropic_json.NOISE
    broken = ("{", "[]", '{"type": 5}', "hello", '{"type": "ping", "delta": 3}')
    errors = (
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
    refusal = (
        {"type": "error", "error": {"type": "overloaded_error", "message": SLOW}},
        OverloadedError,
    )
    pages: ClassVar = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
        b'{"content": 5}': '{"content": 5}',
    }

    model_of = staticmethod(anthropic_server.make_model)
    streamed = staticmethod(anthropic_server.build_stream_reply)
    frames = staticmethod(anthropic_json.encode_sse)
    examples = staticmethod(lambda valid_arguments=False: _anthropic_example(valid_arguments))
    odd_frames = staticmethod(junk.anthropic_events)
    odd_answers = staticmethod(junk.anthropic_messages)

    def whole(self, text: str = TEXT) -> Reply:
        return anthropic_server.build_reply({"type": "text", "text": text})

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        deltas = (anthropic_json.make_block_delta(type="text_delta", text=word) for word in words)
        return (anthropic_json.make_block_start(type="text", text=""), *deltas)

    def ended(self, stream: bytes, cut: int) -> bool:
        return cut > stream.rindex(b"}")  # the last one ends message_stop

    def essence(self, answer: ModelResponse) -> ModelResponse:
        return without_metadata(answer)

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        begun = [call for call in partial.tool_calls if call.arguments or call.malformed_arguments]
        message = attrs.evolve(partial.message, tool_calls=begun)
        super().check_partial(attrs.evolve(partial, message=message), example)
        calls = {call.id: call.name for call in example.expected.tool_calls}
        assert {call.id: call.name for call in partial.tool_calls}.items() <= calls.items()
