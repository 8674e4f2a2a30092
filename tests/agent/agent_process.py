"""Runs an agent in a process of its own: ``python -m tests.agent.agent_process TASK``.

The agent plans a trip with OCI's Responses API. Its conversation is in an SQLite database, so that
another process can continue it. Its tools log their calls to a file, which outlives the process.
The task, an argument in JSON, says which of the tools ends the process, and how.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import attrs

from locus.agent import Agent
from locus.core.events import TerminateEvent, ToolStartEvent
from locus.memory import SQLiteCheckpointer
from locus.models.providers.oci import OCIResponsesModel
from locus.tools import tool
from tests.support.timing import FOREVER, wait_until

THREAD = "trip"


@attrs.frozen
class Task:
    """What a process has to do.

    :ivar base_url: the address of the model; the home directory has a profile ``DEFAULT``.
    :ivar folder: the directory of the database and of the log file.
    :ivar prompt: the prompt; None resumes the thread.
    :ivar killing_tool: the tool that ends the process when the two other calls of its round are
        recorded; None if no tool does.
    :ivar waits_to_be_killed: that tool waits until the process is killed, instead of killing it.
    """

    base_url: str
    compartment: str
    model: str
    folder: str
    runtime: str
    store: bool = True
    prompt: str | None = None
    killing_tool: str | None = None
    waits_to_be_killed: bool = False


def get_database_path(folder: str | Path) -> Path:
    return Path(folder) / "threads.db"


def get_log_path(folder: str | Path) -> Path:
    return Path(folder) / "log"


class TripPlanner:
    """Makes the agent and its tools."""

    def __init__(self, task: Task, checkpointer: SQLiteCheckpointer) -> None:
        self.task = task
        self.checkpointer = checkpointer

    def _log(self, entry: str) -> None:
        with get_log_path(self.task.folder).open("a") as file:
            file.write(f"{entry}\n")

    def _are_others_recorded(self) -> bool:
        state = self.checkpointer.load(THREAD)
        return state is not None and len(state.tool_executions) == 2

    def _kill_process(self) -> None:
        if self.task.waits_to_be_killed:
            os.write(1, b"hanging\n")
            time.sleep(60)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def make_agent(self) -> Agent:
        @tool
        def print_tickets(city: str) -> str:
            """Print the tickets."""
            self._log(f"print {city}")
            if self.task.killing_tool == "print_tickets":
                wait_until(self._are_others_recorded)
                self._kill_process()
            return f"printed for {city}"

        @tool(idempotent=True)
        def book(city: str) -> dict[str, str]:
            """Book a room."""
            self._log(f"book {city}")
            return {"booked": city}

        @tool
        async def look(city: str) -> str:
            """Look at the sky."""
            self._log(f"look {city}")
            if self.task.killing_tool == "look":
                await anyio.to_thread.run_sync(wait_until, self._are_others_recorded)
                self._kill_process()
            return f"fine in {city}"

        task = self.task
        model = OCIResponsesModel(
            task.model,
            profile="DEFAULT",
            compartment_id=task.compartment,
            base_url=task.base_url,
            store=task.store,
            timeout=FOREVER,
            max_retries=0,
        )
        tools = [print_tickets, book, look]
        return Agent(model, tools, "Be brief.", checkpointer=self.checkpointer)


def run_agent(agent: Agent, task: Task) -> list[Any]:
    """Run the task and return all events."""
    model: Any = agent.model
    if task.runtime == "blocking":
        with model:
            if task.prompt is None:
                return list(agent.resume_stream_sync(thread_id=THREAD))
            return list(agent.stream_sync(task.prompt, THREAD))

    async def main() -> list[Any]:
        async with model:
            if task.prompt is None:
                return [event async for event in agent.resume(thread_id=THREAD)]
            return [event async for event in agent.run(task.prompt, THREAD)]

    return anyio.run(main, backend=task.runtime)


def main(task: Task) -> None:
    with SQLiteCheckpointer(get_database_path(task.folder)) as checkpointer:
        events = run_agent(TripPlanner(task, checkpointer).make_agent(), task)
    last = events[-1]
    assert isinstance(last, TerminateEvent)
    started = [event.tool_call_id for event in events if isinstance(event, ToolStartEvent)]
    outcome = {"reason": last.reason, "message": last.final_message, "calls": last.total_tool_calls}
    sys.stdout.write(json.dumps({"started": started, **outcome}))


if __name__ == "__main__":
    main(Task(**json.loads(sys.argv[1])))
