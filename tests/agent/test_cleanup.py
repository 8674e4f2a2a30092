"""The cleanup of runs that end badly: no lock, no thread and no connection is left behind.

Connections that cannot be closed, repeated cancellations, tools that never return, and the end of
the program in the middle of a run.
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
from tests.support.subprocess_scripts import run_script
from tests.support.timing import FOREVER, HANG_SECONDS, HangGuard, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


class AsyncGeneratorModel:
    """A model that is not one of Locus's: its stream is a generator with a cleanup at its end."""

    def __init__(self, fails: bool = False) -> None:
        self.fails_to_close = fails
        self.open_streams = 0

    async def complete(self, *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(Message.assistant("whole"))

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[ModelChunkEvent]:
        self.open_streams += 1
        try:
            yield ModelChunkEvent(content="a")
            yield ModelChunkEvent(content="b", done=True)
        finally:
            self.open_streams -= 1
            await anyio.lowlevel.checkpoint()
            if self.fails_to_close:
                raise OSError("it cannot be closed")


class BlockingGeneratorModel(AsyncGeneratorModel):
    """The same with blocking methods."""

    def complete_sync(self, *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(Message.assistant("whole"))

    def stream_sync(self, *_: Any, **__: Any) -> Iterator[ModelChunkEvent]:
        try:
            yield ModelChunkEvent(content="a")
            yield ModelChunkEvent(content="b", done=True)
        finally:
            if self.fails_to_close:
                raise OSError("it cannot be closed")


class RecordEndErrors(HookProvider):
    def __init__(self) -> None:
        self.errors: list[BaseException | None] = []

    def on_after_invocation(self, event: Any) -> None:
        self.errors.append(event.error)


def check_cleanup(
    checkpointer: MemoryCheckpointer, end_hook: RecordEndErrors, error_type: type[BaseException]
) -> None:
    """Check that the state is saved, the hooks were called, and no lock or thread is left."""
    state = checkpointer.load("t")
    assert state is not None
    assert state.messages[0].text == "Go."
    assert [type(error) for error in end_hook.errors] == [error_type]
    with checkpointer.claim("t"):
        pass
    wait_for_worker_threads()


def wait_for_worker_threads(expected: int = 0) -> None:
    wait_until(
        lambda: len(list_worker_threads()) == expected, "the threads of tools"
    )  # they need a moment to end


def list_worker_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "locus tool"]


@pytest.mark.parametrize("model", [AsyncGeneratorModel, BlockingGeneratorModel])
@pytest.mark.parametrize("leaves", [True, False])
def test_a_blocking_run_whose_stream_cannot_be_closed_ends_in_order(
    model: Callable[[bool], Any], leaves: bool
) -> None:
    checkpointer, end_hook = MemoryCheckpointer(), RecordEndErrors()
    agent = Agent(model(True), hooks=[end_hook], checkpointer=checkpointer)

    def use() -> None:
        with agent.stream_sync("Go.", thread_id="t") as run:
            for _ in run:
                if leaves:
                    break

    if (
        model is AsyncGeneratorModel and leaves
    ):  # the background loop closes it, and the error is lost
        use()
        check_cleanup(checkpointer, end_hook, type(end_hook.errors[0]))
        return
    with pytest.raises(OSError, match="cannot be closed"):
        use()
    check_cleanup(checkpointer, end_hook, OSError)


@pytest.mark.parametrize("leaves", [True, False])
def test_a_run_whose_stream_cannot_be_closed_ends_in_order(backend: str, leaves: bool) -> None:
    checkpointer, end_hook = MemoryCheckpointer(), RecordEndErrors()
    agent = Agent(AsyncGeneratorModel(fails=True), hooks=[end_hook], checkpointer=checkpointer)

    async def main() -> None:
        async with agent.run("Go.", thread_id="t") as run:
            async for _ in run:
                if leaves:
                    break

    with pytest.raises(OSError, match="cannot be closed"):
        anyio.run(main, backend=backend)
    check_cleanup(checkpointer, end_hook, OSError)


def test_a_stream_is_closed_when_the_caller_is_cancelled_between_events(
    backend: str,
) -> None:
    checkpointer, end_hook, model = MemoryCheckpointer(), RecordEndErrors(), AsyncGeneratorModel()
    agent = Agent(model, hooks=[end_hook], checkpointer=checkpointer)
    cancelled_types: list[type[BaseException]] = []

    async def main() -> None:
        cancelled_types.append(anyio.get_cancelled_exc_class())
        with anyio.CancelScope() as scope:
            async with agent.run("Go.", thread_id="t") as run:
                async for _ in run:
                    assert model.open_streams == 1
                    scope.cancel()
                    await anyio.sleep(FOREVER)
        assert scope.cancelled_caught
        assert model.open_streams == 0

    anyio.run(main, backend=backend)
    check_cleanup(checkpointer, end_hook, cancelled_types[0])


def test_a_task_that_is_cancelled_between_events_stays_cancelled() -> None:
    checkpointer, end_hook, model = MemoryCheckpointer(), RecordEndErrors(), AsyncGeneratorModel()
    agent = Agent(model, hooks=[end_hook], checkpointer=checkpointer)

    async def body(received: asyncio.Event) -> None:
        async with agent.run("Go.", thread_id="t") as run:
            async for _ in run:
                received.set()
                await asyncio.sleep(FOREVER)

    async def main() -> None:
        received = asyncio.Event()
        task = asyncio.create_task(body(received))
        await received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert model.open_streams == 0

    asyncio.run(main())
    assert len(end_hook.errors) == 1
    check_cleanup(checkpointer, end_hook, type(end_hook.errors[0]))


@pytest.mark.parametrize("how", ["events", "result"])
@pytest.mark.parametrize("calls", [1, 2])
def test_a_task_that_is_cancelled_twice_does_not_wait_for_tools(
    how: str, calls: int, request: pytest.FixtureRequest
) -> None:
    if how == "result":  # a run with a task of its own is cancelled only once
        request.getfixturevalue("no_grace")
    released, started = threading.Event(), threading.Semaphore(0)

    @tool
    def hangs(n: int) -> None:
        """Hang."""
        started.release()
        released.wait(FOREVER)

    checkpointer, end_hook = MemoryCheckpointer(), RecordEndErrors()
    calls_of_model = [tool_call("hangs", str(n), n=n) for n in range(calls)]
    agent = Agent(
        ScriptedModel(calls_of_model), [hangs], hooks=[end_hook], checkpointer=checkpointer
    )

    async def consume() -> None:
        if how == "result":
            await agent.arun("Go.", thread_id="t")
        async for _ in agent.run("Go.", thread_id="t"):
            pass

    async def main() -> None:
        task = asyncio.create_task(consume())
        for _ in range(calls):
            assert await asyncio.to_thread(started.acquire, timeout=HANG_SECONDS)
        wait_for_worker_threads(expected=calls)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()
        with HangGuard(), pytest.raises(asyncio.CancelledError):
            await task
        wait_for_worker_threads(expected=calls)

    try:
        asyncio.run(main())
    finally:
        released.set()
    check_cleanup(checkpointer, end_hook, asyncio.CancelledError)


# Tools that end the program, or do not end with it.


def run_to_end(runtime: str, agent: Agent) -> None:
    """Run an agent to its end; under an event loop as events, so without a task of its own."""

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
@pytest.mark.parametrize("error_type", [KeyboardInterrupt, BaseException])
def test_a_run_does_not_wait_after_a_tool_that_ends_the_program(
    runtime: str,
    calls: int,
    is_async: bool,
    error_type: type[BaseException],
    capfd: pytest.CaptureFixture[str],
) -> None:
    def exit_program() -> None:
        """End the program."""
        raise error_type

    async def exit_program_async() -> None:
        """End the program."""
        await anyio.lowlevel.checkpoint()
        raise error_type

    exit_tool = tool(exit_program_async if is_async else exit_program)
    model_calls = [tool_call(exit_tool.name, str(n)) for n in range(calls)]
    checkpointer, end_hook = MemoryCheckpointer(), RecordEndErrors()
    agent = Agent(
        ScriptedModel(model_calls), [exit_tool], hooks=[end_hook], checkpointer=checkpointer
    )

    with HangGuard(), pytest.raises(error_type):
        run_to_end(runtime, agent)
    gc.collect()
    check_cleanup(checkpointer, end_hook, error_type)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_tool_that_finishes_after_one_that_ends_the_program_is_recorded(
    runtime: str,
) -> None:
    both_started = threading.Barrier(2)

    @tool
    def ends_it() -> None:
        """End the program."""
        both_started.wait(HANG_SECONDS)
        raise KeyboardInterrupt

    @tool
    def slow() -> str:
        """Take a short time."""
        both_started.wait(HANG_SECONDS)
        time.sleep(0.05)  # so that the program ends meanwhile
        return "slow"

    checkpointer = MemoryCheckpointer()
    model_calls = [tool_call("ends_it"), tool_call("slow")]
    agent = Agent(ScriptedModel(model_calls), [ends_it, slow], checkpointer=checkpointer)

    with HangGuard(), pytest.raises(KeyboardInterrupt):
        run_to_end(runtime, agent)
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
        time.sleep(600)

    agent = Agent(ScriptedModel(tool_call("hangs"), "done"), [hangs])
    runtime = sys.argv[1]
    if runtime == "blocking":
        result = agent.run_sync("Go.")
    else:
        result = anyio.run(agent.arun, "Go.", backend=runtime)
    print(result.message)
    """
    assert run_script(code, runtime) == "done\n"  # which is given a minute


def test_a_blocking_run_that_is_open_at_the_end_of_the_program_prints_nothing() -> None:
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
    assert run_script(code, prelude="") == "begun\n"
