"""What an agent's loop does, step by step, on blocking, asyncio and trio."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from locus.agent import Agent
from locus.core.errors import ConfigurationError, StreamInterruptedError
from locus.core.events import (
    ModelChunkEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from locus.core.messages import Message, Role, ToolCall
from locus.core.response import ModelResponse
from locus.core.termination import MaxIterations, TextMention, ToolCalled
from locus.memory import InMemoryStore, MemoryCheckpointer, SlidingWindowManager
from locus.models import register_provider
from locus.models.base import ModelProtocol
from locus.testing import FunctionModel, ScriptedModel, cut_off, text, tool_call
from locus.tools import FunctionTool, ToolContext, tool
from tests.agent.recorded_runs import RUNTIMES, see, to_end
from tests.support.runtimes import AtMost


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


@tool
async def greet(name: str) -> str:
    """Greet somebody."""
    await anyio.lowlevel.checkpoint()
    return f"Hello {name}"


def errors(result: Any) -> list[str | None]:
    return [execution.error for execution in result.state.tool_executions]


# -- the course of a run --------------------------------------------------


def test_the_events_of_a_run(runtime: str) -> None:
    model = ScriptedModel(
        ["Let me see.", tool_call("double", "a", n=2), tool_call("greet", "b", name="Ada")],
        text("Done now.", usage={"prompt_tokens": 7, "completion_tokens": 2}),
    )
    seen = see(runtime, Agent(model, [double, greet]), "Go.")
    chunk = ModelChunkEvent
    assert [type(event) for event in seen.events] == [
        *[chunk] * 4, ThinkEvent, ToolStartEvent, ToolStartEvent, ToolCompleteEvent,
        ToolCompleteEvent, *[chunk] * 3, ThinkEvent, TerminateEvent,
    ]  # fmt: skip
    assert seen.text == "Let me see.Done now."
    starts, ends = seen.of(ToolStartEvent), seen.of(ToolCompleteEvent)
    assert [(e.tool_name, e.tool_call_id, e.arguments) for e in starts] == [
        ("double", "a", {"n": 2}),
        ("greet", "b", {"name": "Ada"}),
    ]
    assert [(e.result, e.error) for e in ends] == [("4", None), ("Hello Ada", None)]
    assert all(event.duration_ms >= 0 for event in ends)
    assert seen.last == TerminateEvent(
        "complete", 2, 2, "Done now.", {"prompt_tokens": 7, "completion_tokens": 2}
    )


def test_the_result_of_a_run(runtime: str) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    first = attrs.evolve(tool_call("double", "a", n=2), usage=usage)
    result = to_end(runtime, Agent(ScriptedModel(first, text("4", usage=usage)), [double]), "Go.")
    assert result.message == result.text == "4"
    assert (result.iterations, result.tool_calls, result.stop_reason) == (2, 1, "complete")
    assert result.usage == result.state.usage == {"prompt_tokens": 10, "completion_tokens": 6}
    assert [message.role for message in result.state.messages] == [
        Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT,
    ]  # fmt: skip
    assert 0 < result.duration < 5
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize(
    "prompt", ["Go.", Message.user("Go."), [Message.user("Hi."), Message.user("Go.")]]
)
def test_a_prompt_is_text_a_message_or_several(runtime: str, prompt: Any) -> None:
    model = ScriptedModel("Yes.")
    agent = Agent(model, system_prompt="Be brief.")
    assert to_end(runtime, agent, prompt).message == "Yes."
    asked = model.calls[0].messages
    assert (asked[0].role, asked[0].text) == (Role.SYSTEM, "Be brief.")
    assert asked[-1].text == "Go."


@pytest.mark.parametrize("prompt", ["", [], [Message.assistant()], 3])
def test_a_prompt_that_no_model_could_take_is_refused_at_once(prompt: Any) -> None:
    agent = Agent(ScriptedModel("Yes."))
    for call in (agent.run_sync, agent.stream_sync, agent.run):
        if prompt == "":
            continue
        with pytest.raises((ValueError, TypeError)):
            call(prompt)


def test_whole_answers_are_asked_for_where_nobody_reads_along(runtime: str) -> None:
    model = ScriptedModel("Yes.", cycle=True)
    to_end(runtime, Agent(model), "Go.")
    see(runtime, Agent(model), "Go.")
    quiet = see(runtime, Agent(model, stream=False), "Go.")
    assert [call.streamed for call in model.calls] == [False, True, False]
    assert quiet.of(ModelChunkEvent) == []
    assert quiet.last.final_message == "Yes."


def test_reasoning_is_told_and_options_reach_the_model(runtime: str) -> None:
    model = ScriptedModel(text("Yes.", reasoning="Hm."))
    seen = see(runtime, Agent(model, model_options={"temperature": 0, "seed": 3}), "Go.")
    assert seen.of(ThinkEvent) == [ThinkEvent(1, "Hm.")]
    assert model.calls[0].options == {"temperature": 0, "seed": 3}


def test_a_run_within_a_running_loop_may_block() -> None:
    agent = Agent(ScriptedModel([tool_call("greet", name="A"), tool_call("double", n=1)], "Yes."),
                  [double, greet])  # fmt: skip

    async def main() -> str:
        return agent.run_sync("Go.").message

    for backend in ("asyncio", "trio"):
        assert anyio.run(main, backend=backend) == "Yes." if backend == "asyncio" else True


def test_iterations_are_limited(runtime: str) -> None:
    agent = Agent(ScriptedModel(tool_call("double", n=1), cycle=True), [double], max_iterations=3)
    seen = see(runtime, agent, "Go.")
    assert (seen.last.reason, seen.last.iterations_used) == ("MaxIterations(3)", 3)
    assert seen.result is not None
    assert seen.result.message == ""
    assert seen.last.final_message is None
    assert seen.result.state.pending_calls() == ()


def test_an_answer_at_the_limit_is_complete(runtime: str) -> None:
    assert to_end(runtime, Agent(ScriptedModel("Yes."), max_iterations=1), "?").stop_reason == (
        "complete"
    )


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (ToolCalled("double") | MaxIterations(9), "ToolCalled('double')"),
        (MaxIterations(1) & ToolCalled("double"), "MaxIterations(1) and ToolCalled('double')"),
        (TextMention("see"), "TextMention('see')"),
    ],
)
def test_conditions_end_a_run_when_its_calls_are_answered(
    runtime: str, condition: Any, reason: str
) -> None:
    model = ScriptedModel(["I see.", tool_call("double", n=1)], "No more.")
    result = to_end(runtime, Agent(model, [double], termination=condition), "Go.")
    assert (result.stop_reason, result.tool_calls, result.iterations) == (reason, 1, 1)


# -- answers that are odd --------------------------------------------------


def test_an_empty_answer_ends_the_run_and_stays_out_of_the_conversation(runtime: str) -> None:
    result = to_end(runtime, Agent(ScriptedModel(text("")), [double]), "Go.")
    assert (result.message, result.stop_reason) == ("", "complete")
    assert [message.role for message in result.state.messages] == [Role.USER]


def test_two_calls_with_one_id_are_told_apart(runtime: str) -> None:
    model = ScriptedModel([tool_call("double", "x", n=1), tool_call("double", "x", n=2)], "Yes.")
    result = to_end(runtime, Agent(model, [double]), "Go.")
    answers = [m for m in result.state.messages if m.role is Role.TOOL]
    assert [(m.tool_call_id, m.text) for m in answers] == [("x", "2"), ("x_2", "4")]
    assert [call.id for call in result.state.messages[1].tool_calls] == ["x", "x_2"]


def test_the_last_call_of_an_answer_that_was_cut_off_is_not_run(runtime: str) -> None:
    calls = [ToolCall("a", "double", {"n": 1}), ToolCall("b", "double", {"n": 2})]
    cut = ModelResponse(Message.assistant(None, calls), stop_reason="length")
    result = to_end(runtime, Agent(ScriptedModel(cut, "Yes."), [double]), "Go.")
    first, second = errors(result)
    assert first is None
    assert second is not None
    assert "cut off at its token limit" in second


def test_calls_that_cannot_be_run_are_answered_with_what_is_wrong(runtime: str) -> None:
    @tool
    def breaks() -> None:
        """Break."""
        raise LookupError("nothing there")

    @tool(timeout=0.02)
    async def late() -> None:
        """Be late."""
        await anyio.sleep(20)

    calls = [
        ToolCall("a", "double", malformed_arguments='{"n": '),
        ToolCall("b", "dubble", {"n": 1}),
        ToolCall("c", "double", {"n": "many"}),
        ToolCall("d", "breaks"),
        ToolCall("e", "late"),
        ToolCall("f", "double", {"n": 4}),
    ]
    model = ScriptedModel(Message.assistant(None, calls), "Yes.")
    result = to_end(runtime, Agent(model, [double, breaks, late]), "Go.")
    malformed, unknown, wrong, broken, slow, good = errors(result)
    assert malformed is not None
    assert '{"n": ' in malformed
    assert unknown == (
        "there is no tool 'dubble'. Did you mean 'double'? The tools are: double, breaks, late."
    )
    assert wrong is not None
    assert "n: " in wrong
    assert broken == "LookupError: nothing there"
    assert slow == "TimeoutError: the tool did not finish within 0.02 s"
    assert good is None
    told = [message.text for message in model.calls[1].messages if message.role is Role.TOOL]
    assert told[3] == "Error: LookupError: nothing there"
    assert told[5] == "8"


# -- tools --------------------------------------------------


def test_tools_run_at_the_same_time_and_no_more_than_allowed(runtime: str) -> None:
    now = most = 0
    lock = threading.Lock()

    @tool
    def slow(n: int) -> int:
        """Take a moment."""
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        return n

    calls = [tool_call("slow", n=n) for n in range(6)]
    agent = Agent(ScriptedModel(calls, "Yes.", cycle=True), [slow])
    for limit in (1, 3, 6):
        most = 0
        result = to_end(runtime, agent.copy(max_concurrency=limit), "Go.")
        assert most == limit
        assert [e.result for e in result.state.tool_executions] == list("012345")


def test_sequential_tools_start_when_the_one_before_has_ended(runtime: str) -> None:
    model = ScriptedModel([tool_call("double", n=1), tool_call("double", n=2)], "Yes.")
    seen = see(runtime, Agent(model, [double], tool_execution="sequential"), "Go.")
    order = [type(e) for e in seen.events if isinstance(e, (ToolStartEvent, ToolCompleteEvent))]
    assert order == [ToolStartEvent, ToolCompleteEvent] * 2


def test_a_thread_that_runs_out_of_time_does_not_take_anothers_place(runtime: str) -> None:
    let_go = threading.Event()

    @tool(timeout=0.05)
    def hangs(n: int) -> None:
        """Hang."""
        let_go.wait(20)

    @tool
    def quick(n: int) -> int:
        """Do not."""
        return n

    calls = [tool_call("hangs", n=1), tool_call("hangs", n=2), tool_call("quick", n=3)]
    agent = Agent(ScriptedModel(calls, calls, "Yes."), [hangs, quick], max_concurrency=2)
    with AtMost(3.0):
        if runtime == "blocking":
            result = agent.run_sync("Go.")
            let_go.set()
        else:

            async def main() -> Any:
                try:
                    return await agent.arun("Go.")
                finally:
                    let_go.set()

            result = anyio.run(main, backend=runtime)
    late = "TimeoutError: the tool did not finish within 0.05 s"
    assert errors(result) == [late, late, None] * 2


def test_the_agents_timeout_is_for_tools_without_one(runtime: str) -> None:
    @tool(timeout=5)
    async def patient() -> str:
        """Take a moment."""
        await anyio.sleep(0.06)
        return "done"

    @tool
    async def hasty() -> str:
        """Take a moment."""
        await anyio.sleep(20)
        return "done"

    model = ScriptedModel([tool_call("patient"), tool_call("hasty")], "Yes.")
    result = to_end(runtime, Agent(model, [patient, hasty], tool_timeout=0.03), "Go.")
    assert errors(result) == [None, "TimeoutError: the tool did not finish within 0.03 s"]


def test_a_blocking_function_may_give_something_to_await(runtime: str) -> None:
    async def later() -> str:
        await anyio.lowlevel.checkpoint()
        return "later"

    @tool
    def gives() -> Any:
        """Give a coroutine."""
        return later()

    model = ScriptedModel(tool_call("gives"), [tool_call("gives"), tool_call("gives")], "Yes.")
    result = to_end(runtime, Agent(model, [gives]), "Go.")
    assert [e.result for e in result.state.tool_executions] == ["later"] * 3


def test_a_tool_knows_its_call(runtime: str) -> None:
    known: list[ToolContext] = []

    @tool
    def look(ctx: ToolContext) -> str:
        """Look."""
        known.append(ctx)
        return "seen"

    agent = Agent(ScriptedModel(tool_call("look", "x"), "Yes."), [look])
    to_end(runtime, agent, "Go.", "t", metadata={"user": "ada"})
    (ctx,) = known
    assert (ctx.tool_call_id, ctx.tool_name, ctx.thread_id, ctx.iteration) == ("x", "look", "t", 1)
    assert ctx.metadata == {"user": "ada"}
    assert ctx.state is not None
    assert len(ctx.state.messages) == 2


def test_tools_see_the_callers_context_variables(runtime: str) -> None:
    from contextvars import ContextVar

    user: ContextVar[str] = ContextVar("user", default="nobody")

    @tool
    def who() -> str:
        """Tell who."""
        return user.get()

    @tool
    async def who_async() -> str:
        """Tell who."""
        return user.get()

    model = ScriptedModel([tool_call("who"), tool_call("who_async")], tool_call("who"), "Yes.")
    token = user.set("ada")
    try:
        result = to_end(runtime, Agent(model, [who, who_async]), "Go.")
    finally:
        user.reset(token)
    assert [e.result for e in result.state.tool_executions] == ["ada"] * 3


def test_an_idempotent_tool_runs_once_for_equal_arguments(runtime: str) -> None:
    ran: list[Any] = []

    @tool(idempotent=True)
    def buy(what: str, n: int | bool = 1) -> int:
        """Buy something."""
        ran.append((what, n))
        return len(ran)

    calls = [
        tool_call("buy", what="a", n=1),
        tool_call("buy", n=1, what="a"),
        tool_call("buy", what="a", n=True),
    ]
    agent = Agent(
        ScriptedModel(calls, tool_call("buy", what="a", n=1), "Yes.", cycle=True),
        [buy],
        checkpointer=MemoryCheckpointer(),
        max_concurrency=1,
    )
    first = to_end(runtime, agent, "Go.", "t")
    assert [e.result for e in first.state.tool_executions] == ["1", "1", "2", "1"]
    assert first.state.tool_executions[1].duration_ms is None
    to_end(runtime, agent, "Again.", "t")
    assert ran == [("a", 1), ("a", True)]
    to_end(runtime, agent, "In another thread.", "u")
    assert len(ran) == 4


def test_an_idempotent_call_that_failed_may_be_made_again(runtime: str) -> None:
    ran: list[int] = []

    @tool(idempotent=True)
    def flaky() -> str:
        """Fail at first."""
        ran.append(1)
        if len(ran) == 1:
            raise OSError("try again")
        return "good"

    calls = [tool_call("flaky"), tool_call("flaky")]
    result = to_end(runtime, Agent(ScriptedModel(calls, calls, "Yes."), [flaky]), "Go.")
    assert errors(result) == ["OSError: try again"] * 2 + [None] * 2
    assert len(ran) == 2


class NoWords(Exception):
    """An error that cannot be read."""

    def __str__(self) -> str:
        raise ValueError("no words")


class NoForm:
    """A result whose own code fails."""

    def tolist(self) -> Any:
        raise NoWords


def test_whatever_a_tool_makes_of_its_call_is_an_error_for_the_model(runtime: str) -> None:
    class Unbindable(FunctionTool[Any, Any]):
        def bind_call(self, call: ToolCall, context: ToolContext | None = None) -> dict[str, Any]:
            raise NoWords

    @tool
    def raises() -> None:
        """Raise."""
        raise NoWords

    @tool
    def returns() -> object:
        """Return."""
        return NoForm()

    @tool
    def stops() -> None:
        """Stop."""
        raise StopIteration

    @tool
    async def stops_async() -> None:
        """Stop."""
        raise StopIteration("here")

    unbindable = Unbindable(raises.function, "unbindable")
    tools = [unbindable, raises, returns, stops, stops_async]
    for calls in ([tool_call(t.name) for t in tools], *([tool_call(t.name)] for t in tools)):
        model = ScriptedModel(calls, "Yes.")
        result = to_end(runtime, Agent(model, tools), "Go.")
        assert result.message == "Yes."
        names = [call.tool_calls[0].name for call in calls]
        said = dict(zip(names, errors(result), strict=True))
        expected = {
            "unbindable": "NoWords",
            "raises": "NoWords",
            "returns": "",  # whatever it says
            "stops": "StopIteration",
            "stops_async": "StopIteration: here",
        }
        for name, error in said.items():
            assert error is not None
            assert error.startswith(expected[name])


def test_idempotent_calls_with_text_that_is_no_unicode_are_told_apart(runtime: str) -> None:
    @tool(idempotent=True)
    def once(said: str) -> str:
        """Run once."""
        ran.append(said)
        return "said"

    ran: list[str] = []
    calls = [tool_call("once", said=said) for said in ("\ud800", "\ud801", "\ud800")]
    to_end(runtime, Agent(ScriptedModel(calls, "Yes."), [once], max_concurrency=1), "Go.")
    assert ran == ["\ud800", "\ud801"]


# -- errors --------------------------------------------------


def test_a_run_that_fails_says_why_and_then_raises(runtime: str) -> None:
    model = ScriptedModel(tool_call("double", n=1), RuntimeError("no more"))
    seen = see(runtime, Agent(model, [double]), "Go.")
    assert seen.last == TerminateEvent("error: RuntimeError: no more", 1, 1)
    assert isinstance(seen.error, RuntimeError)
    with pytest.raises(RuntimeError, match="no more"):
        to_end(runtime, Agent(ScriptedModel(RuntimeError("no more"))), "Go.")


def test_a_stream_that_breaks_ends_the_run(runtime: str) -> None:
    seen = see(runtime, Agent(ScriptedModel(cut_off("half an"))), "Go.")
    assert seen.text == "half an"
    assert isinstance(seen.error, StreamInterruptedError)
    assert seen.last.reason.startswith("error: StreamInterruptedError")


# -- models --------------------------------------------------


class Others:
    """A model of somebody else's: two async methods, and no event with a whole response."""

    def __init__(self, answers: list[tuple[str, list[ToolCall]]]) -> None:
        self.answers = answers
        self.closed = 0

    async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> ModelResponse:
        await anyio.lowlevel.checkpoint()
        said, calls = self.answers.pop(0)
        return ModelResponse(Message.assistant(said or None, calls), usage={"prompt_tokens": 1})

    async def stream(
        self, messages: Any, tools: Any = None, **kw: Any
    ) -> AsyncIterator[ModelChunkEvent]:
        said, calls = self.answers.pop(0)
        try:
            with anyio.CancelScope():  # a scope must begin and end in one task
                for word in said.split():
                    await anyio.lowlevel.checkpoint()
                    yield ModelChunkEvent(content=word)
                yield ModelChunkEvent(
                    tool_calls=tuple(calls), done=True, usage={"prompt_tokens": 1}
                )
        finally:
            self.closed += 1


