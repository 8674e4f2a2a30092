"""Conversations that outlive a run: threads, resuming, locks, and servers that store them."""

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
from tests.agent.recorded_runs import record_run, run_to_end
from tests.support.oci.inference import ScriptedReply
from tests.support.processes import run_process
from tests.support.servers import responses_server
from tests.support.timing import FOREVER, HANG_SECONDS


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def get_texts(messages: Any) -> list[str]:
    return [message.text for message in messages]


class RecordingCheckpointer(MemoryCheckpointer):
    """Records every state that is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.saved_states: list[AgentState] = []

    def save(self, thread_id: str, state: AgentState) -> None:
        self.saved_states.append(state)
        super().save(thread_id, state)


# -- threads -------------------------------------------------------------------------------------


def test_a_run_continues_its_thread(runtime_name: str) -> None:
    model = ScriptedModel(tool_call("double", "a", n=1), "Two.", "You asked for one doubled.")
    agent = Agent(model, [double], "Be brief.", checkpointer=MemoryCheckpointer())
    run_to_end(runtime_name, agent, "Double one.", "t")
    recorded = record_run(runtime_name, agent, "What did I ask?", "t")
    assert recorded.result is not None
    assert get_texts(model.calls[2].messages) == [
        "Be brief.", "Double one.", "", "2", "Two.", "What did I ask?",
    ]  # fmt: skip
    # The counts of the result are those of the run, the counts of the state those of the thread.
    assert (recorded.result.iterations, recorded.result.tool_calls) == (1, 0)
    assert (
        recorded.terminate_event.iterations_used,
        recorded.terminate_event.total_tool_calls,
    ) == (1, 0)
    assert recorded.result.state.iteration == 3
    assert recorded.select_events_of_type(ThinkEvent)[0].iteration == 3
    assert recorded.result.thread_id == "t"


def test_limits_apply_to_a_run_and_not_to_its_thread(runtime_name: str) -> None:
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), cycle=True),
        [double],
        max_iterations=2,
        checkpointer=MemoryCheckpointer(),
    )
    for _ in range(3):
        assert run_to_end(runtime_name, agent, "Go.", "t").iterations == 2


def test_without_a_thread_nothing_is_saved(runtime_name: str) -> None:
    checkpointer = RecordingCheckpointer()
    run_to_end(runtime_name, Agent(ScriptedModel("Yes."), checkpointer=checkpointer), "Go.")
    assert checkpointer.saved_states == []


def test_the_state_is_saved_after_each_step(runtime_name: str) -> None:
    checkpointer = RecordingCheckpointer()
    calls = [tool_call("double", str(n), n=n) for n in range(3)]
    agent = Agent(
        ScriptedModel(calls, tool_call("double", n=9), "Yes."),
        [double],
        checkpointer=checkpointer,
        max_concurrency=1,
    )
    run_to_end(runtime_name, agent, "Go.", "t")
    assert [
        (len(s.messages), len(s.tool_executions), s.iteration) for s in checkpointer.saved_states
    ] == [
        (1, 0, 0),  # the prompt
        (2, 0, 1),  # the response with three calls
        (2, 1, 1),  # the first call was run
        (2, 2, 1),  # the second call
        (5, 3, 1),  # the third call, with all results in the conversation
        (6, 3, 2),
        (7, 4, 2),
        (8, 4, 3),
    ]


def test_a_failed_run_keeps_the_prompt(runtime_name: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel(OSError("gone"), "Yes."), checkpointer=checkpointer)
    assert isinstance(record_run(runtime_name, agent, "Go.", "t").error, OSError)
    assert run_to_end(runtime_name, agent, resume=True, thread_id="t").message == "Yes."
    state = checkpointer.load("t")
    assert state is not None
    assert get_texts(state.messages) == ["Go.", "Yes."]


def test_a_prompt_for_an_interrupted_thread_does_not_run_its_open_calls(runtime_name: str) -> None:
    runs: list[int] = []

    @tool
    def counts(n: int) -> int:
        """Count."""
        runs.append(n)
        return n

    checkpointer = MemoryCheckpointer()
    calls = [ToolCall(str(n), "counts", {"n": n}) for n in range(2)]
    done = ToolExecution("counts", "0", {"n": 0}, "0", iteration=1)
    messages = (Message.user("Go."), Message.assistant(None, calls))
    checkpointer.save("t", AgentState(messages, (done,), iteration=1))
    model = ScriptedModel("As you like.")
    run_to_end(runtime_name, Agent(model, [counts], checkpointer=checkpointer), "Do not.", "t")
    assert runs == []
    assert get_texts(model.calls[0].messages)[2:] == [
        "0",
        "Error: no result: the conversation was interrupted before the call was done",
        "Do not.",
    ]


def test_the_state_is_saved_before_the_caller_gets_the_event(runtime_name: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), "Two."), [double], checkpointer=checkpointer
    )
    seen: list[tuple[str, int]] = []

    def check_saved(event: Any) -> None:
        state = checkpointer.load("t")
        seen.append((type(event).__name__, 0 if state is None else len(state.messages)))

    if runtime_name == "blocking":
        for event in agent.stream_sync("Go.", thread_id="t"):
            check_saved(event)
    else:

        async def main() -> None:
            async for event in agent.run("Go.", thread_id="t"):
                check_saved(event)

        anyio.run(main, backend=runtime_name)
    assert [entry for entry in dict.fromkeys(seen) if "Tool" not in entry[0]] == [
        ("ModelChunkEvent", 1), ("ThinkEvent", 2), ("ModelChunkEvent", 3), ("ThinkEvent", 4),
        ("TerminateEvent", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_run_that_is_dropped_loses_no_message(backend: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel("One.", "Two."), checkpointer=checkpointer)

    async def main() -> list[str]:
        async for event in agent.run("Go.", thread_id="t"):
            if isinstance(event, ThinkEvent):
                break
        gc.collect()
        return get_texts((await agent.arun("On.", thread_id="t")).state.messages)

    assert anyio.run(main, backend=backend) == ["Go.", "One.", "On.", "Two."]


# -- prompts that do not fit the thread -------------------------------------------------------


@pytest.mark.parametrize("is_new_thread", [True, False])
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
def test_a_prompt_that_no_provider_accepts_does_not_change_the_thread(
    runtime_name: str, is_new_thread: bool, prompt: Any, match: str
) -> None:
    checkpointer = RecordingCheckpointer()
    model = ScriptedModel(tool_call("double", "done", n=1), "Two.", cycle=True)
    agent = Agent(model, [double], checkpointer=checkpointer)
    if not is_new_thread:
        run_to_end(runtime_name, agent, "Go.", "t")
    before = checkpointer.load("t")
    with pytest.raises(ConfigurationError, match=match):
        run_to_end(runtime_name, agent, prompt, "t")
    assert checkpointer.load("t") == before
    assert run_to_end(runtime_name, agent, "Again.", "t").message == "Two."


def test_a_prompt_with_an_open_call_is_an_error_before_a_run_without_a_thread() -> None:
    agent = Agent(ScriptedModel("Yes."), [double])
    with pytest.raises(ConfigurationError, match="its own model"):
        agent.stream_sync([Message.assistant(None, [ToolCall("x", "double", {"n": 1})])])


def test_results_in_the_prompt_are_those_of_the_open_calls(runtime_name: str) -> None:
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
    run_to_end(runtime_name, Agent(model, [double], checkpointer=checkpointer), prompt, "t")
    assert [(message.tool_call_id, message.text) for message in model.calls[0].messages[2:]] == [
        ("a", "2"),
        ("b", "of b"),
        ("c", "of c"),
        ("d", "Error: no result: the conversation was interrupted before the call was done"),
        (None, "Here:"),
    ]


# -- resuming ------------------------------------------------------------------------------------


def test_resuming_in_the_middle_of_a_round_runs_the_remaining_calls_once(runtime_name: str) -> None:
    runs: Counter[int] = Counter()

    @tool
    def counts(n: int) -> int:
        """Count."""
        runs[n] += 1
        return n * 10

    checkpointer = MemoryCheckpointer()
    calls = [ToolCall(str(n), "counts", {"n": n}) for n in range(4)]
    done = tuple(
        ToolExecution("counts", str(n), {"n": n}, str(n * 10), iteration=1) for n in (1, 3)
    )
    messages = (Message.user("Go."), Message.assistant(None, calls))
    checkpointer.save("t", AgentState(messages, done, iteration=1))
    agent = Agent(ScriptedModel("Yes."), [counts], checkpointer=checkpointer)
    recorded = record_run(runtime_name, agent, resume=True, thread_id="t")
    assert recorded.result is not None
    assert runs == {0: 1, 2: 1}
    assert [event.tool_call_id for event in recorded.select_events_of_type(ToolStartEvent)] == [
        "0",
        "2",
    ]
    assert [event.result for event in recorded.select_events_of_type(ToolCompleteEvent)] == [
        "0",
        "20",
    ]
    state = recorded.result.state
    assert [e.tool_call_id for e in state.tool_executions] == ["0", "1", "2", "3"]
    assert get_texts(m for m in state.messages if m.role is Role.TOOL) == ["0", "10", "20", "30"]
    assert (recorded.result.tool_calls, recorded.result.iterations) == (2, 1)


def test_a_repeated_call_id_is_another_call(runtime_name: str) -> None:
    runs: list[int] = []

    @tool
    def counts(n: int) -> int:
        """Count."""
        runs.append(n)
        return n

    checkpointer = MemoryCheckpointer()
    agent = Agent(
        ScriptedModel(
            tool_call("counts", "call_0", n=1), tool_call("counts", "call_0", n=2), "Yes."
        ),
        [counts],
        checkpointer=checkpointer,
    )
    result = run_to_end(runtime_name, agent, "Go.", "t")
    assert runs == [1, 2]
    # Interrupted before the second one ran:
    state = result.state
    checkpointer.save("t", state.evolve(
        messages=state.messages[:4], tool_executions=state.tool_executions[:1], iteration=2
    ))  # fmt: skip
    again = agent.copy(model=ScriptedModel("Yes."))
    run_to_end(runtime_name, again, resume=True, thread_id="t")
    assert runs == [1, 2, 2]


def test_resuming_a_thread_that_had_ended_gives_its_last_answer(runtime_name: str) -> None:
    model = ScriptedModel("Yes.")
    agent = Agent(model, checkpointer=MemoryCheckpointer())
    run_to_end(runtime_name, agent, "Go.", "t")
    recorded = record_run(runtime_name, agent, resume=True, thread_id="t")
    assert recorded.result is not None
    assert (recorded.result.message, recorded.result.iterations) == ("Yes.", 0)
    assert len(model.calls) == 1


def test_a_thread_that_met_its_limit_can_be_resumed(runtime_name: str) -> None:
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), "Two."),
        [double],
        max_iterations=1,
        checkpointer=MemoryCheckpointer(),
    )
    assert run_to_end(runtime_name, agent, "Go.", "t").stop_reason == "MaxIterations(1)"
    assert run_to_end(runtime_name, agent, resume=True, thread_id="t").message == "Two."


@pytest.mark.parametrize("content", ["", None])
def test_resuming_after_an_empty_response_does_not_call_the_model_again(
    runtime_name: str, content: str | None
) -> None:
    model = ScriptedModel(ModelResponse(Message.assistant(content)), "Again.", "And on.")
    agent = Agent(model, checkpointer=MemoryCheckpointer())
    assert run_to_end(runtime_name, agent, "Go.", "t").message == ""
    result = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert (result.message, result.stop_reason, len(model.calls)) == ("", "complete", 1)
    assert run_to_end(runtime_name, agent, "On.", "t").message == "Again."
    assert run_to_end(runtime_name, agent, resume=True, thread_id="t").message == "Again."
    assert len(model.calls) == 2


def test_a_call_that_was_cut_off_is_not_run_after_a_resume(
    runtime_name: str, tmp_path: Path
) -> None:
    runs: list[str] = []

    @tool
    def remove(path: str = "/") -> str:
        """Remove."""
        runs.append(path)
        return f"removed {path}"

    class InterruptingHook:
        def on_before_tool_call(self, event: Any) -> None:
            raise InterruptedError("now")

    calls = [ToolCall("a", "remove", {"path": "/tmp"}), ToolCall("b", "remove", {"path": "/"})]
    cut_off = ModelResponse(Message.assistant(None, calls), stop_reason="length")
    with SQLiteCheckpointer(tmp_path / "threads.db") as checkpointer:
        agent = Agent(ScriptedModel(cut_off, "Yes."), [remove], checkpointer=checkpointer)
        recorded = record_run(runtime_name, agent.copy(hooks=[InterruptingHook()]), "Go.", "t")
        assert isinstance(recorded.error, InterruptedError)
        result = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert runs == ["/tmp"]
    assert "cut off at its token limit" in result.state.messages[3].text


@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize("error_type", [LookupError, KeyboardInterrupt])
def test_a_tool_whose_hook_fails_is_not_run_again(
    runtime_name: str, error_type: type[BaseException], calls: int
) -> None:
    runs: list[int] = []

    @tool(idempotent=True)
    def pay(n: int) -> str:
        """Pay."""
        runs.append(n)
        return f"paid {n}"

    class FailingHook:
        def on_after_tool_call(self, event: Any) -> None:
            if event.arguments["n"] == calls - 1:
                raise error_type("the hook is broken")

    agent = Agent(
        ScriptedModel([tool_call("pay", n=n) for n in range(calls)], "Yes."),
        [pay],
        max_concurrency=1,
        checkpointer=MemoryCheckpointer(),
    )
    with pytest.raises(error_type):
        run_to_end(runtime_name, agent.copy(hooks=[FailingHook()]), "Go.", "t")
    result = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert runs == list(range(calls))
    assert get_texts(result.state.messages)[2:-1] == [f"paid {n}" for n in range(calls)]
    assert result.message == "Yes."


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.usefixtures("no_grace")
def test_a_tool_whose_hook_is_cancelled_is_not_run_again(backend: str) -> None:
    runs: list[int] = []

    @tool
    def pay(n: int) -> str:
        """Pay."""
        runs.append(n)
        return f"paid {n}"

    waits = anyio.Event

    async def main() -> str:
        started = waits()

        class SlowHook:
            async def on_after_tool_call(self, event: Any) -> None:
                started.set()
                await anyio.sleep(FOREVER)

        agent = Agent(
            ScriptedModel(tool_call("pay", n=1), "Yes."), [pay], checkpointer=MemoryCheckpointer()
        )
        async with anyio.create_task_group() as group:
            group.start_soon(agent.copy(hooks=[SlowHook()]).arun, "Go.", "t")
            await started.wait()
            group.cancel_scope.cancel()
        return (await agent.aresume(thread_id="t")).message

    assert anyio.run(main, backend=backend) == "Yes."
    assert runs == [1]


@pytest.mark.parametrize(
    "method", ["on_before_model_call", "on_before_tool_call", "on_after_tool_call"]
)
def test_a_hook_that_raises_generator_exit_fails_the_run(runtime_name: str, method: str) -> None:
    def raise_generator_exit(event: Any) -> None:
        raise GeneratorExit

    checkpointer = MemoryCheckpointer()
    hook = type("Leaves", (), {method: staticmethod(raise_generator_exit)})()
    agent = Agent(
        ScriptedModel(tool_call("double", n=1), "Yes."), [double], checkpointer=checkpointer
    )
    recorded = record_run(runtime_name, agent.copy(hooks=[hook]), "Go.", "t")
    assert isinstance(recorded.error, RuntimeError)
    assert "GeneratorExit" in recorded.terminate_event.reason
    with checkpointer.claim("t"):
        pass
    assert run_to_end(runtime_name, agent, resume=True, thread_id="t").message in ("Yes.", "")


def test_resuming_without_a_thread_or_a_checkpointer_is_an_error(runtime_name: str) -> None:
    agent = Agent(ScriptedModel("Yes."), checkpointer=MemoryCheckpointer())
    with pytest.raises(ConfigurationError, match="no thread 't' to resume"):
        run_to_end(runtime_name, agent, resume=True, thread_id="t")
    with pytest.raises(ConfigurationError, match="checkpointer="):
        run_to_end(runtime_name, Agent(ScriptedModel("Yes.")), resume=True, thread_id="t")


KILLED_SCRIPT = """
import os, signal, sys
from locus.agent import Agent
from locus.memory import SQLiteCheckpointer
from locus.testing import FunctionModel, tool_call
from locus.tools import tool

