"""Locus, this project."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "locus"
REQUIREMENTS = ("{root}",)
RUNTIMES = ("blocking", "asyncio", "trio")


def _make_model() -> Any:
    from locus.testing import ScriptedModel, tool_call

    calls = [tool_call("double", f"call_{n}", n=n) for n in range(19)]
    return ScriptedModel(*calls, "That is all.", cycle=True)


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], None]:
    from locus import Agent, tool

    @tool
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    agent = Agent(_make_model(), [double])

    def run() -> str:
        agent.model.calls.clear()
        return agent.run_sync("Go.").message

    return run, None


def make_async_calls(url: str, _: str) -> tuple[Callable[[], Awaitable[str]], None]:
    from locus import Agent, tool

    @tool
    async def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    agent = Agent(_make_model(), [double])

    async def run() -> str:
        agent.model.calls.clear()
        return (await agent.arun("Go.")).message

    return run, None
