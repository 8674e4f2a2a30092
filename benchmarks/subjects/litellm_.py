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
response = litellm.completion(
    model="openai/m", messages=[{"role": "user", "content": "hi"}], api_key="x", api_base="{url}"
)
print(response.choices[0].message.content)
"""

_REQUEST: dict[str, Any] = {
    "model": "openai/m",
    "messages": [{"role": "user", "content": "hi"}],
    "api_key": "x",
}
_STREAM_REQUEST = {**_REQUEST, "stream": True, "stream_options": {"include_usage": True}}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from litellm import completion

    def complete() -> str:
        return completion(**_REQUEST, api_base=url).choices[0].message.content

    def stream() -> int:
        length = 0
        for chunk in completion(**_STREAM_REQUEST, api_base=url):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return complete, stream


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from litellm import acompletion

    async def complete() -> str:
        return (await acompletion(**_REQUEST, api_base=url)).choices[0].message.content

    async def stream() -> int:
        length = 0
        async for chunk in await acompletion(**_STREAM_REQUEST, api_base=url):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return complete, stream
