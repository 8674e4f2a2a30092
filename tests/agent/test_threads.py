"""Conversations that outlive a run: threads, resuming, claims, and servers that remember."""

from __future__ import annotations

import gc
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
from locus.core.messages import Message, Role, ToolCall, ToolResult
from locus.core.response import ModelResponse
from locus.core.state import ToolExecution
from locus.memory import (
    MemoryCheckpointer,
    SlidingWindowManager,
    SQLiteCheckpointer,
    SummarizingManager,
    ThreadBusyError,
)
from locus.testing import FunctionModel, ScriptedModel, tool_call
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES, see, to_end
from tests.support import runtimes
from tests.support.oci.inference import Said
from tests.support.runtimes import ROOT
from tests.support.servers import responses_server

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
        (1, 0, 0),  # the caller has spoken
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


def test_what_the_caller_is_shown_has_been_saved(runtime: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), "Two."), [double], checkpointer=checkpointer
    )
    shown: list[tuple[str, int]] = []

    def look(event: Any) -> None:
        state = checkpointer.load("t")
        shown.append((type(event).__name__, 0 if state is None else len(state.messages)))

    if runtime == "blocking":
        for event in agent.stream_sync("Go.", thread_id="t"):
            look(event)
    else:

        async def main() -> None:
            async for event in agent.run("Go.", thread_id="t"):
                look(event)

        anyio.run(main, backend=runtime)
    assert [one for one in dict.fromkeys(shown) if "Tool" not in one[0]] == [
        ("ModelChunkEvent", 1), ("ThinkEvent", 2), ("ModelChunkEvent", 3), ("ThinkEvent", 4),
        ("TerminateEvent", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_run_that_is_dropped_loses_nothing_that_was_said(backend: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel("One.", "Two."), checkpointer=checkpointer)

    async def main() -> list[str]:
        async for event in agent.run("Go.", thread_id="t"):
            if isinstance(event, ThinkEvent):
                break
        gc.collect()
        return texts((await agent.arun("On.", thread_id="t")).state.messages)

    assert anyio.run(main, backend=backend) == ["Go.", "One.", "On.", "Two."]


# -- prompts that do not go with the thread -------------------------------------------------------


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        (Message.tool(ToolResult("x", "double", "2")), r"messages\[0\] .* no open call"),
        (Message.tool(ToolResult("done", "double", "2")), r"messages\[0\] .* no open call"),
        ([Message.assistant(None, [ToolCall("x", "double", {"n": 1})])], r"messages\[0\] .* calls"),
        (
            [Message.user("Go."), Message.assistant(None, [ToolCall("done", "double", {"n": 1})])],
            r"messages\[1\] .* calls the tool 'double'",
        ),
        (
            [
                Message.assistant(None, [ToolCall("x", "double"), ToolCall("y", "double")]),
                Message.tool(ToolResult("y", "double", "2")),
                Message.user("Well?"),
            ],
            r"messages\[0\] .*'x'",
        ),
        (
            [
                Message.assistant(None, [ToolCall("x", "double")]),
                Message.tool(ToolResult("x", "double", "2")),
                Message.tool(ToolResult("x", "double", "2")),
            ],
            r"messages\[2\] .* no open call",
        ),
    ],
)
def test_a_prompt_that_no_provider_could_take_leaves_the_thread_as_it_was(
    runtime: str, new: bool, prompt: Any, match: str
) -> None:
    saves = Saves()
    model = ScriptedModel(tool_call("double", "done", n=1), "Two.", cycle=True)
    agent = Agent(model, [double], checkpointer=saves)
    if not new:
        to_end(runtime, agent, "Go.", "t")
    before = saves.load("t")
    with pytest.raises(ConfigurationError, match=match):
        to_end(runtime, agent, prompt, "t")
    assert saves.load("t") == before
    assert to_end(runtime, agent, "Again.", "t").message == "Two."


def test_a_prompt_with_an_open_call_is_refused_before_a_run_without_a_thread() -> None:
    agent = Agent(ScriptedModel("Yes."), [double])
    with pytest.raises(ConfigurationError, match="its own model"):
        agent.stream_sync([Message.assistant(None, [ToolCall("x", "double", {"n": 1})])])