path, killing_call = sys.argv[1], int(sys.argv[2])

@tool
def counts(n: int) -> int:
    with open(path + ".log", "a") as log:
        log.write(f"{n}\\n")
    if n == killing_call:
        os.kill(os.getpid(), signal.SIGKILL)
    return n

@tool(idempotent=True)
def once(n: int) -> int:
    with open(path + ".log", "a") as log:
        log.write(f"once {n}\\n")
    return n

def model(messages, tools, **options):
    round_count = sum(bool(message.tool_calls) for message in messages)
    if round_count == 2:
        return "That is all."
    calls = [
        tool_call("counts", f"{round_count}{n}", n=10 * round_count + n) for n in range(3)
    ]
    return [*calls, tool_call("once", f"{round_count}once", n=7)]

agent = Agent(
    FunctionModel(model), [counts, once], checkpointer=SQLiteCheckpointer(path), max_concurrency=1
)
if killing_call >= 0:
    agent.run_sync("Go.", "t")
else:
    print(agent.resume_sync(thread_id="t").message)
"""


@pytest.mark.parametrize(
    "killing_call", [0, 2, 12, *(pytest.param(n, marks=pytest.mark.thorough) for n in (1, 10))]
)
def test_another_process_resumes_after_one_that_was_killed(
    killing_call: int, tmp_path: Path
) -> None:
    path = str(tmp_path / "threads.db")

    def run_killed_script(killing_call: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", KILLED_SCRIPT, path, str(killing_call)]
        return run_process(command)

    assert run_killed_script(killing_call).returncode == -9
    resumed = run_killed_script(-1)
    assert (resumed.stdout, resumed.stderr) == ("That is all.\n", "")
    runs = Counter(Path(path + ".log").read_text().splitlines())
    expected = Counter(
        {str(10 * round_number + n): 1 for round_number in range(2) for n in range(3)}
    )
    # The call that was running is run again, because nobody can know if it had finished.
    assert runs == expected + Counter({"once 7": 1, str(killing_call): 1})


def test_one_run_at_a_time_works_on_a_thread(runtime_name: str, tmp_path: Path) -> None:
    with SQLiteCheckpointer(tmp_path / "threads.db") as checkpointer:
        agent = Agent(ScriptedModel("Yes.", cycle=True), checkpointer=checkpointer)
        run_to_end(runtime_name, agent, "Go.", "t")
        with checkpointer.claim("t"):
            recorded = record_run(runtime_name, agent, "Go.", "t")
            assert isinstance(recorded.error, ThreadBusyError)
            assert recorded.terminate_event.reason.startswith("error: ThreadBusyError")
            with pytest.raises(ThreadBusyError):
                run_to_end(runtime_name, agent, resume=True, thread_id="t")
            assert run_to_end(runtime_name, agent, "Go.", "another").message == "Yes."
        assert run_to_end(runtime_name, agent, "Go.", "t").message == "Yes."
        state = checkpointer.load("t")
    assert state is not None
    assert len(state.messages) == 4


def test_only_one_of_two_runs_can_resume_a_thread(tmp_path: Path) -> None:
    started, released = threading.Event(), threading.Event()

    def slow(messages: Any, *_: Any, **__: Any) -> str:
        started.set()
        assert released.wait(HANG_SECONDS)
        return "Yes."

    checkpointer = MemoryCheckpointer()
    checkpointer.save("t", AgentState((Message.user("Go."),)))
    agent = Agent(FunctionModel(slow), checkpointer=checkpointer)
    results: list[str] = []
    first = threading.Thread(
        target=lambda: results.append(agent.resume_sync(thread_id="t").message)
    )
    first.start()
    assert started.wait(HANG_SECONDS)
    with pytest.raises(ThreadBusyError):
        agent.resume_sync(thread_id="t")
    released.set()
    first.join(HANG_SECONDS)
    assert results == ["Yes."]


# -- servers that store the conversation ----------------------------------------------------------


def get_bodies(server: Any) -> list[dict[str, Any]]:
    return [request.json() for request in server.requests]


def test_a_server_that_stores_the_conversation_is_sent_what_is_new(
    runtime_name: str, server: Any, tmp_path: Path
) -> None:
    def make_reply(scripted: ScriptedReply) -> Any:
        return lambda received: scripted.build("responses", bool(received.json().get("stream")))

    server.enqueue(
        make_reply(ScriptedReply("", (("double", {"n": 1}), ("double", {"n": 2})))),
        make_reply(ScriptedReply("Two and four.")),
        make_reply(ScriptedReply("", (("double", {"n": 3}),))),
        make_reply(ScriptedReply("Six.")),
    )

    message_counts: list[int] = []

    class CountMessages:
        def on_before_model_call(self, event: Any) -> None:
            message_counts.append(len(event.messages))

    def make_agent(checkpointer: Any) -> Agent:
        return Agent(
            responses_server.make_model(server),
            [double],
            "Be brief.",
            checkpointer=checkpointer,
            conversation_manager=SlidingWindowManager(max_messages=1),
            hooks=[CountMessages()],
        )

    states = []
    for prompt in ("Double one and two.", "And three."):
        with SQLiteCheckpointer(tmp_path / "threads.db") as checkpointer:  # like a new process
            current = make_agent(checkpointer)
            if runtime_name == "blocking":
                states.append(current.run_sync(prompt, "t").state)
                current.model.close_sync()  # type: ignore[union-attr]
            else:

                async def main(current: Agent = current, prompt: str = prompt) -> None:
                    async with current.model:  # type: ignore[union-attr]
                        states.append((await current.arun(prompt, "t")).state)

                anyio.run(main, backend=runtime_name)
    assert message_counts == [2, 2, 1, 1]
    first, second, third, fourth = get_bodies(server)
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
    assert len(states[1].messages) == 9  # the state has the whole conversation all the same


def test_a_server_that_stores_nothing_is_sent_everything(runtime_name: str, server: Any) -> None:
    for scripted in (ScriptedReply("", (("double", {"n": 1}),)), ScriptedReply("Two.")):
        server.enqueue(scripted.build("responses", False))
    agent = Agent(responses_server.make_model(server, store=False), [double], "Be brief.")

    async def main() -> Any:
        async with agent.model:  # type: ignore[union-attr]
            return await agent.arun("Go.")

    if runtime_name == "blocking":
        with agent.model:  # type: ignore[union-attr]
            result = agent.run_sync("Go.")
    else:
        result = anyio.run(main, backend=runtime_name)
    assert result.state.provider_state is None
    assert len(get_bodies(server)[1]["input"]) > len(get_bodies(server)[0]["input"])
    assert "previous_response_id" not in json.dumps(get_bodies(server))


class StatefulModel:
    """A model whose server stores the conversation; records the texts that it is sent."""

    server_stateful = True

    def __init__(self, *contents: Any) -> None:
        self.contents = list(contents)
        self.requests: list[list[str]] = []

    async def complete(self, messages: Any, tools: Any = None, **options: Any) -> ModelResponse:
        self.requests.append(get_texts(messages))
        content = self.contents.pop(0)
        message = content if isinstance(content, Message) else Message.assistant(content)
        return ModelResponse(message, provider_state={"id": str(len(self.requests))})

    def stream(self, messages: Any, tools: Any = None, **options: Any) -> Any:
        raise AssertionError


def test_a_server_that_stores_the_conversation_is_sent_nothing_twice(runtime_name: str) -> None:
    model = StatefulModel("One.", "", "Three.", "Four.")
    agent = Agent(model, checkpointer=MemoryCheckpointer())
    history = [Message.user("D"), Message.assistant("They said."), Message.user("E")]
    for prompt in ("A", "B", "C", history):
        result = run_to_end(runtime_name, agent, prompt, "t")
    # An assistant message that is new to the server: everything is sent again.
    everything = ["A", "One.", "B", "C", "Three.", "D", "They said.", "E"]
    assert model.requests == [["A"], ["B"], ["C"], everything]
    assert AgentState.from_json(result.state.to_json()) == result.state


def test_a_server_that_stores_the_conversation_is_asked_again_for_a_type(runtime_name: str) -> None:
    model = StatefulModel("", "no number", "3")
    result = run_to_end(runtime_name, Agent(model, output_schema=int), "Go.")
    assert result.parsed == 3
    assert [len(messages) for messages in model.requests] == [2, 1, 1]


def test_without_a_count_the_server_has_everything_up_to_the_last_response(
    runtime_name: str,
) -> None:
    checkpointer = MemoryCheckpointer()
    messages = (Message.user("A"), Message.assistant("One."))
    checkpointer.save("t", AgentState(messages, iteration=1, provider_state={"id": "1"}))
    model = StatefulModel("Two.")
    run_to_end(runtime_name, Agent(model, checkpointer=checkpointer), "B", "t")
    assert model.requests == [["B"]]


def test_a_server_that_has_nothing_yet_is_sent_the_messages_of_another_model(
    runtime_name: str,
) -> None:
    agent = Agent(StatefulModel("One."), checkpointer=MemoryCheckpointer())
    run_to_end(runtime_name, agent, "A", "t")
    run_to_end(runtime_name, agent.copy(model=ScriptedModel("Two.")), "B", "t")
    model = StatefulModel("Three.")
    run_to_end(runtime_name, agent.copy(model=model), "C", "t")
    assert model.requests == [["A", "One.", "B", "Two.", "C"]]


def test_a_server_is_sent_everything_after_the_history_was_replaced(runtime_name: str) -> None:
    agent = Agent(StatefulModel("One.", "Two.", ""), checkpointer=MemoryCheckpointer())
    for prompt in "ABC":
        run_to_end(runtime_name, agent, prompt, "t")
    rewrites = agent.copy(
        model=ScriptedModel("They said A and B.", OSError("gone")),
        conversation_manager=SummarizingManager(threshold=3, keep_last=1),
    )
    recorded = record_run(runtime_name, rewrites, "D", "t")
    assert isinstance(recorded.error, OSError)
    model = StatefulModel("Four.")
    run_to_end(runtime_name, agent.copy(model=model), resume=True, thread_id="t")
    ((first, *_, last),) = model.requests
    assert "They said A and B." in first
    assert last == "D"
