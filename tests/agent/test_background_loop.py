"""The event loop that blocking runs share: what they keep in it, and what cannot hold them up."""

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
from tests.support import runtimes
from tests.support.runtimes import AtMost, script

no_leaks = runtimes.no_leaks

pytestmark = pytest.mark.usefixtures("no_leaks")


def calling(function: Callable[..., Any], **kw: Any) -> str | None:
    """What a tool gives, or its error, in a blocking run."""
    used = tool(function, **kw)
    result = Agent(ScriptedModel(tool_call(used.name), "done"), [used]).run_sync("Go.")
    assert result.message == "done"
    (execution,) = result.state.tool_executions
    return execution.error or execution.result


def test_what_an_async_tool_keeps_is_good_in_the_next_run() -> None:
    kept: list[asyncio.Task[str]] = []

    async def waits() -> str:
        """Wait across runs."""
        await anyio.sleep(0.02)
        return "kept"

    async def keeps() -> str:
        """Use what is bound to the loop."""
        if not kept:
            kept.append(asyncio.create_task(waits()))
            return "begun"
        return await kept[0]

    assert [calling(keeps), calling(keeps)] == ["begun", "kept"]


def test_an_async_tool_may_run_an_agent_that_blocks() -> None:
    async def inner() -> str:
        """Be async."""
        await anyio.sleep(0.001)
        return "inner"

    async def outer() -> str | None:
        """Block the event loop."""
        return calling(inner)

    before = threading.active_count()
    with AtMost(2.0):
        assert calling(outer) == "inner"
    assert threading.active_count() <= before + 1


def test_an_async_tool_may_wait_for_a_thread_that_runs_an_agent() -> None:
    async def inner() -> str:
        """Be async."""
        return "inner"

    async def outer() -> str | None:
        """Block the event loop."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(calling, inner).result()

    with AtMost(4.0):
        assert calling(outer) == "inner"


def test_a_run_ends_its_own_tasks_and_no_others() -> None:
    begun, ended = threading.Event(), threading.Event()

    async def stays() -> str:
        """Be there for a while."""
        begun.set()
        try:
            await anyio.sleep(0.2)
        finally:
            ended.set()
        return "stayed"

    async def short() -> None:
        """Take too long."""
        await anyio.sleep(20)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(calling, stays)
        assert begun.wait(2)
        assert calling(short, timeout=0.01) == (
            "TimeoutError: the tool did not finish within 0.01 s"
        )
        assert not ended.is_set()
        assert other.result() == "stayed"


def test_an_async_tool_that_does_not_end_holds_up_no_end() -> None:
    async def stubborn() -> None:
        """Mind no cancellation."""
        with anyio.CancelScope(shield=True):
            await anyio.sleep(4)

    with AtMost(3.0):
        assert "TimeoutError" in (calling(stubborn, timeout=0.01) or "")


def test_a_program_ends_though_an_async_tool_blocks_the_loop() -> None:
    code = """
    import time
    from locus.agent import Agent
    from locus.testing import ScriptedModel, tool_call
    from locus.tools import tool

    @tool(timeout=0.05)
    async def hangs() -> None:
        "Hang."
        time.sleep(30)

    print(Agent(ScriptedModel(tool_call("hangs"), "done"), [hangs]).run_sync("Go.").message)
    """
    with AtMost(10.0):
        assert script(code, early="import logging; ") == "done\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_has_a_loop_of_its_own() -> None:
    code = """
    import os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # the parent has threads
    from locus.agent import Agent
    from locus.testing import ScriptedModel, tool_call
    from locus.tools import tool

    @tool
    async def says() -> str:
        "Say where it is."
        return str(os.getpid())

    def said():
        agent = Agent(ScriptedModel(tool_call("says"), "done"), [says])
        return agent.run_sync("Go.").state.tool_executions[0].result

    assert said() == str(os.getpid())
    child = os.fork()
    if not child:
        os._exit(0 if said() == str(os.getpid()) else 1)
    print(os.waitpid(child, 0)[1])
    """
    with AtMost(10.0):
        assert script(code) == "0\n"
