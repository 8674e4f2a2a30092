"""The background event loop of blocking runs: what tools keep in it, and what must not block it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from locus.agent import Agent
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.support.subprocess_scripts import run_script
from tests.support.timing import FOREVER, HANG_SECONDS, HangGuard

pytestmark = pytest.mark.usefixtures("no_leaks")


def run_tool(function: Callable[..., Any], **options: Any) -> str | None:
    """Run a tool in a blocking run and return its result or error."""
    function_tool = tool(function, **options)
    result = Agent(ScriptedModel(tool_call(function_tool.name), "done"), [function_tool]).run_sync(
        "Go."
    )
    assert result.message == "done"
    (execution,) = result.state.tool_executions
    return execution.error or execution.result


def test_a_task_of_an_async_tool_works_in_the_next_run() -> None:
    tasks: list[asyncio.Task[str]] = []

    async def waits() -> str:
        """Wait across runs."""
        await anyio.sleep(0.02)
        return "awaited"

    async def uses_task() -> str:
        """Start a task, or await the one that was started."""
        if not tasks:
            tasks.append(asyncio.create_task(waits()))
            return "started"
        return await tasks[0]

    assert [run_tool(uses_task), run_tool(uses_task)] == ["started", "awaited"]


def test_an_async_tool_may_run_an_agent_in_blocking_code() -> None:
    async def inner() -> str:
        """Be async."""
        await anyio.sleep(0.001)
        return "inner"

    async def outer() -> str | None:
        """Block the event loop."""
        return run_tool(inner)

    with HangGuard():
        assert run_tool(outer) == "inner"
        threads_before = threading.active_count()
        for _ in range(3):
            assert run_tool(outer) == "inner"
    assert threading.active_count() <= threads_before


@pytest.mark.usefixtures("no_grace")
def test_an_async_tool_may_wait_for_a_thread_that_runs_an_agent() -> None:
    async def inner() -> str:
        """Be async."""
        return "inner"

    async def outer() -> str | None:
        """Block the event loop."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(run_tool, inner).result()

    with HangGuard():
        assert run_tool(outer) == "inner"


def test_a_run_cancels_its_own_tasks_and_no_others() -> None:
    started, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    async def stays() -> str:
        """Run for some time."""
        started.set()
        try:
            await anyio.to_thread.run_sync(go_on.wait, FOREVER)
        finally:
            ended.set()
        return "stayed"

    async def short() -> None:
        """Take too long."""
        await anyio.sleep(FOREVER)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(run_tool, stays)
        assert started.wait(HANG_SECONDS)
        assert run_tool(short, timeout=0.01) == (
            "TimeoutError: the tool did not finish within 0.01 s"
        )
        assert not ended.is_set()
        go_on.set()
        assert other.result() == "stayed"


@pytest.mark.usefixtures("no_grace")
def test_an_async_tool_that_does_not_end_does_not_block_the_run() -> None:
    let_go, ended = threading.Event(), threading.Event()

    async def stubborn() -> None:
        """Ignore cancellation."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(let_go.wait, FOREVER)
        ended.set()

    try:
        assert "TimeoutError" in (run_tool(stubborn, timeout=0.01) or "")
        assert not ended.is_set()
    finally:
        let_go.set()
    assert ended.wait(HANG_SECONDS)


def test_a_program_ends_though_an_async_tool_blocks_the_loop() -> None:
    code = """
    import time
    from locus.agent import Agent
    from locus.testing import ScriptedModel, tool_call
    from locus.tools import tool

    @tool(timeout=0.05)
    async def hangs() -> None:
        "Hang."
        time.sleep(600)

    print(Agent(ScriptedModel(tool_call("hangs"), "done"), [hangs]).run_sync("Go.").message)
    """
    assert run_script(code, prelude="") == "done\n"  # which is given a minute


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_has_a_loop_of_its_own() -> None:
    code = """
    import os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # the parent has threads
    from locus.agent import Agent
    from locus.testing import ScriptedModel, tool_call
    from locus.tools import tool

    @tool
    async def get_process() -> str:
        "Return the id of the process."
        return str(os.getpid())

    def run_tool():
        agent = Agent(ScriptedModel(tool_call("get_process"), "done"), [get_process])
        return agent.run_sync("Go.").state.tool_executions[0].result

    assert run_tool() == str(os.getpid())
    child = os.fork()
    if not child:
        os._exit(0 if run_tool() == str(os.getpid()) else 1)
    print(os.waitpid(child, 0)[1])
    """
    assert run_script(code) == "0\n"


def test_a_task_that_exits_does_not_end_the_loop() -> None:
    gates: list[asyncio.Event] = []

    async def exits_in_task() -> None:
        """Exit in a task."""
        await asyncio.create_task(exits())

    async def exits_in_group() -> None:
        """Exit in a task of a group."""
        async with anyio.create_task_group() as group:
            group.start_soon(exits)
            await anyio.sleep(FOREVER)

    async def exits() -> None:
        await anyio.lowlevel.checkpoint()
        raise SystemExit(4)

    async def waits() -> str:
        """Use something that works only in the loop in which it was made."""
        gates.extend([] if gates else [asyncio.Event()])
        with anyio.move_on_after(0.001):
            await gates[0].wait()
        return "waited"

    for exiting in (exits_in_task, exits_in_group):
        assert run_tool(waits) == "waited"
        assert "end the program with SystemExit(4)" in (run_tool(exiting) or "")
        assert run_tool(waits) == "waited"
