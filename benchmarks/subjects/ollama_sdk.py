"""The official package of Ollama."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "ollama"
FORMATS = ("ollama",)
REQUIREMENTS = ("ollama",)
RUNTIMES = ("blocking", "asyncio", "trio")

_ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
_STREAM: dict[str, Any] = {**_ASK, "stream": True}


def blocking(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from ollama import Client

    chat = Client(host=url).chat

    def whole() -> str:
        return chat(**_ASK).message.content

    def stream() -> int:
        length = 0
        for chunk in chat(**_STREAM):
            length += len(chunk.message.content or "")
        return length

    return whole, stream


def nonblocking(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from ollama import AsyncClient

    chat = AsyncClient(host=url).chat

    async def whole() -> str:
        return (await chat(**_ASK)).message.content

    async def stream() -> int:
        length = 0
        async for chunk in await chat(**_STREAM):
            length += len(chunk.message.content or "")
        return length

    return whole, stream
