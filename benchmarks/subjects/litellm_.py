"""litellm: one function for every provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "litellm"
FORMATS = ("openai",)
REQUIREMENTS = ("litellm",)
IMPORT = "import litellm"
RUNTIMES = ("blocking", "asyncio")

COLD = """
import litellm
answer = litellm.completion(
    model="openai/m", messages=[{"role": "user", "content": "hi"}], api_key="x", api_base="{url}"
)
print(answer.choices[0].message.content)
"""

_ASK: dict[str, Any] = {
    "model": "openai/m",
    "messages": [{"role": "user", "content": "hi"}],
    "api_key": "x",
}
_STREAM = {**_ASK, "stream": True, "stream_options": {"include_usage": True}}


def blocking(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from litellm import completion

    def whole() -> str:
        return completion(**_ASK, api_base=url).choices[0].message.content

    def stream() -> int:
        length = 0
        for chunk in completion(**_STREAM, api_base=url):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return whole, stream


def nonblocking(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from litellm import acompletion

    async def whole() -> str:
        return (await acompletion(**_ASK, api_base=url)).choices[0].message.content

    async def stream() -> int:
        length = 0
        async for chunk in await acompletion(**_STREAM, api_base=url):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return whole, stream
