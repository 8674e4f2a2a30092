"""The agent's loop, step by step, in blocking code, under asyncio and under trio."""

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
from locus.testing import FunctionModel, ScriptedModel, interrupted_text, text, tool_call
from locus.tools import FunctionTool, ToolContext, tool
from tests.agent.recorded_runs import record_run, run_to_end
from tests.support.timing import FOREVER, HANG_SECONDS, HangGuard


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


@tool
async def greet(name: str) -> str:
    """Greet somebody."""
    await anyio.lowlevel.checkpoint()
    return f"Hello {name}"


def get_errors(result: Any) -> list[str | None]:
    return [execution.error for execution in result.state.tool_executions]


# -- the steps of a run --------------------------------------------------


def test_the_events_of_a_run(runtime_name: str) -> None:
    model = ScriptedModel(
        ["Let me see.", tool_call("double", "a", n=2), tool_call("greet", "b", name="Ada")],
        text("Done now.", usage={"prompt_tokens": 7, "completion_tokens": 2}),
    )
    recorded = record_run(runtime_name, Agent(model, [double, greet]), "Go.")
    chunk = ModelChunkEvent
    assert [type(event) for event in recorded.events] == [
        *[chunk] * 4, ThinkEvent, ToolStartEvent, ToolStartEvent, ToolCompleteEvent,
        ToolCompleteEvent, *[chunk] * 3, ThinkEvent, TerminateEvent,
    ]  # fmt: skip
    assert recorded.text == "Let me see.Done now."
    starts, ends = (
        recorded.select_events_of_type(ToolStartEvent),
        recorded.select_events_of_type(ToolCompleteEvent),
    )
    assert [(e.tool_name, e.tool_call_id, e.arguments) for e in starts] == [
        ("double", "a", {"n": 2}),
        ("greet", "b", {"name": "Ada"}),
    ]
    assert [(e.result, e.error) for e in ends] == [("4", None), ("Hello Ada", None)]
    assert all(event.duration_ms >= 0 for event in ends)
    assert recorded.terminate_event == TerminateEvent(
        "complete", 2, 2, "Done now.", {"prompt_tokens": 7, "completion_tokens": 2}, "stop"
    )


def test_the_result_of_a_run(runtime_name: str) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    first = attrs.evolve(tool_call("double", "a", n=2), usage=usage)
    start = time.monotonic()
    result = run_to_end(
        runtime_name, Agent(ScriptedModel(first, text("4", usage=usage)), [double]), "Go."
    )
    assert result.message == result.text == "4"
    assert (result.iterations, result.tool_calls, result.stop_reason) == (2, 1, "complete")
    assert result.usage == result.state.usage == {"prompt_tokens": 10, "completion_tokens": 6}
    assert [message.role for message in result.state.messages] == [
        Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT,
    ]  # fmt: skip
    assert 0 < result.duration <= time.monotonic() - start
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize(
    "prompt", ["Go.", Message.user("Go."), [Message.user("Hi."), Message.user("Go.")]]
)
def test_a_prompt_is_text_a_message_or_several(runtime_name: str, prompt: Any) -> None:
    model = ScriptedModel("Yes.")
    agent = Agent(model, system_prompt="Be brief.")
    assert run_to_end(runtime_name, agent, prompt).message == "Yes."
    messages = model.calls[0].messages
    assert (messages[0].role, messages[0].text) == (Role.SYSTEM, "Be brief.")
    assert messages[-1].text == "Go."


@pytest.mark.parametrize("prompt", ["", [], [Message.assistant()], 3])
def test_a_prompt_that_no_model_accepts_is_an_error_at_once(prompt: Any) -> None:
    agent = Agent(ScriptedModel("Yes."))
    for start_run in (agent.run_sync, agent.stream_sync, agent.run):
        if prompt == "":
            continue
        with pytest.raises((ValueError, TypeError)):
            start_run(prompt)


def test_responses_are_not_streamed_if_the_caller_wants_no_chunks(runtime_name: str) -> None:
    model = ScriptedModel("Yes.", cycle=True)
    run_to_end(runtime_name, Agent(model), "Go.")
    record_run(runtime_name, Agent(model), "Go.")
    unstreamed = record_run(runtime_name, Agent(model, stream=False), "Go.")
    assert [call.streamed for call in model.calls] == [False, True, False]
    assert unstreamed.select_events_of_type(ModelChunkEvent) == []
    assert unstreamed.terminate_event.final_message == "Yes."


