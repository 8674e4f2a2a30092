"""The official OpenAI SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "openai"
FORMATS = ("openai",)
REQUIREMENTS = ("openai>=3",)
IMPORT = "import openai"
RUNTIMES = ("blocking", "asyncio", "trio")

COLD = """
from openai import OpenAI
client = OpenAI(api_key="x", base_url="{url}")
response = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
print(response.choices[0].message.content)
"""

_REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
_STREAM_REQUEST = {**_REQUEST, "stream": True, "stream_options": {"include_usage": True}}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from openai import OpenAI

    create = OpenAI(api_key="x", base_url=url).chat.completions.create

    def complete() -> str:
        return create(**_REQUEST).choices[0].message.content

    def stream() -> int:
        length = 0
        for chunk in create(**_STREAM_REQUEST):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return complete, stream


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from openai import AsyncOpenAI

    create = AsyncOpenAI(api_key="x", base_url=url).chat.completions.create

    async def complete() -> str:
        return (await create(**_REQUEST)).choices[0].message.content

    async def stream() -> int:
        length = 0
        async for chunk in await create(**_STREAM_REQUEST):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return complete, stream
