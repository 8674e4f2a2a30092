"""A round of tool calls: malformed, repeated and nested calls, and errors of tools and hooks."""

from __future__ import annotations

import pickle
import time
from asyncio import CancelledError
from collections.abc import Iterator
from typing import Any, ClassVar

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
from locus.models import OpenAIModel
from locus.testing import ScriptedModel, tool_call
from locus.tools import ModelRetry, SchemaTool, tool
from tests.agent.recorded_runs import record_run, run_to_end


def make_message(*tool_calls: ToolCall) -> Message:
    return Message.assistant(None, tool_calls)


def make_call(id: str, **arguments: Any) -> ToolCall:
    return ToolCall(id, "ping", arguments)


def make_malformed_call(id: str) -> ToolCall:
    return ToolCall(id, "ping", malformed_arguments='{"n": ')


def run_ping(runtime_name: str, *rounds: Message, fails: bool = False, **settings: Any) -> Any:
    """Run an agent with an idempotent tool; return its runs, its errors, and the result."""
    runs = []

    @tool(idempotent=True)
    def ping(n: int = 0) -> str:
        """Answer."""
        runs.append(n)
        if fails:
            raise ValueError("no")
        return f"pong {len(runs)}"

    agent = Agent(ScriptedModel(*rounds, "Done."), [ping], **settings)
    result = run_to_end(runtime_name, agent, "Go.")
    return runs, [execution.error for execution in result.state.tool_executions], result


@pytest.mark.parametrize("tool_execution", ["concurrent", "sequential"])
def test_a_malformed_call_is_not_equal_to_any_other_call(
    runtime_name: str, tool_execution: str
) -> None:
    rounds = (
        make_message(make_malformed_call("a"), make_call("b")),
        make_message(make_call("c"), make_malformed_call("d")),
    )
    runs, errors, _ = run_ping(runtime_name, *rounds, tool_execution=tool_execution)
    assert runs == [0]
    first, second, third, last = errors
    assert second is third is None
    assert '{"n": ' in first
    assert first == last


@pytest.mark.parametrize("tool_execution", ["concurrent", "sequential"])
@pytest.mark.parametrize("fails", [False, True])
def test_equal_calls_of_a_round_run_once_and_failed_ones_again_in_the_next_round(
    runtime_name: str, tool_execution: str, fails: bool
) -> None:
    rounds = (
        make_message(make_call("a", n=1), make_call("b", n=1)),
        make_message(make_call("c", n=1)),
    )
    runs, errors, _ = run_ping(runtime_name, *rounds, fails=fails, tool_execution=tool_execution)
    assert runs == [1, 1] if fails else [1]
    assert errors == (["ValueError: no"] * 3 if fails else [None] * 3)


@pytest.mark.parametrize("levels", [101, 990, 4000])
@pytest.mark.parametrize("saved", [False, True])
def test_arguments_too_deep_to_be_saved_are_malformed(
    runtime_name: str, levels: int, saved: bool
) -> None:
    text = '{"n":' + "[" * levels + "]" * levels + "}"
    call = ToolCall.from_json("a", "ping", text)
    settings: dict[str, Any] = {"checkpointer": MemoryCheckpointer()} if saved else {}
    runs, errors, result = run_ping(
        runtime_name, make_message(call, make_call("b", n=2)), **settings
    )
    assert runs == [2]
    assert errors[0] is not None
    assert "more than 100 levels" in errors[0]
    assert errors[1] is None
    assert result.state.messages[1].tool_calls[0].malformed_arguments == text


def test_text_beside_a_call_that_ends_the_run_is_the_message(runtime_name: str) -> None:
    message = Message.assistant("All DONE.", [make_call("a")])
    *_, result = run_ping(runtime_name, message, termination=TextMention("DONE"))
    assert result.message == "All DONE."
    agent = Agent(ScriptedModel(tool_call("none")), max_iterations=1)
    recorded = record_run(runtime_name, agent, "Go.")
    assert recorded.result is not None
    assert (recorded.result.message, recorded.events[-1].final_message) == ("", None)