def test_a_model_with_two_async_methods_is_enough(runtime: str) -> None:
    def make() -> Others:
        return Others([("Let", [ToolCall("a", "double", {"n": 3})]), ("All done", [])])

    model = make()
    assert isinstance(model, ModelProtocol)
    seen = see(runtime, Agent(model, [double]), "Go.")
    assert seen.text == "LetAlldone"
    assert seen.last == TerminateEvent("complete", 2, 1, "Alldone", {"prompt_tokens": 2})
    assert model.closed == 2
    assert to_end(runtime, Agent(make(), [double]), "Go.").message == "All done"


@pytest.mark.parametrize("answer", [None, "Yes.", {"content": "Yes."}])
def test_a_model_that_gives_something_else_is_named(runtime: str, answer: Any) -> None:
    class Odd(Others):
        async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
            return answer

    kind = type(answer).__name__
    with pytest.raises(TypeError, match=f"the model Odd gave {kind}, not a ModelResponse"):
        to_end(runtime, Agent(Odd([])), "Go.")


def test_leaving_a_blocking_run_closes_the_stream_of_an_async_model() -> None:
    model = Others([("one two three", [])])
    with Agent(model).stream_sync("Go.") as run:
        assert next(run) == ModelChunkEvent(content="one")
    assert model.closed == 1


