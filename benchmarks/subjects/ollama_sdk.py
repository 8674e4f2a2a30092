"""The official package of Ollama."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "ollama"
FORMATS = ("ollama",)
REQUIREMENTS = ("ollama",)
RUNTIMES = ("blocking", "asyncio", "trio")

_REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
_STREAM_REQUEST: dict[str, Any] = {**_REQUEST, "stream": True}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from ollama import Client

    chat = Client(host=url).chat

    def complete() -> str:
        return chat(**_REQUEST).message.content

    def stream() -> int:
        length = 0
        for chunk in chat(**_STREAM_REQUEST):
            length += len(chunk.message.content or "")
        return length

    return complete, stream


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from ollama import AsyncClient

    chat = AsyncClient(host=url).chat

    async def complete() -> str:
        return (await chat(**_REQUEST)).message.content

    async def stream() -> int:
        length = 0
        async for chunk in await chat(**_STREAM_REQUEST):
            length += len(chunk.message.content or "")
        return length

    return complete, stream
