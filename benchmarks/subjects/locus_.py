"""Locus, this project, installed from its root (or from the working tree, see ``--locus-path``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "locus"
FORMATS = ("openai", "anthropic", "ollama")
REQUIREMENTS = ("{root}",)
IMPORT = "import locus"
RUNTIMES = ("blocking", "asyncio", "trio")

COLD = """
from locus.models import OpenAIModel
print(OpenAIModel("m", api_key="x", base_url="{url}").complete_sync("hi").content)
"""


def _make_model(url: str, wire: str) -> Any:
    from locus import models

    if wire == "anthropic":
        return models.AnthropicModel("m", api_key="x", base_url=url)
    if wire == "ollama":
        return models.OllamaModel("m", base_url=url)
    return models.OpenAIModel("m", api_key="x", base_url=url)


def make_blocking_calls(url: str, wire: str) -> tuple[Callable[[], str], Callable[[], int]]:
    model = _make_model(url, wire)

    def complete() -> str:
        return model.complete_sync("hi").content

    def stream() -> int:
        length = 0
        for event in model.stream_sync("hi"):
            length += len(event.content or "")
        return length

    return complete, stream


def make_async_calls(
    url: str, wire: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    model = _make_model(url, wire)

    async def complete() -> str:
        return (await model.complete("hi")).content

    async def stream() -> int:
        length = 0
        async for event in model.stream("hi"):
            length += len(event.content or "")
        return length

    return complete, stream
