"""Context variables: what hooks set is seen by what runs after them, and not by the caller."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from locus.agent import Agent
from locus.agent.await_in_context import await_in_context
from locus.memory import MemoryCheckpointer
from locus.testing import FunctionModel, ScriptedModel, tool_call
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES, record_run, run_to_end
from tests.support.runtimes import run_async
from tests.support.timing import FOREVER, HANG_SECONDS

SPAN = contextvars.ContextVar("SPAN", default="none")

each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)
both_kinds = pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])


@tool
def read() -> str:
    """Read the variable."""
    return SPAN.get()


@tool
async def read_async() -> str:
    """Read the variable."""
    await anyio.lowlevel.checkpoint()
    return SPAN.get()


@tool
def write() -> str:
    """Set the variable."""
    SPAN.set("of a tool")
    return SPAN.get()


@tool
async def write_async() -> str:
    """Set the variable."""
    SPAN.set("of a tool")
    await anyio.lowlevel.checkpoint()
    return SPAN.get()


def make_hook(is_async: bool, **methods: Any) -> Any:
    """Make a hook of functions, blocking or async."""

    class Hook:
        pass

    def make_method(function: Any) -> Any:
        async def method(_: Any, event: Any) -> None:
            await anyio.lowlevel.checkpoint()
            function(event)
            await anyio.lowlevel.checkpoint()

        return method if is_async else lambda _, event: function(event)

    for name, function in methods.items():
        setattr(Hook, name, make_method(function))
    return Hook()


def get_results(result: Any) -> list[str]:
    return [message.text for message in result.state.messages if message.role == "tool"]


def run_streamed(runtime: str, agent: Agent) -> Any:
    """Run an agent as events, and check that the variable of the caller is as it was."""

    def check_and_record() -> Any:
        SPAN.set("of the caller")
        recorded = record_run(runtime, agent, "Go.", thread_id="t")
        assert SPAN.get() == "of the caller"
        assert recorded.error is None
        return recorded.result

    return contextvars.copy_context().run(check_and_record)


@each_runtime
@both_kinds
@pytest.mark.parametrize(
    "when", ["on_before_invocation", "on_before_model_call", "on_before_tool_call"]
)
@pytest.mark.parametrize("calls", [1, 2])
def test_what_a_hook_sets_is_seen_after_it(
    runtime: str, is_async: bool, when: str, calls: int
) -> None:
    def answer(messages: Any, *_: Any, **__: Any) -> Any:
        seen.append(SPAN.get())
        called = [message.text for message in messages if message.role == "tool"]
        script = [tool_call("read"), tool_call("read_async")]
        return "done" if len(called) == 2 else script[len(called) : len(called) + calls]

    seen: list[str] = []
    hook = make_hook(is_async, **{when: lambda _: SPAN.set("of a hook")})
    agent = Agent(FunctionModel(answer), [read, read_async], hooks=[hook])
    assert get_results(run_streamed(runtime, agent)) == ["of a hook"] * 2
    if when != "on_before_tool_call":
        assert set(seen) == {"of a hook"}
    assert get_results(run_to_end(runtime, agent, "Go.")) == ["of a hook"] * 2


@each_runtime
@both_kinds
def test_each_of_several_calls_has_what_its_own_hooks_have_set(
    runtime: str, is_async: bool
) -> None:
    after: dict[str, str] = {}
    tokens: dict[str, Any] = {}

    def begin(event: Any) -> None:
        assert SPAN.get() == "of the caller"
        tokens[event.tool_call_id] = SPAN.set(event.tool_call_id)

    def end(event: Any) -> None:
        after[event.tool_call_id] = SPAN.get()
        SPAN.reset(tokens[event.tool_call_id])

    hook = make_hook(is_async, on_before_tool_call=begin, on_after_tool_call=end)
    script = [tool_call("read", "a"), tool_call("read_async", "b"), tool_call("read", "c")]
    agent = Agent(ScriptedModel(script, tool_call("read", "d"), "done"), hooks=[hook]).copy(
        tools=[read, read_async]
    )
    assert get_results(run_streamed(runtime, agent)) == ["a", "b", "c", "d"]
    assert after == {name: name for name in "abcd"}


@each_runtime
@both_kinds
def test_the_hooks_of_a_run_share_their_variables(runtime: str, is_async: bool) -> None:
    log: list[str] = []
    tokens: list[Any] = []

    def end(event: Any) -> None:
        log.append(SPAN.get())
        SPAN.reset(tokens.pop())
        log.append(SPAN.get())

    first = make_hook(
        is_async,
        on_before_invocation=lambda _: tokens.append(SPAN.set("a")),
        on_after_invocation=end,
    )
    other = make_hook(not is_async, on_before_model_call=lambda _: log.append(SPAN.get()))
    agent = Agent(ScriptedModel("done"), hooks=[first, other])
    run_streamed(runtime, agent)
    assert log == ["a", "a", "of the caller"]


@each_runtime
@pytest.mark.parametrize("has_hooks", [False, True])
def test_what_a_tool_sets_is_its_own(runtime: str, has_hooks: bool) -> None:
    def make_agent() -> Agent:
        hooks = [make_hook(False, on_before_invocation=lambda _: None)] if has_hooks else []
        calls = [tool_call(name) for name in ("write", "read", "write_async", "read_async")]
        tools = [read, read_async, write, write_async]
        return Agent(ScriptedModel(*calls, calls, "done"), tools, hooks=hooks)

    def run_and_check() -> Any:
        SPAN.set("of the caller")
        result = run_to_end(runtime, make_agent(), "Go.")
        assert SPAN.get() == "of the caller"
        return result

    expected = ["of a tool", "of the caller"] * 4
    assert get_results(run_streamed(runtime, make_agent())) == expected
    assert get_results(contextvars.copy_context().run(run_and_check)) == expected


@each_runtime
def test_a_lock_is_left_in_the_context_that_it_was_entered_in(runtime: str) -> None:
    class Checkpointer(MemoryCheckpointer):
        @contextmanager
        def claim(self, thread_id: str) -> Iterator[None]:
            with super().claim(thread_id):
                token = SPAN.set(thread_id)
                yield
                SPAN.reset(token)  # an error in any other context

    hook = make_hook(True, on_before_invocation=lambda _: SPAN.set("of a hook"))
    agent = Agent(ScriptedModel("done"), hooks=[hook], checkpointer=Checkpointer())
    assert run_streamed(runtime, agent).message == "done"


def test_a_hook_that_was_left_behind_does_not_stop_the_last_hooks(
    backend: str, no_grace: None
) -> None:
    let_go, log = threading.Event(), []

    class Stubborn:
        def on_before_model_call(self, event: Any) -> None:
            SPAN.set("of a hook")
            let_go.wait(HANG_SECONDS)

        async def on_after_invocation(self, event: Any) -> None:
            log.append(SPAN.get())

    async def main() -> None:
        with anyio.move_on_after(0.05):
            await Agent(ScriptedModel("done"), hooks=[Stubborn()]).arun("Go.")

    run_async(backend, main)
    let_go.set()
    assert log == ["of a hook"]


def test_awaiting_in_a_context_passes_on_values_errors_and_the_end(backend: str) -> None:
    log: list[Any] = []

    async def work() -> str:
        SPAN.set("inside")
        try:
            await anyio.sleep(FOREVER)
        except BaseException as error:
            log.append((type(error), SPAN.get()))
            raise
        return "never"

    async def give() -> str:
        await anyio.sleep(0.001)
        return SPAN.get()

    async def main() -> None:
        context = contextvars.copy_context()
        with anyio.move_on_after(0.01):
            await await_in_context(context, work())
        assert await await_in_context(context, give()) == "inside"
        assert SPAN.get() == "none"

    run_async(backend, main)
    assert [name for _, name in log] == ["inside"]
