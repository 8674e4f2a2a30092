"""Oracle's locus-sdk, whose import name is ``locus`` as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "locus-sdk"
REQUIREMENTS = ("locus-sdk[openai]",)
RUNTIMES = ("blocking", "asyncio")


def _make_model() -> Any:
    from locus.testing import FunctionModel, text, tool_call

    def reply(messages: Any, *_: Any, **__: Any) -> Any:
        call_count = sum(message.role == "assistant" for message in messages)
        return text("That is all.") if call_count == 19 else tool_call("double", n=call_count)

    return FunctionModel(reply)


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], None]:
    from locus import Agent, tool

    @tool
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    def run() -> str:
        agent = Agent(model=_make_model(), tools=[double], max_iterations=30)
        return agent.run_sync("Go.").message

    return run, None


def make_async_calls(url: str, _: str) -> tuple[Callable[[], Awaitable[str]], None]:
    from locus import Agent, tool

    @tool
    async def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    async def run() -> str:
        agent = Agent(model=_make_model(), tools=[double], max_iterations=30)
        return (await agent.arun("Go.")).message

    return run, None
