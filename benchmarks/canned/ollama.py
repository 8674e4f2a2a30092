"""Responses in the format of Ollama's chat."""

from __future__ import annotations

import json
from typing import Any

from . import WHOLE_TEXT, format_headers, make_text_chunks

ROOT = ""
PATH = "/api/chat"
STREAM_TYPE = "application/x-ndjson"
EXTRA_CHUNKS = 1  # the end, with the usage

_END = {
    "done": True,
    "done_reason": "stop",
    "total_duration": 4883583458,
    "load_duration": 1334875,
    "prompt_eval_count": 26,
    "prompt_eval_duration": 342546000,
    "eval_count": 282,
    "eval_duration": 4535599000,
}

HEADERS = format_headers(b"Date: Thu, 09 Oct 2025 08:53:20 GMT")


def build_body() -> bytes:
    """Build the JSON body of the response to a request with ``"stream": false``."""
    return _build_line(WHOLE_TEXT, _END)


def build_stream(chunks: int) -> list[bytes]:
    """Build the lines of a streamed response."""
    lines = [_build_line(text, {"done": False}) for text in make_text_chunks(chunks)]
    return [line + b"\n" for line in (*lines, _build_line("", _END))]


def _build_line(text: str, rest: dict[str, Any]) -> bytes:
    body = {
        "model": "llama3.3",
        "created_at": "2025-10-09T08:53:20.146893451Z",
        "message": {"role": "assistant", "content": text},
        **rest,
    }
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
