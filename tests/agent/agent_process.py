"""An agent in a process of its own: ``python -m tests.agent.agent_process``, and a task as JSON.

It plans a trip on OCI's responses API. Its conversation is in an SQLite database, so that another
process can go on with it; what its tools do goes into a file, where it is seen whatever becomes of
the process. Which of the tools is to be the end of the process, and how, the task says.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import attrs

from locus.agent import Agent
from locus.core.events import TerminateEvent, ToolStartEvent
from locus.memory import SQLiteCheckpointer
from locus.models.providers.oci import OCIResponsesModel
from locus.tools import tool

THREAD = "trip"


@attrs.frozen
class Task:
    """What a process is to do.

    :ivar base_url: where the model is, with a profile ``DEFAULT`` in the home directory.
    :ivar folder: where the database is, and the file that the tools write to.
    :ivar prompt: what is said to the agent; None where its thread is resumed.
    :ivar fatal: the tool that ends the process when all other calls of its round have been
        recorded, which are two; None where none does.
    :ivar hangs: it waits to be killed, rather than do it itself.
    """

    base_url: str
    compartment: str
    model: str
    folder: str
    runtime: str
    store: bool = True
    prompt: str | None = None
    fatal: str | None = None
    hangs: bool = False


def database(folder: str | Path) -> Path:
    return Path(folder) / "threads.db"


def log(folder: str | Path) -> Path:
    return Path(folder) / "log"


class Traveller:
    """The tools, and the agent that has them."""

    def __init__(self, task: Task, checkpointer: SQLiteCheckpointer) -> None:
        self.task = task
        self.checkpointer = checkpointer

    def _note(self, what: str) -> None:
        with log(self.task.folder).open("a") as file:
            file.write(f"{what}\n")

    def _others_recorded(self) -> bool:
        state = self.checkpointer.load(THREAD)
        return state is not None and len(state.tool_executions) == 2

    def _die(self) -> None:
        if self.task.hangs:
            os.write(1, b"hanging\n")
            time.sleep(60)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    def agent(self) -> Agent:
        @tool
        def print_tickets(city: str) -> str:
            """Print the tickets."""
            self._note(f"print {city}")
            if self.task.fatal == "print_tickets":
                wait_until(self._others_recorded)
                self._die()
            return f"printed for {city}"

        @tool(idempotent=True)
        def book(city: str) -> dict[str, str]:
            """Book a room."""
            self._note(f"book {city}")
            return {"booked": city}

        @tool
        async def look(city: str) -> str:
            """Look at the sky."""
            self._note(f"look {city}")
            if self.task.fatal == "look":
                await anyio.to_thread.run_sync(wait_until, self._others_recorded)
                self._die()
            return f"fine in {city}"

        task = self.task
        model = OCIResponsesModel(
            task.model,
            profile="DEFAULT",
            compartment_id=task.compartment,
            base_url=task.base_url,
            store=task.store,
            timeout=20.0,
            max_retries=0,
        )
        tools = [print_tickets, book, look]
        return Agent(model, tools, "Be brief.", checkpointer=self.checkpointer)


def wait_until(ready: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def work(agent: Agent, task: Task) -> list[Any]:
    """All events of the run."""
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
    with SQLiteCheckpointer(database(task.folder)) as checkpointer:
        events = work(Traveller(task, checkpointer).agent(), task)
    last = events[-1]
    assert isinstance(last, TerminateEvent)
    started = [event.tool_call_id for event in events if isinstance(event, ToolStartEvent)]
    ended = {"reason": last.reason, "message": last.final_message, "calls": last.total_tool_calls}
    sys.stdout.write(json.dumps({"started": started, **ended}))


if __name__ == "__main__":
    main(Task(**json.loads(sys.argv[1])))
