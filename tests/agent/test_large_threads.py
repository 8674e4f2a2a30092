"""A thread with ten thousand messages: what a step on it costs, with each checkpointer.

What is written and sent is counted, which no load on the machine alters. Time is only compared with
that of a thread a quarter as long, and loosely: what is linear takes four times as long at most,
what is quadratic sixteen times.
"""

from __future__ import annotations

import gc
import sqlite3
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.agent import Agent, AgentState
from locus.core import state_json
from locus.core.events import ThinkEvent
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.response import ModelResponse
from locus.core.state import ToolExecution
from locus.memory import (
    BaseCheckpointer,
    FileCheckpointer,
    MemoryCheckpointer,
    SQLiteCheckpointer,
)
from locus.memory.checkpointers import sqlite_schema
from locus.testing import text, tool_call
from locus.tools import tool

SHORT, LONG = 2_500, 10_000
STEPS = 20
"""How often the model is asked in a run."""

MAKERS: dict[str, Callable[[Path], BaseCheckpointer]] = {
    "memory": lambda path: MemoryCheckpointer(),
    "file": lambda path: FileCheckpointer(path / "saved"),
    "sqlite": lambda path: SQLiteCheckpointer(path / "saved.db"),
}


@cache
def history(size: int) -> AgentState:
    """A conversation of so many messages, half of them calls and their results."""
    messages: list[Message] = []
    executions = []
    for n in range(size // 4):
        call = ToolCall(f"call_{n}", "double", {"n": n})
        result = ToolResult(call.id, call.name, str(2 * n))
        messages += [
            Message.user(f"What is twice {n}?"),
            Message.assistant(None, [call]),
            Message.tool(result),
            Message.assistant(f"It is {2 * n}."),
        ]
        executions.append(
            ToolExecution("double", call.id, call.arguments, str(2 * n), None, 0.5, n + 1, True)
        )
    return AgentState(messages, executions, iteration=size // 2)


@tool(idempotent=True)
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


class Cheap:
    """A model that does not look at the conversation, and calls a tool in all answers but the last.

    :ivar asked: how many messages it was sent, each time.
    """

    def __init__(self, steps: int, *, server_stateful: bool = False) -> None:
        self.steps = steps
        self.server_stateful = server_stateful
        self.asked: list[int] = []

    async def complete(self, *_: Any, **__: Any) -> ModelResponse:
        raise AssertionError

    def stream(self, *_: Any, **__: Any) -> Any:
        raise AssertionError

    def complete_sync(self, messages: Any, *_: Any, **__: Any) -> ModelResponse:
        self.asked.append(len(messages))
        at = len(self.asked)
        answer = text("Done.") if at == self.steps else tool_call("double", f"new_{at}", n=-at)
        state = {"id": str(at)} if self.server_stateful else None
        return attrs.evolve(answer, provider_state=state)


@pytest.fixture(params=list(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(
    checkpointer: BaseCheckpointer,
    size: int,
    begun: Callable[[], None] = lambda: None,
    model: Cheap | None = None,
) -> None:
    """A run on a thread of so many messages, with a call of a tool in each step but the last.

    :param begun: called when the thread has been loaded and the first answer has been saved.
    """
    model = model or Cheap(STEPS)
    agent = Agent(model, [double], checkpointer=checkpointer, stream=False)
    with agent.stream_sync("Go on.", "t") as events:
        for event in events:
            if isinstance(event, ThinkEvent):
                begun()
                break
        for _ in events:
            pass
        state = events.result.state
    assert len(state.messages) == size + 2 * model.steps
    assert len(state.tool_executions) == size // 4 + model.steps - 1


# -- what is written -----------------------------------------------------------------------------


def test_sqlite_is_told_the_same_however_long_the_thread_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = worked = 0

    def note(statement: str) -> None:
        nonlocal told
        told += len(statement)

    def work() -> int:
        nonlocal worked
        worked += 1
        return 0

    def connect(*args: Any) -> sqlite3.Connection:
        connection = sqlite_schema.connect(*args)
        connection.set_trace_callback(note)  # values included
        connection.set_progress_handler(work, 10)  # instructions of SQLite's own machine
        return connection

    monkeypatch.setattr("locus.memory.checkpointers.sqlite.connect", connect)
    found = {}
    for size in (SHORT, LONG):
        with SQLiteCheckpointer(tmp_path / f"{size}.db") as checkpointer:
            checkpointer.save("t", history(size))

            def forget() -> None:
                nonlocal told, worked
                told = worked = 0

            run(checkpointer, size, forget)
            found[size] = told, worked
    for short, long in zip(found[SHORT], found[LONG], strict=True):
        assert 0 < long < 1.2 * short


def test_memory_makes_json_of_what_is_new_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    write_item = state_json.write_item

    def count(item: Any) -> bytes:
        nonlocal made
        made += 1
        return write_item(item)

    monkeypatch.setattr(state_json, "write_item", count)
    checkpointer = MemoryCheckpointer()
    checkpointer.save("t", history(LONG))

    def forget() -> None:
        nonlocal made
        made = 0

    run(checkpointer, LONG, forget)
    # A result and an execution for each call, and the answers after the first.
    assert made == 2 * (STEPS - 1) + (STEPS - 1)


def test_a_file_is_written_whole_and_no_more_often_than_before(tmp_path: Path) -> None:
    class Weighs(FileCheckpointer):
        def save(self, thread_id: str, state: AgentState) -> None:
            super().save(thread_id, state)
            (file,) = self.directory.glob("*.json")
            weights.append(file.stat().st_size)

    found = {}
    for size in (SHORT, LONG):
        weights: list[int] = []
        checkpointer = Weighs(tmp_path / str(size))
        checkpointer.save("t", history(size))
        run(checkpointer, size, weights.clear, Cheap(4))
        found[size] = list(weights)
    # The results and the next answer, three times: the first one was saved before.
    assert len(found[SHORT]) == len(found[LONG]) == 6
    for short, long in zip(found[SHORT], found[LONG], strict=True):
        assert long < 4.2 * short


def test_a_server_that_keeps_the_conversation_is_sent_what_is_new_of_it(tmp_path: Path) -> None:
    model = Cheap(STEPS, server_stateful=True)
    state = history(LONG).evolve(provider_state={"id": "0"})
    with SQLiteCheckpointer(tmp_path / "saved.db") as checkpointer:
        checkpointer.save("t", state)
        run(checkpointer, LONG, model=model)
    assert model.asked == [1] * STEPS


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_step_takes_no_more_than_in_proportion_to_the_thread(kind: str, tmp_path: Path) -> None:
    def spent(size: int) -> float:
        nonlocal began
        checkpointer.save("t", history(size))
        gc.collect()
        gc.disable()
        try:
            run(checkpointer, size, begin, Cheap(5))
            return time.process_time() - began
        finally:
            gc.enable()

    def begin() -> None:
        nonlocal began
        began = time.process_time()

    began = 0.0
    with MAKERS[kind](tmp_path) as checkpointer:
        spent(4)
        short = min(spent(SHORT) for _ in range(3))
        long = min(spent(LONG) for _ in range(3))
    assert long < 8 * short  # what is quadratic: sixteen times


@pytest.mark.slow
def test_to_take_up_a_thread_takes_no_more_than_in_proportion(kind: str, tmp_path: Path) -> None:
    def spent(size: int) -> float:
        checkpointer.save("t", history(size))
        agent = Agent(Cheap(1), checkpointer=checkpointer)
        gc.collect()
        gc.disable()
        try:
            began = time.process_time()
            result = agent.resume_sync(thread_id="t")
            assert (result.message, result.iterations) == (f"It is {2 * (size // 4 - 1)}.", 0)
            return time.process_time() - began
        finally:
            gc.enable()

    with MAKERS[kind](tmp_path) as checkpointer:
        spent(4)
        short = min(spent(SHORT) for _ in range(3))
        long = min(spent(LONG) for _ in range(3))
    assert long < 8 * short
