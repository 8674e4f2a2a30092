"""Conversations that outlive a run: threads, resuming, claims, and servers that remember."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from locus.agent import Agent, AgentState
from locus.core.errors import ConfigurationError
from locus.core.events import ThinkEvent, ToolCompleteEvent, ToolStartEvent
from locus.core.messages import Message, Role, ToolCall
from locus.core.state import ToolExecution
from locus.memory import (
    MemoryCheckpointer,
    SlidingWindowManager,
    SQLiteCheckpointer,
    ThreadBusyError,
)
from locus.testing import FunctionModel, ScriptedModel, tool_call
from locus.tools import tool
from tests import responses_server, runtimes
from tests.agent_runs import RUNTIMES, see, to_end
from tests.oci_inference import Said
from tests.runtimes import ROOT

no_leaks, server = runtimes.no_leaks, runtimes.server


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def texts(messages: Any) -> list[str]:
    return [message.text for message in messages]


class Saves(MemoryCheckpointer):
    """Counts, and keeps every state that was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[AgentState] = []

    def save(self, thread_id: str, state: AgentState) -> None:
        self.saved.append(state)
        super().save(thread_id, state)


# -- threads -------------------------------------------------------------------------------------


def test_a_thread_goes_on_where_it_was_left(runtime: str) -> None:
    model = ScriptedModel(tool_call("double", "a", n=1), "Two.", "You asked for one doubled.")
    agent = Agent(model, [double], "Be brief.", checkpointer=MemoryCheckpointer())
    to_end(runtime, agent, "Double one.", "t")
    seen = see(runtime, agent, "What did I ask?", "t")
    assert seen.result is not None
    assert texts(model.calls[2].messages) == [
        "Be brief.", "Double one.", "", "2", "Two.", "What did I ask?",
    ]  # fmt: skip
    # The run has its own counts, and the state those of the thread.
    assert (seen.result.iterations, seen.result.tool_calls) == (1, 0)
    assert (seen.last.iterations_used, seen.last.total_tool_calls) == (1, 0)
    assert seen.result.state.iteration == 3
    assert seen.of(ThinkEvent)[0].iteration == 3
    assert seen.result.thread_id == "t"


def test_limits_are_those_of_a_run_and_not_of_its_thread(runtime: str) -> None:
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), cycle=True),
        [double],
        max_iterations=2,
        checkpointer=MemoryCheckpointer(),
    )
    for _ in range(3):
        assert to_end(runtime, agent, "Go.", "t").iterations == 2


def test_without_a_thread_nothing_is_saved(runtime: str) -> None:
    saves = Saves()
    to_end(runtime, Agent(ScriptedModel("Yes."), checkpointer=saves), "Go.")
    assert saves.saved == []


def test_what_is_saved_and_when(runtime: str) -> None:
    saves = Saves()
    calls = [tool_call("double", str(n), n=n) for n in range(3)]
    agent = Agent(
        ScriptedModel(calls, tool_call("double", n=9), "Yes."),
        [double],
        checkpointer=saves,
        max_concurrency=1,
    )
    to_end(runtime, agent, "Go.", "t")
    assert [(len(s.messages), len(s.tool_executions), s.iteration) for s in saves.saved] == [
        (2, 0, 1),  # the model has answered with three calls
        (2, 1, 1),  # one has been run
        (2, 2, 1),  # another one
        (5, 3, 1),  # the third, and the results are in the conversation
        (6, 3, 2),
        (7, 4, 2),
        (8, 4, 3),
    ]


def test_a_failed_run_keeps_what_was_said(runtime: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel(OSError("gone"), "Yes."), checkpointer=checkpointer)
    assert isinstance(see(runtime, agent, "Go.", "t").error, OSError)
    assert to_end(runtime, agent, resume=True, thread_id="t").message == "Yes."
    state = checkpointer.load("t")
    assert state is not None
    assert texts(state.messages) == ["Go.", "Yes."]


def test_who_speaks_to_an_interrupted_thread_does_not_run_what_was_left(runtime: str) -> None:
    ran: list[int] = []

    @tool
    def counts(n: int) -> int:
        """Count."""
        ran.append(n)
        return n

    checkpointer = MemoryCheckpointer()
    calls = [ToolCall(str(n), "counts", {"n": n}) for n in range(2)]
    done = ToolExecution("counts", "0", {"n": 0}, "0", iteration=1)
    messages = (Message.user("Go."), Message.assistant(None, calls))
    checkpointer.save("t", AgentState(messages, (done,), iteration=1))
    model = ScriptedModel("As you like.")
    to_end(runtime, Agent(model, [counts], checkpointer=checkpointer), "Do not.", "t")
    assert ran == []
    assert texts(model.calls[0].messages)[2:] == [
        "0",
        "Error: not run: the conversation was interrupted",
        "Do not.",
    ]


# -- resuming ------------------------------------------------------------------------------------


