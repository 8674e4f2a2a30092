"""Cancels runs: at every await, under both event loops, and by Ctrl-C.

What was done by then is saved, nothing is left behind, and the thread can be resumed.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from locus.agent import Agent, AsyncRun, blocking_driver
from locus.core.events import ModelChunkEvent, ToolStartEvent
from locus.core.messages import Role
from locus.hooks import HookProvider
from locus.memory import FileCheckpointer, MemoryCheckpointer, SQLiteCheckpointer
from locus.testing import FunctionModel, ScriptedModel, text, tool_call
from locus.testing.formats.runtimes import run_async
from locus.tools import tool
from tests.support.chat_replies import build_reply, build_stream_reply
from tests.support.servers.openai_server import make_model
from tests.support.timing import FOREVER, HangGuard, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")


class CountedWork:
    """Makes an agent with all sorts of tools and hooks, and counts the tools' starts and ends."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.end_errors: list[BaseException | None] = []

    def make_agent(self, checkpointer: Any) -> Agent:
        @tool
        def blocking(n: int) -> str:
            """Block for a short time."""
            self.started[f"blocking {n}"] += 1
            time.sleep(0.003)
            self.finished[f"blocking {n}"] += 1
            return f"blocking {n}"

        @tool
        async def awaits(n: int) -> str:
            """Await for a short time."""
            self.started[f"awaits {n}"] += 1
            await anyio.sleep(0.002)
            self.finished[f"awaits {n}"] += 1
            return f"awaits {n}"

        @tool(idempotent=True)
        def once(n: int) -> str:
            """Run once."""
            self.started["once"] += 1
            self.finished["once"] += 1
            return f"once {n}"

        work = self

        class AllHooks(HookProvider):
            async def on_before_tool_call(self, event: Any) -> None:
                await anyio.lowlevel.checkpoint()

            async def on_after_tool_call(self, event: Any) -> None:
                await anyio.lowlevel.checkpoint()

            def on_before_model_call(self, event: Any) -> None:
                """Run in a worker thread."""

            async def on_after_invocation(self, event: Any) -> None:
                await anyio.lowlevel.checkpoint()
                work.end_errors.append(event.error)

        return Agent(
            FunctionModel(respond),
            [blocking, awaits, once],
            hooks=[AllHooks()],
            checkpointer=checkpointer,
            max_concurrency=2,
        )


BACKENDS = ("asyncio", "trio")
STORES = ("memory", "file", "sqlite")
TOOL_ROUND = (("blocking", 1), ("awaits", 2), ("once", 3), ("blocking", 4), ("once", 3))


def respond(messages: Any, tools: Any, **options: Any) -> Any:
    """Two rounds of calls, then text."""
    round_count = sum(bool(message.tool_calls) for message in messages)
    if round_count == 2:
        return text("That is all.")
    calls = [
        tool_call(name, f"{round_count}{index}", n=n) for index, (name, n) in enumerate(TOOL_ROUND)
    ]
    return ["Let me see.", *calls]


