"""Hooks: when each is called, in which order, and what it may change."""

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
from tests.agent.recorded_runs import RUNTIMES, see, to_end
from tests.support import runtimes
from tests.support.runtimes import model_of, whole

server = runtimes.server


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def nested(levels: int) -> Any:
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


class Notes:
    """Writes down what it hears; no HookProvider, and needs none."""

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


def test_every_method_is_called_in_its_place(runtime: str) -> None:
    log: list[Any] = []
    model = ScriptedModel([tool_call("double", n=2), tool_call("fails")], "Four.")
    to_end(runtime, Agent(model, [double, fails], hooks=[Notes(log)]), "Go.")
    steps = [what[1:] for what in log]
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


def test_hooks_are_called_by_priority_and_then_as_given(runtime: str) -> None:
    log: list[Any] = []
    hooks = [
        Notes(log, "d"),
        Notes(log, "c", HookPriority.BUSINESS_DEFAULT),
        Notes(log, "e"),
        Notes(log, "a", -1),
        Notes(log, "b", HookPriority.SECURITY_DEFAULT),
    ]
    model = ScriptedModel(tool_call("double", n=2), "Four.")
    to_end(runtime, Agent(model, [double], hooks=hooks), "Go.")
    for step in ("begin", "ask", "answered", "before", "after", "end"):
        names = "".join(name for name, what, *_ in log if what == step)
        assert names in ("abcde", "abcde" * 2)