def test_resuming_needs_a_thread_id(runtime_name: str) -> None:
    agent = Agent(ScriptedModel("No."), (), "Be brief.", checkpointer=MemoryCheckpointer())
    with pytest.raises(ConfigurationError, match="thread_id names the conversation"):
        run_to_end(runtime_name, agent, resume=True, thread_id=None)


@pytest.mark.parametrize("error_type", [GeneratorExit, BaseException, SystemExit])
def test_no_error_of_an_async_tool_replaces_the_background_loop(
    error_type: type[BaseException],
) -> None:
    loops: list[int] = []

    @tool
    async def get_loop() -> None:
        """Record the thread of the loop."""
        import threading

        loops.append(threading.get_ident())

    @tool
    async def raises() -> None:
        """Raise."""
        raise error_type("mine")

    def make_calls(*names: str) -> Message:
        return Message.assistant(None, [ToolCall(name, name) for name in names])

    for names in (("get_loop",), ("get_loop", "raises"), ("get_loop",)):
        agent = Agent(ScriptedModel(make_calls(*names), "Yes."), [get_loop, raises])
        if "raises" in names and error_type not in (GeneratorExit, SystemExit):
            with pytest.raises(error_type):
                agent.run_sync("Go.")
        else:
            result = agent.run_sync("Go.")
            result_texts = [
                message.text for message in result.state.messages if message.role is Role.TOOL
            ]
            assert all("cancelled" not in text for text in result_texts)
    assert len(set(loops)) == 1
    assert len(loops) == 3


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cancellation_that_a_hook_raises_ends_the_run(
    runtime_name: str, count: int, when: str
) -> None:
    class CancellingHook:
        async def cancel(self, event: Any) -> None:
            raise CancelledError

    setattr(CancellingHook, f"on_{when}_tool_call", CancellingHook.cancel)
    runs = []

    @tool
    async def ping(n: int) -> None:
        """Answer."""
        runs.append(n)

    message = Message.assistant(None, [ToolCall(str(n), "ping", {"n": n}) for n in range(count)])
    agent = Agent(
        ScriptedModel(message, "Done."), [ping], hooks=[CancellingHook()], max_concurrency=2
    )
    checkpointer = MemoryCheckpointer()
    with pytest.raises(BaseException) as exc_info:  # noqa: PT011 - there are several of that name
        run_to_end(runtime_name, agent.copy(checkpointer=checkpointer), "Go.", "t")
    assert type(exc_info.value).__name__ == "CancelledError"
    state = checkpointer.load("t")
    assert state is not None
    assert len(state.tool_executions) == len(runs)


def test_an_exception_group_of_a_tool_is_raised_unchanged(runtime_name: str) -> None:
    group = BaseExceptionGroup("mine", [KeyboardInterrupt(), ValueError("no")])

    @tool
    async def ping(n: int) -> None:
        """Answer."""
        if n:
            raise group

    message = Message.assistant(None, [ToolCall(str(n), "ping", {"n": n}) for n in range(2)])
    for response in (message, Message.assistant(None, message.tool_calls[1:])):
        with pytest.raises(BaseExceptionGroup) as exc_info:
            run_to_end(runtime_name, Agent(ScriptedModel(response), [ping]), "Go.")
        assert exc_info.value is group


@pytest.mark.parametrize(
    ("make_value", "error_message"),
    [
        (lambda: ModelChunkEvent(content=5), "ModelChunkEvent.content is text or None, not 5"),
        (lambda: ModelChunkEvent(tool_calls=[{}]), r"tool_calls\[0\] is dict, not ToolCall"),
        (lambda: ModelResponse(Message.user("Hello.")), "a message of the user's, not one of"),
    ],
)
def test_a_model_that_returns_something_wrong_is_named(
    runtime_name: str, make_value: Any, error_message: str
) -> None:
    class WrongModel:
        async def complete(self, messages: Any, tools: Any = None, **options: Any) -> Any:
            return make_value()

        async def stream(self, messages: Any, tools: Any = None, **options: Any) -> Any:
            value = make_value()
            yield ModelChunkEvent(done=True, response=value)

    with pytest.raises(TypeError, match=error_message):
        run_to_end(runtime_name, Agent(WrongModel()), "Go.")
    assert isinstance(record_run(runtime_name, Agent(WrongModel()), "Go.").error, TypeError)


