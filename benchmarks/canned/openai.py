"""Responses in the format of OpenAI's chat completions."""

from __future__ import annotations

import json
from typing import Any

from . import WHOLE_TEXT, format_headers, make_text_chunks

ROOT = "/v1"
PATH = "/chat/completions"
STREAM_TYPE = "text/event-stream; charset=utf-8"
EXTRA_CHUNKS = 3  # the role, the finish and the usage

_COMMON = {
    "id": "chatcmpl-CbT0mXQ8RkzJ5yVn2LwPq7sHd3GfA",
    "created": 1760000000,
    "model": "gpt-4o-2024-08-06",
}
_FINGERPRINT = "fp_cbf1785567"
_USAGE = {
    "prompt_tokens": 8,
    "completion_tokens": 300,
    "total_tokens": 308,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}

HEADERS = format_headers(
    b"Date: Thu, 09 Oct 2025 08:53:20 GMT",
    b"Connection: keep-alive",
    b"openai-organization: org-benchmark",
    b"openai-processing-ms: 412",
    b"openai-version: 2020-10-01",
    b"x-ratelimit-limit-requests: 10000",
    b"x-ratelimit-limit-tokens: 30000000",
    b"x-ratelimit-remaining-requests: 9999",
    b"x-ratelimit-remaining-tokens: 29999979",
    b"x-ratelimit-reset-requests: 6ms",
    b"x-ratelimit-reset-tokens: 0s",
    b"x-request-id: req_7d0a4b8f2c1e4a5f9b3d6e8c0f1a2b3c",
    b"Server: loopback",
)


def build_body() -> bytes:
    """Build the JSON body of the response to a request without ``stream``."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": WHOLE_TEXT,
        "refusal": None,
        "annotations": [],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {
        **_COMMON,
        "object": "chat.completion",
        "choices": [choice],
        "usage": _USAGE,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }
    return json.dumps(body, indent=2, ensure_ascii=False).encode()


def build_stream(chunks: int) -> list[bytes]:
    """Build the server-sent events of a streamed response, ``[DONE]`` included."""
    role = {"role": "assistant", "content": "", "refusal": None}
    events = [_build_event(role)]
    events += [_build_event({"content": text}) for text in make_text_chunks(chunks)]
    events += [_build_event({}, "stop"), _build_event(None, usage=_USAGE), b"data: [DONE]\n\n"]
    return events


def _build_event(
    delta: dict[str, Any] | None, finish_reason: str | None = None, usage: Any = None
) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = {
        **_COMMON,
        "object": "chat.completion.chunk",
        "system_fingerprint": _FINGERPRINT,
        "choices": [] if delta is None else [choice],
        "usage": usage,
    }
    text = json.dumps(chunk, separators=(",", ":"), ensure_ascii=False)
    return b"data: " + text.encode() + b"\n\n"