def test_reasoning_is_in_the_event_and_options_reach_the_model(runtime_name: str) -> None:
    model = ScriptedModel(text("Yes.", reasoning="Hm."))
    recorded = record_run(
        runtime_name, Agent(model, model_options={"temperature": 0, "seed": 3}), "Go."
    )
    assert recorded.select_events_of_type(ThinkEvent) == [ThinkEvent(1, "Hm.")]
    assert model.calls[0].options == {"temperature": 0, "seed": 3}


def test_blocking_methods_work_inside_a_running_event_loop() -> None:
    agent = Agent(ScriptedModel([tool_call("greet", name="A"), tool_call("double", n=1)], "Yes."),
                  [double, greet])  # fmt: skip

    async def main() -> str:
        return agent.run_sync("Go.").message

    for backend in ("asyncio", "trio"):
        assert anyio.run(main, backend=backend) == "Yes." if backend == "asyncio" else True


def test_iterations_are_limited(runtime_name: str) -> None:
    agent = Agent(ScriptedModel(tool_call("double", n=1), cycle=True), [double], max_iterations=3)
    recorded = record_run(runtime_name, agent, "Go.")
    assert (recorded.terminate_event.reason, recorded.terminate_event.iterations_used) == (
        "MaxIterations(3)",
        3,
    )
    assert recorded.result is not None
    assert recorded.result.message == ""
    assert recorded.terminate_event.final_message is None
    assert recorded.result.state.pending_calls() == ()


def test_a_final_answer_at_the_limit_is_complete(runtime_name: str) -> None:
    assert run_to_end(
        runtime_name, Agent(ScriptedModel("Yes."), max_iterations=1), "?"
    ).stop_reason == ("complete")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (ToolCalled("double") | MaxIterations(9), "ToolCalled('double')"),
        (MaxIterations(1) & ToolCalled("double"), "MaxIterations(1) and ToolCalled('double')"),
        (TextMention("see"), "TextMention('see')"),
    ],
)
def test_conditions_end_a_run_after_the_results_of_its_calls(
    runtime_name: str, condition: Any, reason: str
) -> None:
    model = ScriptedModel(["I see.", tool_call("double", n=1)], "No more.")
    result = run_to_end(runtime_name, Agent(model, [double], termination=condition), "Go.")
    assert (result.stop_reason, result.tool_calls, result.iterations) == (reason, 1, 1)


# -- unusual responses --------------------------------------------------


def test_an_empty_response_ends_the_run_and_is_not_in_the_conversation(runtime_name: str) -> None:
    result = run_to_end(runtime_name, Agent(ScriptedModel(text("")), [double]), "Go.")
    assert (result.message, result.stop_reason) == ("", "complete")
    assert [message.role for message in result.state.messages] == [Role.USER]


def test_two_calls_with_the_same_id_are_kept_apart(runtime_name: str) -> None:
    model = ScriptedModel([tool_call("double", "x", n=1), tool_call("double", "x", n=2)], "Yes.")
    result = run_to_end(runtime_name, Agent(model, [double]), "Go.")
    results = [message for message in result.state.messages if message.role is Role.TOOL]
    assert [(message.tool_call_id, message.text) for message in results] == [
        ("x", "2"),
        ("x_2", "4"),
    ]
    assert [call.id for call in result.state.messages[1].tool_calls] == ["x", "x_2"]


@pytest.mark.parametrize(
    ("stop_reason", "words"),
    [
        ("length", "cut off at its token limit"),
        ("MALFORMED_FUNCTION_CALL", "broken off (MALFORMED_FUNCTION_CALL)"),
    ],
)
def test_the_last_call_of_a_response_that_was_cut_off_is_not_run(
    runtime_name: str, stop_reason: str, words: str
) -> None:
    calls = [ToolCall("a", "double", {"n": 1}), ToolCall("b", "double", {"n": 2})]
    cut_off = ModelResponse(Message.assistant(None, calls), stop_reason=stop_reason)
    result = run_to_end(runtime_name, Agent(ScriptedModel(cut_off, "Yes."), [double]), "Go.")
    first, second = get_errors(result)
    assert first is None
    assert second is not None
    assert words in second


