"""The official Anthropic SDK; streams by ``create``, whose events are the format's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "anthropic"
FORMATS = ("anthropic",)
REQUIREMENTS = ("anthropic",)
RUNTIMES = ("blocking", "asyncio", "trio")

_REQUEST: dict[str, Any] = {
    "model": "m",
    "max_tokens": 4096,
    "messages": [{"role": "user", "content": "hi"}],
}
_STREAM_REQUEST: dict[str, Any] = {**_REQUEST, "stream": True}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from anthropic import Anthropic

    create = Anthropic(api_key="x", base_url=url).messages.create

    def complete() -> str:
        return create(**_REQUEST).content[0].text

    def stream() -> int:
        length = 0
        for event in create(**_STREAM_REQUEST):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                length += len(event.delta.text)
        return length

    return complete, stream


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from anthropic import AsyncAnthropic

    create = AsyncAnthropic(api_key="x", base_url=url).messages.create

    async def complete() -> str:
        return (await create(**_REQUEST)).content[0].text

    async def stream() -> int:
        length = 0
        async for event in await create(**_STREAM_REQUEST):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                length += len(event.delta.text)
        return length

    return complete, stream
