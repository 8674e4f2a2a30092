"""Random conversations: the same events and state on every runtime, and rules for every run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections import Counter, deque
from itertools import pairwise
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import example, given

from locus.agent import Agent
from locus.core.events import (
    ModelChunkEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from locus.core.messages import Message, Role, ToolCall, ToolResult
from locus.core.state import AgentState, ToolExecution
from locus.memory import MemoryCheckpointer
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.agent.interrupted_runs import PlannedRun, run_plan_to_end
from tests.agent.random_scripts import (
    ConversationPlan,
    CustomExit,
    RunPlan,
    ScriptedHook,
    ToolBodies,
    conversation_plans,
    interrupted_plans,
    make_agent,
    make_hooks,
)
from tests.agent.recorded_runs import (
    RUNTIMES,
    RecordedRun,
    record_on_all_runtimes,
    record_run,
    remove_durations,
    run_to_end,
)
from tests.support.timing import HANG_SECONDS

IDEMPOTENT_TOOLS = ("once", "once_async", "ends_async")
ASYNC_TOOLS = ("awaits", "fails_late", "once_async", "ends_async")


def _call_never(n: int) -> Any:
    return tool_call("never", n=n)


@given(conversation_plans)
@example(ConversationPlan(responses=(_call_never(1), [_call_never(1), tool_call("slow", n=2)])))
@example(
    ConversationPlan(
        responses=([tool_call("once", n=1), tool_call("once", n=1)], tool_call("once", n=1))
    )
)
def test_a_conversation_is_the_same_on_every_runtime(plan: ConversationPlan) -> None:
    runs = {}
    for runtime in RUNTIMES:
        bodies, hooks = ToolBodies(), make_hooks(plan)
        recorded = record_run(runtime, make_agent(plan, bodies, hooks), "Go.")
        _check_run(plan, recorded, bodies)
        hook_logs = [hook.log for hook in hooks]
        runs[runtime] = (
            remove_durations(recorded.events),
            type(recorded.error),
            str(recorded.error),
            bodies.started,
            hook_logs,
            recorded.result and (recorded.result.message, recorded.result.state.messages),
        )
    assert runs["blocking"] == runs["asyncio"] == runs["trio"]
    _, error_type, error_message, started, logs, outcome = runs["blocking"]
    for runtime in RUNTIMES:  # and the same without events
        bodies, hooks = ToolBodies(), make_hooks(plan)
        agent = make_agent(plan, bodies, hooks)
        if outcome is None:
            with pytest.raises(error_type) as exc_info:
                run_to_end(runtime, agent, "Go.")
            assert str(exc_info.value) == error_message
        else:
            result = run_to_end(runtime, agent, "Go.")
            assert (result.message, result.state.messages) == outcome
        assert (bodies.started, [hook.log for hook in hooks]) == (started, logs)


def _check_run(plan: ConversationPlan, recorded: RecordedRun, bodies: ToolBodies) -> None:
    """Check the rules for every run."""
    terminate_event = recorded.terminate_event  # last, and once
    assert (recorded.error is None) == (recorded.result is not None)
    assert terminate_event.reason.startswith("error: ") == (recorded.error is not None)
    start_events, complete_events = (
        recorded.select_events_of_type(ToolStartEvent),
        recorded.select_events_of_type(ToolCompleteEvent),
    )
    think_events = recorded.select_events_of_type(ThinkEvent)
    assert [think_event.iteration for think_event in think_events] == list(
        range(1, len(think_events) + 1)
    )
    assert terminate_event.iterations_used == len(think_events) <= plan.max_iterations
    completed_ids = [event.tool_call_id for event in complete_events]
    started_ids = [event.tool_call_id for event in start_events]
    called_ids = [call.id for think_event in think_events for call in think_event.tool_calls]
    assert completed_ids == started_ids[: len(completed_ids)]
    assert started_ids == called_ids[: len(started_ids)]
    for name in IDEMPOTENT_TOOLS:
        retried = any(action == "retry" for _, action, _, _ in plan.hooks)
        assert retried or all(
            n == 1 for (tool_name, _), n in bodies.started.items() if tool_name == name
        )
    if recorded.result is None:
        return
    state = recorded.result.state
    assert completed_ids == started_ids == called_ids
    assert terminate_event.total_tool_calls == recorded.result.tool_calls == len(completed_ids)
    assert [execution.tool_call_id for execution in state.tool_executions] == completed_ids
    assert all(len(set(ids)) == len(ids) for ids in _get_ids_by_message(state.messages))
    _check_results_follow_calls(state.messages)
    if completed_ids:
        results = [message for message in state.messages if message.role is Role.TOOL]
        assert [message.tool_call_id for message in results] == completed_ids
    usages = [
        event.usage for event in recorded.select_events_of_type(ModelChunkEvent) if event.done
    ]
    total = sum(usage.get("prompt_tokens", 0) for usage in usages)
    assert (
        terminate_event.usage.get("prompt_tokens", 0)
        == total
        == state.usage.get("prompt_tokens", 0)
    )


def _get_ids_by_message(messages: Any) -> list[list[str]]:
    return [[call.id for call in message.tool_calls] for message in messages]


def _check_results_follow_calls(messages: Any) -> None:
    """Check that each message with calls is followed by their results, in order."""
    expected: list[ToolCall] = []
    for message in messages:
        if message.role is Role.TOOL:
            call = expected.pop(0)
            assert (message.tool_call_id, message.name) == (call.id, call.name)
        else:
            assert not expected
            expected = list(message.tool_calls)
    assert not expected


# -- interruptions -------------------------------------------------------------------------------

EXITING_RESPONSES = (
    [tool_call("quick", "a", n=1), tool_call("ends", "b", n=0), tool_call("once", "c", n=2)],
    [tool_call("ends_async", "a", n=1), tool_call("once", "b", n=2)],
    ["Let me ", KeyboardInterrupt("the model is gone")],
)
"""Each of these ends the program in the middle of a run."""


@given(interrupted_plans)
@example(
    ConversationPlan(
        responses=(_call_never(1),), runs=(RunPlan(leaves_after=4), RunPlan(leaves_after=2))
    )
)
@example(
    ConversationPlan(
        responses=EXITING_RESPONSES, runs=(RunPlan(), RunPlan(result_only=True)), sequential=True
    )
)
@example(
    ConversationPlan(
        responses=EXITING_RESPONSES, runs=(RunPlan(), RunPlan(result_only=True)), max_concurrency=1
    )
)
@example(
    ConversationPlan(
        responses=EXITING_RESPONSES, runs=(RunPlan(), RunPlan(has_prompt=True)), max_concurrency=1
    )
)
@example(ConversationPlan(responses=EXITING_RESPONSES, runs=(RunPlan(),)))
def test_an_interrupted_conversation_is_the_same_on_every_runtime(plan: ConversationPlan) -> None:
    runs = {}
    for runtime in RUNTIMES:
        bodies, hooks = ToolBodies(), make_hooks(plan)
        runs_of_plan = run_plan_to_end(runtime, plan, bodies, hooks)
        for run in runs_of_plan:
            _check_planned_run(plan, run)
        _check_all_runs(plan, runs_of_plan, bodies, hooks)
        hook_logs = [hook.log for hook in hooks]
        runs[runtime] = (
            [run.comparable for run in runs_of_plan],
            bodies.started,
            bodies.finished,
            hook_logs,
        )
    if not can_exit_stop_other_tools(plan):
        assert runs["blocking"] == runs["asyncio"] == runs["trio"]


def can_exit_stop_other_tools(plan: ConversationPlan) -> bool:
    """Whether a tool that ends the program may stop other tools that are running then."""
    return plan.has_exiting_tool and not plan.is_sequential


def _check_planned_run(plan: ConversationPlan, run: PlannedRun) -> None:
    """Check the rules for every planned run, wherever it is interrupted."""
    state_before, state_after = run.state_before, run.state_after
    assert state_after.messages[: len(state_before.messages)] == state_before.messages
    assert {*map(_get_execution_key, state_before.tool_executions)} <= {
        *map(_get_execution_key, state_after.tool_executions)
    }
    terminate_events = run.select_events_of_type(TerminateEvent)
    is_reported = run.error is None or isinstance(run.error, Exception)
    assert run.result is None or run.error is None
    if run.plan.result_only:
        assert run.was_left or (run.result is None) == (run.error is not None)
        return
    if not run.was_left:
        assert len(terminate_events) == is_reported  # no event for an error that ends the program
        assert (run.result is None) == (run.error is not None)
    assert terminate_events == list(run.events[len(run.events) - len(terminate_events) :])
    iterations = [event.iteration for event in run.select_events_of_type(ThinkEvent)]
    assert iterations == list(range(state_before.iteration + 1, state_after.iteration + 1))
    assert len(iterations) <= plan.max_iterations
    assert run.started == run.expected_calls[: len(run.started)]
    assert run.completed == run.started[: len(run.completed)]
    for event in terminate_events:
        failed = event.reason.startswith("error: ")
        assert run.was_left or failed == (run.error is not None)
        assert event.iterations_used == len(iterations)
        if not failed:
            assert run.completed == run.expected_calls
            assert event.total_tool_calls == len(run.completed)
    if run.result is not None:
        assert (run.result.state, run.result.tool_calls) == (state_after, len(run.completed))


def _get_execution_key(execution: ToolExecution) -> tuple[int, str]:
    return execution.iteration, execution.tool_call_id


def _check_all_runs(
    plan: ConversationPlan, runs: list[PlannedRun], bodies: ToolBodies, hooks: list[ScriptedHook]
) -> None:
    """Check the rules for a conversation that has ended, however often it was interrupted."""
    state = runs[-1].state_after
    for earlier, later in pairwise(runs):
        assert earlier.state_after == later.state_before
    for hook in hooks:
        entries = [word.split()[0] for word in hook.log if word.startswith(("begin", "end"))]
        assert entries == ["begin", "end"] * len(runs)
    _check_results_follow_calls(state.messages)
    _check_results_match_executions(state)
    completed = Counter((n, call) for n, run in enumerate(runs) for call in run.completed)
    assert completed.total() <= len(state.tool_executions)
    if any(action == "retry" for _, action, _, _ in plan.hooks):
        return
    # Calls that were finished are recorded, and those that are recorded are not run again.
    recorded = Counter(
        (execution.tool_name, execution.arguments["n"])
        for execution in state.tool_executions
        if execution.duration_ms is not None and execution.tool_name != "never"
    )
    assert recorded.keys() <= bodies.finished.keys()
    for call, times in bodies.finished.items():
        name, _ = call
        if can_exit_stop_other_tools(plan) and name in ASYNC_TOOLS:
            # It may have finished just before it was cancelled.
            assert times >= recorded[call]
        else:
            assert times == recorded[call]
            assert times == 1 or name not in IDEMPOTENT_TOOLS


def _check_results_match_executions(state: AgentState) -> None:
    """Check that each result is that of the recorded execution, or says that it was not run."""
    assert len({*map(_get_execution_key, state.tool_executions)}) == len(state.tool_executions)
    executions = deque(state.tool_executions)
    for message in state.messages:
        if message.role is not Role.TOOL:
            continue
        if message.text.startswith(
            "Error: no result: the conversation was interrupted before the call was done"
        ):
            continue
        execution = executions.popleft()
        assert message.tool_call_id == execution.tool_call_id
        result = ToolResult(
            execution.tool_call_id, message.name or "", execution.result or "", execution.error
        )
        assert message == Message.tool(result)
    assert not executions


class SlowHook:
    """A slow hook; other tools finish meanwhile."""

    def on_after_tool_call(self, event: Any) -> None:
        time.sleep(0.1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_async_tool_that_finished_after_another_ended_the_program_is_not_run_again(
    runtime: str,
) -> None:
    finished: list[str] = []

    @tool
    def quick() -> str:
        """Answer at once."""
        return "quick"

    @tool
    def exits() -> str:
        """End the program, once."""
        time.sleep(0.01)
        finished.append("exits")
        if finished.count("exits") == 1:
            raise KeyboardInterrupt
        return "not again"

    @tool
    async def pays() -> str:
        """Pay."""
        await anyio.sleep(0.03)
        finished.append("pays")
        return "paid"

    agent = Agent(
        ScriptedModel([tool_call(name) for name in ("quick", "exits", "pays")], "done"),
        [quick, exits, pays],
        hooks=[SlowHook()],
        checkpointer=MemoryCheckpointer(),
    )
    with pytest.raises(KeyboardInterrupt):
        run_to_end(runtime, agent, "Go.", "t")
    assert run_to_end(runtime, agent, resume=True, thread_id="t").message == "done"
    assert finished.count("pays") == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_third_tool_is_recorded_after_two_that_end_the_program(
    runtime: str,
) -> None:
    all_started = threading.Barrier(3)

    @tool
    def exits(n: int) -> None:
        """End the program."""
        all_started.wait(HANG_SECONDS)
        raise KeyboardInterrupt

    @tool
    def slow() -> str:
        """Take a short time."""
        all_started.wait(HANG_SECONDS)
        time.sleep(0.05)
        return "slow"

    checkpointer = MemoryCheckpointer()
    calls = [tool_call("exits", n=1), tool_call("exits", n=2), tool_call("slow")]
    agent = Agent(ScriptedModel(calls), [exits, slow], checkpointer=checkpointer)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(runtime, agent, "Go.", "t")
    state = checkpointer.load("t")
    assert state is not None
    assert [execution.tool_name for execution in state.tool_executions] == ["slow"]


@pytest.mark.parametrize("error_type", [GeneratorExit, SystemExit, CustomExit])
@pytest.mark.parametrize("calls", [1, 2])
def test_no_error_of_an_async_tool_ends_the_background_loop(
    error_type: type[BaseException], calls: int
) -> None:
    @tool
    async def raises() -> None:
        """End."""
        raise error_type

    @tool
    async def get_thread() -> str:
        """Return the id of the thread."""
        return str(threading.get_ident())

    def get_loop_thread() -> str | None:
        result = Agent(ScriptedModel(tool_call("get_thread"), "done"), [get_thread]).run_sync("Go.")
        return result.state.tool_executions[0].result

    thread_before = get_loop_thread()
    agent = Agent(ScriptedModel([tool_call("raises")] * calls, "done"), [raises])
    if error_type in (GeneratorExit, SystemExit):
        assert agent.run_sync("Go.").message == "done"
    else:
        with pytest.raises(error_type):
            agent.run_sync("Go.")
    assert get_loop_thread() == thread_before


def test_the_last_event_of_every_run_is_one_terminate_event() -> None:
    for runtime in RUNTIMES:
        recorded = record_run(
            runtime, make_agent(ConversationPlan(responses=()), ToolBodies()), "Go."
        )
        assert [type(event) for event in recorded.events[-2:]] == [ThinkEvent, TerminateEvent]
        assert recorded.terminate_event == attrs.evolve(
            recorded.terminate_event, reason="complete", iterations_used=1
        )


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    "error_type",
    [
        StopIteration,
        StopAsyncIteration,
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        ValueError,
    ],
)
def test_an_error_of_a_tool_is_the_same_on_every_runtime(
    error_type: type[BaseException], is_async: bool, calls: int
) -> None:
    def fails() -> None:
        """Fail."""
        raise error_type

    async def fails_async() -> None:
        """Fail."""
        raise error_type

    failing = tool(fails_async if is_async else fails)
    model_calls = [tool_call(failing.name, str(n)) for n in range(calls)]

    def make_agent() -> Agent:
        return Agent(ScriptedModel(model_calls, "done"), [failing])

    outcomes = {
        runtime: [event.error for event in recorded.select_events_of_type(ToolCompleteEvent)]
        + [recorded.terminate_event.reason]
        for runtime, recorded in record_on_all_runtimes(make_agent, "Go.").items()
    }
    error = error_type.__name__
    if issubclass(error_type, (asyncio.CancelledError, concurrent.futures.CancelledError)):
        error = "RuntimeError: the tool was cancelled"
    assert outcomes["blocking"] == outcomes["asyncio"] == outcomes["trio"]
    if not is_async or not issubclass(error_type, (StopIteration, StopAsyncIteration)):
        assert outcomes["blocking"] == [error] * calls + ["complete"]


@pytest.mark.parametrize("timeout", [1e10, 1e300])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_timeout_may_be_very_long(is_async: bool, timeout: float) -> None:
    def waits() -> str:
        """Wait."""
        time.sleep(0.01)
        return "waited"

    async def waits_async() -> str:
        """Wait."""
        await anyio.sleep(0.01)
        return "waited"

    waiting = tool(waits_async if is_async else waits)

    def make_agent_with_timeout() -> Agent:
        return Agent(
            ScriptedModel(tool_call(waiting.name), "done"), [waiting], tool_timeout=timeout
        )

    for recorded in record_on_all_runtimes(make_agent_with_timeout, "Go.").values():
        assert [event.result for event in recorded.select_events_of_type(ToolCompleteEvent)] == [
            "waited"
        ]
