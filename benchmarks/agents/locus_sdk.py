"""Oracle's locus-sdk, whose import name is ``locus`` as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "locus-sdk"
REQUIREMENTS = ("locus-sdk[openai]",)
RUNTIMES = ("blocking", "asyncio")


def _model() -> Any:
    from locus.testing import FunctionModel, text, tool_call

    def answer(messages: Any, *_: Any, **__: Any) -> Any:
        asked = sum(message.role == "assistant" for message in messages)
        return text("That is all.") if asked == 19 else tool_call("double", n=asked)

    return FunctionModel(answer)


def blocking(url: str, _: str) -> tuple[Callable[[], str], None]:
    from locus import Agent, tool

    @tool
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    def run() -> str:
        agent = Agent(model=_model(), tools=[double], max_iterations=30)
        return agent.run_sync("Go.").message

    return run, None


def nonblocking(url: str, _: str) -> tuple[Callable[[], Awaitable[str]], None]:
    from locus import Agent, tool

    @tool
    async def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    async def run() -> str:
        agent = Agent(model=_model(), tools=[double], max_iterations=30)
        return (await agent.arun("Go.")).message

    return run, None