def test_results_in_the_prompt_answer_the_calls_that_were_left(runtime: str) -> None:
    checkpointer = MemoryCheckpointer()
    calls = [ToolCall(name, "double", {"n": 1}) for name in "abcd"]
    done = ToolExecution("double", "a", {"n": 1}, "2", iteration=1)
    messages = (Message.user("Go."), Message.assistant(None, calls))
    checkpointer.save("t", AgentState(messages, (done,), iteration=1))
    model = ScriptedModel("Thanks.")
    prompt = [
        Message.user("Here:"),
        Message.tool(ToolResult("c", "double", "of c")),
        Message.tool(ToolResult("b", "double", "of b")),
    ]
    to_end(runtime, Agent(model, [double], checkpointer=checkpointer), prompt, "t")
    assert [(m.tool_call_id, m.text) for m in model.calls[0].messages[2:]] == [
        ("a", "2"),
        ("b", "of b"),
        ("c", "of c"),
        ("d", "Error: not run: the conversation was interrupted"),
        (None, "Here:"),
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


@pytest.mark.parametrize("said", ["", None])
def test_a_thread_that_ended_with_an_empty_answer_is_not_asked_again(
    runtime: str, said: str | None
) -> None:
    model = ScriptedModel(ModelResponse(Message.assistant(said)), "Again.", "And on.")
    agent = Agent(model, checkpointer=MemoryCheckpointer())
    assert to_end(runtime, agent, "Go.", "t").message == ""
    result = to_end(runtime, agent, resume=True, thread_id="t")
    assert (result.message, result.stop_reason, len(model.calls)) == ("", "complete", 1)
    assert to_end(runtime, agent, "On.", "t").message == "Again."
    assert to_end(runtime, agent, resume=True, thread_id="t").message == "Again."
    assert len(model.calls) == 2


def test_a_call_that_was_cut_off_is_not_run_after_a_resume_either(
    runtime: str, tmp_path: Path
) -> None:
    ran: list[str] = []

    @tool
    def remove(path: str = "/") -> str:
        """Remove."""
        ran.append(path)
        return f"removed {path}"

    class Stops:
        def on_before_tool_call(self, event: Any) -> None:
            raise InterruptedError("now")

    calls = [ToolCall("a", "remove", {"path": "/tmp"}), ToolCall("b", "remove", {"path": "/"})]
    cut = ModelResponse(Message.assistant(None, calls), stop_reason="length")
    with SQLiteCheckpointer(tmp_path / "threads.db") as checkpointer:
        agent = Agent(ScriptedModel(cut, "Yes."), [remove], checkpointer=checkpointer)
        seen = see(runtime, agent.copy(hooks=[Stops()]), "Go.", "t")
        assert isinstance(seen.error, InterruptedError)
        result = to_end(runtime, agent, resume=True, thread_id="t")
    assert ran == ["/tmp"]
    assert "cut off at its token limit" in result.state.messages[3].text


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("raised", [LookupError, KeyboardInterrupt])
def test_a_tool_whose_hook_fails_is_not_run_again(
    runtime: str, raised: type[BaseException], calls: int
) -> None:
    ran: list[int] = []

    @tool(idempotent=True)
    def pay(n: int) -> str:
        """Pay."""
        ran.append(n)
        return f"paid {n}"

    class Breaks:
        def on_after_tool_call(self, event: Any) -> None:
            if event.arguments["n"] == calls - 1:
                raise raised("the hook is broken")

    agent = Agent(
        ScriptedModel([tool_call("pay", n=n) for n in range(calls)], "Yes."),
        [pay],
        max_concurrency=1,
        checkpointer=MemoryCheckpointer(),
    )
    with pytest.raises(raised):
        to_end(runtime, agent.copy(hooks=[Breaks()]), "Go.", "t")
    result = to_end(runtime, agent, resume=True, thread_id="t")
    assert ran == list(range(calls))
    assert texts(result.state.messages)[2:-1] == [f"paid {n}" for n in range(calls)]
    assert result.message == "Yes."


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_tool_whose_hook_is_cancelled_is_not_run_again(backend: str) -> None:
    ran: list[int] = []

    @tool
    def pay(n: int) -> str:
        """Pay."""
        ran.append(n)
        return f"paid {n}"

    waits = anyio.Event

    async def main() -> str:
        begun = waits()

        class Slow:
            async def on_after_tool_call(self, event: Any) -> None:
                begun.set()
                await anyio.sleep(30)

        agent = Agent(
            ScriptedModel(tool_call("pay", n=1), "Yes."), [pay], checkpointer=MemoryCheckpointer()
        )
        async with anyio.create_task_group() as group:
            group.start_soon(agent.copy(hooks=[Slow()]).arun, "Go.", "t")
            await begun.wait()
            group.cancel_scope.cancel()
        return (await agent.aresume(thread_id="t")).message

    assert anyio.run(main, backend=backend) == "Yes."
    assert ran == [1]


@pytest.mark.parametrize(
    "method", ["on_before_model_call", "on_before_tool_call", "on_after_tool_call"]
)
def test_a_hook_that_raises_what_generators_end_with_does_not_leave_the_run(
    runtime: str, method: str
) -> None:
    def leave(event: Any) -> None:
        raise GeneratorExit

    checkpointer = MemoryCheckpointer()
    hook = type("Leaves", (), {method: staticmethod(leave)})()
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), "Yes."), [double], checkpointer=checkpointer
    )
    seen = see(runtime, agent.copy(hooks=[hook]), "Go.", "t")
    assert isinstance(seen.error, RuntimeError)
    assert "GeneratorExit" in seen.last.reason
    with checkpointer.claim("t"):
        pass
    assert to_end(runtime, agent, resume=True, thread_id="t").message in ("Yes.", "")


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


