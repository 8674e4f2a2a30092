"""Which calls are run, and how often: the malformed, the repeated, the deep."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from locus.agent import Agent
from locus.core.errors import ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message, Role, ToolCall
from locus.core.response import ModelResponse
from locus.core.state import AgentState
from locus.core.termination import TextMention
from locus.memory import MemoryCheckpointer
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES, see, to_end


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def calls(*made: ToolCall) -> Message:
    return Message.assistant(None, made)


def whole(id: str, **arguments: Any) -> ToolCall:
    return ToolCall(id, "ping", arguments)


def broken(id: str) -> ToolCall:
    return ToolCall(id, "ping", malformed_arguments='{"n": ')


def pinged(runtime: str, *rounds: Message, fails: bool = False, **settings: Any) -> Any:
    """How often an idempotent tool ran, and the errors of the calls."""
    ran = []

    @tool(idempotent=True)
    def ping(n: int = 0) -> str:
        """Answer."""
        ran.append(n)
        if fails:
            raise ValueError("no")
        return f"pong {len(ran)}"

    agent = Agent(ScriptedModel(*rounds, "Done."), [ping], **settings)
    result = to_end(runtime, agent, "Go.")
    return ran, [execution.error for execution in result.state.tool_executions], result


@pytest.mark.parametrize("how", ["concurrent", "sequential"])
def test_a_malformed_call_repeats_none_and_is_repeated_by_none(runtime: str, how: str) -> None:
    rounds = calls(broken("a"), whole("b")), calls(whole("c"), broken("d"))
    ran, errors, _ = pinged(runtime, *rounds, tool_execution=how)
    assert ran == [0]
    first, second, third, last = errors
    assert second is third is None
    assert '{"n": ' in first
    assert first == last


@pytest.mark.parametrize("how", ["concurrent", "sequential"])
@pytest.mark.parametrize("fails", [False, True])
def test_equal_calls_of_a_round_run_once_and_what_failed_again_in_the_next(
    runtime: str, how: str, fails: bool
) -> None:
    rounds = calls(whole("a", n=1), whole("b", n=1)), calls(whole("c", n=1))
    ran, errors, _ = pinged(runtime, *rounds, fails=fails, tool_execution=how)
    assert ran == [1, 1] if fails else [1]
    assert errors == (["ValueError: no"] * 3 if fails else [None] * 3)


@pytest.mark.parametrize("levels", [101, 990, 4000])
@pytest.mark.parametrize("saved", [False, True])
def test_arguments_too_deep_to_be_saved_are_malformed(
    runtime: str, levels: int, saved: bool
) -> None:
    text = '{"n":' + "[" * levels + "]" * levels + "}"
    made = ToolCall.from_json("a", "ping", text)
    settings: dict[str, Any] = {"checkpointer": MemoryCheckpointer()} if saved else {}
    ran, errors, result = pinged(runtime, calls(made, whole("b", n=2)), **settings)
    assert ran == [2]
    assert errors[0] is not None
    assert "more than 100 levels" in errors[0]
    assert errors[1] is None
    assert result.state.messages[1].tool_calls[0].malformed_arguments == text


def test_what_is_said_beside_a_call_that_ends_the_run_is_its_text(runtime: str) -> None:
    said = Message.assistant("All DONE.", [whole("a")])
    *_, result = pinged(runtime, said, termination=TextMention("DONE"))
    assert result.message == "All DONE."
    agent = Agent(ScriptedModel(tool_call("none")), max_iterations=1)
    seen = see(runtime, agent, "Go.")
    assert seen.result is not None
    assert (seen.result.message, seen.events[-1].final_message) == ("", None)


def test_who_resumes_has_to_say_what(runtime: str) -> None:
    agent = Agent(ScriptedModel("No."), (), "Be brief.", checkpointer=MemoryCheckpointer())
    with pytest.raises(ConfigurationError, match="thread_id names the conversation"):
        to_end(runtime, agent, resume=True, thread_id=None)


@pytest.mark.parametrize("error", [GeneratorExit, BaseException, SystemExit])
def test_whatever_an_async_tool_raises_the_others_keep_their_loop(
    error: type[BaseException],
) -> None:
    loops: list[int] = []

    @tool
    async def where() -> None:
        """Say in which loop it runs."""
        import threading

        loops.append(threading.get_ident())

    @tool
    async def raises() -> None:
        """Raise."""
        raise error("mine")

    def asked(*names: str) -> Message:
        return Message.assistant(None, [ToolCall(name, name) for name in names])

    for names in (("where",), ("where", "raises"), ("where",)):
        agent = Agent(ScriptedModel(asked(*names), "Yes."), [where, raises])
        if "raises" in names and error is not GeneratorExit:
            with pytest.raises(error):
                agent.run_sync("Go.")
        else:
            result = agent.run_sync("Go.")
            told = [m.text for m in result.state.messages if m.role is Role.TOOL]
            assert all("cancelled" not in text for text in told)
    assert len(set(loops)) == 1
    assert len(loops) == 3


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hook_that_lets_a_cancellation_through_ends_the_run(
    runtime: str, count: int, when: str
) -> None:
    class LetsThrough:
        async def fall(self, event: Any) -> None:
            raise CancelledError

    setattr(LetsThrough, f"on_{when}_tool_call", LetsThrough.fall)
    ran = []

    @tool
    async def ping(n: int) -> None:
        """Answer."""
        ran.append(n)

    asked = Message.assistant(None, [ToolCall(str(n), "ping", {"n": n}) for n in range(count)])
    agent = Agent(ScriptedModel(asked, "Done."), [ping], hooks=[LetsThrough()], max_concurrency=2)
    checkpointer = MemoryCheckpointer()
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - futures have one of their own
        to_end(runtime, agent.copy(checkpointer=checkpointer), "Go.", "t")
    assert type(raised.value).__name__ == "CancelledError"
    state = checkpointer.load("t")
    assert state is not None
    assert len(state.tool_executions) == len(ran)


def test_a_group_that_a_tool_raises_is_raised_whole(runtime: str) -> None:
    group = BaseExceptionGroup("mine", [KeyboardInterrupt(), ValueError("no")])

    @tool
    async def ping(n: int) -> None:
        """Answer."""
        if n:
            raise group

    asked = Message.assistant(None, [ToolCall(str(n), "ping", {"n": n}) for n in range(2)])
    for message in (asked, Message.assistant(None, asked.tool_calls[1:])):
        with pytest.raises(BaseExceptionGroup) as raised:
            to_end(runtime, Agent(ScriptedModel(message), [ping]), "Go.")
        assert raised.value is group


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: ModelChunkEvent(content=5), "ModelChunkEvent.content is text or None, not 5"),
        (lambda: ModelChunkEvent(tool_calls=[{}]), r"tool_calls\[0\] is dict, not ToolCall"),
        (lambda: ModelResponse(Message.user("Hello.")), "a message of the user's, not one of"),
    ],
)
def test_a_model_that_answers_what_is_no_answer_is_named(runtime: str, made: Any, why: str) -> None:
    class Odd:
        async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
            return made()

        async def stream(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
            answer = made()
            yield ModelChunkEvent(done=True, response=answer)

    with pytest.raises(TypeError, match=why):
        to_end(runtime, Agent(Odd()), "Go.")
    assert isinstance(see(runtime, Agent(Odd()), "Go.").error, TypeError)


@pytest.mark.parametrize("kind", ["async", "blocking", "awaitable"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_tool_that_raises_generator_exit_has_failed(runtime: str, kind: str, count: int) -> None:
    @tool
    async def falls() -> None:
        """Fall."""
        await anyio.lowlevel.checkpoint()
        raise GeneratorExit

    @tool(name="falls")
    def falls_at_once() -> None:
        """Fall."""
        raise GeneratorExit

    @tool(name="falls")
    def gives_an_awaitable() -> Any:
        """Fall later."""
        return falls.function()

    made = {"async": falls, "blocking": falls_at_once, "awaitable": gives_an_awaitable}[kind]
    asked = Message.assistant(None, [ToolCall(str(n), "falls") for n in range(count)])
    result = to_end(runtime, Agent(ScriptedModel(asked, "Done."), [made]), "Go.")
    errors = [execution.error for execution in result.state.tool_executions]
    assert errors == ["RuntimeError: the tool raised GeneratorExit"] * count
    assert result.message == "Done."


def test_a_call_that_contains_itself_is_malformed(runtime: str) -> None:
    endless: dict[str, Any] = {}
    endless["n"] = [endless]
    ran, errors, _ = pinged(runtime, calls(ToolCall("a", "ping", endless), whole("b", n=2)))
    assert ran == [2]
    assert "nested too deep" in errors[0]


def test_a_thread_that_was_saved_empty_is_resumed(runtime: str) -> None:
    checkpointer = MemoryCheckpointer()
    checkpointer.save("t", AgentState())
    agent = Agent(ScriptedModel("Hello."), (), "Be brief.", checkpointer=checkpointer)
    assert to_end(runtime, agent, resume=True, thread_id="t").message == "Hello."