class CancelAtAwait:
    """Counts the awaits of a run, and calls ``cancel`` before the one with a given number."""

    def __init__(self, await_number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.await_number, self.await_count = await_number, 0
        self.cancel: Callable[[], object] = lambda: None
        next_event = AsyncRun._read_next_event

        async def counted(run: AsyncRun, error: BaseException | None = None) -> Any:
            return await _CountedAwaitable(next_event(run, error), self)

        monkeypatch.setattr(AsyncRun, "_read_next_event", counted)


class _CountedAwaitable:
    def __init__(self, awaitable: Awaitable[Any], canceller: CancelAtAwait) -> None:
        self.awaitable, self.canceller = awaitable, canceller

    def __await__(self) -> Generator[Any, Any, Any]:
        generator, canceller = self.awaitable.__await__(), self.canceller
        result: Any = None
        error: BaseException | None = None
        while True:
            try:
                yielded = generator.send(result) if error is None else generator.throw(error)
            except StopIteration as stop:
                return stop.value
            result, error = None, None
            canceller.await_count += 1
            if canceller.await_count == canceller.await_number:
                canceller.cancel()
            try:
                result = yield yielded
            except BaseException as exc:  # noqa: BLE001
                error = exc


async def run_as_events(agent: Agent, **kwargs: Any) -> str:
    """Run an agent as events, to its end."""
    async with agent.run("Go.", thread_id="t", **kwargs) as run:
        async for _ in run:
            pass
        return run.result.message


def check_resumed_run(work: CountedWork, checkpointer: Any, backend: str) -> None:
    """Resume the thread, and check that nothing that was recorded is done again."""
    state = checkpointer.load("t")
    if state is None:  # cancelled before there was anything to save
        return
    recorded = {execution.tool_call_id for execution in state.tool_executions}
    started_before = work.started.copy()
    result = anyio.run(
        lambda: work.make_agent(checkpointer).aresume(thread_id="t"), backend=backend
    )
    assert result.message == "That is all."
    final = result.state
    assert final.messages[: len(state.messages)] == state.messages
    answered = [message.tool_call_id for message in final.messages if message.role is Role.TOOL]
    assert answered == [
        f"{round_number}{index}" for round_number in range(2) for index in range(len(TOOL_ROUND))
    ]
    ids = [execution.tool_call_id for execution in final.tool_executions]
    assert ids == answered
    for name, times in (work.started - started_before).items():
        remaining = sum(
            f"{tool} {n}" == name and f"{round_number}{index}" not in recorded
            for round_number in range(2)
            for index, (tool, n) in enumerate(TOOL_ROUND)
        )
        assert times == (1 if name == "once" else remaining)


def make_checkpointer_factories(folder: Path) -> dict[str, Callable[[], Any]]:
    return {
        "memory": MemoryCheckpointer,
        "file": lambda: FileCheckpointer(folder / "files"),
        "sqlite": lambda: SQLiteCheckpointer(folder / "threads.db"),
    }


@pytest.mark.parametrize(
    ("backend", "how", "store_name"),
    [
        ("asyncio", "scope", "sqlite"),
        ("trio", "scope", "file"),
        *[
            pytest.param(backend, "scope", store_name, marks=pytest.mark.thorough)
            for backend, store_name in itertools.product(BACKENDS, STORES)
            if (backend, store_name) not in (("asyncio", "sqlite"), ("trio", "file"))
        ],
        *[(backend, "scope of events", "memory") for backend in BACKENDS],
        ("asyncio", "task", "memory"),  # trio cancels scopes only
        ("asyncio", "task of events", "memory"),
    ],
)
def test_cancelling_at_every_await_leaves_a_thread_that_resumes(
    backend: str, how: str, store_name: str, tmp_path: Path
) -> None:
    await_number = 0
    while True:
        await_number += 1
        work = CountedWork()
        folder = tmp_path / str(await_number)
        folder.mkdir()
        with make_checkpointer_factories(folder)[store_name]() as checkpointer:
            agent = work.make_agent(checkpointer)
            with pytest.MonkeyPatch.context() as monkeypatch:
                canceller = CancelAtAwait(await_number, monkeypatch)
                run = partial(run_as_events if "events" in how else run_to_result, agent)
                if "task" in how:
                    asyncio.run(run_in_cancelled_task(run, canceller))
                else:
                    anyio.run(run_in_cancelled_scope, run, canceller, backend=backend)
            ended = canceller.await_count < await_number
            assert [type(error) for error in work.end_errors] in ([], [type(None)]) or not ended
            # A blocking tool that was running had the time to end.
            for name, started in work.started.items():
                assert not name.startswith("blocking") or work.finished[name] == started
            check_blocking_tools_recorded(work, checkpointer)
            check_resumed_run(work, checkpointer, backend)
        if ended:
            break
    assert await_number > 20


def run_to_result(agent: Agent) -> Awaitable[Any]:
    return agent.arun("Go.", thread_id="t")


def check_blocking_tools_recorded(work: CountedWork, checkpointer: Any) -> None:
    """Check that the saved state has every call of a blocking tool that was finished."""
    state = checkpointer.load("t")
    executions = state.tool_executions if state is not None else ()
    for n in (1, 4):
        recorded = sum(e.tool_name == "blocking" and e.arguments["n"] == n for e in executions)
        assert recorded == work.finished[f"blocking {n}"]


async def run_in_cancelled_scope(
    function: Callable[[], Awaitable[Any]], canceller: CancelAtAwait
) -> None:
    with anyio.CancelScope() as scope:
        canceller.cancel = scope.cancel
        await function()


async def run_in_cancelled_task(
    function: Callable[[], Awaitable[Any]], canceller: CancelAtAwait, times: int = 1
) -> None:
    async def main() -> None:
        await function()

    task = asyncio.create_task(main())

    def cancel(times: int = times) -> None:
        task.cancel()
        if times > 1:
            asyncio.get_running_loop().call_soon(cancel, times - 1)

    canceller.cancel = cancel
    try:
        await task
    except asyncio.CancelledError:
        assert task.cancelled()


@pytest.mark.parametrize("how", ["events", "result"])
def test_cancelling_twice_at_every_await_leaves_a_thread_that_resumes(how: str) -> None:
    await_number = 0
    while True:
        await_number += 1
        work, checkpointer = CountedWork(), MemoryCheckpointer()
        agent = work.make_agent(checkpointer)
        with pytest.MonkeyPatch.context() as monkeypatch:
            canceller = CancelAtAwait(await_number, monkeypatch)
            run = partial(run_as_events if how == "events" else run_to_result, agent)
            asyncio.run(run_in_cancelled_task(run, canceller, times=2))
        with checkpointer.claim("t"):  # it is unlocked
            pass
        wait_until(lambda: not any(t.name == "locus tool" for t in threading.enumerate()))
        check_resumed_run(work, checkpointer, "asyncio")
        if canceller.await_count < await_number:
            break
    assert await_number > 20


@pytest.mark.parametrize("how", ["events", "result"])
def test_a_second_cancellation_at_any_moment_of_the_cleanup_keeps_nothing_locked(how: str) -> None:
    @tool
    async def waits() -> None:
        """Wait for ever."""
        waiting.set()
        await anyio.sleep_forever()

    async def cancel_twice(ticks: int) -> bool:
        task = asyncio.ensure_future(
            run_as_events(agent) if how == "events" else run_to_result(agent)
        )
        await waiting.wait()
        task.cancel()
        for _ in range(ticks):
            await asyncio.sleep(0)
        is_second = task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        with checkpointer.claim("t"):
            pass
        return is_second

    ticks = 0
    while True:
        waiting, checkpointer = asyncio.Event(), MemoryCheckpointer()
        agent = Agent(
            FunctionModel(lambda *_, **__: tool_call("waits")), [waits], checkpointer=checkpointer
        )
        if not asyncio.run(cancel_twice(ticks)):
            break
        assert len(checkpointer.load("t").messages) == 2
        ticks += 1
    assert ticks > 3


@pytest.mark.parametrize(
    "milliseconds",
    [pytest.param(step / 2, marks=[pytest.mark.thorough] * (step % 4 > 0)) for step in range(40)],
)
@pytest.mark.parametrize("how", ["events", "result"])
def test_cancelling_at_any_time_leaves_a_thread_that_resumes(
    backend: str, how: str, milliseconds: float
) -> None:
    work, checkpointer = CountedWork(), MemoryCheckpointer()

    async def main() -> None:
        with anyio.move_on_after(milliseconds / 1e3):
            agent = work.make_agent(checkpointer)
            await (run_as_events(agent) if how == "events" else run_to_result(agent))

    anyio.run(main, backend=backend)
    check_blocking_tools_recorded(work, checkpointer)
    check_resumed_run(work, checkpointer, backend)


@pytest.mark.usefixtures("no_grace")
def test_a_blocking_tool_that_does_not_end_is_left_behind(backend: str) -> None:
    released = threading.Event()

    @tool
    def hangs() -> None:
        """Hang."""
        released.wait(FOREVER)

    agent = Agent(FunctionModel(lambda *_, **__: tool_call("hangs")), [hangs])

    async def main() -> None:
        with HangGuard(), anyio.move_on_after(0.1) as scope:
            await agent.arun("Go.")
        assert scope.cancelled_caught
        released.set()

    anyio.run(main, backend=backend)


def test_a_cancellation_inside_a_tool_does_not_cancel_the_run() -> None:
    @tool
    async def cancels() -> None:
        """Raise a cancellation."""
        raise asyncio.CancelledError

    def model(messages: Any, *_: Any, **__: Any) -> Any:
        return "done" if messages[-1].role is Role.TOOL else tool_call("cancels")

    agent = Agent(FunctionModel(model), [cancels])
    for result in (agent.run_sync("Go."), asyncio.run(run_without_thread(agent))):
        assert result.state.tool_executions[0].error == "RuntimeError: the tool was cancelled"
        assert result.message == "done"


async def run_without_thread(agent: Agent) -> Any:
    return await agent.arun("Go.")


# Leaving early, and closing connections.


def test_leaving_a_run_closes_its_connection(backend: str, server: Any) -> None:
    server.enqueue(build_stream_reply().stall(400))
    end_events: list[Any] = []

    class RecordEnds(HookProvider):
        def on_after_invocation(self, event: Any) -> None:
            end_events.append(event)

    agent = Agent(make_model(server), hooks=[RecordEnds()], checkpointer=MemoryCheckpointer())

    async def main() -> None:
        async with agent.run("Go.", thread_id="t") as run:
            async for event in run:
                assert isinstance(event, ModelChunkEvent)
                break
        await anyio.to_thread.run_sync(server.wait_closed)
        assert [event async for event in run] == []
        with pytest.raises(RuntimeError, match="no result"):
            _ = run.result
        await agent.model.aclose()  # type: ignore[union-attr]

    run_async(backend, main)
    assert len(end_events) == 1
    assert not end_events[0].success
    assert [message.text for message in end_events[0].state.messages] == ["Go."]


def test_cancelling_a_run_closes_its_connection(backend: str, server: Any) -> None:
    server.enqueue(build_stream_reply().stall(400))
    agent = Agent(make_model(server))

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def read() -> None:
                async for _ in agent.run("Go."):
                    group.cancel_scope.cancel()

            group.start_soon(read)
        await anyio.to_thread.run_sync(server.wait_closed)
        await agent.model.aclose()  # type: ignore[union-attr]

    run_async(backend, main)


def test_dropping_a_run_closes_its_connection_and_unlocks_the_thread(
    backend: str, server: Any
) -> None:
    server.enqueue(build_stream_reply().stall(400), build_reply())
    agent = Agent(make_model(server), checkpointer=MemoryCheckpointer())

    async def main() -> None:
        async for _ in agent.run("Go.", thread_id="t"):
            break
        await anyio.to_thread.run_sync(server.wait_closed)
        await agent.arun("Go.", thread_id="t")  # it is not busy
        await agent.model.aclose()  # type: ignore[union-attr]

    run_async(backend, main)


def test_leaving_a_blocking_run_closes_its_connection_and_unlocks_the_thread(server: Any) -> None:
    server.enqueue(*[build_stream_reply().stall(400)] * 2, build_stream_reply())
    agent = Agent(make_model(server), checkpointer=MemoryCheckpointer())
    for _ in agent.stream_sync("Go.", thread_id="t"):
        break
    server.wait_closed()
    with agent.stream_sync("Go.", thread_id="t") as run:
        next(run)
    server.wait_closed()
    assert list(run) == []
    events = list(agent.stream_sync("Go.", thread_id="t"))
    assert events[-1].reason == "complete"
    agent.model.close_sync()  # type: ignore[union-attr]


def test_a_run_that_was_not_started_calls_no_model(backend: str) -> None:
    agent = CountedWork().make_agent(None)
    agent.stream_sync("Go.").close()

    async def main() -> None:
        async with agent.run("Go."):
            pass

    run_async(backend, main)
    assert agent.model.calls == []  # type: ignore[union-attr]


def test_interrupting_a_blocking_run_records_its_finished_tools() -> None:
    checkpointer = MemoryCheckpointer()
    started: Counter[str] = Counter()

    @tool
    def slow() -> str:
        """Take a short time."""
        time.sleep(0.05)
        started["slow"] += 1
        return "slow"

    @tool
    async def awaits() -> str:
        """Wait long."""
        started["awaits"] += 1
        await anyio.sleep(0 if started["awaits"] > 1 else FOREVER)
        return "awaited"

    @tool
    def interrupts() -> str:
        """Be interrupted by Ctrl-C, the first time."""
        started["interrupts"] += 1
        if started["interrupts"] == 1:
            raise KeyboardInterrupt
        return "not again"

    calls = [tool_call(name, name) for name in ("slow", "awaits", "interrupts")]

    def model(messages: Any, *_: Any, **__: Any) -> Any:
        return "done" if messages[-1].role is Role.TOOL else calls

    agent = Agent(FunctionModel(model), [slow, awaits, interrupts], checkpointer=checkpointer)
    events: list[Any] = []
    with HangGuard(), pytest.raises(KeyboardInterrupt):
        events.extend(agent.stream_sync("Go.", thread_id="t"))
    assert isinstance(events[-1], ToolStartEvent)
    state = checkpointer.load("t")
    assert state is not None
    assert [execution.tool_name for execution in state.tool_executions] == ["slow"]
    assert agent.resume_sync(thread_id="t").message == "done"
    assert started == {"slow": 1, "awaits": 2, "interrupts": 2}


def test_an_interrupt_in_a_tool_ends_the_program(backend: str) -> None:
    @tool
    async def quits() -> None:
        """End."""
        raise KeyboardInterrupt

    agent = Agent(FunctionModel(lambda *_, **__: tool_call("quits")), [quits])
    with pytest.raises(KeyboardInterrupt):
        agent.run_sync("Go.")

    async def main() -> None:
        await agent.arun("Go.")

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend=backend)


def test_ctrl_c_before_any_function_of_a_blocking_run_keeps_nothing_locked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls_left = 0

    def is_in_event_loop() -> bool:
        nonlocal calls_left
        calls_left -= 1
        if calls_left == 0:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(blocking_driver, "is_in_event_loop", is_in_event_loop)
    number = 0
    while calls_left <= 0:
        number += 1
        calls_left = number
        checkpointer = MemoryCheckpointer()
        error: BaseException | None = None
        try:
            Agent(ScriptedModel("a"), checkpointer=checkpointer).run_sync("Go.", thread_id="t")
        except KeyboardInterrupt as exc:
            error = exc  # its traceback keeps the run
        assert isinstance(error, KeyboardInterrupt) is (calls_left <= 0)
        with checkpointer.claim("t"):
            pass
    assert number > 4
