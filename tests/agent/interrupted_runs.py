"""A conversation in several runs, each of which may be cut off: what is seen of it on one runtime.

The runs are those of the plan. After them the thread is resumed until it has come to its end.
"""

from __future__ import annotations

from typing import Any

import anyio
import attrs

from locus.agent import Agent, AgentResult, AgentState
from locus.core.events import ThinkEvent, ToolCompleteEvent, ToolStartEvent
from locus.memory import MemoryCheckpointer
from tests.agent.random_scripts import ENDS, MOST_LEGS, Body, Hook, Leg, Plan, make
from tests.agent.recorded_runs import timeless

THREAD = "t"


@attrs.frozen
class Lived:
    """One run.

    :ivar before: the checkpoint when it began.
    :ivar after: the checkpoint when it had ended.
    :ivar error: what it raised, also where that ends a program.
    """

    leg: Leg
    events: tuple[Any, ...]
    result: AgentResult | None
    error: BaseException | None
    before: AgentState
    after: AgentState

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def left(self) -> bool:
        """Whether the caller has left before anything else ended it."""
        return len(self.events) == self.leg.leaves

    @property
    def asked(self) -> list[str]:
        """The calls that were its to make: what it was left, and what its model has asked for."""
        left = [] if self.leg.speaks else [call.id for call in self.before.pending_calls()]
        done = {
            execution.tool_call_id
            for execution in self.before.tool_executions
            if execution.iteration == self.before.iteration
        }
        mine = [call.id for event in self.of(ThinkEvent) for call in event.tool_calls]
        return [call for call in left if call not in done] + mine

    @property
    def started(self) -> list[str]:
        return [event.tool_call_id for event in self.of(ToolStartEvent)]

    @property
    def completed(self) -> list[str]:
        return [event.tool_call_id for event in self.of(ToolCompleteEvent)]

    @property
    def timeless(self) -> Any:
        """All of it, without what a clock has put into it: the same on every runtime."""
        executions = [attrs.evolve(one, duration_ms=None) for one in self.after.tool_executions]
        return (
            timeless(self.events),
            self.result and (self.result.message, self.result.stop_reason, self.result.tool_calls),
            type(self.error),
            str(self.error),
            self.after.evolve(tool_executions=executions),
        )


def live(runtime: str, plan: Plan, body: Body, hooks: list[Hook]) -> list[Lived]:
    """All runs of a plan's conversation."""
    checkpointer = MemoryCheckpointer()
    agent = make(plan, body, hooks, checkpointer=checkpointer)
    lived: list[Lived] = []
    first, *others = plan.legs
    legs = [attrs.evolve(first, speaks=True), *others]
    while legs or not _is_over(lived[-1]):
        assert len(lived) < MOST_LEGS, "it does not come to its end"
        leg = legs.pop(0) if legs else Leg()
        before = checkpointer.load(THREAD) or AgentState()
        events: list[Any] = []
        result, error = _run(runtime, agent, leg, events)
        with checkpointer.claim(THREAD):  # it is free
            after = checkpointer.load(THREAD)
        assert after is not None
        lived.append(Lived(leg, tuple(events), result, error, before, after))
    return lived


def _is_over(last: Lived) -> bool:
    return last.result is not None and not last.result.stop_reason.startswith("MaxIterations")


def _run(
    runtime: str, agent: Agent, leg: Leg, events: list[Any]
) -> tuple[AgentResult | None, BaseException | None]:
    said: dict[str, Any] = {"prompt": "Go."} if leg.speaks else {}
    said["thread_id"] = THREAD

    def blocking() -> AgentResult | None:
        if leg.quiet:
            return agent.run_sync(**said) if leg.speaks else agent.resume_sync(**said)
        run = agent.stream_sync(**said) if leg.speaks else agent.resume_stream_sync(**said)
        with run:
            for event in run:
                events.append(event)
                if len(events) == leg.leaves:
                    return None
        return run.result

    async def nonblocking() -> AgentResult | None:
        with anyio.fail_after(20):
            if leg.quiet:
                return await (agent.arun(**said) if leg.speaks else agent.aresume(**said))
            async with agent.run(**said) if leg.speaks else agent.resume(**said) as run:
                async for event in run:
                    events.append(event)
                    if len(events) == leg.leaves:
                        return None
            return run.result

    try:
        if runtime == "blocking":
            return blocking(), None
        return anyio.run(nonblocking, backend=runtime), None
    except (Exception, *ENDS) as error:  # noqa: BLE001
        return None, error