def test_a_hook_changes_arguments_and_the_models_own_words_stay(runtime: str) -> None:
    class Adds(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            if event.malformed_arguments == '{"n": ':
                event.malformed_arguments = None
            event.arguments = {"n": event.arguments.get("n", 0) + 10}

    broken = ToolCall("b", "double", malformed_arguments='{"n": ')
    asked = Message.assistant(None, [ToolCall("a", "double", {"n": 1}), broken])
    model = ScriptedModel(asked, "Yes.")
    seen = see(runtime, Agent(model, [double], hooks=[Adds()]), "Go.")
    assert [event.arguments for event in seen.of(ToolStartEvent)] == [{"n": 11}, {"n": 10}]
    assert [event.result for event in seen.of(ToolCompleteEvent)] == ["22", "20"]
    assert seen.result is not None
    assert seen.result.state.messages[1].tool_calls[0].arguments == {"n": 1}
    assert seen.result.state.tool_executions[0].arguments == {"n": 11}


def test_a_hook_that_adds_an_argument_mends_no_call_that_is_broken(runtime: str) -> None:
    ran: list[str] = []

    @tool
    def delete(tenant: str, path: str = "/everything") -> None:
        """Delete."""
        ran.append(path)

    class Adds(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            seen.append((event.malformed_arguments, event.cut_off))
            event.arguments = {**event.arguments, "tenant": "acme"}
            event.cut_off = event.cut_off and "path" not in event.arguments

    seen: list[Any] = []
    broken = ToolCall("a", "delete", malformed_arguments='{"path": "/tmp/on')
    cut = [ToolCall("b", "delete", {}), ToolCall("c", "delete", {"path": "/tmp/one"})]
    asked = [Message.assistant(None, [call]) for call in (broken, *cut)]
    answers = [
        ModelResponse(asked[0]),
        *(ModelResponse(m, stop_reason="length") for m in asked[1:]),
    ]
    result = to_end(
        runtime, Agent(ScriptedModel(*answers, "Yes."), [delete], hooks=[Adds()]), "Go."
    )
    assert seen == [('{"path": "/tmp/on', False), (None, True), (None, True)]
    assert ran == ["/tmp/one"]
    first, second, third = (execution.error or "" for execution in result.state.tool_executions)
    assert '{"path": "/tmp/on' in first
    assert "cut off at its token limit" in second
    assert third == ""


@pytest.mark.parametrize("blank", ["", " \n"])
def test_arguments_that_are_no_text_at_all_are_none_and_a_hook_may_add_some(
    runtime: str, blank: str
) -> None:
    class Adds(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            assert event.malformed_arguments is None
            event.arguments = {**event.arguments, "tenant": "mine"}

    @tool
    def search(tenant: str = "all") -> str:
        """Search."""
        return tenant

    asked = Message.assistant(None, [ToolCall("a", "search", malformed_arguments=blank)])
    result = to_end(runtime, Agent(ScriptedModel(asked, "Yes."), [search], hooks=[Adds()]), "Go.")
    assert [execution.result for execution in result.state.tool_executions] == ["mine"]


def test_a_hook_may_find_a_call_malformed_or_put_right_one_that_was_cut_off(runtime: str) -> None:
    class Judges(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            event.arguments = {"n": 9}
            event.malformed_arguments = None if event.cut_off else "{oops"

    good = Message.assistant(None, [ToolCall("a", "double", {"n": 1})])
    cut = Message.assistant(None, [ToolCall("b", "double", malformed_arguments='{"n": ')])
    model = ScriptedModel(good, ModelResponse(cut, stop_reason="length"), "Yes.")
    result = to_end(runtime, Agent(model, [double], hooks=[Judges()]), "Go.")
    refused, ran = result.state.tool_executions
    assert "{oops" in (refused.error or "")
    assert (refused.arguments, ran.arguments, ran.result) == ({}, {"n": 9}, "18")


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        ({"n": datetime(2026, 1, 1)}, TypeError, "arguments are JSON: datetime is not JSON"),
        ({"n": object()}, TypeError, "object is not JSON"),
        ({1: 2}, TypeError, "must be text, not 1"),
        ({"n": nested(200)}, ConfigurationError, "more than 100 levels"),
        (7, TypeError, "must be a mapping, not int"),
    ],
)
def test_arguments_that_could_not_be_saved_are_refused_before_the_tool_runs(
    runtime: str, arguments: Any, kind: type[Exception], why: str
) -> None:
    class Assigns(HookProvider):
        def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            event.arguments = arguments

    ran: list[int] = []

    @tool(idempotent=True)
    def counts(n: Any = None) -> None:
        """Count."""
        ran.append(1)

    agent = Agent(ScriptedModel(tool_call("counts")), [counts], hooks=[Assigns()])
    with pytest.raises(kind, match=why):
        to_end(runtime, agent.copy(checkpointer=MemoryCheckpointer()), "Go.", "t")
    assert ran == []


@pytest.mark.parametrize(("cancel", "told"), [("not today", "not today"), (True, "no re")])
def test_a_hook_cancels_a_call_with_a_reason_the_model_reads(
    runtime: str, cancel: Any, told: str
) -> None:
    class Forbids(HookProvider):
        async def on_before_tool_call(self, event: BeforeToolCallEvent) -> None:
            event.cancel = cancel

    ran: list[int] = []

    @tool
    def counts() -> None:
        """Count."""
        ran.append(1)

    model = ScriptedModel(tool_call("counts"), "Yes.")
    result = to_end(runtime, Agent(model, [counts], hooks=[Forbids()]), "Go.")
    assert ran == []
    (answer,) = [m.text for m in result.state.messages if m.role is Role.TOOL]
    assert answer.startswith(f"Error: the call was cancelled: {told}")


@pytest.mark.parametrize(
    ("written", "read"), [("hidden", "hidden"), ({"a": [1]}, '{"a":[1]}'), (7, "7")]
)
def test_a_hook_rewrites_results_and_mends_errors(runtime: str, written: Any, read: str) -> None:
    class Rewrites(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.result = written

    model = ScriptedModel([tool_call("double", n=1), tool_call("fails")], "Yes.")
    seen = see(runtime, Agent(model, [double, fails], hooks=[Rewrites()]), "Go.")
    assert [(e.result, e.error) for e in seen.of(ToolCompleteEvent)] == [(read, None)] * 2


def test_a_hook_has_a_call_made_again_three_times_at_most(runtime: str) -> None:
    ran: list[int] = []

    @tool
    def flaky() -> int:
        """Fail at first."""
        ran.append(1)
        if len(ran) < 3:
            raise OSError("try again")
        return len(ran)

    class Again(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.retry = event.error is not None

    class Always(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.retry = True

    agent = Agent(ScriptedModel(tool_call("flaky"), "Yes.", cycle=True), [flaky], hooks=[Again()])
    result = to_end(runtime, agent, "Go.")
    assert [(e.result, e.error) for e in result.state.tool_executions] == [("3", None)]
    ran.clear()
    to_end(runtime, agent.copy(hooks=[Always()]), "Go.")
    assert len(ran) == 4


@pytest.mark.parametrize("method", [
    "on_before_invocation", "on_before_model_call", "on_after_model_call", "on_before_tool_call",
    "on_after_tool_call", "on_after_invocation",
])  # fmt: skip
@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_in_a_hook_ends_the_run_with_that_error(
    runtime: str, method: str, is_async: bool
) -> None:
    def fail(event: Any) -> None:
        raise LookupError("the hook is broken")

    async def fail_async(event: Any) -> None:
        await anyio.lowlevel.checkpoint()
        fail(event)

    broken = type("Broken", (), {method: staticmethod(fail_async if is_async else fail)})()
    log: list[Any] = []
    checkpointer = MemoryCheckpointer()
    model = ScriptedModel([tool_call("double", n=1), tool_call("double", n=2)], "Yes.")
    agent = Agent(model, [double], hooks=[broken, Notes(log)], checkpointer=checkpointer)
    seen = see(runtime, agent, "Go.", "t")
    assert isinstance(seen.error, LookupError)
    assert seen.last.reason == "error: LookupError: the hook is broken"
    assert [what[1] for what in log].count("end") == 1  # the others hear of the end all the same
    with checkpointer.claim("t"):  # and the thread is free
        pass


def test_the_end_of_a_run_is_told_with_its_error_and_its_state(runtime: str) -> None:
    ends: list[AfterInvocationEvent] = []

    class Ends(HookProvider):
        def on_after_invocation(self, event: AfterInvocationEvent) -> None:
            ends.append(event)

    agent = Agent(
        ScriptedModel(tool_call("double", n=1), OSError("gone")), [double], hooks=[Ends()]
    )
    see(runtime, agent, "Go.", "t", metadata={"user": "ada"})
    (end,) = ends
    assert isinstance(end.error, OSError)
    assert not end.success
    assert (end.reason, end.thread_id, end.metadata) == (
        "error: OSError: gone",
        "t",
        {"user": "ada"},
    )
    assert len(end.state.messages) == 3


def test_hooks_write_what_is_writable_and_no_more() -> None:
    event = BeforeToolCallEvent(tool_name="t", tool_call_id="1")
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        event.tool_name = "u"
    with pytest.raises(TypeError, match="mapping"):
        event.arguments = [1]  # type: ignore[assignment]
    with pytest.raises(TypeError, match="cancel"):
        event.cancel = 3  # type: ignore[assignment]
    after = AfterToolCallEvent(tool_name="t", tool_call_id="1")
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        after.error = "none"
    with pytest.raises(TypeError):
        after.retry = 3  # type: ignore[assignment]


def test_hooks_are_never_called_two_at_a_time(runtime: str) -> None:
    busy: list[str] = []
    most = 0

    class Slow(HookProvider):
        async def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            nonlocal most
            busy.append(event.tool_call_id)
            most = max(most, len(busy))
            await anyio.sleep(0.005)
            busy.remove(event.tool_call_id)

    model = ScriptedModel([tool_call("double", n=n) for n in range(5)], "Yes.")
    to_end(runtime, Agent(model, [double], hooks=[Slow(), Slow()]), "Go.")
    assert most == 1


def test_model_hooks_see_the_request_as_the_provider_gets_it(runtime: str, server: Any) -> None:
    import msgspec

    server.enqueue(whole("Yes."))
    seen: list[Any] = []

    class Looks(HookProvider):
        def on_before_model_call(self, event: Any) -> None:
            seen.append(event.request)

    agent = Agent(model_of(server), [double], "Be brief.", hooks=[Looks()], stream=False)
    if runtime == "blocking":
        agent.run_sync("Go.")
        agent.model.close_sync()  # type: ignore[union-attr]
    else:

        async def main() -> None:
            await agent.arun("Go.")
            await agent.model.aclose()  # type: ignore[union-attr]

        anyio.run(main, backend=runtime)
    assert seen == [msgspec.json.decode(server.requests[0].body)]
    assert seen[0]["tools"][0]["function"]["name"] == "double"


def test_a_scripted_model_has_no_request_to_show() -> None:
    seen: list[Any] = []

    class Looks(HookProvider):
        def on_before_model_call(self, event: Any) -> None:
            seen.append((event.request, event.messages[-1].text, event.tools))

    Agent(ScriptedModel(text("Yes.")), hooks=[Looks()]).run_sync("Go.")
    assert seen == [(None, "Go.", ())]


def test_the_last_event_comes_after_the_last_hook(runtime: str) -> None:
    log: list[Any] = []
    agent = Agent(ScriptedModel("Yes."), hooks=[Notes(log)])
    events: list[Any] = []
    if runtime == "blocking":
        events.extend((event, len(log)) for event in agent.stream_sync("Go."))
    else:

        async def main() -> None:
            events.extend([(event, len(log)) async for event in agent.run("Go.")])

        anyio.run(main, backend=runtime)
    last, told = events[-1]
    assert isinstance(last, TerminateEvent)
    assert told == len(log) == 4


def test_a_repeat_is_given_what_the_hooks_made_of_the_first_call(runtime: str) -> None:
    heard: list[str] = []

    class Marks(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            heard.append(event.result)
            event.result = f"<{event.result}>"

    @tool(idempotent=True)
    def once(n: int) -> str:
        """Run once."""
        return str(n)

    calls = [tool_call("once", n=1), tool_call("once", n=1)]
    model = ScriptedModel(calls, tool_call("once", n=1), "Yes.")
    result = to_end(runtime, Agent(model, [once], hooks=[Marks()]), "Go.")
    assert [execution.result for execution in result.state.tool_executions] == ["<1>"] * 3
    assert heard == ["1", "<1>", "<1>"]  # hooks hear of each call


def test_a_failure_that_a_hook_has_mended_is_no_first_result(runtime: str) -> None:
    ran: list[int] = []

    class Mends(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            if event.error is not None:
                event.result = "it will come later"

    @tool(idempotent=True)
    def flaky() -> str:
        """Fail at first."""
        ran.append(1)
        if len(ran) == 1:
            raise OSError("not now")
        return "good"

    calls = [tool_call("flaky"), tool_call("flaky")]
    model = ScriptedModel(calls, tool_call("flaky"), tool_call("flaky"), "Yes.")
    result = to_end(runtime, Agent(model, [flaky], hooks=[Mends()]), "Go.")
    later = "it will come later"
    assert [e.result for e in result.state.tool_executions] == [later, later, "good", "good"]
    assert len(ran) == 2


def test_a_result_of_a_hook_that_cannot_be_written_is_an_error_for_the_model(runtime: str) -> None:
    class Writes(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.result = object

    model = ScriptedModel(tool_call("double", n=1), "Yes.")
    result = to_end(runtime, Agent(model, [double], hooks=[Writes()]), "Go.")
    (execution,) = result.state.tool_executions
    assert execution.result is None
    assert execution.error is not None
    assert "cannot be written as JSON" in execution.error


def test_a_result_that_a_retry_drops_is_not_there_any_more(runtime: str) -> None:
    seen: list[int] = []

    class Retries(HookProvider):
        def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
            event.retry = event.result == "2" and len(seen) == 1

    @tool
    def counts(n: int, ctx: ToolContext) -> int:
        """Count."""
        assert ctx.state is not None
        seen.append(len(ctx.state.tool_executions))
        return 2 * n

    model = ScriptedModel(tool_call("counts", n=1), "Yes.")
    result = to_end(runtime, Agent(model, [counts], hooks=[Retries()]), "Go.")
    assert seen == [0, 0]
    assert [execution.result for execution in result.state.tool_executions] == ["2"]


def test_hooks_are_told_that_the_caller_has_left(runtime: str) -> None:
    ends: list[AfterInvocationEvent] = []

    class Ends(HookProvider):
        def on_after_invocation(self, event: AfterInvocationEvent) -> None:
            ends.append(event)

    agent = Agent(ScriptedModel("One two three."), hooks=[Ends()])
    if runtime == "blocking":
        with agent.stream_sync("Go.") as run:
            next(run)
    else:

        async def main() -> None:
            async with agent.run("Go.") as run:
                await anext(run)

        anyio.run(main, backend=runtime)
    (event,) = ends
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
def test_a_hook_that_could_not_be_called_is_refused(hook: dict[str, Any], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        Agent(ScriptedModel("Yes."), hooks=[type("Odd", (), hook)()])