def test_a_model_by_name_is_looked_up_once_and_late(runtime: str) -> None:
    made: list[str] = []

    def factory(name: str) -> Any:
        made.append(name)
        return ScriptedModel("Yes.", cycle=True)

    register_provider("later", factory)
    agent = Agent("later:x")
    assert made == []
    to_end(runtime, agent, "Go.")
    to_end(runtime, agent, "Go.")
    assert made == ["x"]
    with pytest.raises(ConfigurationError, match="no provider 'nobody'"):
        to_end(runtime, Agent("nobody:x"), "Go.")


# -- what goes into a request --------------------------------------------------


def test_a_conversation_manager_shortens_requests_and_not_the_state(runtime: str) -> None:
    model = ScriptedModel(tool_call("double", n=1), tool_call("double", n=2), "Yes.")
    manager = SlidingWindowManager(max_messages=3)
    agent = Agent(model, [double], "Be brief.", conversation_manager=manager)
    history = [Message.user("Hi."), Message.assistant("Hello."), Message.user("Go.")]
    result = to_end(runtime, agent, history)
    assert len(result.state.messages) == 8
    assert max(len(call.messages) for call in model.calls) < 8
    assert all(call.messages[0].text == "Be brief." for call in model.calls)


def test_a_call_is_demanded_until_a_tool_has_answered(runtime: str) -> None:
    answers = [tool_call("double", n=1), tool_call("double", n=2), "so", text("4")]
    model = ScriptedModel(*answers, tool_call("double", n=3), text("6"))
    agent = Agent(model, [double], tool_choice="required", output_schema=int)
    agent = agent.copy(checkpointer=MemoryCheckpointer())
    assert to_end(runtime, agent, "Go.", "t").parsed == 4
    assert to_end(runtime, agent.copy(tool_choice="double"), "On.", "t").parsed == 6
    choices = [call.options.get("tool_choice") for call in model.calls]
    assert choices == ["required", None, None, None, "double", None]


