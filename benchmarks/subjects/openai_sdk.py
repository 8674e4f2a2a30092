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
answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
print(answer.choices[0].message.content)
"""

_ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
_STREAM = {**_ASK, "stream": True, "stream_options": {"include_usage": True}}


def blocking(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from openai import OpenAI

    create = OpenAI(api_key="x", base_url=url).chat.completions.create

    def whole() -> str:
        return create(**_ASK).choices[0].message.content

    def stream() -> int:
        length = 0
        for chunk in create(**_STREAM):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return whole, stream


def nonblocking(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from openai import AsyncOpenAI

    create = AsyncOpenAI(api_key="x", base_url=url).chat.completions.create

    async def whole() -> str:
        return (await create(**_ASK)).choices[0].message.content

    async def stream() -> int:
        length = 0
        async for chunk in await create(**_STREAM):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return whole, stream
