"""Anthropic, as a loopback server plays it, and the model that asks it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from locus.models.native.anthropic import AnthropicModel
from locus.testing.loopback_server import LoopbackServer, Reply
from tests.support.wire_json.anthropic_json import delta, ending, start, stop

KEY = "sk-ant-loopback-0123456789abcdef"
WORDS = ("Zürich", " costs", " 10 €", " ✓", " today")
TEXT = "".join(WORDS)
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
AS_JSON = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about providers and proxies."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "AWS_", "CLOUD_ML_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def server(environment: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A server with nothing to say yet, and nothing in the environment that keeps one from it."""
    with LoopbackServer() as server:
        yield server


def model_of(server: LoopbackServer, **kw: Any) -> AnthropicModel:
    """A model of the loopback server. One try and five seconds, where nothing else is said."""
    kw = {"api_key": KEY, "base_url": server.url, "timeout": 5.0, "max_retries": 0, **kw}
    return AnthropicModel(kw.pop("model", "claude-1-loop"), **kw)


COUNTS = {
    "input_tokens": 9,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
    "output_tokens": 5,
}


def whole(*blocks: dict[str, Any], reason: str = "end_turn") -> Reply:
    """A whole answer."""
    return Reply.json(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-1-loop-20250101",
            "content": list(blocks) or [{"type": "text", "text": TEXT}],
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": COUNTS,
        }
    )


def stream_events(*found: dict[str, Any], reason: str = "end_turn") -> list[dict[str, Any]]:
    """The events of a streamed answer; of the same one as ``whole`` where nothing is given."""
    begun = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-1-loop-20250101",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**COUNTS, "output_tokens": 1},
    }
    if not found:
        deltas = [delta(type="text_delta", text=word) for word in WORDS]
        found = (start(type="text", text=""), {"type": "ping"}, *deltas, stop())
    return [{"type": "message_start", "message": begun}, *found, *ending(reason, output_tokens=5)]


def streamed(*found: dict[str, Any], reason: str = "end_turn") -> Reply:
    """The same answer as ``whole`` gives, as a stream."""
    said = stream_events(*found, reason=reason)
    return Reply.sse([(event["type"], event) for event in said], done=False)


def refusal(status: int, kind: str, message: str, **headers: str) -> Reply:
    """An error as the API words it."""
    error = {"type": "error", "error": {"type": kind, "message": message}}
    reply = Reply.json(error, status)
    for name, value in headers.items():
        reply = reply.with_header(name.replace("_", "-"), value)
    return reply