def test_a_manager_that_rewrites_has_the_model_asked_and_the_state_changed(runtime: str) -> None:
    from locus.memory import SummarizingManager

    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    model = ScriptedModel(text("They said hello.", usage=usage), text("Yes.", usage=usage))
    manager = SummarizingManager(keep_last=2, threshold=4)
    history = [
        turn
        for n in range(4)
        for turn in (Message.user(f"Hi {n}."), Message.assistant(f"Hello {n}."))
    ]
    agent = Agent(model, system_prompt="Be brief.", conversation_manager=manager)
    seen = see(runtime, agent, [*history, Message.user("Go.")])
    assert seen.result is not None
    assert seen.text == "Yes."  # the summary is not part of the answer
    assert seen.result.iterations == 1
    assert seen.result.usage == {"prompt_tokens": 20, "completion_tokens": 2}
    assert [message.text for message in seen.result.state.messages][-2:] == ["Go.", "Yes."]
    assert "They said hello." in seen.result.state.messages[0].text
    assert model.calls[1].messages[0].text == "Be brief."


def test_facts_are_in_the_system_prompt(runtime: str) -> None:
    store = InMemoryStore()
    store.put("ada", "likes", "tea")
    model = ScriptedModel("Yes.")
    to_end(runtime, Agent(model, [], "Be brief.", memory=store, memory_namespace="ada"), "Go.")
    said = model.calls[0].messages[0].text
    assert said.startswith("Be brief.\n\n")
    assert '"tea"' in said


