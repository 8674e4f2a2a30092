"""One conversation, three runtimes: the same events, the same state, and what always holds."""

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
from tests.agent.interrupted_runs import Lived, live
from tests.agent.random_scripts import (
    Body,
    Hook,
    Leg,
    Plan,
    Stop,
    interrupted_plans,
    make,
    make_hooks,
    plans,
)
from tests.agent.recorded_runs import RUNTIMES, Seen, on_all, see, timeless, to_end

ONCE = ("once", "once_async", "ends_async")
ASYNC = ("awaits", "fails_late", "once_async", "ends_async")


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
    for name in ONCE:
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


# -- interruptions -------------------------------------------------------------------------------

STRUCK = (
    [tool_call("quick", "a", n=1), tool_call("ends", "b", n=0), tool_call("once", "c", n=2)],
    [tool_call("ends_async", "a", n=1), tool_call("once", "b", n=2)],
    ["Let me ", KeyboardInterrupt("the model is gone")],
)
"""Each of these ends the program in the middle."""


@given(interrupted_plans)
@example(Plan(answers=(_never(1),), legs=(Leg(leaves=4), Leg(leaves=2))))
@example(Plan(answers=STRUCK, legs=(Leg(), Leg(quiet=True)), sequential=True))
@example(Plan(answers=STRUCK, legs=(Leg(), Leg(quiet=True)), max_concurrency=1))
@example(Plan(answers=STRUCK, legs=(Leg(), Leg(speaks=True)), max_concurrency=1))
@example(Plan(answers=STRUCK, legs=(Leg(),)))
def test_an_interrupted_conversation_is_the_same_on_every_runtime(plan: Plan) -> None:
    runs = {}
    for runtime in RUNTIMES:
        body, hooks = Body(), make_hooks(plan)
        legs = live(runtime, plan, body, hooks)
        for leg in legs:
            _holds_of_a_leg(plan, leg)
        _holds_of_all_legs(plan, legs, body, hooks)
        saw = [hook.seen for hook in hooks]
        runs[runtime] = [leg.timeless for leg in legs], body.runs, body.ended, saw
    if not struck(plan):
        assert runs["blocking"] == runs["asyncio"] == runs["trio"]


def struck(plan: Plan) -> bool:
    """Whether a tool that ends the program may strike others, whichever are under way then."""
    return plan.asks_for_an_end and not plan.one_by_one


def _holds_of_a_leg(plan: Plan, leg: Lived) -> None:
    """What is true of every run, wherever it is cut off."""
    before, after = leg.before, leg.after
    assert after.messages[: len(before.messages)] == before.messages
    assert {*map(_key, before.tool_executions)} <= {*map(_key, after.tool_executions)}
    last = leg.of(TerminateEvent)
    told = leg.error is None or isinstance(leg.error, Exception)
    assert leg.result is None or leg.error is None
    if leg.leg.quiet:
        assert leg.left or (leg.result is None) == (leg.error is not None)
        return
    if not leg.left:
        assert len(last) == told  # nobody listens to what ends the program
        assert (leg.result is None) == (leg.error is not None)
    assert last == list(leg.events[len(leg.events) - len(last) :])
    thoughts = [event.iteration for event in leg.of(ThinkEvent)]
    assert thoughts == list(range(before.iteration + 1, after.iteration + 1))
    assert len(thoughts) <= plan.max_iterations
    assert leg.started == leg.asked[: len(leg.started)]
    assert leg.completed == leg.started[: len(leg.completed)]
    for event in last:
        failed = event.reason.startswith("error: ")
        assert leg.left or failed == (leg.error is not None)
        assert event.iterations_used == len(thoughts)
        if not failed:
            assert leg.completed == leg.asked
            assert event.total_tool_calls == len(leg.completed)
    if leg.result is not None:
        assert (leg.result.state, leg.result.tool_calls) == (after, len(leg.completed))


def _key(execution: ToolExecution) -> tuple[int, str]:
    return execution.iteration, execution.tool_call_id