def test_the_result_of_a_call_that_cannot_run_says_what_is_wrong(runtime_name: str) -> None:
    @tool
    def breaks() -> None:
        """Break."""
        raise LookupError("nothing there")

    @tool(timeout=0.02)
    async def times_out() -> None:
        """Be late."""
        await anyio.sleep(FOREVER)

    calls = [
        ToolCall("a", "double", malformed_arguments='{"n": '),
        ToolCall("b", "dubble", {"n": 1}),
        ToolCall("c", "double", {"n": "many"}),
        ToolCall("d", "breaks"),
        ToolCall("e", "times_out"),
        ToolCall("f", "double", {"n": 4}),
    ]
    model = ScriptedModel(Message.assistant(None, calls), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [double, breaks, times_out]), "Go.")
    malformed, unknown, wrong, broken, slow, successful = get_errors(result)
    assert malformed is not None
    assert '{"n": ' in malformed
    assert unknown == (
        "there is no tool 'dubble'. Did you mean 'double'? "
        "The tools are: double, breaks, times_out."
    )
    assert wrong is not None
    assert "n: " in wrong
    assert broken == "LookupError: nothing there"
    assert slow == "TimeoutError: the tool did not finish within 0.02 s"
    assert successful is None
    result_texts = [
        message.text for message in model.calls[1].messages if message.role is Role.TOOL
    ]
    assert result_texts[3] == "Error: LookupError: nothing there"
    assert result_texts[5] == "8"


# -- tools --------------------------------------------------


def test_tools_run_at_the_same_time_but_no_more_than_allowed(runtime_name: str) -> None:
    running = maximum = 0
    lock, together = threading.Lock(), threading.Barrier(1)

    @tool
    def slow(n: int) -> int:
        """Take a short time."""
        nonlocal running, maximum
        with lock:
            running += 1
            maximum = max(maximum, running)
        together.wait(HANG_SECONDS)
        time.sleep(0.02)  # for one more than allowed, should there be one
        with lock:
            running -= 1
        return n

    calls = [tool_call("slow", n=n) for n in range(6)]
    agent = Agent(ScriptedModel(calls, "Yes.", cycle=True), [slow])
    for limit in (1, 3, 6):
        maximum, together = 0, threading.Barrier(limit)
        result = run_to_end(runtime_name, agent.copy(max_concurrency=limit), "Go.")
        assert maximum == limit
        assert [e.result for e in result.state.tool_executions] == list("012345")


def test_sequential_tools_start_after_the_one_before_has_ended(runtime_name: str) -> None:
    model = ScriptedModel([tool_call("double", n=1), tool_call("double", n=2)], "Yes.")
    recorded = record_run(runtime_name, Agent(model, [double], tool_execution="sequential"), "Go.")
    order = [type(e) for e in recorded.events if isinstance(e, (ToolStartEvent, ToolCompleteEvent))]
    assert order == [ToolStartEvent, ToolCompleteEvent] * 2


def test_tools_that_time_out_do_not_keep_other_tools_from_running(runtime_name: str) -> None:
    released = threading.Event()

    @tool(timeout=0.05)
    def hangs(n: int) -> None:
        """Hang."""
        released.wait(FOREVER)

    @tool
    def quick(n: int) -> int:
        """Return at once."""
        return n

    calls = [tool_call("hangs", n=1), tool_call("hangs", n=2), tool_call("quick", n=3)]
    agent = Agent(ScriptedModel(calls, calls, "Yes."), [hangs, quick], max_concurrency=2)
    with HangGuard():
        if runtime_name == "blocking":
            result = agent.run_sync("Go.")
            released.set()
        else:

            async def main() -> Any:
                try:
                    return await agent.arun("Go.")
                finally:
                    released.set()

            result = anyio.run(main, backend=runtime_name)
    timeout_error = "TimeoutError: the tool did not finish within 0.05 s"
    assert get_errors(result) == [timeout_error, timeout_error, None] * 2


