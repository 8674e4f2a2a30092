"""Oracle's locus-sdk, whose import name is ``locus`` as well. Its models are asyncio only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "locus-sdk"
FORMATS = ("openai",)
REQUIREMENTS = ("locus-sdk[openai]",)
IMPORT = "import locus"
RUNTIMES = ("asyncio",)

COLD = """
import asyncio
from locus.core.messages import Message
from locus.models.native.openai import OpenAIModel
model = OpenAIModel(model="m", api_key="x", base_url="{url}")
print(asyncio.run(model.complete([Message.user("hi")])).content)
"""


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from locus.core.messages import Message
    from locus.models.native.openai import OpenAIModel

    model = OpenAIModel(model="m", api_key="x", base_url=url)
    messages = [Message.user("hi")]

    async def complete() -> str:
        return (await model.complete(messages)).content

    async def stream() -> int:
        length = 0
        async for event in model.stream(messages):
            length += len(event.content or "")
        return length

    return complete, stream
