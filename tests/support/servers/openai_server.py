"""An OpenAI model of the loopback server; ``chat_replies`` has the replies to it."""

from __future__ import annotations

from typing import Any

from locus.models.native.openai import OpenAIModel
from locus.testing.server import LoopbackServer
from tests.support.timing import FOREVER

API_KEY = "sk-loopback-0123456789abcdef"
"""The API key of every model here; it must appear nowhere but in the Authorization header."""


def make_model(server: LoopbackServer, **kw: Any) -> OpenAIModel:
    """Make a model of the loopback server. By default it does not retry, and has no time limit."""
    kw = {
        "api_key": API_KEY,
        "base_url": f"{server.url}/v1",
        "timeout": FOREVER,
        "max_retries": 0,
        **kw,
    }
    return OpenAIModel(kw.pop("model", "loop-1"), **kw)