def test_the_agents_timeout_applies_to_tools_without_one(runtime_name: str) -> None:
    @tool(timeout=HANG_SECONDS)
    async def own_timeout() -> str:
        """Take a short time."""
        await anyio.sleep(0.06)
        return "done"

    @tool
    async def agent_timeout() -> str:
        """Take a short time."""
        await anyio.sleep(FOREVER)
        return "done"

    model = ScriptedModel([tool_call("own_timeout"), tool_call("agent_timeout")], "Yes.")
    result = run_to_end(
        runtime_name, Agent(model, [own_timeout, agent_timeout], tool_timeout=0.03), "Go."
    )
    assert get_errors(result) == [None, "TimeoutError: the tool did not finish within 0.03 s"]


def test_a_blocking_function_may_return_an_awaitable(runtime_name: str) -> None:
    async def later() -> str:
        await anyio.lowlevel.checkpoint()
        return "later"

    @tool
    def return_awaitable() -> Any:
        """Return a coroutine."""
        return later()

    model = ScriptedModel(
        tool_call("return_awaitable"),
        [tool_call("return_awaitable"), tool_call("return_awaitable")],
        "Yes.",
    )
    result = run_to_end(runtime_name, Agent(model, [return_awaitable]), "Go.")
    assert [e.result for e in result.state.tool_executions] == ["later"] * 3


def test_a_tool_gets_the_context_of_its_call(runtime_name: str) -> None:
    contexts: list[ToolContext] = []

    @tool
    def look(ctx: ToolContext) -> str:
        """Look."""
        contexts.append(ctx)
        return "done"

    agent = Agent(ScriptedModel(tool_call("look", "x"), "Yes."), [look])
    run_to_end(runtime_name, agent, "Go.", "t", metadata={"user": "ada"})
    (ctx,) = contexts
    assert (ctx.tool_call_id, ctx.tool_name, ctx.thread_id, ctx.iteration) == ("x", "look", "t", 1)
    assert ctx.metadata == {"user": "ada"}
    assert ctx.state is not None
    assert len(ctx.state.messages) == 2


def test_tools_see_the_callers_context_variables(runtime_name: str) -> None:
    from contextvars import ContextVar

    user: ContextVar[str] = ContextVar("user", default="nobody")

    @tool
    def get_user() -> str:
        """Return the user."""
        return user.get()

    @tool
    async def get_user_async() -> str:
        """Return the user."""
        return user.get()

    model = ScriptedModel(
        [tool_call("get_user"), tool_call("get_user_async")], tool_call("get_user"), "Yes."
    )
    token = user.set("ada")
    try:
        result = run_to_end(runtime_name, Agent(model, [get_user, get_user_async]), "Go.")
    finally:
        user.reset(token)
    assert [e.result for e in result.state.tool_executions] == ["ada"] * 3


def test_an_idempotent_tool_runs_once_for_equal_arguments(runtime_name: str) -> None:
    runs: list[Any] = []

    @tool(idempotent=True)
    def buy(what: str, n: int | bool = 1) -> int:
        """Buy something."""
        runs.append((what, n))
        return len(runs)

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
    first = run_to_end(runtime_name, agent, "Go.", "t")
    assert [e.result for e in first.state.tool_executions] == ["1", "1", "2", "1"]
    assert first.state.tool_executions[1].duration_ms is None
    run_to_end(runtime_name, agent, "Again.", "t")
    assert runs == [("a", 1), ("a", True)]
    run_to_end(runtime_name, agent, "In another thread.", "u")
    assert len(runs) == 4


def test_an_idempotent_call_that_failed_may_run_again(runtime_name: str) -> None:
    runs: list[int] = []

    @tool(idempotent=True)
    def flaky() -> str:
        """Fail at first."""
        runs.append(1)
        if len(runs) == 1:
            raise OSError("try again")
        return "good"

    calls = [tool_call("flaky"), tool_call("flaky")]
    result = run_to_end(runtime_name, Agent(ScriptedModel(calls, calls, "Yes."), [flaky]), "Go.")
    assert get_errors(result) == ["OSError: try again"] * 2 + [None] * 2
    assert len(runs) == 2


