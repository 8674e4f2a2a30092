"""One conversation, three runtimes: the same events, the same state, and what always holds."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import example, given

from locus.core.events import (
    ModelChunkEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from locus.core.messages import Role, ToolCall
from locus.testing import tool_call
from tests.agent_runs import RUNTIMES, Seen, see, timeless, to_end
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
