"""An Ollama model, and the replies that the loopback server gives to it."""

from __future__ import annotations

from typing import Any

from locus.models.native.ollama import OllamaModel
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS
from tests.support.timing import FOREVER
from tests.support.wire_json.ollama_json import make_chunk, make_last_chunk

API_KEY = "ollama-loopback-0123456789abcdef"
UNUSED_ADDRESS = "http://127.0.0.1:9"
"""A URL where no server listens."""
LOOK_TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
WIRE_COUNTS = {"prompt_eval_count": 9, "eval_count": 5}


def build_reply(text: str = TEXT, **message: Any) -> Reply:
    """Build a response in one body."""
    return Reply.json(
        make_last_chunk(message={"role": "assistant", "content": text, **message}, **WIRE_COUNTS)
    )


def build_stream_reply() -> Reply:
    """Build the same response as :func:`build_reply`, as a stream."""
    return Reply.ndjson(
        [*(make_chunk(content=word) for word in TEXT_CHUNKS), make_last_chunk(**WIRE_COUNTS)]
    )


def build_error_reply(status: int, error: str, **more: Any) -> Reply:
    """Build an error response in Ollama's format."""
    return Reply.json({"error": error, **more}, status)


def make_model(server: LoopbackServer, **kw: Any) -> OllamaModel:
    """Make a model of the loopback server. By default it does not retry, and has no time limit."""
    kw = {"base_url": server.url, "timeout": FOREVER, "max_retries": 0, **kw}
    return OllamaModel(kw.pop("model", "loop-1"), **kw)


def get_last_body(server: LoopbackServer) -> dict[str, Any]:
    """Return the JSON body of the last request that the server has received."""
    body: dict[str, Any] = server.requests[-1].json()
    return body