def _holds_of_all_legs(plan: Plan, legs: list[Lived], body: Body, hooks: list[Hook]) -> None:
    """What is true of a conversation that has come to its end, however often it was cut off."""
    state = legs[-1].after
    for earlier, later in pairwise(legs):
        assert earlier.after == later.before
    for hook in hooks:
        told = [word.split()[0] for word in hook.seen if word.startswith(("begin", "end"))]
        assert told == ["begin", "end"] * len(legs)
    _answered_once(state.messages)
    _answered_by_what_ran(state)
    completed = Counter((n, call) for n, leg in enumerate(legs) for call in leg.completed)
    assert completed.total() <= len(state.tool_executions)
    if any(action == "retry" for _, action, _, _ in plan.hooks):
        return
    # What has come to its end is recorded, and what is recorded is not run again.
    recorded = Counter(
        (execution.tool_name, execution.arguments["n"])
        for execution in state.tool_executions
        if execution.duration_ms is not None and execution.tool_name != "never"
    )
    assert recorded.keys() <= body.ended.keys()
    for what, times in body.ended.items():
        name, _ = what
        if struck(plan) and name in ASYNC:  # it is cancelled, and may just have come to its end
            assert times >= recorded[what]
        else:
            assert times == recorded[what]
            assert times == 1 or name not in ONCE


def _answered_by_what_ran(state: AgentState) -> None:
    """Each call's result is what was recorded of it; or it was given up, with all after it."""
    assert len({*map(_key, state.tool_executions)}) == len(state.tool_executions)
    executions = deque(state.tool_executions)
    for message in state.messages:
        if message.role is not Role.TOOL:
            continue
        if message.text.startswith("Error: not run: the conversation was interrupted"):
            continue
        ran = executions.popleft()
        assert message.tool_call_id == ran.tool_call_id
        result = ToolResult(ran.tool_call_id, message.name or "", ran.result or "", ran.error)
        assert message == Message.tool(result)
    assert not executions


class Slow:
    """A hook that takes its time, in which other tools come to their ends."""

    def on_after_tool_call(self, event: Any) -> None:
        time.sleep(0.1)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_async_tool_that_ended_just_after_another_ended_the_program_is_not_run_again(
    runtime: str,
) -> None:
    ended: list[str] = []

    @tool
    def quick() -> str:
        """Answer at once."""
        return "quick"

    @tool
    def ends() -> str:
        """End the program, once."""
        time.sleep(0.01)
        ended.append("ends")
        if ended.count("ends") == 1:
            raise KeyboardInterrupt
        return "not again"

    @tool
    async def pays() -> str:
        """Pay."""
        await anyio.sleep(0.03)
        ended.append("pays")
        return "paid"

    agent = Agent(
        ScriptedModel([tool_call(name) for name in ("quick", "ends", "pays")], "done"),
        [quick, ends, pays],
        hooks=[Slow()],
        checkpointer=MemoryCheckpointer(),
    )
    with pytest.raises(KeyboardInterrupt):
        to_end(runtime, agent, "Go.", "t")
    assert to_end(runtime, agent, resume=True, thread_id="t").message == "done"
    assert ended.count("pays") == 1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_two_tools_that_end_the_program_do_not_keep_a_third_from_being_recorded(
    runtime: str,
) -> None:
    all_begun = threading.Barrier(3)

    @tool
    def ends(n: int) -> None:
        """End the program."""
        all_begun.wait(5)
        raise KeyboardInterrupt

    @tool
    def slow() -> str:
        """Take a moment."""
        all_begun.wait(5)
        time.sleep(0.05)
        return "slow"

    checkpointer = MemoryCheckpointer()
    asks = [tool_call("ends", n=1), tool_call("ends", n=2), tool_call("slow")]
    agent = Agent(ScriptedModel(asks), [ends, slow], checkpointer=checkpointer)
    with pytest.raises(KeyboardInterrupt):
        to_end(runtime, agent, "Go.", "t")
    state = checkpointer.load("t")
    assert state is not None
    assert [execution.tool_name for execution in state.tool_executions] == ["slow"]


@pytest.mark.parametrize("kind", [GeneratorExit, SystemExit, Stop])
@pytest.mark.parametrize("calls", [1, 2])
def test_nothing_that_an_async_tool_raises_ends_the_loop_of_blocking_runs(
    kind: type[BaseException], calls: int
) -> None:
    @tool
    async def ends() -> None:
        """End."""
        raise kind

    @tool
    async def where() -> str:
        """Tell which thread this is."""
        return str(threading.get_ident())

    def loop() -> str | None:
        result = Agent(ScriptedModel(tool_call("where"), "done"), [where]).run_sync("Go.")
        return result.state.tool_executions[0].result

    before = loop()
    agent = Agent(ScriptedModel([tool_call("ends")] * calls, "done"), [ends])
    if kind is GeneratorExit:
        assert agent.run_sync("Go.").message == "done"
    else:
        with pytest.raises(kind):
            agent.run_sync("Go.")
    assert loop() == before


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