@pytest.mark.parametrize("function_type", ["async", "blocking", "awaitable"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_tool_that_raises_generator_exit_has_failed(
    runtime_name: str, function_type: str, count: int
) -> None:
    @tool
    async def raises() -> None:
        """Raise after a checkpoint."""
        await anyio.lowlevel.checkpoint()
        raise GeneratorExit

    @tool(name="raises")
    def raises_at_once() -> None:
        """Raise at once."""
        raise GeneratorExit

    @tool(name="raises")
    def returns_awaitable() -> Any:
        """Return an awaitable that raises."""
        return raises.function()

    raising_tool = {"async": raises, "blocking": raises_at_once, "awaitable": returns_awaitable}[
        function_type
    ]
    message = Message.assistant(None, [ToolCall(str(n), "raises") for n in range(count)])
    result = run_to_end(runtime_name, Agent(ScriptedModel(message, "Done."), [raising_tool]), "Go.")
    errors = [execution.error for execution in result.state.tool_executions]
    assert errors == ["RuntimeError: the tool raised GeneratorExit"] * count
    assert result.message == "Done."


def test_a_call_that_contains_itself_is_malformed(runtime_name: str) -> None:
    endless: dict[str, Any] = {}
    endless["n"] = [endless]
    runs, errors, _ = run_ping(
        runtime_name, make_message(ToolCall("a", "ping", endless), make_call("b", n=2))
    )
    assert runs == [2]
    assert "nested too deep" in errors[0]


def test_an_empty_thread_can_be_resumed(runtime_name: str) -> None:
    checkpointer = MemoryCheckpointer()
    checkpointer.save("t", AgentState())
    agent = Agent(ScriptedModel("Hello."), (), "Be brief.", checkpointer=checkpointer)
    assert run_to_end(runtime_name, agent, resume=True, thread_id="t").message == "Hello."


# -- tools of any making -----------------------------------------------------------------------


def test_a_tool_asks_the_model_to_try_again(runtime_name: str) -> None:
    @tool
    def find(name: str) -> str:
        """Find a person."""
        if " " not in name:
            raise ModelRetry("give the first name as well")
        return f"found {name}"

    model = ScriptedModel(tool_call("find", name="Ada"), tool_call("find", name="Ada L."), "Yes.")
    result = run_to_end(runtime_name, Agent(model, [find], on_tool_error="raise"), "Go.")
    results = [message.text for message in result.state.messages if message.role is Role.TOOL]
    assert results == ["Error: give the first name as well", "found Ada L."]


def test_a_task_group_passes_on_that_the_model_should_try_again(runtime_name: str) -> None:
    @tool
    async def find(others: int = 0) -> str:
        """Find a person."""
        errors: list[Exception] = [ModelRetry("give a name"), ModelRetry("and a year")]
        if others:
            errors.append(LookupError("no such table"))
        raise ExceptionGroup("outer", [ExceptionGroup("inner", errors)])

    model = ScriptedModel(tool_call("find"), tool_call("find", others=1))
    agent = Agent(model, [find], on_tool_error="raise")
    with pytest.raises(ExceptionGroup):
        run_to_end(runtime_name, agent, "Go.")
    assert model.calls[1].messages[-1].text == "Error: give a name; and a year"


@pytest.mark.parametrize("is_async", [False, True])
def test_what_an_iterator_raises_is_the_tools_own_error(runtime_name: str, is_async: bool) -> None:
    """The code of the tool runs while it is read, within the tool's time."""

    async def read(rows: Any) -> Any:
        for row in rows:
            await anyio.lowlevel.checkpoint()
            yield row

    def iterate(kind: str) -> Iterator[int]:
        yield 1
        if kind == "retry":
            raise ModelRetry("narrow it down")
        if kind == "fail":
            raise LookupError("no such table")
        while kind == "hang":
            time.sleep(0.01)
            yield 2

    @tool(timeout=0.2)
    def find(kind: str) -> Any:
        """Find rows."""
        return read(iterate(kind)) if is_async else iterate(kind)

    kinds = ("end", "retry", "fail", "hang")
    model = ScriptedModel(*(tool_call("find", kind=kind) for kind in kinds), "end")
    result = run_to_end(runtime_name, Agent(model, [find]), "Go.")
    results = [message.text for message in result.state.messages if message.role is Role.TOOL]
    assert results[:3] == ["[1]", "Error: narrow it down", "Error: LookupError: no such table"]
    assert results[3].startswith("Error: TimeoutError: the tool did not finish within 0.2 s")
    model = ScriptedModel(tool_call("find", kind="retry"), tool_call("find", kind="fail"))
    with pytest.raises(LookupError):
        run_to_end(runtime_name, Agent(model, [find], on_tool_error="raise"), "Go.")


@pytest.mark.parametrize("is_async", [False, True])
def test_an_error_of_a_tool_may_end_the_run(runtime_name: str, is_async: bool) -> None:
    def fail() -> None:
        raise LookupError("no such table")

    async def fail_async() -> None:
        raise LookupError("no such table")

    @tool
    def works(n: int) -> int:
        """Work."""
        return n

    failing = tool(fail_async if is_async else fail, name="fail")
    calls = [tool_call("fail"), tool_call("works", n=1), tool_call("works", n="x")]
    checkpointer = MemoryCheckpointer()
    agent = Agent(
        ScriptedModel(calls, "Yes."),
        [failing, works],
        on_tool_error="raise",
        checkpointer=checkpointer,
    )
    with pytest.raises(LookupError, match="no such table"):
        run_to_end(runtime_name, agent, "Go.", "t")
    state = checkpointer.load("t")
    assert state is not None
    assert [e.tool_name for e in state.tool_executions] == ["works", "works"]
    other = agent.copy(on_tool_error="report", model=ScriptedModel("Yes."))
    result = run_to_end(runtime_name, other, resume=True, thread_id="t")
    assert result.message == "Yes."
    errors = [execution.error for execution in result.state.tool_executions]
    assert errors[0] == "LookupError: no such table"
    assert (errors[1], "n: " in str(errors[2])) == (None, True)


def test_an_unknown_policy_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="on_tool_error is 'report' or 'raise'"):
        Agent(ScriptedModel("x"), on_tool_error="ignore")  # type: ignore[arg-type]


class RemoteTool:
    """A tool of another library: a schema, and a call."""

    schema: ClassVar[Any] = {
        "type": "function",
        "function": {"name": "search", "parameters": {"type": "object", "required": ["q"]}},
    }

    def to_openai_schema(self) -> Any:
        return self.schema

    def __call__(self, **arguments: Any) -> str:
        return f"searched {arguments['q']}"


def test_tools_of_any_making_are_run_and_those_of_the_server_are_sent(runtime_name: str) -> None:
    @tool
    def look(q: str) -> str:
        """Look."""
        return f"looked {q}"

    async def read(**arguments: Any) -> Any:
        return arguments

    reader = SchemaTool("read_file", "Read.", {"type": "object"}, read)
    server_tool = {"type": "web_search_20250305", "name": "web_search"}
    calls = [
        tool_call("search", q="x"),
        tool_call("look", q="y"),
        tool_call("read_file", **{"a-b": 1}),
    ]
    model = ScriptedModel([*calls, tool_call("web_search")], "Yes.")
    agent = Agent(model, [RemoteTool(), look, reader, server_tool])
    result = run_to_end(runtime_name, agent, "Go.")
    results = [message.text for message in result.state.messages if message.role is Role.TOOL]
    assert results[:3] == ["searched x", "looked y", '{"a-b":1}']
    assert "there is no tool 'web_search'" in results[3]
    sent = model.calls[0].tools
    assert sent[0] == RemoteTool.schema
    assert sent[3] == server_tool


def test_tools_that_are_bound_to_the_model_are_run(runtime_name: str) -> None:
    @tool
    def look(q: str) -> str:
        """Look."""
        return f"looked {q}"

    model = ScriptedModel(tool_call("look", q="x"), "Yes.").bind_tools([look, {"type": "other"}])
    result = run_to_end(runtime_name, Agent(model), "Go.")
    assert [execution.result for execution in result.state.tool_executions] == ["looked x"]
    bound = OpenAIModel("m", api_key="k").bind_tools([look])
    assert bound.tools[0].tool is look  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(bound)) == bound
