"""What may take long does not run in the event loop: the thread that it runs in is another one."""

from __future__ import annotations

import json
import threading
from typing import Any

import attrs
import pytest

from locus.agent import Agent
from locus.core.messages import Message
from locus.core.termination import CustomCondition, MaxIterations
from locus.memory import ConversationManager, SlidingWindowManager, SummarizingManager
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.support.runtimes import run_async

THREADS: list[int] = []


def note_thread(*_: Any) -> None:
    THREADS.append(threading.get_ident())


@attrs.frozen
class Row:
    number: int

    def __attrs_post_init__(self) -> None:
        if self.number in (0, 60_000):
            note_thread()


ROWS = [{"number": number} for number in range(4_000)]


@tool
def count(rows: list[Row]) -> int:
    """Count."""
    return len(rows)


@tool(requires_approval=lambda _: False)
def count_if_approved(rows: list[Row]) -> int:
    """Count."""
    return len(rows)


class Manager(ConversationManager):
    def apply(self, messages: Any) -> Any:
        note_thread()
        return tuple(messages)


class Hook:
    def on_after_tool_call(self, event: Any) -> None:
        event.result = (Row(number) for number in (60_000,))


def count_tokens(_: Message) -> int:
    note_thread()
    return 10


SLOW: dict[str, Any] = {
    "arguments": lambda: Agent(ScriptedModel(tool_call("count", rows=ROWS), "done"), [count]),
    "arguments before approval": lambda: Agent(
        ScriptedModel(tool_call("count_if_approved", rows=ROWS), "done"), [count_if_approved]
    ),
    "answer": lambda: Agent(ScriptedModel(json.dumps(ROWS)), output_schema=list[Row]),
    "last answer": lambda: Agent(
        ScriptedModel(tool_call("count", rows=[]), json.dumps(ROWS)),
        [count],
        output_schema=list[Row],
        max_iterations=1,
        final_answer=True,
    ),
    "result of a hook": lambda: Agent(
        ScriptedModel(tool_call("count", rows=[]), "done"), [count], hooks=[Hook()]
    ),
    "condition": lambda: Agent(
        ScriptedModel("done"), termination=MaxIterations(9) | CustomCondition(note_thread)
    ),
    "manager": lambda: Agent(ScriptedModel("done"), conversation_manager=Manager()),
    "counter": lambda: Agent(
        ScriptedModel("done"),
        conversation_manager=SlidingWindowManager(max_tokens=5, counter=count_tokens),
    ),
    "counter of summaries": lambda: Agent(
        ScriptedModel("done"),
        conversation_manager=SummarizingManager(max_tokens=100, counter=count_tokens),
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_it_runs_in_another_thread(name: str, backend: str) -> None:
    THREADS.clear()
    run_async(backend, SLOW[name]().arun, "Go.")
    assert THREADS
    assert threading.get_ident() not in THREADS


@pytest.mark.parametrize("name", SLOW)
def test_in_a_blocking_run_it_runs_in_the_thread_of_the_run(name: str) -> None:
    THREADS.clear()
    SLOW[name]().run_sync("Go.")
    assert set(THREADS) == {threading.get_ident()}
