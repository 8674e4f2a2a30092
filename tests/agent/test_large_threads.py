"""A thread with ten thousand messages: the cost of a step with each checkpointer.

What is written and sent is counted, because the load of the machine does not change that. Times are
only compared with those of a thread a quarter as long, and with tolerance: linear work takes four
times as long, quadratic work sixteen times.
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
"""How often the model is called in a run."""

CHECKPOINTER_FACTORIES: dict[str, Callable[[Path], BaseCheckpointer]] = {
    "memory": lambda path: MemoryCheckpointer(),
    "file": lambda path: FileCheckpointer(path / "saved"),
    "sqlite": lambda path: SQLiteCheckpointer(path / "saved.db"),
}


@cache
def make_history(size: int) -> AgentState:
    """Make a conversation of a given length, half of it tool calls and their results."""
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


class FastModel:
    """A model that ignores the conversation, and calls a tool in each response but the last.

    :ivar message_counts: how many messages it was sent, each time.
    """

    def __init__(self, steps: int, *, server_stateful: bool = False) -> None:
        self.steps = steps
        self.server_stateful = server_stateful
        self.message_counts: list[int] = []

    async def complete(self, *_: Any, **__: Any) -> ModelResponse:
        raise AssertionError

    def stream(self, *_: Any, **__: Any) -> Any:
        raise AssertionError

    def complete_sync(self, messages: Any, *_: Any, **__: Any) -> ModelResponse:
        self.message_counts.append(len(messages))
        number = len(self.message_counts)
        response = (
            text("Done.")
            if number == self.steps
            else tool_call("double", f"new_{number}", n=-number)
        )
        state = {"id": str(number)} if self.server_stateful else None
        return attrs.evolve(response, provider_state=state)


@pytest.fixture(params=list(CHECKPOINTER_FACTORIES))
def store_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run_steps(
    checkpointer: BaseCheckpointer,
    size: int,
    on_first_response: Callable[[], None] = lambda: None,
    model: FastModel | None = None,
) -> None:
    """Run an agent on a thread of a given length, with a tool call in each step but the last.

    :param on_first_response: called when the thread is loaded and the first response is saved.
    """
    model = model or FastModel(STEPS)
    agent = Agent(model, [double], checkpointer=checkpointer, stream=False)
    with agent.stream_sync("Go on.", "t") as events:
        for event in events:
            if isinstance(event, ThinkEvent):
                on_first_response()
                break
        for _ in events:
            pass
        state = events.result.state
    assert len(state.messages) == size + 2 * model.steps
    assert len(state.tool_executions) == size // 4 + model.steps - 1


# -- the amount of data --------------------------------------------------------------------------


def test_sqlite_gets_the_same_statements_however_long_the_thread_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement_length = work_count = 0

    def count_statement(statement: str) -> None:
        nonlocal statement_length
        statement_length += len(statement)

    def count_work() -> int:
        nonlocal work_count
        work_count += 1
        return 0

    def connect(*args: Any) -> sqlite3.Connection:
        connection = sqlite_schema.connect_and_migrate_schema(*args)
        connection.set_trace_callback(count_statement)  # with the values
        connection.set_progress_handler(count_work, 10)  # instructions of SQLite's own machine
        return connection

    monkeypatch.setattr("locus.memory.checkpointers.sqlite.connect_and_migrate_schema", connect)
    counts = {}
    for size in (SHORT, LONG):
        with SQLiteCheckpointer(tmp_path / f"{size}.db") as checkpointer:
            checkpointer.save("t", make_history(size))

            def reset_counts() -> None:
                nonlocal statement_length, work_count
                statement_length = work_count = 0

            run_steps(checkpointer, size, reset_counts)
            counts[size] = statement_length, work_count
    for short, long in zip(counts[SHORT], counts[LONG], strict=True):
        assert 0 < long < 1.2 * short


def test_memory_encodes_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    item_count = 0
    encode_item = state_json.encode_item

    def count(item: Any) -> bytes:
        nonlocal item_count
        item_count += 1
        return encode_item(item)

    monkeypatch.setattr(state_json, "encode_item", count)
    checkpointer = MemoryCheckpointer()
    checkpointer.save("t", make_history(LONG))

    def reset_count() -> None:
        nonlocal item_count
        item_count = 0

    run_steps(checkpointer, LONG, reset_count)
    # A result and an execution for each call, and the responses after the first.
    assert item_count == 2 * (STEPS - 1) + (STEPS - 1)


def test_a_file_is_written_once_for_each_step(tmp_path: Path) -> None:
    class SizeRecordingCheckpointer(FileCheckpointer):
        def save(self, thread_id: str, state: AgentState) -> None:
            super().save(thread_id, state)
            (file,) = self.directory.glob("*.json")
            sizes.append(file.stat().st_size)

    sizes_by_length = {}
    for size in (SHORT, LONG):
        sizes: list[int] = []
        checkpointer = SizeRecordingCheckpointer(tmp_path / str(size))
        checkpointer.save("t", make_history(size))
        run_steps(checkpointer, size, sizes.clear, FastModel(4))
        sizes_by_length[size] = list(sizes)
    # The results and the next response, three times: the first response was saved before.
    assert len(sizes_by_length[SHORT]) == len(sizes_by_length[LONG]) == 6
    for short, long in zip(sizes_by_length[SHORT], sizes_by_length[LONG], strict=True):
        assert long < 4.2 * short


def test_a_server_that_stores_the_conversation_is_sent_only_what_is_new(tmp_path: Path) -> None:
    model = FastModel(STEPS, server_stateful=True)
    state = make_history(LONG).evolve(provider_state={"id": "0"})
    with SQLiteCheckpointer(tmp_path / "saved.db") as checkpointer:
        checkpointer.save("t", state)
        run_steps(checkpointer, LONG, model=model)
    assert model.message_counts == [1] * STEPS


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_the_time_of_a_step_is_at_most_linear_in_the_length_of_the_thread(
    store_name: str, tmp_path: Path
) -> None:
    def measure_seconds(size: int) -> float:
        nonlocal started_at
        checkpointer.save("t", make_history(size))
        gc.collect()
        gc.disable()
        try:
            run_steps(checkpointer, size, start_clock, FastModel(5))
            return time.process_time() - started_at
        finally:
            gc.enable()

    def start_clock() -> None:
        nonlocal started_at
        started_at = time.process_time()

    started_at = 0.0
    with CHECKPOINTER_FACTORIES[store_name](tmp_path) as checkpointer:
        measure_seconds(4)
        short = min(measure_seconds(SHORT) for _ in range(3))
        long = min(measure_seconds(LONG) for _ in range(3))
    assert long < 8 * short  # quadratic work: sixteen times


@pytest.mark.thorough
def test_the_time_to_resume_is_at_most_linear_in_the_length_of_the_thread(
    store_name: str, tmp_path: Path
) -> None:
    def measure_seconds(size: int) -> float:
        checkpointer.save("t", make_history(size))
        agent = Agent(FastModel(1), checkpointer=checkpointer)
        gc.collect()
        gc.disable()
        try:
            started_at = time.process_time()
            result = agent.resume_sync(thread_id="t")
            assert (result.message, result.iterations) == (f"It is {2 * (size // 4 - 1)}.", 0)
            return time.process_time() - started_at
        finally:
            gc.enable()

    with CHECKPOINTER_FACTORIES[store_name](tmp_path) as checkpointer:
        measure_seconds(4)
        short = min(measure_seconds(SHORT) for _ in range(3))
        long = min(measure_seconds(LONG) for _ in range(3))
    assert long < 8 * short
