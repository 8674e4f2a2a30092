"""Mozilla's any-llm: a provider-neutral interface on top of the providers' SDKs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "any-llm"
FORMATS = ("openai",)
REQUIREMENTS = ("any-llm-sdk[openai]",)
IMPORT = "import any_llm"
RUNTIMES = ("blocking", "asyncio")

COLD = """
from any_llm import AnyLLM
llm = AnyLLM.create("openai", api_key="x", api_base="{url}")
answer = llm.completion(model="m", messages=[{"role": "user", "content": "hi"}])
print(answer.choices[0].message.content)
"""

_ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
_STREAM = {**_ASK, "stream": True, "stream_options": {"include_usage": True}}


def blocking(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from any_llm import AnyLLM

    create = AnyLLM.create("openai", api_key="x", api_base=url).completion

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
    from any_llm import AnyLLM

    create = AnyLLM.create("openai", api_key="x", api_base=url).acompletion

    async def whole() -> str:
        return (await create(**_ASK)).choices[0].message.content

    async def stream() -> int:
        length = 0
        async for chunk in await create(**_STREAM):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return whole, stream
