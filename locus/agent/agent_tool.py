"""Makes a tool of an agent: another agent asks it a question and reads its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locus.core.events import TerminateEvent
from locus.core.frozendict import EMPTY
from locus.tools.context import ToolContext
from locus.tools.decorator import tool
from locus.tools.function_tool import FunctionTool
from locus.tools.metered_result import MeteredResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from locus.agent.async_driver import AsyncRun
    from locus.agent.effects import AgentEvent
    from locus.agent.run_context import RunContext


class AgentEndedError(RuntimeError):
    """An agent that another one had asked ended without an answer."""


def make_agent_tool(
    start_run: Callable[[str, ToolContext], tuple[RunContext, AsyncRun]],
    name: str,
    description: str,
) -> FunctionTool[..., Any]:
    """Make a tool that runs an agent.

    :param start_run: returns a run of the agent with a prompt, and its events.
    """

    async def ask_agent(prompt: str, context: ToolContext) -> Any:
        """Ask the agent.

        :param prompt: The task, with everything that is needed to understand it.
        """
        events: list[AgentEvent] = []
        error: Exception | None = None
        run_context, agent_run = start_run(prompt, context)
        context.nested_runs.append(run_context)
        try:
            async with agent_run as run:
                async for event in run:
                    events.append(event)  # noqa: PERF401 - those before an error count
        except Exception as exc:  # noqa: BLE001 - the tool's error, with the tokens that it cost
            error = exc
        last = events[-1] if events else None
        usage = last.usage if isinstance(last, TerminateEvent) else EMPTY
        if error is not None:
            return MeteredResult(usage=usage, error=error, events=events)
        result = run.result
        if not result.message and result.stop_reason != "complete":
            error = AgentEndedError(f"it ended without an answer: {result.stop_reason}")
        answer = result.message if result.parsed is None else result.parsed
        return MeteredResult(answer, usage=usage, error=error, events=events)

    return tool(ask_agent, name=name, description=description)
