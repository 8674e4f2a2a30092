"""pydantic-ai, with its own test double of a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "pydantic-ai"
REQUIREMENTS = ("pydantic-ai-slim",)
RUNTIMES = ("blocking", "asyncio")


def _make_agent(tool: Callable[..., Any]) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def reply(messages: Any, _: Any) -> Any:
        call_count = sum(isinstance(message, ModelResponse) for message in messages)
        if call_count == 19:
            return ModelResponse(parts=[TextPart("That is all.")])
        return ModelResponse(parts=[ToolCallPart("double", {"n": call_count})])

    agent = Agent(FunctionModel(reply))
    agent.tool_plain(tool)
    return agent


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], None]:
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    agent = _make_agent(double)
    return lambda: agent.run_sync("Go.").output, None


def make_async_calls(url: str, _: str) -> tuple[Callable[[], Awaitable[str]], None]:
    async def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    agent = _make_agent(double)

    async def run() -> str:
        return (await agent.run("Go.")).output

    return run, None