def test_resuming_in_the_middle_of_a_round_runs_what_has_not_run_once(runtime: str) -> None:
    ran: Counter[int] = Counter()

    @tool
    def counts(n: int) -> int:
        """Count."""
        ran[n] += 1
        return n * 10

    checkpointer = MemoryCheckpointer()
    calls = [ToolCall(str(n), "counts", {"n": n}) for n in range(4)]
    done = tuple(
        ToolExecution("counts", str(n), {"n": n}, str(n * 10), iteration=1) for n in (1, 3)
    )
    messages = (Message.user("Go."), Message.assistant(None, calls))
    checkpointer.save("t", AgentState(messages, done, iteration=1))
    agent = Agent(ScriptedModel("Yes."), [counts], checkpointer=checkpointer)
    seen = see(runtime, agent, resume=True, thread_id="t")
    assert seen.result is not None
    assert ran == {0: 1, 2: 1}
    assert [event.tool_call_id for event in seen.of(ToolStartEvent)] == ["0", "2"]
    assert [event.result for event in seen.of(ToolCompleteEvent)] == ["0", "20"]
    state = seen.result.state
    assert [e.tool_call_id for e in state.tool_executions] == ["0", "1", "2", "3"]
    assert texts(m for m in state.messages if m.role is Role.TOOL) == ["0", "10", "20", "30"]
    assert (seen.result.tool_calls, seen.result.iterations) == (2, 1)


def test_a_call_id_that_comes_again_is_another_call(runtime: str) -> None:
    ran: list[int] = []

    @tool
    def counts(n: int) -> int:
        """Count."""
        ran.append(n)
        return n

    checkpointer = MemoryCheckpointer()
    agent = Agent(
        ScriptedModel(
            tool_call("counts", "call_0", n=1), tool_call("counts", "call_0", n=2), "Yes."
        ),
        [counts],
        checkpointer=checkpointer,
    )
    result = to_end(runtime, agent, "Go.", "t")
    assert ran == [1, 2]
    # Interrupted before the second one ran:
    state = result.state
    checkpointer.save("t", state.evolve(
        messages=state.messages[:4], tool_executions=state.tool_executions[:1], iteration=2
    ))  # fmt: skip
    again = agent.copy(model=ScriptedModel("Yes."))
    to_end(runtime, again, resume=True, thread_id="t")
    assert ran == [1, 2, 2]


def test_a_thread_that_had_ended_gives_its_last_answer(runtime: str) -> None:
    model = ScriptedModel("Yes.")
    agent = Agent(model, checkpointer=MemoryCheckpointer())
    to_end(runtime, agent, "Go.", "t")
    seen = see(runtime, agent, resume=True, thread_id="t")
    assert seen.result is not None
    assert (seen.result.message, seen.result.iterations) == ("Yes.", 0)
    assert len(model.calls) == 1


def test_a_thread_that_met_its_limit_goes_on(runtime: str) -> None:
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), "Two."),
        [double],
        max_iterations=1,
        checkpointer=MemoryCheckpointer(),
    )
    assert to_end(runtime, agent, "Go.", "t").stop_reason == "MaxIterations(1)"
    assert to_end(runtime, agent, resume=True, thread_id="t").message == "Two."


def test_there_is_something_to_resume_or_an_error_says_so(runtime: str) -> None:
    agent = Agent(ScriptedModel("Yes."), checkpointer=MemoryCheckpointer())
    with pytest.raises(ConfigurationError, match="no thread 't' to resume"):
        to_end(runtime, agent, resume=True, thread_id="t")
    with pytest.raises(ConfigurationError, match="checkpointer="):
        to_end(runtime, Agent(ScriptedModel("Yes.")), resume=True, thread_id="t")


KILLED = """
import os, signal, sys
from locus.agent import Agent
from locus.memory import SQLiteCheckpointer
from locus.testing import FunctionModel, tool_call
from locus.tools import tool

path, fatal = sys.argv[1], int(sys.argv[2])

@tool
def counts(n: int) -> int:
    with open(path + ".log", "a") as log:
        log.write(f"{n}\\n")
    if n == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return n

@tool(idempotent=True)
def once(n: int) -> int:
    with open(path + ".log", "a") as log:
        log.write(f"once {n}\\n")
    return n

def model(messages, tools, **options):
    asked = sum(bool(message.tool_calls) for message in messages)
    if asked == 2:
        return "That is all."
    calls = [tool_call("counts", f"{asked}{n}", n=10 * asked + n) for n in range(3)]
    return [*calls, tool_call("once", f"{asked}once", n=7)]

agent = Agent(
    FunctionModel(model), [counts, once], checkpointer=SQLiteCheckpointer(path), max_concurrency=1
)
if fatal >= 0:
    agent.run_sync("Go.", "t")
else:
    print(agent.resume_sync(thread_id="t").message)
"""