def test_without_tools_a_models_own_are_left_alone(runtime: str) -> None:
    model = ScriptedModel("Yes.", cycle=True)
    bound = model.bind_tools([double])
    to_end(runtime, Agent(bound), "Go.")
    to_end(runtime, Agent(bound, [greet]), "Go.")
    names = [[schema["function"]["name"] for schema in call.tools] for call in model.calls]
    assert names == [["double"], ["greet"]]


# -- the agent as a value --------------------------------------------------


def test_an_agent_is_immutable_copied_with_changes_and_equal_by_value() -> None:
    model = ScriptedModel("Yes.")
    agent = Agent(model, [double], "Be brief.")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        agent.max_iterations = 3  # type: ignore[misc]
    changed = agent.copy(max_iterations=3)
    assert (changed.max_iterations, agent.max_iterations) == (3, 20)
    assert changed != agent
    assert Agent(model, [double], "Be brief.") == agent
    assert copy.copy(agent) == agent
    assert agent.copy(tools=[greet]).tool_named("double") is None


def test_an_agent_that_is_named_by_strings_can_be_pickled() -> None:
    agent = pickle.loads(pickle.dumps(Agent("openai:gpt-4o", system_prompt="Be brief.")))
    assert agent == Agent("openai:gpt-4o", system_prompt="Be brief.")


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"model": "gpt-4o"}, ConfigurationError, "provider:model"),
        ({"model": object()}, TypeError, "not object"),
        ({"model": ScriptedModel}, TypeError, "ScriptedModel"),
        ({"tools": [double, attrs.evolve(greet, name="double")]}, ConfigurationError, "two tools"),
        ({"tools": double}, TypeError, "sequence"),
        ({"tools": [3]}, TypeError, "3"),
        ({"max_iterations": 0}, ConfigurationError, "max_iterations"),
        ({"max_concurrency": 0}, ConfigurationError, "max_concurrency"),
        ({"tool_timeout": 0}, ConfigurationError, "tool_timeout"),
        ({"tool_execution": "fast"}, ConfigurationError, "^tool_execution is 'concurrent' or"),
        ({"tool_execution": []}, ConfigurationError, "tool_execution"),
        ({"system_prompt": Message.system("Hi.")}, TypeError, "^system_prompt is text or None"),
        ({"stream": "no"}, ConfigurationError, "^stream is True or False"),
        ({"checkpointer": "x.db"}, ConfigurationError, "^checkpointer .* not str"),
        ({"checkpointer": MemoryCheckpointer}, ConfigurationError, "^checkpointer is the class"),
        ({"conversation_manager": 42}, ConfigurationError, "^conversation_manager .* not int"),
        ({"memory": {}}, ConfigurationError, "^memory is .* not dict"),
        ({"memory_namespace": 5}, ConfigurationError, "^memory_namespace"),
        ({"memory_namespace": ()}, ConfigurationError, "^memory_namespace"),
        ({"memory_namespace": ("a", "")}, ConfigurationError, "^memory_namespace"),
        ({"output_schema": 42}, ConfigurationError, "^output_schema is a type"),
        ({"output_schema": "City"}, ConfigurationError, "^output_schema is a type"),
        ({"model_options": {"tools": []}}, ConfigurationError, "^model_options .*'tools'"),
        ({"model_options": {"messages": 1}}, ConfigurationError, "^model_options .*'messages'"),
        ({"model_options": {1: 2}}, ConfigurationError, "^model_options are keywords"),
        ({"tool_choice": "required"}, ConfigurationError, r"^tool_choice .*\(which has none\)"),
        (
            {"tool_choice": "sing", "tools": [double]},
            ConfigurationError,
            r"^tool_choice .*\(double\), not 'sing'",
        ),
        ({"tool_choice": {}}, TypeError, "^tool_choice is text or None"),
        ({"hooks": [object()]}, TypeError, "none of on_before"),
        ({"termination": "never"}, TypeError, "termination"),
        ({"output_schema_retries": -1}, ConfigurationError, "output_schema_retries"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    fields: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        Agent(**{"model": ScriptedModel("Yes."), **fields})


def test_settings_may_be_left_out_with_none_and_names_may_be_a_list() -> None:
    agent = Agent(ScriptedModel("Yes."), tools=None, hooks=None)  # type: ignore[arg-type]
    assert (agent.tools, agent.hooks) == ((), ())
    assert agent.copy(memory_namespace=["a", "b"]).memory_namespace == ("a", "b")


@pytest.mark.parametrize("schema", [int, list[str], int | None, dict[str, int]])
def test_a_schema_may_be_any_type(schema: Any) -> None:
    assert Agent(ScriptedModel("Yes."), output_schema=schema).output_schema is schema


@pytest.mark.parametrize("prompt", [b"Go.", bytearray(b"Go."), {"role": "user"}])
def test_what_is_no_prompt_is_called_by_its_name(prompt: Any) -> None:
    with pytest.raises(TypeError, match=f"a prompt is .*; not {type(prompt).__name__}"):
        Agent(ScriptedModel("Yes.")).run_sync(prompt)


def test_an_agent_has_a_hash_whatever_its_parts_have() -> None:
    @attrs.define
    class Hook:
        n: int = 1

        def on_after_invocation(self, event: Any) -> None:
            """Do nothing."""

    model = ScriptedModel("Yes.")
    with pytest.raises(TypeError):
        hash(Hook())
    first, second = (Agent(model, [double], hooks=[Hook()]) for _ in range(2))
    assert first == second
    assert len({first, second}) == 1
    assert first != first.copy(hooks=[Hook(2)])


def test_one_agent_serves_many_at_once() -> None:
    agent = Agent(
        FunctionModel(
            lambda messages, *_, **__: (
                "Yes." if messages[-1].role is Role.TOOL else [tool_call("double", n=1)] * 1
            )
        ),
        [double],
    )
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(agent.run_sync("Go.").message))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(lambda: run())

    async def run() -> None:
        results.append((await agent.arun("Go.")).message)

    anyio.run(main, backend="trio")
    assert results == ["Yes."] * 16


