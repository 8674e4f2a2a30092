"""An Anthropic model, and the replies that the loopback server gives to it."""

from __future__ import annotations

from typing import Any

from locus.models.native.anthropic import AnthropicModel
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS
from tests.support.timing import FOREVER
from tests.support.wire_json.anthropic_json import (
    make_block_delta,
    make_block_start,
    make_block_stop,
    make_last_chunks,
)

API_KEY = "sk-ant-loopback-0123456789abcdef"
USAGE = {
    "prompt_tokens": 14,
    "completion_tokens": 5,
    "cached_tokens": 3,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
}
LOOK_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PLACE_RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


def make_model(server: LoopbackServer, **kw: Any) -> AnthropicModel:
    """Make a model of the loopback server. By default it does not retry, and has no time limit."""
    kw = {"api_key": API_KEY, "base_url": server.url, "timeout": FOREVER, "max_retries": 0, **kw}
    return AnthropicModel(kw.pop("model", "claude-1-loop"), **kw)


WIRE_USAGE = {
    "input_tokens": 9,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
    "output_tokens": 5,
}


def build_reply(*blocks: dict[str, Any], reason: str = "end_turn") -> Reply:
    """Build a response in one body."""
    return Reply.json(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-1-loop-20250101",
            "content": list(blocks) or [{"type": "text", "text": TEXT}],
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": WIRE_USAGE,
        }
    )


def build_stream_events(*events: dict[str, Any], reason: str = "end_turn") -> list[dict[str, Any]]:
    """Build the events of a streamed response; by default, those of :func:`build_reply`."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-1-loop-20250101",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**WIRE_USAGE, "output_tokens": 1},
    }
    if not events:
        deltas = [make_block_delta(type="text_delta", text=chunk) for chunk in TEXT_CHUNKS]
        events = (
            make_block_start(type="text", text=""),
            {"type": "ping"},
            *deltas,
            make_block_stop(),
        )
    return [
        {"type": "message_start", "message": message},
        *events,
        *make_last_chunks(reason, output_tokens=5),
    ]


def build_stream_reply(*events: dict[str, Any], reason: str = "end_turn") -> Reply:
    """Build the same response as :func:`build_reply`, as a stream."""
    stream_events = build_stream_events(*events, reason=reason)
    return Reply.sse([(event["type"], event) for event in stream_events], done=False)


def build_error_reply(status: int, error_type: str, message: str, **headers: str) -> Reply:
    """Build an error response in the API's format."""
    error = {"type": "error", "error": {"type": error_type, "message": message}}
    reply = Reply.json(error, status)
    for name, value in headers.items():
        reply = reply.with_header(name.replace("_", "-"), value)
    return reply