@pytest.mark.parametrize("fatal", [0, 1, 2, 10, 12])
def test_a_process_that_is_killed_is_followed_by_another(fatal: int, tmp_path: Path) -> None:
    path = str(tmp_path / "threads.db")

    def run(at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", KILLED, path, str(at)]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )

    assert run(fatal).returncode == -9
    done = run(-1)
    assert (done.stdout, done.stderr) == ("That is all.\n", "")
    ran = Counter(Path(path + ".log").read_text().splitlines())
    expected = Counter({str(10 * turn + n): 1 for turn in range(2) for n in range(3)})
    # The one that was under way is run again; whether it had done its work, nobody can know.
    assert ran == expected + Counter({"once 7": 1, str(fatal): 1})


def test_one_run_at_a_time_works_on_a_thread(runtime: str, tmp_path: Path) -> None:
    with SQLiteCheckpointer(tmp_path / "threads.db") as checkpointer:
        agent = Agent(ScriptedModel("Yes.", cycle=True), checkpointer=checkpointer)
        to_end(runtime, agent, "Go.", "t")
        with checkpointer.claim("t"):
            seen = see(runtime, agent, "Go.", "t")
            assert isinstance(seen.error, ThreadBusyError)
            assert seen.last.reason.startswith("error: ThreadBusyError")
            with pytest.raises(ThreadBusyError):
                to_end(runtime, agent, resume=True, thread_id="t")
            assert to_end(runtime, agent, "Go.", "another").message == "Yes."
        assert to_end(runtime, agent, "Go.", "t").message == "Yes."
        state = checkpointer.load("t")
    assert state is not None
    assert len(state.messages) == 4


def test_of_two_that_resume_at_once_one_wins(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(messages: Any, *_: Any, **__: Any) -> str:
        begun.set()
        assert go_on.wait(10)
        return "Yes."

    checkpointer = MemoryCheckpointer()
    checkpointer.save("t", AgentState((Message.user("Go."),)))
    agent = Agent(FunctionModel(slow), checkpointer=checkpointer)
    results: list[str] = []
    first = threading.Thread(
        target=lambda: results.append(agent.resume_sync(thread_id="t").message)
    )
    first.start()
    assert begun.wait(10)
    with pytest.raises(ThreadBusyError):
        agent.resume_sync(thread_id="t")
    go_on.set()
    first.join(10)
    assert results == ["Yes."]


# -- servers that keep the conversation ----------------------------------------------------------


def sent(server: Any) -> list[dict[str, Any]]:
    return [request.json() for request in server.requests]


def test_a_server_that_keeps_the_conversation_is_sent_what_is_new(
    runtime: str, server: Any, tmp_path: Path
) -> None:
    def says(said: Said) -> Any:
        return lambda received: said.response(bool(received.json().get("stream")))

    server.enqueue(
        says(Said("", (("double", {"n": 1}), ("double", {"n": 2})))),
        says(Said("Two and four.")),
        says(Said("", (("double", {"n": 3}),))),
        says(Said("Six.")),
    )

    shown: list[int] = []

    class Looks:
        def on_before_model_call(self, event: Any) -> None:
            shown.append(len(event.messages))

    def agent(checkpointer: Any) -> Agent:
        return Agent(
            responses_server.model_of(server),
            [double],
            "Be brief.",
            checkpointer=checkpointer,
            conversation_manager=SlidingWindowManager(max_messages=1),
            hooks=[Looks()],
        )

    states = []
    for prompt in ("Double one and two.", "And three."):
        with SQLiteCheckpointer(tmp_path / "threads.db") as checkpointer:  # as a new process would
            used = agent(checkpointer)
            if runtime == "blocking":
                states.append(used.run_sync(prompt, "t").state)
                used.model.close_sync()  # type: ignore[union-attr]
            else:

                async def main(used: Agent = used, prompt: str = prompt) -> None:
                    async with used.model:  # type: ignore[union-attr]
                        states.append((await used.arun(prompt, "t")).state)

                anyio.run(main, backend=runtime)
    assert shown == [2, 2, 1, 1]
    first, second, third, fourth = sent(server)
    assert "previous_response_id" not in first
    assert [item.get("role") for item in first["input"]] == ["system", "user"]
    assert [item["type"] for item in second["input"]] == ["function_call_output"] * 2
    assert [item["output"] for item in second["input"]] == ["2", "4"]
    assert [item.get("role") for item in third["input"]] == ["user"]
    assert [item["output"] for item in fourth["input"]] == ["6"]
    ids = [body.get("previous_response_id") for body in (second, third, fourth)]
    assert len(set(ids)) == 3
    assert states[0].provider_state == {"previous_response_id": ids[1]}
    assert states[1].provider_state is not None
    assert len(states[1].messages) == 9  # the whole conversation is in the state all the same


def test_a_server_that_keeps_nothing_is_sent_everything(runtime: str, server: Any) -> None:
    for said in (Said("", (("double", {"n": 1}),)), Said("Two.")):
        server.enqueue(said.response(False))
    agent = Agent(responses_server.model_of(server, store=False), [double], "Be brief.")

    async def main() -> Any:
        async with agent.model:  # type: ignore[union-attr]
            return await agent.arun("Go.")

    if runtime == "blocking":
        with agent.model:  # type: ignore[union-attr]
            result = agent.run_sync("Go.")
    else:
        result = anyio.run(main, backend=runtime)
    assert result.state.provider_state is None
    assert len(sent(server)[1]["input"]) > len(sent(server)[0]["input"])
    assert "previous_response_id" not in json.dumps(sent(server))