def test_a_long_history_does_not_make_an_iteration_slow() -> None:
    def spent(history: int) -> float:
        messages = [
            turn
            for n in range(history // 2)
            for turn in (Message.user(f"Hi {n}."), Message.assistant("Hello."))
        ]
        answers = [tool_call("double", n=1)] * 60
        agent = Agent(Cheap([*answers, "Yes."]), [double], max_iterations=100)
        began = time.process_time()
        agent.run_sync([*messages, Message.user("Go.")])
        return time.process_time() - began

    # What is the same for each iteration, an answer and a tool, and a copy of the references.
    spent(10)
    short = min(spent(1_000) for _ in range(3))
    long = min(spent(10_000) for _ in range(3))
    assert long < 6 * short  # ten times the messages; what is quadratic takes a hundred times


class Cheap:
    """A model that does not look at the conversation."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = iter(answers)

    async def complete(self, *_: Any, **__: Any) -> ModelResponse:
        raise AssertionError

    def complete_sync(self, messages: Any, tools: Any = None, **kw: Any) -> ModelResponse:
        answer = next(self.answers)
        return answer if isinstance(answer, ModelResponse) else text(answer)

    def stream(self, *_: Any, **__: Any) -> AsyncIterator[ModelChunkEvent]:
        raise AssertionError
