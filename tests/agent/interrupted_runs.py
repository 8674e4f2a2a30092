"""Runs a planned conversation on one runtime, in several runs that may be interrupted.

After the planned runs the thread is resumed until it has ended.
"""

from __future__ import annotations

from typing import Any

import anyio
import attrs

from locus.agent import Agent, AgentResult, AgentState
from locus.core.events import ThinkEvent, ToolCompleteEvent, ToolStartEvent
from locus.memory import MemoryCheckpointer
from tests.agent.random_scripts import (
    EXIT_ERRORS,
    MAX_RUNS,
    ConversationPlan,
    RunPlan,
    ScriptedHook,
    ToolBodies,
    make_agent,
)
from tests.agent.recorded_runs import remove_durations
from tests.support.timing import HANG_SECONDS

THREAD = "t"


@attrs.frozen
class PlannedRun:
    """One run of a planned conversation, after its end.

    :ivar state_before: the checkpoint before the run.
    :ivar state_after: the checkpoint after the run.
    :ivar error: the error that it raised, even one that ends a program.
    """

    plan: RunPlan
    events: tuple[Any, ...]
    result: AgentResult | None
    error: BaseException | None
    state_before: AgentState
    state_after: AgentState

    def select_events_of_type(self, type_: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, type_)]

    @property
    def was_left(self) -> bool:
        """Whether the caller left before the end."""
        return len(self.events) == self.plan.leaves_after

    @property
    def expected_calls(self) -> list[str]:
        """The calls that it had to run: those left by the run before, and those of its model."""
        pending = (
            [] if self.plan.has_prompt else [call.id for call in self.state_before.pending_calls()]
        )
        done = {
            execution.tool_call_id
            for execution in self.state_before.tool_executions
            if execution.iteration == self.state_before.iteration
        }
        new = [
            call.id for event in self.select_events_of_type(ThinkEvent) for call in event.tool_calls
        ]
        return [call for call in pending if call not in done] + new

    @property
    def started(self) -> list[str]:
        return [event.tool_call_id for event in self.select_events_of_type(ToolStartEvent)]

    @property
    def completed(self) -> list[str]:
        return [event.tool_call_id for event in self.select_events_of_type(ToolCompleteEvent)]

    @property
    def comparable(self) -> Any:
        """The run without its durations, to compare it between runtimes."""
        executions = [
            attrs.evolve(execution, duration_ms=None)
            for execution in self.state_after.tool_executions
        ]
        return (
            remove_durations(self.events),
            self.result and (self.result.message, self.result.stop_reason, self.result.tool_calls),
            type(self.error),
            str(self.error),
            self.state_after.evolve(tool_executions=executions),
        )


def run_plan_to_end(
    runtime: str, plan: ConversationPlan, bodies: ToolBodies, hooks: list[ScriptedHook]
) -> list[PlannedRun]:
    """Run a planned conversation to its end, and return all of its runs."""
    checkpointer = MemoryCheckpointer()
    agent = make_agent(plan, bodies, hooks, checkpointer=checkpointer)
    runs: list[PlannedRun] = []
    first, *others = plan.runs
    run_plans = [attrs.evolve(first, has_prompt=True), *others]
    while run_plans or not _is_over(runs[-1]):
        assert len(runs) < MAX_RUNS, "the conversation does not end"
        run_plan = run_plans.pop(0) if run_plans else RunPlan()
        state_before = checkpointer.load(THREAD) or AgentState()
        events: list[Any] = []
        result, error = _run_plan(runtime, agent, run_plan, events)
        with checkpointer.claim(THREAD):  # it is unlocked
            state_after = checkpointer.load(THREAD)
        assert state_after is not None
        runs.append(PlannedRun(run_plan, tuple(events), result, error, state_before, state_after))
    return runs


def _is_over(last: PlannedRun) -> bool:
    return last.result is not None and not last.result.stop_reason.startswith("MaxIterations")


def _run_plan(
    runtime: str, agent: Agent, plan: RunPlan, events: list[Any]
) -> tuple[AgentResult | None, BaseException | None]:
    kwargs: dict[str, Any] = {"prompt": "Go."} if plan.has_prompt else {}
    kwargs["thread_id"] = THREAD

    def run_blocking() -> AgentResult | None:
        if plan.result_only:
            return agent.run_sync(**kwargs) if plan.has_prompt else agent.resume_sync(**kwargs)
        run = agent.stream_sync(**kwargs) if plan.has_prompt else agent.resume_stream_sync(**kwargs)
        with run:
            for event in run:
                events.append(event)
                if len(events) == plan.leaves_after:
                    return None
        return run.result

    async def run_async() -> AgentResult | None:
        with anyio.fail_after(HANG_SECONDS):
            if plan.result_only:
                return await (agent.arun(**kwargs) if plan.has_prompt else agent.aresume(**kwargs))
            async with agent.run(**kwargs) if plan.has_prompt else agent.resume(**kwargs) as run:
                async for event in run:
                    events.append(event)
                    if len(events) == plan.leaves_after:
                        return None
            return run.result

    try:
        if runtime == "blocking":
            return run_blocking(), None
        return anyio.run(run_async, backend=runtime), None
    except (Exception, *EXIT_ERRORS) as error:  # noqa: BLE001
        return None, error
