"""Locus, this project, installed from its root (or from the working tree, see ``--locus-path``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "locus"
REQUIREMENTS = ("{root}",)
IMPORT = "import locus"
RUNTIMES = ("blocking", "asyncio", "trio")

COLD = """
from locus.models import OpenAIModel
print(OpenAIModel("m", api_key="x", base_url="{url}").complete_sync("hi").content)
"""


def blocking(url: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from locus.models import OpenAIModel

    model = OpenAIModel("m", api_key="x", base_url=url)

    def whole() -> str:
        return model.complete_sync("hi").content

    def stream() -> int:
        length = 0
        for event in model.stream_sync("hi"):
            length += len(event.content or "")
        return length

    return whole, stream


def nonblocking(url: str) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    from locus.models import OpenAIModel

    model = OpenAIModel("m", api_key="x", base_url=url)

    async def whole() -> str:
        return (await model.complete("hi")).content

    async def stream() -> int:
        length = 0
        async for event in model.stream("hi"):
            length += len(event.content or "")
        return length

    return whole, stream
