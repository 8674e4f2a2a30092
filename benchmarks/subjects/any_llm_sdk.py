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
response = llm.completion(model="m", messages=[{"role": "user", "content": "hi"}])
print(response.choices[0].message.content)
"""

_REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
_STREAM_REQUEST = {**_REQUEST, "stream": True, "stream_options": {"include_usage": True}}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    from any_llm import AnyLLM

    create = AnyLLM.create("openai", api_key="x", api_base=url).completion

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
    from any_llm import AnyLLM

    create = AnyLLM.create("openai", api_key="x", api_base=url).acompletion

    async def complete() -> str:
        return (await create(**_REQUEST)).choices[0].message.content

    async def stream() -> int:
        length = 0
        async for chunk in await create(**_STREAM_REQUEST):
            for choice in chunk.choices:
                length += len(choice.delta.content or "")
        return length

    return complete, stream
