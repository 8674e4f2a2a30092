"""Responses in the format of Anthropic's messages."""

from __future__ import annotations

import json
from typing import Any

from . import WHOLE_TEXT, format_headers, make_text_chunks

ROOT = ""
PATH = "/v1/messages"
STREAM_TYPE = "text/event-stream; charset=utf-8"
EXTRA_CHUNKS = 5  # the starts of message and block, the end of the block, the finish, the end

_COMMON = {
    "model": "claude-sonnet-4-20250514",
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
}
_USAGE = {
    "input_tokens": 8,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 300,
    "service_tier": "standard",
}

HEADERS = format_headers(
    b"Date: Thu, 09 Oct 2025 08:53:20 GMT",
    b"Connection: keep-alive",
    b"anthropic-organization-id: 2c9b6c1e-5f0e-4b27-9d43-0d6f5c1b7a88",
    b"anthropic-ratelimit-input-tokens-limit: 2000000",
    b"anthropic-ratelimit-input-tokens-remaining: 2000000",
    b"anthropic-ratelimit-input-tokens-reset: 2025-10-09T08:53:20Z",
    b"anthropic-ratelimit-requests-limit: 4000",
    b"anthropic-ratelimit-requests-remaining: 3999",
    b"anthropic-ratelimit-requests-reset: 2025-10-09T08:53:20Z",
    b"request-id: req_011CTwMbVbZ8m7d5Yk3nJ4hP",
    b"strict-transport-security: max-age=31536000; includeSubDomains; preload",
    b"x-envoy-upstream-service-time: 412",
    b"Server: loopback",
)


def build_body() -> bytes:
    """Build the JSON body of the response to a request without ``stream``."""
    body = {
        **_COMMON,
        "content": [{"type": "text", "text": WHOLE_TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _USAGE,
    }
    return _to_json(body)


def build_stream(chunks: int) -> list[bytes]:
    """Build the server-sent events of a streamed response, the ping included."""
    message: dict[str, Any] = {**_COMMON, "content": [], "stop_reason": None, "stop_sequence": None}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        _build_event("message_start", message={**message, "usage": {**_USAGE, "output_tokens": 1}}),
        _build_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        _build_event("ping"),
        *(
            _build_event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
            for text in make_text_chunks(chunks)
        ),
        _build_event("content_block_stop", index=0),
        _build_event("message_delta", delta=end, usage={"output_tokens": 300}),
        _build_event("message_stop"),
    ]


def _build_event(event_type: str, **members: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (
        event_type.encode(),
        _to_json({"type": event_type, **members}),
    )


def _to_json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