class Remembers:
    """A model whose server keeps the conversation; shows what it is sent."""

    server_stateful = True

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[list[str]] = []

    async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> ModelResponse:
        self.sent.append(texts(messages))
        answer = self.answers.pop(0)
        message = answer if isinstance(answer, Message) else Message.assistant(answer)
        return ModelResponse(message, provider_state={"id": str(len(self.sent))})

    def stream(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
        raise AssertionError


def test_a_server_that_keeps_the_conversation_is_told_nothing_twice(runtime: str) -> None:
    model = Remembers("One.", "", "Three.", "Four.")
    agent = Agent(model, checkpointer=MemoryCheckpointer())
    history = [Message.user("D"), Message.assistant("They said."), Message.user("E")]
    for prompt in ("A", "B", "C", history):
        result = to_end(runtime, agent, prompt, "t")
    # An assistant's words of which it knows nothing are a conversation of which it knows nothing.
    whole = ["A", "One.", "B", "C", "Three.", "D", "They said.", "E"]
    assert model.sent == [["A"], ["B"], ["C"], whole]
    assert AgentState.from_json(result.state.to_json()) == result.state


def test_a_server_that_keeps_the_conversation_is_asked_again_for_a_type(runtime: str) -> None:
    model = Remembers("", "no number", "3")
    result = to_end(runtime, Agent(model, output_schema=int), "Go.")
    assert result.parsed == 3
    assert [len(messages) for messages in model.sent] == [2, 1, 1]


def test_a_state_that_was_saved_without_a_count_goes_on_from_its_last_answer(runtime: str) -> None:
    checkpointer = MemoryCheckpointer()
    messages = (Message.user("A"), Message.assistant("One."))
    checkpointer.save("t", AgentState(messages, iteration=1, provider_state={"id": "1"}))
    model = Remembers("Two.")
    to_end(runtime, Agent(model, checkpointer=checkpointer), "B", "t")
    assert model.sent == [["B"]]


def test_a_server_that_knows_nothing_yet_is_told_what_another_model_was(runtime: str) -> None:
    agent = Agent(Remembers("One."), checkpointer=MemoryCheckpointer())
    to_end(runtime, agent, "A", "t")
    to_end(runtime, agent.copy(model=ScriptedModel("Two.")), "B", "t")
    model = Remembers("Three.")
    to_end(runtime, agent.copy(model=model), "C", "t")
    assert model.sent == [["A", "One.", "B", "Two.", "C"]]


def test_a_server_is_told_everything_when_the_conversation_was_rewritten(runtime: str) -> None:
    agent = Agent(Remembers("One.", "Two.", ""), checkpointer=MemoryCheckpointer())
    for prompt in "ABC":
        to_end(runtime, agent, prompt, "t")
    rewrites = agent.copy(
        model=ScriptedModel("They said A and B.", OSError("gone")),
        conversation_manager=SummarizingManager(threshold=3, keep_last=1),
    )
    seen = see(runtime, rewrites, "D", "t")
    assert isinstance(seen.error, OSError)
    model = Remembers("Four.")
    to_end(runtime, agent.copy(model=model), resume=True, thread_id="t")
    ((first, *_, last),) = model.sent
    assert "They said A and B." in first
    assert last == "D"
