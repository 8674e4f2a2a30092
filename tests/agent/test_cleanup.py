"""What a run leaves behind where it ends badly: nothing that is held, nothing that is waited for.

Connections that cannot be closed, cancellations on top of each other, tools that never come back,
and the end of the program in the middle of a run.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from locus.agent import Agent
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.hooks import HookProvider
from locus.memory import MemoryCheckpointer
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES
from tests.support import runtimes
from tests.support.runtimes import AtMost, script

backend, no_leaks = runtimes.backend, runtimes.no_leaks

pytestmark = pytest.mark.usefixtures("no_leaks")


class Others:
    """A model that is not Locus's: generators, with something to be done at their ends."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.open = 0

    async def complete(self, *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(Message.assistant("whole"))

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[ModelChunkEvent]:
        self.open += 1
        try:
            yield ModelChunkEvent(content="a")
            yield ModelChunkEvent(content="b", done=True)
        finally:
            self.open -= 1
            await anyio.lowlevel.checkpoint()
            if self.fails:
                raise OSError("it cannot be closed")


class OthersBlocking(Others):
    """The same, blocking."""

    def complete_sync(self, *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(Message.assistant("whole"))

    def stream_sync(self, *_: Any, **__: Any) -> Iterator[ModelChunkEvent]:
        try:
            yield ModelChunkEvent(content="a")
            yield ModelChunkEvent(content="b", done=True)
        finally:
            if self.fails:
                raise OSError("it cannot be closed")


class Ends(HookProvider):
    def __init__(self) -> None:
        self.errors: list[BaseException | None] = []

    def on_after_invocation(self, event: Any) -> None:
        self.errors.append(event.error)


def in_order(checkpointer: MemoryCheckpointer, ends: Ends, kind: type[BaseException]) -> None:
    """The state is saved, the hooks have been told, the thread is free, no thread is left."""
    state = checkpointer.load("t")
    assert state is not None
    assert state.messages[0].text == "Go."
    assert [type(error) for error in ends.errors] == [kind]
    with checkpointer.claim("t"):
        pass
    no_threads()


def no_threads(but: int = 0) -> None:
    until = time.monotonic() + 2.0
    while len(ours()) != but:  # one that is done needs a moment
        assert time.monotonic() < until, ours()
        time.sleep(0.005)


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "locus tool"]


@pytest.mark.parametrize("model", [Others, OthersBlocking])
@pytest.mark.parametrize("leaves", [True, False])
def test_a_blocking_run_whose_stream_cannot_be_closed_ends_in_order(
    model: Callable[[bool], Any], leaves: bool
) -> None:
    checkpointer, ends = MemoryCheckpointer(), Ends()
    agent = Agent(model(True), hooks=[ends], checkpointer=checkpointer)

    def use() -> None:
        with agent.stream_sync("Go.", thread_id="t") as run:
            for _ in run:
                if leaves:
                    break

    if model is Others and leaves:  # it is closed where it is read, in another thread
        use()
        in_order(checkpointer, ends, type(ends.errors[0]))
        return
    with pytest.raises(OSError, match="cannot be closed"):
        use()
    in_order(checkpointer, ends, OSError)


@pytest.mark.parametrize("leaves", [True, False])
def test_a_run_whose_stream_cannot_be_closed_ends_in_order(backend: str, leaves: bool) -> None:
    checkpointer, ends = MemoryCheckpointer(), Ends()
    agent = Agent(Others(fails=True), hooks=[ends], checkpointer=checkpointer)

    async def main() -> None:
        async with agent.run("Go.", thread_id="t") as run:
            async for _ in run:
                if leaves:
                    break

    with pytest.raises(OSError, match="cannot be closed"):
        anyio.run(main, backend=backend)
    in_order(checkpointer, ends, OSError)


def test_cancelled_in_the_callers_body_a_stream_that_awaits_at_its_end_is_closed(
    backend: str,
) -> None:
    checkpointer, ends, model = MemoryCheckpointer(), Ends(), Others()
    agent = Agent(model, hooks=[ends], checkpointer=checkpointer)
    cancelled: list[type[BaseException]] = []

    async def main() -> None:
        cancelled.append(anyio.get_cancelled_exc_class())
        with anyio.CancelScope() as scope:
            async with agent.run("Go.", thread_id="t") as run:
                async for _ in run:
                    assert model.open == 1
                    scope.cancel()
                    await anyio.sleep(5)
        assert scope.cancelled_caught
        assert model.open == 0

    anyio.run(main, backend=backend)
    in_order(checkpointer, ends, cancelled[0])


def test_a_task_cancelled_in_the_callers_body_stays_cancelled() -> None:
    checkpointer, ends, model = MemoryCheckpointer(), Ends(), Others()
    agent = Agent(model, hooks=[ends], checkpointer=checkpointer)

    async def body(got: asyncio.Event) -> None:
        async with agent.run("Go.", thread_id="t") as run:
            async for _ in run:
                got.set()
                await asyncio.sleep(5)

    async def main() -> None:
        got = asyncio.Event()
        task = asyncio.create_task(body(got))
        await got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert model.open == 0

    asyncio.run(main())
    assert len(ends.errors) == 1
    in_order(checkpointer, ends, type(ends.errors[0]))


@pytest.mark.parametrize("how", ["events", "result"])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_task_that_is_cancelled_twice_waits_for_no_tool(how: str, calls: int) -> None:
    let_go, begun = threading.Event(), threading.Semaphore(0)

    @tool
    def hangs(n: int) -> None:
        """Hang."""
        begun.release()
        let_go.wait(20)

    checkpointer, ends = MemoryCheckpointer(), Ends()
    asks = [tool_call("hangs", str(n), n=n) for n in range(calls)]
    agent = Agent(ScriptedModel(asks), [hangs], hooks=[ends], checkpointer=checkpointer)

    async def consume() -> None:
        if how == "result":
            await agent.arun("Go.", thread_id="t")
        async for _ in agent.run("Go.", thread_id="t"):
            pass

    async def main() -> None:
        task = asyncio.create_task(consume())
        for _ in range(calls):
            await asyncio.to_thread(begun.acquire, timeout=2)
        no_threads(but=calls)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()
        with AtMost(3.0 if how == "result" else 0.5), pytest.raises(asyncio.CancelledError):
            await task  # a run with a task of its own ends in its own time
        no_threads(but=calls)

    try:
        asyncio.run(main())
    finally:
        let_go.set()
    in_order(checkpointer, ends, asyncio.CancelledError)


# Tools that end the program, or outlive it.


def consume(runtime: str, agent: Agent) -> None:
    """A run to its end, as events where that is a difference to the tasks."""

    async def main() -> None:
        async for _ in agent.run("Go.", thread_id="t"):
            pass

    if runtime == "blocking":
        agent.run_sync("Go.", thread_id="t")
    else:
        anyio.run(main, backend=runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_a_tool_that_ends_the_program_is_not_waited_for(
    runtime: str,
    calls: int,
    is_async: bool,
    fatal: type[BaseException],
    capfd: pytest.CaptureFixture[str],
) -> None:
    def ends_it() -> None:
        """End the program."""
        raise fatal

    async def ends_it_async() -> None:
        """End the program."""
        await anyio.lowlevel.checkpoint()
        raise fatal

    ending = tool(ends_it_async if is_async else ends_it)
    asks = [tool_call(ending.name, str(n)) for n in range(calls)]
    checkpointer, ends = MemoryCheckpointer(), Ends()
    agent = Agent(ScriptedModel(asks), [ending], hooks=[ends], checkpointer=checkpointer)

    with AtMost(1.0), pytest.raises(fatal):
        consume(runtime, agent)
    gc.collect()
    in_order(checkpointer, ends, fatal)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_tool_that_comes_back_alone_finishes_after_one_that_ends_the_program(
    runtime: str,
) -> None:
    both = threading.Barrier(2)

    @tool
    def ends_it() -> None:
        """End the program."""
        both.wait(2)
        raise SystemExit

    @tool
    def slow() -> str:
        """Take a moment."""
        both.wait(2)
        time.sleep(0.05)
        return "slow"

    checkpointer = MemoryCheckpointer()
    asks = [tool_call("ends_it"), tool_call("slow")]
    agent = Agent(ScriptedModel(asks), [ends_it, slow], checkpointer=checkpointer)

    with AtMost(1.0), pytest.raises(SystemExit):
        consume(runtime, agent)
    state = checkpointer.load("t")
    assert state is not None
    assert [execution.tool_name for execution in state.tool_executions] == ["slow"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_ends_though_a_tool_does_not(runtime: str) -> None:
    code = """
    import sys, time
    import anyio
    from locus.agent import Agent
    from locus.testing import ScriptedModel, tool_call
    from locus.tools import tool

    @tool(timeout=0.05)
    def hangs() -> None:
        "Hang."
        time.sleep(30)

    agent = Agent(ScriptedModel(tool_call("hangs"), "done"), [hangs])
    runtime = sys.argv[1]
    if runtime == "blocking":
        result = agent.run_sync("Go.")
    else:
        result = anyio.run(agent.arun, "Go.", backend=runtime)
    print(result.message)
    """
    with AtMost(10.0):
        assert script(code, runtime) == "done\n"


def test_a_blocking_run_left_open_at_the_end_of_the_program_says_nothing() -> None:
    code = """
    from locus.agent import Agent
    from locus.hooks import HookProvider
    from locus.testing import ScriptedModel

    class Late(HookProvider):
        async def on_after_invocation(self, event):
            "Needs an event loop."

    run = Agent(ScriptedModel("Some words."), hooks=[Late()]).stream_sync("Go.")
    next(run)
    print("begun")
    """
    assert script(code, early="") == "begun\n"
