"""Hooks: when each method is called, in which order, and what it may change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from locus.agent import Agent
from locus.core.errors import ConfigurationError
from locus.core.events import TerminateEvent, ToolCompleteEvent, ToolStartEvent
from locus.core.messages import Message, Role, ToolCall
from locus.core.response import ModelResponse
from locus.hooks import (
    AfterInvocationEvent,
    AfterToolCallEvent,
    BeforeToolCallEvent,
    HookPriority,
    HookProvider,
)
from locus.memory import MemoryCheckpointer
from locus.testing import ScriptedModel, text, tool_call
from locus.tools import ToolContext, tool
from tests.agent.recorded_runs import record_run, run_to_end
from tests.support.chat_replies import build_reply
from tests.support.servers.openai_server import make_model


def make_nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


@tool
def fails() -> None:
    """Fail."""
    raise ValueError("not good")


class RecordingHook:
    """Records its calls; not a subclass of HookProvider."""

    def __init__(self, log: list[Any], name: str = "", priority: int | None = None) -> None:
        self.log, self.name = log, name
        if priority is not None:
            self.priority = priority

    def on_before_invocation(self, event: Any) -> None:
        self.log.append((self.name, "begin", [m.text for m in event.messages]))

    async def on_after_invocation(self, event: AfterInvocationEvent) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append((self.name, "end", event.reason, event.success))

    async def on_before_model_call(self, event: Any) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append((self.name, "ask", len(event.messages), event.iteration))

    def on_after_model_call(self, event: Any) -> None:
        self.log.append((self.name, "answered", event.response.content))

    def on_before_tool_call(self, event: Any) -> None:
        self.log.append((self.name, "before", event.tool_name, dict(event.arguments)))

    def on_after_tool_call(self, event: Any) -> None:
        self.log.append((self.name, "after", event.tool_name, event.result, event.error))


def test_every_method_is_called_at_its_step(runtime_name: str) -> None:
    log: list[Any] = []
    model = ScriptedModel([tool_call("double", n=2), tool_call("fails")], "Four.")
    run_to_end(runtime_name, Agent(model, [double, fails], hooks=[RecordingHook(log)]), "Go.")
    steps = [entry[1:] for entry in log]
    assert steps[:5] == [
        ("begin", ["Go."]),
        ("ask", 1, 1),
        ("answered", ""),
        ("before", "double", {"n": 2}),
        ("before", "fails", {}),
    ]
    assert sorted(steps[5:7], key=str) == [
        ("after", "double", "4", None),
        ("after", "fails", None, "ValueError: not good"),
    ]
    assert steps[7:] == [("ask", 4, 2), ("answered", "Four."), ("end", "complete", True)]


def test_hooks_are_called_by_priority_and_then_in_the_order_of_the_argument(
    runtime_name: str,
) -> None:
    log: list[Any] = []
    hooks = [
        RecordingHook(log, "d"),
        RecordingHook(log, "c", HookPriority.BUSINESS_DEFAULT),
        RecordingHook(log, "e"),
        RecordingHook(log, "a", -1),
        RecordingHook(log, "b", HookPriority.SECURITY_DEFAULT),
    ]
    model = ScriptedModel(tool_call("double", n=2), "Four.")
    run_to_end(runtime_name, Agent(model, [double], hooks=hooks), "Go.")
    for step in ("begin", "ask", "answered", "before", "after", "end"):
        names = "".join(name for name, step_name, *_ in log if step_name == step)
        assert names in ("abcde", "abcde" * 2)


def test_a_hook_changes_arguments_but_not_the_call_in_the_conversation(runtime_name: str) -> None:
    class AddTen(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            if event.malformed_arguments == '{"n": ':
                event.malformed_arguments = None
            event.arguments = {"n": event.arguments.get("n", 0) + 10}

    malformed = ToolCall("b", "double", malformed_arguments='{"n": ')
    message = Message.assistant(None, [ToolCall("a", "double", {"n": 1}), malformed])
    model = ScriptedModel(message, "Yes.")
    recorded = record_run(runtime_name, Agent(model, [double], hooks=[AddTen()]), "Go.")
    assert [event.arguments for event in recorded.select_events_of_type(ToolStartEvent)] == [
        {"n": 11},
        {"n": 10},
    ]
    assert [event.result for event in recorded.select_events_of_type(ToolCompleteEvent)] == [
        "22",
        "20",
    ]
    assert recorded.result is not None
    assert recorded.result.state.messages[1].tool_calls[0].arguments == {"n": 1}
    assert recorded.result.state.tool_executions[0].arguments == {"n": 11}


def test_a_hook_that_adds_an_argument_does_not_repair_a_call(runtime_name: str) -> None:
    runs: list[str] = []

    @tool
    def delete(tenant: str, path: str = "/everything") -> None:
        """Delete."""
        runs.append(path)

    class AddTenant(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            seen.append((event.malformed_arguments, event.cut_off))
            event.arguments = {**event.arguments, "tenant": "acme"}
            event.cut_off = event.cut_off and "path" not in event.arguments

    seen: list[Any] = []
    malformed = ToolCall("a", "delete", malformed_arguments='{"path": "/tmp/on')
    cut_off = [ToolCall("b", "delete", {}), ToolCall("c", "delete", {"path": "/tmp/one"})]
    messages = [Message.assistant(None, [call]) for call in (malformed, *cut_off)]
    responses = [
        ModelResponse(messages[0]),
        *(ModelResponse(message, stop_reason="length") for message in messages[1:]),
    ]
    result = run_to_end(
        runtime_name, Agent(ScriptedModel(*responses, "Yes."), [delete], hooks=[AddTenant()]), "Go."
    )
    assert seen == [('{"path": "/tmp/on', False), (None, True), (None, True)]
    assert runs == ["/tmp/one"]
    first, second, third = (execution.error or "" for execution in result.state.tool_executions)
    assert '{"path": "/tmp/on' in first
    assert "cut off at its token limit" in second
    assert third == ""


@pytest.mark.parametrize("blank", ["", " \n"])
def test_blank_arguments_are_none_and_a_hook_may_add_some(runtime_name: str, blank: str) -> None:
    class AddTenant(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            assert event.malformed_arguments is None
            event.arguments = {**event.arguments, "tenant": "mine"}

    @tool
    def search(tenant: str = "all") -> str:
        """Search."""
        return tenant

    message = Message.assistant(None, [ToolCall("a", "search", malformed_arguments=blank)])
    result = run_to_end(
        runtime_name, Agent(ScriptedModel(message, "Yes."), [search], hooks=[AddTenant()]), "Go."
    )
    assert [execution.result for execution in result.state.tool_executions] == ["mine"]


def test_a_hook_may_mark_a_call_as_malformed_or_repair_one_that_was_cut_off(
    runtime_name: str,
) -> None:
    class ChangeCalls(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            event.arguments = {"n": 9}
            event.malformed_arguments = None if event.cut_off else "{oops"

    complete = Message.assistant(None, [ToolCall("a", "double", {"n": 1})])
    cut_off = Message.assistant(None, [ToolCall("b", "double", malformed_arguments='{"n": ')])
    model = ScriptedModel(complete, ModelResponse(cut_off, stop_reason="length"), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [double], hooks=[ChangeCalls()]), "Go.")
    rejected, executed = result.state.tool_executions
    assert "{oops" in (rejected.error or "")
    assert (rejected.arguments, executed.arguments, executed.result) == ({}, {"n": 9}, "18")


@pytest.mark.parametrize(
    ("arguments", "error_type", "error_message"),
    [
        ({"n": datetime(2026, 1, 1)}, TypeError, "arguments are JSON: datetime is not JSON"),
        ({"n": object()}, TypeError, "object is not JSON"),
        ({1: 2}, TypeError, "must be text, not 1"),
        ({"n": make_nested(200)}, ConfigurationError, "more than 100 levels"),
        (7, TypeError, "must be a mapping, not int"),
    ],
)
def test_arguments_that_cannot_be_saved_are_an_error_before_the_tool_runs(
    runtime_name: str, arguments: Any, error_type: type[Exception], error_message: str
) -> None:
    class AssignArguments(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            event.arguments = arguments

    runs: list[int] = []

    @tool(idempotent=True)
    def counts(n: Any = None) -> None:
        """Count."""
        runs.append(1)

    agent = Agent(ScriptedModel(tool_call("counts")), [counts], hooks=[AssignArguments()])
    with pytest.raises(error_type, match=error_message):
        run_to_end(runtime_name, agent.copy(checkpointer=MemoryCheckpointer()), "Go.", "t")
    assert runs == []


@pytest.mark.parametrize(("cancel", "reason"), [("not today", "not today"), (True, "no re")])
def test_a_hook_cancels_a_call_with_a_reason_that_the_model_reads(
    runtime_name: str, cancel: Any, reason: str
) -> None:
    class CancelCalls(HookProvider):
        async def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            event.cancel = cancel

    runs: list[int] = []

    @tool
    def counts() -> None:
        """Count."""
        runs.append(1)

    model = ScriptedModel(tool_call("counts"), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [counts], hooks=[CancelCalls()]), "Go.")
    assert runs == []
    (result_text,) = [
        message.text for message in result.state.messages if message.role is Role.TOOL
    ]
    assert result_text.startswith(f"Error: the call was cancelled: {reason}")


@pytest.mark.parametrize(
    ("assigned", "result_text"), [("hidden", "hidden"), ({"a": [1]}, '{"a":[1]}'), (7, "7")]
)
def test_a_hook_replaces_results_and_errors(
    runtime_name: str, assigned: Any, result_text: str
) -> None:
    class ReplaceResults(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.result = assigned

    model = ScriptedModel([tool_call("double", n=1), tool_call("fails")], "Yes.")
    recorded = record_run(
        runtime_name, Agent(model, [double, fails], hooks=[ReplaceResults()]), "Go."
    )
    assert [(e.result, e.error) for e in recorded.select_events_of_type(ToolCompleteEvent)] == [
        (result_text, None)
    ] * 2


def test_a_hook_retries_a_call_three_times_at_most(runtime_name: str) -> None:
    runs: list[int] = []

    @tool
    def flaky() -> int:
        """Fail at first."""
        runs.append(1)
        if len(runs) < 3:
            raise OSError("try again")
        return len(runs)

    class RetryAfterError(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.retry = event.error is not None

    class AlwaysRetry(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.retry = True

    agent = Agent(
        ScriptedModel(tool_call("flaky"), "Yes.", cycle=True), [flaky], hooks=[RetryAfterError()]
    )
    result = run_to_end(runtime_name, agent, "Go.")
    assert [(e.result, e.error) for e in result.state.tool_executions] == [("3", None)]
    runs.clear()
    run_to_end(runtime_name, agent.copy(hooks=[AlwaysRetry()]), "Go.")
    assert len(runs) == 4


@pytest.mark.parametrize("method", [
    "on_before_invocation", "on_before_model_call", "on_after_model_call", "on_before_tool_call",
    "on_after_tool_call", "on_after_invocation",
])  # fmt: skip
@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_in_a_hook_ends_the_run_with_that_error(
    runtime_name: str, method: str, is_async: bool
) -> None:
    def fail(event: Any) -> None:
        raise LookupError("the hook is broken")

    async def fail_async(event: Any) -> None:
        await anyio.lowlevel.checkpoint()
        fail(event)

    failing_hook = type("Broken", (), {method: staticmethod(fail_async if is_async else fail)})()
    log: list[Any] = []
    checkpointer = MemoryCheckpointer()
    model = ScriptedModel([tool_call("double", n=1), tool_call("double", n=2)], "Yes.")
    agent = Agent(
        model, [double], hooks=[failing_hook, RecordingHook(log)], checkpointer=checkpointer
    )
    recorded = record_run(runtime_name, agent, "Go.", "t")
    assert isinstance(recorded.error, LookupError)
    assert recorded.terminate_event.reason == "error: LookupError: the hook is broken"
    assert [entry[1] for entry in log].count("end") == 1  # the other hooks are called all the same
    with checkpointer.claim("t"):  # the thread is unlocked
        pass


def test_the_end_event_has_the_error_and_the_state(runtime_name: str) -> None:
    end_events: list[AfterInvocationEvent] = []

    class RecordEnds(HookProvider):
        def on_after_invocation(self, event: AfterInvocationEvent) -> None:
            end_events.append(event)

    agent = Agent(
        ScriptedModel(tool_call("double", n=1), OSError("gone")), [double], hooks=[RecordEnds()]
    )
    record_run(runtime_name, agent, "Go.", "t", metadata={"user": "ada"})
    (end_event,) = end_events
    assert isinstance(end_event.error, OSError)
    assert not end_event.success
    assert (end_event.reason, end_event.thread_id, end_event.metadata) == (
        "error: OSError: gone",
        "t",
        {"user": "ada"},
    )
    assert len(end_event.state.messages) == 3


def test_hooks_can_assign_only_writable_fields() -> None:
    event = BeforeToolCallEvent(tool_name="t", tool_call_id="1")
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        event.tool_name = "u"
    with pytest.raises(TypeError, match="mapping"):
        event.arguments = [1]  # type: ignore[assignment]
    with pytest.raises(TypeError, match="cancel"):
        event.cancel = 3  # type: ignore[assignment]
    after_event = AfterToolCallEvent(tool_name="t", tool_call_id="1")
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        after_event.error = "none"
    with pytest.raises(TypeError):
        after_event.retry = 3  # type: ignore[assignment]


def test_hooks_are_never_called_two_at_a_time(runtime_name: str) -> None:
    running: list[str] = []
    maximum = 0

    class SlowHook(HookProvider):
        async def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            nonlocal maximum
            running.append(event.tool_call_id)
            maximum = max(maximum, len(running))
            await anyio.sleep(0.005)
            running.remove(event.tool_call_id)

    model = ScriptedModel([tool_call("double", n=n) for n in range(5)], "Yes.")
    run_to_end(runtime_name, Agent(model, [double], hooks=[SlowHook(), SlowHook()]), "Go.")
    assert maximum == 1


def test_model_hooks_see_the_request_as_the_provider_gets_it(
    runtime_name: str, server: Any
) -> None:
    import msgspec

    server.enqueue(build_reply("Yes."))
    bodies: list[Any] = []

    class RecordBodies(HookProvider):
        def on_before_model_call(self, event: Any) -> None:
            bodies.append(event.request)

    agent = Agent(make_model(server), [double], "Be brief.", hooks=[RecordBodies()], stream=False)
    if runtime_name == "blocking":
        agent.run_sync("Go.")
        agent.model.close_sync()  # type: ignore[union-attr]
    else:

        async def main() -> None:
            await agent.arun("Go.")
            await agent.model.aclose()  # type: ignore[union-attr]

        anyio.run(main, backend=runtime_name)
    assert bodies == [msgspec.json.decode(server.requests[0].body)]
    assert bodies[0]["tools"][0]["function"]["name"] == "double"


def test_a_scripted_model_has_no_request_to_show() -> None:
    seen: list[Any] = []

    class Looks(HookProvider):
        def on_before_model_call(self, event: Any) -> None:
            seen.append((event.request, event.messages[-1].text, event.tools))

    Agent(ScriptedModel(text("Yes.")), hooks=[Looks()]).run_sync("Go.")
    assert seen == [(None, "Go.", ())]


def test_the_last_event_comes_after_the_last_hook(runtime_name: str) -> None:
    log: list[Any] = []
    agent = Agent(ScriptedModel("Yes."), hooks=[RecordingHook(log)])
    events: list[Any] = []
    if runtime_name == "blocking":
        events.extend((event, len(log)) for event in agent.stream_sync("Go."))
    else:

        async def main() -> None:
            events.extend([(event, len(log)) async for event in agent.run("Go.")])

        anyio.run(main, backend=runtime_name)
    last, log_length = events[-1]
    assert isinstance(last, TerminateEvent)
    assert log_length == len(log) == 4


def test_a_repeated_call_gets_the_result_that_the_hooks_left(runtime_name: str) -> None:
    results: list[str] = []

    class MarkResults(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            results.append(event.result)
            event.result = f"<{event.result}>"

    @tool(idempotent=True)
    def once(n: int) -> str:
        """Run once."""
        return str(n)

    calls = [tool_call("once", n=1), tool_call("once", n=1)]
    model = ScriptedModel(calls, tool_call("once", n=1), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [once], hooks=[MarkResults()]), "Go.")
    assert [execution.result for execution in result.state.tool_executions] == ["<1>"] * 3
    assert results == ["1", "<1>", "<1>"]  # hooks are called for each call


def test_a_failed_call_is_run_again_even_if_a_hook_replaced_its_error(runtime_name: str) -> None:
    runs: list[int] = []

    class ReplaceErrors(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            if event.error is not None:
                event.result = "it will come later"

    @tool(idempotent=True)
    def flaky() -> str:
        """Fail at first."""
        runs.append(1)
        if len(runs) == 1:
            raise OSError("not now")
        return "good"

    calls = [tool_call("flaky"), tool_call("flaky")]
    model = ScriptedModel(calls, tool_call("flaky"), tool_call("flaky"), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [flaky], hooks=[ReplaceErrors()]), "Go.")
    replacement = "it will come later"
    assert [e.result for e in result.state.tool_executions] == [
        replacement,
        replacement,
        "good",
        "good",
    ]
    assert len(runs) == 2


def test_a_result_of_a_hook_that_is_not_json_is_an_error_for_the_model(
    runtime_name: str,
) -> None:
    class AssignType(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.result = object

    model = ScriptedModel(tool_call("double", n=1), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [double], hooks=[AssignType()]), "Go.")
    (execution,) = result.state.tool_executions
    assert execution.result is None
    assert execution.error is not None
    assert "cannot be written as JSON" in execution.error


def test_a_result_is_removed_before_a_retry(runtime_name: str) -> None:
    execution_counts: list[int] = []

    class RetryOnce(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.retry = event.result == "2" and len(execution_counts) == 1

    @tool
    def counts(n: int, ctx: ToolContext) -> int:
        """Count."""
        assert ctx.state is not None
        execution_counts.append(len(ctx.state.tool_executions))
        return 2 * n

    model = ScriptedModel(tool_call("counts", n=1), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [counts], hooks=[RetryOnce()]), "Go.")
    assert execution_counts == [0, 0]
    assert [execution.result for execution in result.state.tool_executions] == ["2"]


def test_hooks_are_called_if_the_caller_leaves(runtime_name: str) -> None:
    end_events: list[AfterInvocationEvent] = []

    class RecordEnds(HookProvider):
        def on_after_invocation(self, event: AfterInvocationEvent) -> None:
            end_events.append(event)

    agent = Agent(ScriptedModel("One two three."), hooks=[RecordEnds()])
    if runtime_name == "blocking":
        with agent.stream_sync("Go.") as run:
            next(run)
    else:

        async def main() -> None:
            async with agent.run("Go.") as run:
                await anext(run)

        anyio.run(main, backend=runtime_name)
    (event,) = end_events
    assert type(event.error) is GeneratorExit
    assert event.reason == "error: GeneratorExit: the caller has left the run"
    assert not event.success


def _yields(event: Any) -> Any:
    yield event


async def _yields_async(event: Any) -> Any:
    yield event


@pytest.mark.parametrize(
    ("hook", "match"),
    [
        ({"on_before_tool_call": "log"}, r"hooks\[0\].on_before_tool_call is 'log'"),
        ({"on_before_tool_call": staticmethod(_yields)}, "is a generator"),
        ({"on_before_tool_call": staticmethod(_yields_async)}, "is a generator"),
        ({"on_before_tool_call": len, "priority": float("nan")}, "priority is a number"),
        ({"on_before_tool_call": len, "priority": "first"}, "priority is a number"),
    ],
)
def test_a_hook_that_cannot_be_called_is_an_error(hook: dict[str, Any], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        Agent(ScriptedModel("Yes."), hooks=[type("Odd", (), hook)()])
