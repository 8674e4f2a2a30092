"""Async tools that block the event loop of all blocking runs, and what becomes of other runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest

from locus.agent import Agent, choose_background_loop
from locus.memory import MemoryCheckpointer
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.support.timing import HANG_SECONDS, HangGuard

pytestmark = pytest.mark.usefixtures("no_leaks")


class Client:
    """A client of a tool's: it works in the event loop that it was first used in."""

    def __init__(self) -> None:
        self._gate = asyncio.Event()

    async def call(self) -> str:
        """Use the client."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gate.wait(), 0.001)
        return "called"


def run_tool(function: Callable[..., Any]) -> str | None:
    function_tool = tool(function)
    result = Agent(ScriptedModel(tool_call(function_tool.name), "done"), [function_tool]).run_sync(
        "Go."
    )
    (execution,) = result.state.tool_executions
    return execution.error or execution.result


@contextmanager
def blocked_loop() -> Iterator[threading.Event]:
    """A tool of another run blocks the shared loop, until the event is set or the block ends."""
    started, let_go = threading.Event(), threading.Event()

    async def blocks() -> None:
        """Block the event loop."""
        started.set()
        let_go.wait(HANG_SECONDS)

    thread = threading.Thread(target=run_tool, args=(blocks,))
    thread.start()
    try:
        assert started.wait(HANG_SECONDS)
        yield let_go
    finally:
        let_go.set()
        thread.join(HANG_SECONDS)


def test_a_tool_waits_for_the_loop_that_it_has_run_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose_background_loop, "_RESPONSE_SECONDS", 0.01)
    client = Client()
    assert run_tool(client.call) == "called"
    with HangGuard(), blocked_loop() as let_go:
        threading.Timer(0.3, let_go.set).start()
        assert run_tool(client.call) == "called"
        assert let_go.is_set()


def test_a_tool_that_finds_the_loop_blocked_stays_in_the_loop_that_it_got(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choose_background_loop, "_RESPONSE_SECONDS", 0.01)
    client = Client()
    with HangGuard():
        with blocked_loop() as let_go:
            assert run_tool(client.call) == "called"
            assert not let_go.is_set()
        assert run_tool(client.call) == "called"


@pytest.mark.usefixtures("no_grace")
def test_a_tool_does_not_wait_forever_for_its_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def quick() -> str:
        """Be quick."""
        await anyio.lowlevel.checkpoint()
        return "quick"

    assert run_tool(quick) == "quick"
    with HangGuard(), blocked_loop() as let_go:
        assert run_tool(quick) == "quick"
        assert not let_go.is_set()
    assert "its own is blocked" in caplog.text


def test_what_an_async_checkpointer_keeps_works_while_a_tool_blocks_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Checkpointer(MemoryCheckpointer):
        def __init__(self) -> None:
            super().__init__()
            self.client = Client()

        async def load(self, thread_id: str) -> Any:  # type: ignore[override]
            await self.client.call()
            return super().load(thread_id)

    monkeypatch.setattr(choose_background_loop, "_RESPONSE_SECONDS", 0.01)
    agent = Agent(ScriptedModel("ok", cycle=True), checkpointer=Checkpointer())
    agent.run_sync("Hello", "t")
    with HangGuard(), blocked_loop() as let_go:
        threading.Timer(0.2, let_go.set).start()
        assert len(agent.run_sync("Hello", "t").state.messages) == 4


def test_a_run_that_waits_for_a_blocked_loop_can_be_cancelled() -> None:
    async def quick() -> str:
        """Be quick."""
        return "quick"

    function_tool = tool(quick)
    run_tool(quick)
    agent = Agent(ScriptedModel(tool_call("quick"), "done"), [function_tool])
    with HangGuard(), blocked_loop() as let_go:
        run = agent.stream_sync("Go.")
        threading.Timer(0.2, run.cancel).start()
        with pytest.raises(CancelledError):
            list(run)
        assert not let_go.is_set()