class NoMessage(Exception):
    """An error whose message cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no message")


class BrokenResult:
    """A result whose methods fail."""

    def tolist(self) -> Any:
        raise NoMessage


def test_every_error_of_a_tool_is_an_error_for_the_model(runtime_name: str) -> None:
    class Unbindable(FunctionTool[Any, Any]):
        def bind_call(self, call: ToolCall, context: ToolContext | None = None) -> dict[str, Any]:
            raise NoMessage

    @tool
    def raises() -> None:
        """Raise."""
        raise NoMessage

    @tool
    def returns() -> object:
        """Return."""
        return BrokenResult()

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
    for calls in (
        [tool_call(tool_.name) for tool_ in tools],
        *([tool_call(tool_.name)] for tool_ in tools),
    ):
        model = ScriptedModel(calls, "Yes.")
        result = run_to_end(runtime_name, Agent(model, tools), "Go.")
        assert result.message == "Yes."
        names = [call.tool_calls[0].name for call in calls]
        errors = dict(zip(names, get_errors(result), strict=True))
        expected = {
            "unbindable": "NoMessage",
            "raises": "NoMessage",
            "returns": "",  # any text
            "stops": "StopIteration",
            "stops_async": "StopIteration: here",
        }
        for name, error in errors.items():
            assert error is not None
            assert error.startswith(expected[name])


def test_idempotent_calls_with_lone_surrogates_are_kept_apart(runtime_name: str) -> None:
    @tool(idempotent=True)
    def once(value: str) -> str:
        """Run once."""
        runs.append(value)
        return "done"

    runs: list[str] = []
    calls = [tool_call("once", value=value) for value in ("\ud800", "\ud801", "\ud800")]
    run_to_end(runtime_name, Agent(ScriptedModel(calls, "Yes."), [once], max_concurrency=1), "Go.")
    assert runs == ["\ud800", "\ud801"]


# -- errors --------------------------------------------------


def test_a_failed_run_gives_the_reason_and_then_raises(runtime_name: str) -> None:
    model = ScriptedModel(tool_call("double", n=1), RuntimeError("no more"))
    recorded = record_run(runtime_name, Agent(model, [double]), "Go.")
    assert recorded.terminate_event == TerminateEvent(
        "error: RuntimeError: no more", 1, 1, finish_reason="tool_calls"
    )
    assert isinstance(recorded.error, RuntimeError)
    with pytest.raises(RuntimeError, match="no more"):
        run_to_end(runtime_name, Agent(ScriptedModel(RuntimeError("no more"))), "Go.")


def test_a_stream_that_breaks_ends_the_run(runtime_name: str) -> None:
    recorded = record_run(runtime_name, Agent(ScriptedModel(interrupted_text("half an"))), "Go.")
    assert recorded.text == "half an"
    assert isinstance(recorded.error, StreamInterruptedError)
    assert recorded.terminate_event.reason.startswith("error: StreamInterruptedError")


# -- models --------------------------------------------------


class MinimalModel:
    """A model with the two async methods alone, whose last event has no response."""

    def __init__(self, responses: list[tuple[str, list[ToolCall]]]) -> None:
        self.responses = responses
        self.closed_streams = 0

    async def complete(self, messages: Any, tools: Any = None, **options: Any) -> ModelResponse:
        await anyio.lowlevel.checkpoint()
        content, calls = self.responses.pop(0)
        return ModelResponse(Message.assistant(content or None, calls), usage={"prompt_tokens": 1})

    async def stream(
        self, messages: Any, tools: Any = None, **options: Any
    ) -> AsyncIterator[ModelChunkEvent]:
        content, calls = self.responses.pop(0)
        try:
            with anyio.CancelScope():  # a scope must be entered and left in the same task
                for word in content.split():
                    await anyio.lowlevel.checkpoint()
                    yield ModelChunkEvent(content=word)
                yield ModelChunkEvent(
                    tool_calls=tuple(calls), done=True, usage={"prompt_tokens": 1}
                )
        finally:
            self.closed_streams += 1


def test_a_model_needs_two_async_methods_only(runtime_name: str) -> None:
    def make_model() -> MinimalModel:
        return MinimalModel([("Let", [ToolCall("a", "double", {"n": 3})]), ("All done", [])])

    model = make_model()
    assert isinstance(model, ModelProtocol)
    recorded = record_run(runtime_name, Agent(model, [double]), "Go.")
    assert recorded.text == "LetAlldone"
    assert recorded.terminate_event == TerminateEvent(
        "complete", 2, 1, "Alldone", {"prompt_tokens": 2}, "other"
    )
    assert model.closed_streams == 2
    assert run_to_end(runtime_name, Agent(make_model(), [double]), "Go.").message == "All done"


@pytest.mark.parametrize("response", [None, "Yes.", {"content": "Yes."}])
def test_a_model_that_returns_something_else_is_named(runtime_name: str, response: Any) -> None:
    class WrongModel(MinimalModel):
        async def complete(self, messages: Any, tools: Any = None, **options: Any) -> Any:
            return response

    type_name = type(response).__name__
    with pytest.raises(
        TypeError, match=f"the model WrongModel gave {type_name}, not a ModelResponse"
    ):
        run_to_end(runtime_name, Agent(WrongModel([])), "Go.")


def test_leaving_a_blocking_run_closes_the_stream_of_an_async_model() -> None:
    model = MinimalModel([("one two three", [])])
    with Agent(model).stream_sync("Go.") as run:
        assert next(run) == ModelChunkEvent(content="one")
    assert model.closed_streams == 1


def test_a_registry_string_is_looked_up_once_and_at_the_first_run(runtime_name: str) -> None:
    names: list[str] = []

    def make_model(name: str) -> Any:
        names.append(name)
        return ScriptedModel("Yes.", cycle=True)

    register_provider("later", make_model)
    agent = Agent("later:x")
    assert names == []
    run_to_end(runtime_name, agent, "Go.")
    run_to_end(runtime_name, agent, "Go.")
    assert names == ["x"]
    with pytest.raises(ConfigurationError, match="no provider 'nobody'"):
        run_to_end(runtime_name, Agent("nobody:x"), "Go.")


# -- the content of a request --------------------------------------------------


def test_a_conversation_manager_shortens_requests_and_not_the_state(runtime_name: str) -> None:
    model = ScriptedModel(tool_call("double", n=1), tool_call("double", n=2), "Yes.")
    manager = SlidingWindowManager(max_messages=3)
    agent = Agent(model, [double], "Be brief.", conversation_manager=manager)
    history = [Message.user("Hi."), Message.assistant("Hello."), Message.user("Go.")]
    result = run_to_end(runtime_name, agent, history)
    assert len(result.state.messages) == 8
    assert max(len(call.messages) for call in model.calls) < 8
    assert all(call.messages[0].text == "Be brief." for call in model.calls)


def test_tool_choice_applies_until_there_is_a_tool_result(runtime_name: str) -> None:
    responses = [tool_call("double", n=1), tool_call("double", n=2), "so", text("4")]
    model = ScriptedModel(*responses, tool_call("double", n=3), text("6"))
    agent = Agent(model, [double], tool_choice="required", output_schema=int)
    agent = agent.copy(checkpointer=MemoryCheckpointer())
    assert run_to_end(runtime_name, agent, "Go.", "t").parsed == 4
    assert run_to_end(runtime_name, agent.copy(tool_choice="double"), "On.", "t").parsed == 6
    choices = [call.options.get("tool_choice") for call in model.calls]
    assert choices == ["required", None, None, None, "double", None]


def test_a_manager_that_replaces_history_calls_the_model_and_changes_the_state(
    runtime_name: str,
) -> None:
    from locus.memory import SummarizingManager

    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    model = ScriptedModel(text("They said hello.", usage=usage), text("Yes.", usage=usage))
    manager = SummarizingManager(keep_last=2, threshold=4)
    history = [
        message
        for n in range(4)
        for message in (Message.user(f"Hi {n}."), Message.assistant(f"Hello {n}."))
    ]
    agent = Agent(model, system_prompt="Be brief.", conversation_manager=manager)
    recorded = record_run(runtime_name, agent, [*history, Message.user("Go.")])
    assert recorded.result is not None
    assert recorded.text == "Yes."  # the summary is not an event
    assert recorded.result.iterations == 1
    assert recorded.result.usage == {"prompt_tokens": 20, "completion_tokens": 2}
    assert [message.text for message in recorded.result.state.messages][-2:] == ["Go.", "Yes."]
    assert "They said hello." in recorded.result.state.messages[0].text
    assert model.calls[1].messages[0].text == "Be brief."


def test_the_facts_of_a_memory_store_are_in_the_system_prompt(runtime_name: str) -> None:
    store = InMemoryStore()
    store.put("ada", "likes", "tea")
    model = ScriptedModel("Yes.")
    run_to_end(
        runtime_name, Agent(model, [], "Be brief.", memory=store, memory_namespace="ada"), "Go."
    )
    system_prompt = model.calls[0].messages[0].text
    assert system_prompt.startswith("Be brief.\n\n")
    assert '"tea"' in system_prompt


def test_an_agent_without_tools_leaves_the_model_its_bound_tools(runtime_name: str) -> None:
    model = ScriptedModel("Yes.", cycle=True)
    bound = model.bind_tools([double])
    run_to_end(runtime_name, Agent(bound), "Go.")
    run_to_end(runtime_name, Agent(bound, [greet]), "Go.")
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
    assert agent.copy(tools=[greet]).find_tool("double") is None


def test_an_agent_with_a_registry_string_can_be_pickled() -> None:
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
def test_settings_that_cannot_work_are_errors(
    fields: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        Agent(**{"model": ScriptedModel("Yes."), **fields})


def test_tools_and_hooks_may_be_none_and_a_namespace_may_be_a_list() -> None:
    agent = Agent(ScriptedModel("Yes."), tools=None, hooks=None)  # type: ignore[arg-type]
    assert (agent.tools, agent.hooks) == ((), ())
    assert agent.copy(memory_namespace=["a", "b"]).memory_namespace == ("a", "b")


@pytest.mark.parametrize("schema", [int, list[str], int | None, dict[str, int]])
def test_an_output_schema_may_be_any_type(schema: Any) -> None:
    assert Agent(ScriptedModel("Yes."), output_schema=schema).output_schema is schema


@pytest.mark.parametrize("prompt", [b"Go.", bytearray(b"Go."), {"role": "user"}])
def test_an_error_names_the_type_of_a_wrong_prompt(prompt: Any) -> None:
    with pytest.raises(TypeError, match=f"a prompt is .*; not {type(prompt).__name__}"):
        Agent(ScriptedModel("Yes.")).run_sync(prompt)


def test_an_agent_has_a_hash_even_if_its_hooks_have_none() -> None:
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


def test_one_agent_serves_many_threads_and_tasks_at_once() -> None:
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
        thread.join(HANG_SECONDS)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(lambda: run())

    async def run() -> None:
        results.append((await agent.arun("Go.")).message)

    anyio.run(main, backend="trio")
    assert results == ["Yes."] * 16


def test_a_long_history_does_not_make_an_iteration_slow() -> None:
    def measure_seconds(length: int) -> float:
        messages = [
            message
            for n in range(length // 2)
            for message in (Message.user(f"Hi {n}."), Message.assistant("Hello."))
        ]
        responses = [tool_call("double", n=1)] * 60
        agent = Agent(FastModel([*responses, "Yes."]), [double], max_iterations=100)
        started_at = time.process_time()
        agent.run_sync([*messages, Message.user("Go.")])
        return time.process_time() - started_at

    # The same work in each iteration, a response and a tool, and a copy of the references.
    measure_seconds(10)
    short = min(measure_seconds(1_000) for _ in range(3))
    long = min(measure_seconds(10_000) for _ in range(3))
    assert long < 6 * short  # ten times the messages; quadratic work takes a hundred times as long


class FastModel:
    """A model that ignores the conversation."""

    def __init__(self, responses: list[Any]) -> None:
        self.responses = iter(responses)

    async def complete(self, *_: Any, **__: Any) -> ModelResponse:
        raise AssertionError

    def complete_sync(self, messages: Any, tools: Any = None, **options: Any) -> ModelResponse:
        response = next(self.responses)
        return response if isinstance(response, ModelResponse) else text(response)

    def stream(self, *_: Any, **__: Any) -> AsyncIterator[ModelChunkEvent]:
        raise AssertionError
