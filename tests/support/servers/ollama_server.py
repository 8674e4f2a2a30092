"""A loopback server that plays Ollama, and models of it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from locus.models.native.ollama import OllamaModel
from locus.testing.loopback_server import LoopbackServer, Reply
from tests.support.runtimes import TEXT, WORDS
from tests.support.wire_json.ollama_json import end, piece

KEY = "ollama-loopback-0123456789abcdef"
HERE = "http://127.0.0.1:9"
"""An address where nobody listens."""
LOOK = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
COUNTS = {"prompt_eval_count": 9, "eval_count": 5}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about Ollama and proxies."""
    for name in list(os.environ):
        if name.startswith("OLLAMA_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


def whole(said: str = TEXT, **message: Any) -> Reply:
    """A whole answer."""
    return Reply.json(end(message={"role": "assistant", "content": said, **message}, **COUNTS))


def streamed() -> Reply:
    """The same answer as a stream."""
    return Reply.ndjson([*(piece(content=word) for word in WORDS), end(**COUNTS)])


def refusal(status: int, error: str, **more: Any) -> Reply:
    """An error as Ollama says it."""
    return Reply.json({"error": error, **more}, status)


def model_of(server: LoopbackServer, **kw: Any) -> OllamaModel:
    """A model of the loopback server. One try and five seconds, where nothing else is said."""
    kw = {"base_url": server.url, "timeout": 5.0, "max_retries": 0, **kw}
    return OllamaModel(kw.pop("model", "loop-1"), **kw)


def sent(server: LoopbackServer) -> dict[str, Any]:
    """The JSON that the server got last."""
    body: dict[str, Any] = server.requests[-1].json()
    return body
