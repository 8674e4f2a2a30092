"""A run that is cut off: at every point where it waits, on both event loops, and by Ctrl-C.

What has been done by then is saved, nothing is left behind, and the thread can be resumed.
"""

from __future__ import annotations

import asyncio
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

from locus.agent import Agent, AsyncRun
from locus.core.events import ModelChunkEvent, ToolStartEvent
from locus.core.messages import Role
from locus.hooks import HookProvider
from locus.memory import FileCheckpointer, MemoryCheckpointer, SQLiteCheckpointer
from locus.testing import FunctionModel, text, tool_call
from locus.tools import tool
from tests.support import runtimes
from tests.support.runtimes import AtMost, model_of, streamed

backend, no_leaks, server = runtimes.backend, runtimes.no_leaks, runtimes.server

pytestmark = pytest.mark.usefixtures("no_leaks")


class Work:
    """An agent with every kind of tool and hook, and a count of what was begun and finished."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.ends: list[BaseException | None] = []

    def agent(self, checkpointer: Any) -> Agent:
        @tool
        def blocking(n: int) -> str:
            """Block for a moment."""
            self.begun[f"blocking {n}"] += 1
            time.sleep(0.003)
            self.finished[f"blocking {n}"] += 1
            return f"blocking {n}"

        @tool
        async def awaits(n: int) -> str:
            """Await for a moment."""
            self.begun[f"awaits {n}"] += 1
            await anyio.sleep(0.002)
            self.finished[f"awaits {n}"] += 1
            return f"awaits {n}"

        @tool(idempotent=True)
        def once(n: int) -> str:
            """Run once."""
            self.begun["once"] += 1
            self.finished["once"] += 1
            return f"once {n}"

        work = self

        class Watches(HookProvider):
            async def on_before_tool_call(self, event: Any) -> None:
                await anyio.lowlevel.checkpoint()

            async def on_after_tool_call(self, event: Any) -> None:
                await anyio.lowlevel.checkpoint()

            def on_before_model_call(self, event: Any) -> None:
                """In a thread."""

            async def on_after_invocation(self, event: Any) -> None:
                await anyio.lowlevel.checkpoint()
                work.ends.append(event.error)

        return Agent(
            FunctionModel(answer),
            [blocking, awaits, once],
            hooks=[Watches()],
            checkpointer=checkpointer,
            max_concurrency=2,
        )


BACKENDS = ("asyncio", "trio")
STORES = ("memory", "file", "sqlite")
ROUND = (("blocking", 1), ("awaits", 2), ("once", 3), ("blocking", 4), ("once", 3))


def answer(messages: Any, tools: Any, **options: Any) -> Any:
    """Two rounds of calls, then words."""
    asked = sum(bool(message.tool_calls) for message in messages)
    if asked == 2:
        return text("That is all.")
    calls = [tool_call(name, f"{asked}{at}", n=n) for at, (name, n) in enumerate(ROUND)]
    return ["Let me see.", *calls]


class Cut:
    """Counts how often a run waits, and calls ``cut`` before it does so for the ``at``-th time."""

    def __init__(self, at: int, patch: pytest.MonkeyPatch) -> None:
        self.at, self.waits = at, 0
        self.cut: Callable[[], object] = lambda: None
        following = AsyncRun._next

        async def counted(run: AsyncRun, error: BaseException | None = None) -> Any:
            return await _Counted(following(run, error), self)

        patch.setattr(AsyncRun, "_next", counted)


class _Counted:
    def __init__(self, work: Awaitable[Any], cut: Cut) -> None:
        self.work, self.cut = work, cut

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, cut = self.work.__await__(), self.cut
        came: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits_for = steps.send(came) if error is None else steps.throw(error)
            except StopIteration as done:
                return done.value
            came, error = None, None
            cut.waits += 1
            if cut.waits == cut.at:
                cut.cut()
            try:
                came = yield waits_for
            except BaseException as why:  # noqa: BLE001
                error = why


async def consume(agent: Agent, **kw: Any) -> str:
    """A run as events, to its end."""
    async with agent.run("Go.", thread_id="t", **kw) as run:
        async for _ in run:
            pass
        return run.result.message


def check_resumed(work: Work, checkpointer: Any, backend: str) -> None:
    """The thread goes on where it was cut off, and nothing that was recorded is done again."""
    state = checkpointer.load("t")
    if state is None:  # cut off before there was anything to save
        return
    recorded = {execution.tool_call_id for execution in state.tool_executions}
    before = work.begun.copy()
    result = anyio.run(lambda: work.agent(checkpointer).aresume(thread_id="t"), backend=backend)
    assert result.message == "That is all."
    final = result.state
    assert final.messages[: len(state.messages)] == state.messages
    answered = [m.tool_call_id for m in final.messages if m.role is Role.TOOL]
    assert answered == [f"{turn}{at}" for turn in range(2) for at in range(len(ROUND))]
    ids = [execution.tool_call_id for execution in final.tool_executions]
    assert ids == answered
    for name, times in (work.begun - before).items():
        left = sum(
            f"{tool} {n}" == name and f"{turn}{at}" not in recorded
            for turn in range(2)
            for at, (tool, n) in enumerate(ROUND)
        )
        assert times == (1 if name == "once" else left)


def checkpointers(folder: Path) -> dict[str, Callable[[], Any]]:
    return {
        "memory": MemoryCheckpointer,
        "file": lambda: FileCheckpointer(folder / "files"),
        "sqlite": lambda: SQLiteCheckpointer(folder / "threads.db"),
    }


@pytest.mark.parametrize(
    ("backend", "how", "store"),
    [
        *[(backend, "scope", store) for backend in BACKENDS for store in STORES],
        *[(backend, "scope of events", "memory") for backend in BACKENDS],
        ("asyncio", "task", "memory"),  # trio cancels scopes only
        ("asyncio", "task of events", "memory"),
    ],
)
def test_cancelling_at_every_await_leaves_a_thread_that_resumes(
    backend: str, how: str, store: str, tmp_path: Path
) -> None:
    at = 0
    while True:
        at += 1
        work = Work()
        folder = tmp_path / str(at)
        folder.mkdir()
        with checkpointers(folder)[store]() as checkpointer:
            agent = work.agent(checkpointer)
            with pytest.MonkeyPatch.context() as patch:
                cut = Cut(at, patch)
                running = partial(consume if "events" in how else _arun, agent)
                if "task" in how:
                    asyncio.run(cut_task(running, cut))
                else:
                    anyio.run(cut_scope, running, cut, backend=backend)
            ended = cut.waits < at
            assert [type(end) for end in work.ends] in ([], [type(None)]) or not ended
            # A blocking tool that was under way has been given the time to end.
            for name, begun in work.begun.items():
                assert not name.startswith("blocking") or work.finished[name] == begun
            check_recorded(work, checkpointer)
            check_resumed(work, checkpointer, backend)
        if ended:
            break
    assert at > 20


def _arun(agent: Agent) -> Awaitable[Any]:
    return agent.arun("Go.", thread_id="t")


def check_recorded(work: Work, checkpointer: Any) -> None:
    """What a blocking tool has done is in the saved state: it is not done again."""
    state = checkpointer.load("t")
    executions = state.tool_executions if state is not None else ()
    for n in (1, 4):
        recorded = sum(e.tool_name == "blocking" and e.arguments["n"] == n for e in executions)
        assert recorded == work.finished[f"blocking {n}"]


async def cut_scope(running: Callable[[], Awaitable[Any]], cut: Cut) -> None:
    with anyio.CancelScope() as scope:
        cut.cut = scope.cancel
        await running()


async def cut_task(running: Callable[[], Awaitable[Any]], cut: Cut, times: int = 1) -> None:
    async def main() -> None:
        await running()

    task = asyncio.create_task(main())

    def cancel(times: int = times) -> None:
        task.cancel()
        if times > 1:
            asyncio.get_running_loop().call_soon(cancel, times - 1)

    cut.cut = cancel
    try:
        await task
    except asyncio.CancelledError:
        assert task.cancelled()


@pytest.mark.parametrize("how", ["events", "result"])
def test_cancelling_twice_at_every_await_leaves_a_thread_that_resumes(how: str) -> None:
    at = 0
    while True:
        at += 1
        work, checkpointer = Work(), MemoryCheckpointer()
        agent = work.agent(checkpointer)
        with pytest.MonkeyPatch.context() as patch:
            cut = Cut(at, patch)
            running = partial(consume if how == "events" else _arun, agent)
            asyncio.run(cut_task(running, cut, times=2))
        with checkpointer.claim("t"):  # it is free
            pass
        until = time.monotonic() + 2.0
        while any(thread.name == "locus tool" for thread in threading.enumerate()):
            assert time.monotonic() < until
            time.sleep(0.001)
        check_resumed(work, checkpointer, "asyncio")
        if cut.waits < at:
            break
    assert at > 20


@pytest.mark.parametrize("milliseconds", [step / 2 for step in range(40)])
@pytest.mark.parametrize("how", ["events", "result"])
def test_cancelling_at_any_time_leaves_a_thread_that_resumes(
    backend: str, how: str, milliseconds: float
) -> None:
    work, checkpointer = Work(), MemoryCheckpointer()

    async def main() -> None:
        with anyio.move_on_after(milliseconds / 1e3):
            agent = work.agent(checkpointer)
            await (consume(agent) if how == "events" else _arun(agent))

    anyio.run(main, backend=backend)
    check_recorded(work, checkpointer)
    check_resumed(work, checkpointer, backend)


def test_a_tool_in_a_thread_that_does_not_end_is_left_behind(backend: str) -> None:
    let_go = threading.Event()

    @tool
    def hangs() -> None:
        """Hang."""
        let_go.wait(20)

    agent = Agent(FunctionModel(lambda *_, **__: tool_call("hangs")), [hangs])

    async def main() -> None:
        with AtMost(4.0), anyio.move_on_after(0.1) as scope:
            await agent.arun("Go.")
        assert scope.cancelled_caught
        let_go.set()

    anyio.run(main, backend=backend)


def test_a_tool_may_be_what_is_cancelled_without_the_run() -> None:
    @tool
    async def gives_up() -> None:
        """Be cancelled from elsewhere."""
        raise asyncio.CancelledError

    def model(messages: Any, *_: Any, **__: Any) -> Any:
        return "done" if messages[-1].role is Role.TOOL else tool_call("gives_up")

    agent = Agent(FunctionModel(model), [gives_up])
    for result in (agent.run_sync("Go."), asyncio.run(_arun_plain(agent))):
        assert result.state.tool_executions[0].error == "RuntimeError: the tool was cancelled"
        assert result.message == "done"


async def _arun_plain(agent: Agent) -> Any:
    return await agent.arun("Go.")


# Leaving early, and connections.


def test_leaving_a_run_closes_its_connection(backend: str, server: Any) -> None:
    server.enqueue(streamed().stall(400))
    ends: list[Any] = []

    class Tells(HookProvider):
        def on_after_invocation(self, event: Any) -> None:
            ends.append(event)

    agent = Agent(model_of(server), hooks=[Tells()], checkpointer=MemoryCheckpointer())

    async def main() -> None:
        async with agent.run("Go.", thread_id="t") as run:
            async for event in run:
                assert isinstance(event, ModelChunkEvent)
                break
        await anyio.to_thread.run_sync(server.wait_closed, 2)
        assert [event async for event in run] == []
        with pytest.raises(RuntimeError, match="no result"):
            _ = run.result
        await agent.model.aclose()  # type: ignore[union-attr]

    runtimes.run(backend, main)
    assert len(ends) == 1
    assert not ends[0].success
    assert [message.text for message in ends[0].state.messages] == ["Go."]


def test_cancelling_a_run_closes_its_connection(backend: str, server: Any) -> None:
    server.enqueue(streamed().stall(400))
    agent = Agent(model_of(server))

    async def main() -> None:
        with anyio.move_on_after(0.2):
            async for _ in agent.run("Go."):
                pass
        await anyio.to_thread.run_sync(server.wait_closed, 2)
        await agent.model.aclose()  # type: ignore[union-attr]

    runtimes.run(backend, main)


def test_dropping_a_run_closes_its_connection_and_frees_the_thread(
    backend: str, server: Any
) -> None:
    server.enqueue(streamed().stall(400), runtimes.whole())
    agent = Agent(model_of(server), checkpointer=MemoryCheckpointer())

    async def main() -> None:
        async for _ in agent.run("Go.", thread_id="t"):
            break
        await anyio.to_thread.run_sync(server.wait_closed, 2)
        await agent.arun("Go.", thread_id="t")  # it is not busy
        await agent.model.aclose()  # type: ignore[union-attr]

    runtimes.run(backend, main)


def test_leaving_a_blocking_run_closes_its_connection_and_frees_the_thread(server: Any) -> None:
    server.enqueue(*[streamed().stall(400)] * 2, streamed())
    agent = Agent(model_of(server), checkpointer=MemoryCheckpointer())
    for _ in agent.stream_sync("Go.", thread_id="t"):
        break
    server.wait_closed(timeout=1)
    with agent.stream_sync("Go.", thread_id="t") as run:
        next(run)
    server.wait_closed(timeout=1)
    assert list(run) == []
    events = list(agent.stream_sync("Go.", thread_id="t"))
    assert events[-1].reason == "complete"
    agent.model.close_sync()  # type: ignore[union-attr]


def test_a_run_that_was_not_begun_asks_nobody(backend: str) -> None:
    agent = Work().agent(None)
    agent.stream_sync("Go.").close()

    async def main() -> None:
        async with agent.run("Go."):
            pass

    runtimes.run(backend, main)
    assert agent.model.calls == []  # type: ignore[union-attr]


def test_interrupting_a_blocking_run_records_what_its_tools_have_done() -> None:
    checkpointer = MemoryCheckpointer()
    ran: Counter[str] = Counter()

    @tool
    def slow() -> str:
        """Take a moment."""
        time.sleep(0.05)
        ran["slow"] += 1
        return "slow"

    @tool
    async def awaits() -> str:
        """Wait long."""
        ran["awaits"] += 1
        await anyio.sleep(0 if ran["awaits"] > 1 else 20)
        return "awaited"

    @tool
    def interrupts() -> str:
        """Be where Ctrl-C strikes."""
        ran["interrupts"] += 1
        if ran["interrupts"] == 1:
            raise KeyboardInterrupt
        return "not again"

    calls = [tool_call(name, name) for name in ("slow", "awaits", "interrupts")]

    def model(messages: Any, *_: Any, **__: Any) -> Any:
        return "done" if messages[-1].role is Role.TOOL else calls

    agent = Agent(FunctionModel(model), [slow, awaits, interrupts], checkpointer=checkpointer)
    seen: list[Any] = []
    with AtMost(3.0), pytest.raises(KeyboardInterrupt):
        seen.extend(agent.stream_sync("Go.", thread_id="t"))
    assert isinstance(seen[-1], ToolStartEvent)
    state = checkpointer.load("t")
    assert state is not None
    assert [execution.tool_name for execution in state.tool_executions] == ["slow"]
    assert agent.resume_sync(thread_id="t").message == "done"
    assert ran == {"slow": 1, "awaits": 2, "interrupts": 2}


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_a_tool_that_ends_the_program_ends_it(backend: str, fatal: type[BaseException]) -> None:
    @tool
    async def quits() -> None:
        """End."""
        raise fatal

    agent = Agent(FunctionModel(lambda *_, **__: tool_call("quits")), [quits])
    with pytest.raises(fatal):
        agent.run_sync("Go.")

    async def main() -> None:
        await agent.arun("Go.")

    with pytest.raises(fatal):
        anyio.run(main, backend=backend)
