"""pydantic-ai, with its own double of a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAME = "pydantic-ai"
REQUIREMENTS = ("pydantic-ai-slim",)
RUNTIMES = ("blocking", "asyncio")


def _agent(tool: Callable[..., Any]) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def answer(messages: Any, _: Any) -> Any:
        asked = sum(isinstance(message, ModelResponse) for message in messages)
        if asked == 19:
            return ModelResponse(parts=[TextPart("That is all.")])
        return ModelResponse(parts=[ToolCallPart("double", {"n": asked})])

    agent = Agent(FunctionModel(answer))
    agent.tool_plain(tool)
    return agent


def blocking(url: str, _: str) -> tuple[Callable[[], str], None]:
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    agent = _agent(double)
    return lambda: agent.run_sync("Go.").output, None


def nonblocking(url: str, _: str) -> tuple[Callable[[], Awaitable[str]], None]:
    async def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    agent = _agent(double)

    async def run() -> str:
        return (await agent.run("Go.")).output

    return run, None
