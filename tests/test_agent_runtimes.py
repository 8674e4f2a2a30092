"""One conversation, three runtimes: the same events, the same state, and what always holds."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
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
from locus.core.messages import Role, ToolCall
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.agent_runs import RUNTIMES, Seen, on_all, see, timeless, to_end
from tests.agent_scripts import Body, Plan, make, make_hooks, plans


def _never(n: int) -> Any:
    return tool_call("never", n=n)


@given(plans)
@example(Plan(answers=(_never(1), [_never(1), tool_call("slow", n=2)])))
@example(Plan(answers=([tool_call("once", n=1), tool_call("once", n=1)], tool_call("once", n=1))))
def test_a_conversation_is_the_same_on_every_runtime(plan: Plan) -> None:
    runs = {}
    for runtime in RUNTIMES:
        body, hooks = Body(), make_hooks(plan)
        seen = see(runtime, make(plan, body, hooks), "Go.")
        _holds(plan, seen, body)
        hooks_saw = [hook.seen for hook in hooks]
        runs[runtime] = (
            timeless(seen.events),
            type(seen.error),
            str(seen.error),
            body.runs,
            hooks_saw,
            seen.result and (seen.result.message, seen.result.state.messages),
        )
    assert runs["blocking"] == runs["asyncio"] == runs["trio"]
    _, kind, why, ran, told, came = runs["blocking"]
    for runtime in RUNTIMES:  # and the same without events
        body, hooks = Body(), make_hooks(plan)
        agent = make(plan, body, hooks)
        if came is None:
            with pytest.raises(kind) as raised:
                to_end(runtime, agent, "Go.")
            assert str(raised.value) == why
        else:
            result = to_end(runtime, agent, "Go.")
            assert (result.message, result.state.messages) == came
        assert (body.runs, [hook.seen for hook in hooks]) == (ran, told)


def _holds(plan: Plan, seen: Seen, body: Body) -> None:
    """What is true of every run."""
    last = seen.last  # last, and once
    assert (seen.error is None) == (seen.result is not None)
    assert last.reason.startswith("error: ") == (seen.error is not None)
    starts, ends = seen.of(ToolStartEvent), seen.of(ToolCompleteEvent)
    thoughts = seen.of(ThinkEvent)
    assert [thought.iteration for thought in thoughts] == list(range(1, len(thoughts) + 1))
    assert last.iterations_used == len(thoughts) <= plan.max_iterations
    done = [event.tool_call_id for event in ends]
    begun = [event.tool_call_id for event in starts]
    asked = [call.id for thought in thoughts for call in thought.tool_calls]
    assert done == begun[: len(done)]
    assert begun == asked[: len(begun)]
    for name in ("once", "once_async"):
        retried = any(action == "retry" for _, action, _, _ in plan.hooks)
        assert retried or all(n == 1 for (ran, _), n in body.runs.items() if ran == name)
    if seen.result is None:
        return
    state = seen.result.state
    assert done == begun == asked
    assert last.total_tool_calls == seen.result.tool_calls == len(done)
    assert [execution.tool_call_id for execution in state.tool_executions] == done
    assert all(len(set(ids)) == len(ids) for ids in _ids_by_turn(state.messages))
    _answered_once(state.messages)
    if done:
        results = [message for message in state.messages if message.role is Role.TOOL]
        assert [message.tool_call_id for message in results] == done
    said = [event.usage for event in seen.of(ModelChunkEvent) if event.done]
    total = sum(usage.get("prompt_tokens", 0) for usage in said)
    assert last.usage.get("prompt_tokens", 0) == total == state.usage.get("prompt_tokens", 0)


def _ids_by_turn(messages: Any) -> list[list[str]]:
    return [[call.id for call in message.tool_calls] for message in messages]


def _answered_once(messages: Any) -> None:
    """Behind each answer with calls stand their results, in order, before anything else."""
    expected: list[ToolCall] = []
    for message in messages:
        if message.role is Role.TOOL:
            call = expected.pop(0)
            assert (message.tool_call_id, message.name) == (call.id, call.name)
        else:
            assert not expected
            expected = list(message.tool_calls)
    assert not expected


def test_the_last_event_is_one_of_a_run_that_ends_and_there_is_no_other() -> None:
    for runtime in RUNTIMES:
        seen = see(runtime, make(Plan(answers=()), Body()), "Go.")
        assert [type(event) for event in seen.events[-2:]] == [ThinkEvent, TerminateEvent]
        assert seen.last == attrs.evolve(seen.last, reason="complete", iterations_used=1)


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        StopIteration,
        StopAsyncIteration,
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        ValueError,
    ],
)
def test_what_a_tool_raises_is_answered_alike_on_every_runtime(
    kind: type[BaseException], is_async: bool, calls: int
) -> None:
    def fails() -> None:
        """Fail."""
        raise kind

    async def fails_async() -> None:
        """Fail."""
        raise kind

    failing = tool(fails_async if is_async else fails)
    asks = [tool_call(failing.name, str(n)) for n in range(calls)]

    def agent() -> Agent:
        return Agent(ScriptedModel(asks, "done"), [failing])

    said = {
        runtime: [event.error for event in seen.of(ToolCompleteEvent)] + [seen.last.reason]
        for runtime, seen in on_all(agent, "Go.").items()
    }
    why = kind.__name__
    if issubclass(kind, (asyncio.CancelledError, concurrent.futures.CancelledError)):
        why = "RuntimeError: the tool was cancelled"
    assert said["blocking"] == said["asyncio"] == said["trio"]
    if not is_async or not issubclass(kind, (StopIteration, StopAsyncIteration)):
        assert said["blocking"] == [why] * calls + ["complete"]


@pytest.mark.parametrize("timeout", [1e10, 1e300])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_tool_may_be_given_all_the_time_there_is(is_async: bool, timeout: float) -> None:
    def waits() -> str:
        """Wait."""
        time.sleep(0.01)
        return "waited"

    async def waits_async() -> str:
        """Wait."""
        await anyio.sleep(0.01)
        return "waited"

    waiting = tool(waits_async if is_async else waits)

    def agent() -> Agent:
        return Agent(
            ScriptedModel(tool_call(waiting.name), "done"), [waiting], tool_timeout=timeout
        )

    for seen in on_all(agent, "Go.").values():
        assert [event.result for event in seen.of(ToolCompleteEvent)] == ["waited"]
