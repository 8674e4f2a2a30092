"""Canned replies of a chat completions server: one response, in one body and as a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from locus.testing.formats.spoken_format import TEXT, TEXT_CHUNKS
from locus.testing.formats.stream_reader import join_text
from locus.testing.server import Reply

__all__ = [
    "TEXT",
    "TEXT_CHUNKS",
    "USAGE",
    "build_chunk",
    "build_chunks",
    "build_reply",
    "build_stream_reply",
    "join_text",
]

USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}


def build_reply(text: str = TEXT, **message: Any) -> Reply:
    """Build a response in one body."""
    full_message = {"role": "assistant", "content": text, **message}
    return Reply.json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "loop-1-0613",
            "choices": [{"index": 0, "message": full_message, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    )


def build_chunk(
    delta: dict[str, Any] | None = None, finish_reason: str | None = None
) -> dict[str, Any]:
    """Build a chunk of a streamed response."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "loop-1-0613",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish_reason}],
    }


def build_chunks(texts: Iterable[str] = TEXT_CHUNKS) -> list[dict[str, Any]]:
    """Build the chunks of a stream, in OpenAI's order: role, text, finish reason, usage."""
    return [
        build_chunk({"role": "assistant", "content": ""}),
        *(build_chunk({"content": text}) for text in texts),
        build_chunk(finish_reason="stop"),
        {**build_chunk(), "choices": [], "usage": USAGE},
    ]


def build_stream_reply(texts: Iterable[str] = TEXT_CHUNKS) -> Reply:
    """Build the same response as :func:`build_reply`, as a stream."""
    return Reply.sse(build_chunks(texts))
