"""Tool calls that wait for the approval of a person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from locus.agent import Agent, AgentResult
from locus.agent.tool_call_approval import APPROVAL_REQUIRED
from locus.core.errors import ConfigurationError
from locus.core.events import TerminateEvent, ToolCompleteEvent, ToolStartEvent
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from locus.memory import FileCheckpointer, MemoryCheckpointer, SQLiteCheckpointer
from locus.testing import ScriptedModel, tool_call
from locus.tools import ToolContext, tool
from tests.agent.recorded_runs import RUNTIMES, record_run, run_to_end

RUNS: list[str] = []


@pytest.fixture(autouse=True)
def no_runs() -> None:
    RUNS.clear()


@tool(requires_approval=True)
def delete(path: str) -> str:
    """Delete a file."""
    RUNS.append(path)
    return f"deleted {path}"


@tool
def read(path: str) -> str:
    """Read a file."""
    RUNS.append(f"read {path}")
    return f"text of {path}"


def make_agent(*script: Any, **settings: Any) -> Agent:
    settings = {"tools": [delete, read], "checkpointer": MemoryCheckpointer(), **settings}
    return Agent(ScriptedModel(*script), **settings)


def get_results(result: AgentResult) -> list[str]:
    return [message.text for message in result.state.messages if message.role == "tool"]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("resumed_on", RUNTIMES)
def test_a_call_waits_and_runs_when_it_is_approved_elsewhere(
    runtime: str, resumed_on: str, tmp_path: Path
) -> None:
    first = make_agent(tool_call("delete", path="/a"), checkpointer=FileCheckpointer(tmp_path))
    recorded = record_run(runtime, first, "Delete /a.", thread_id="t")
    assert recorded.result is not None
    (call,) = recorded.result.pending
    assert (call.name, call.arguments) == ("delete", {"path": "/a"})
    assert recorded.result.stop_reason == recorded.terminate_event.reason == "approval_required"
    assert not recorded.select_events_of_type(ToolStartEvent)
    assert RUNS == []
    with SQLiteCheckpointer(tmp_path / "other.db") as other:  # the state is all that it needs
        other.save("t", recorded.result.state)
        second = make_agent("It is gone.", checkpointer=other)
        result = run_to_end(
            resumed_on, second, resume=True, thread_id="t", approvals={call.id: True}
        )
    assert (result.message, result.stop_reason, result.pending) == ("It is gone.", "complete", ())
    assert get_results(result) == ["deleted /a"]
    assert RUNS == ["/a"]


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        ("it is needed", "the call was not approved: it is needed"),
        (False, "the call was not approved"),
        (" ", "the call was not approved"),
    ],
)
def test_the_model_reads_why_a_call_was_not_approved(decision: Any, text: str) -> None:
    agent = make_agent(tool_call("delete", path="/a"), "As you wish.")
    (call,) = agent.run_sync("?", "t").pending
    result = agent.resume_sync(thread_id="t", approvals={call.id: decision})
    assert RUNS == []
    assert get_results(result) == [f"Error: {text}"]
    assert result.message == "As you wish."


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_other_calls_run_at_once_and_the_results_keep_the_order_of_the_calls(runtime: str) -> None:
    calls = [
        tool_call("delete", path="/a"),
        tool_call("read", path="/b"),
        tool_call("delete", path="/c"),
    ]
    agent = make_agent(calls, "end")
    recorded = record_run(runtime, agent, "?", thread_id="t")
    assert recorded.result is not None
    first, third = recorded.result.pending
    completed = recorded.select_events_of_type(ToolCompleteEvent)
    assert [event.result for event in completed] == ["text of /b"]
    assert recorded.result.tool_calls == 1
    result = agent.resume_sync(thread_id="t", approvals={third.id: True})
    assert result.pending == (first,)
    assert get_results(result) == []
    recorded = record_run(runtime, agent, resume=True, thread_id="t", approvals={first.id: "no"})
    assert recorded.result is not None
    assert get_results(recorded.result) == [
        "Error: the call was not approved: no",
        "text of /b",
        "deleted /c",
    ]
    assert RUNS == ["read /b", "/c"]
    assert recorded.result.stop_reason == "complete"


def test_a_call_without_a_decision_goes_on_waiting() -> None:
    agent = make_agent(tool_call("delete", path="/a"), "end")
    before = agent.run_sync("?", "t")
    for approvals in (None, {}):
        result = agent.resume_sync(thread_id="t", approvals=approvals)
        assert (result.stop_reason, result.pending) == (APPROVAL_REQUIRED, before.pending)
    assert RUNS == []


def test_calls_that_run_one_after_another_stop_at_the_first_that_waits() -> None:
    calls = [
        tool_call("read", path="/a"),
        tool_call("delete", path="/b"),
        tool_call("read", path="/c"),
    ]
    agent = make_agent(calls, "end", tool_execution="sequential")
    result = agent.run_sync("?", "t")
    assert RUNS == ["read /a"]
    agent.resume_sync(thread_id="t", approvals={result.pending[0].id: True})
    assert RUNS == ["read /a", "/b", "read /c"]


def make_response_with_id(call_id: str, path: str) -> ModelResponse:
    return ModelResponse(
        Message.assistant(tool_calls=[ToolCall(call_id, "delete", {"path": path})])
    )


def test_a_decision_never_counts_for_a_later_call_with_the_same_id() -> None:
    agent = make_agent(make_response_with_id("0", "/a"), make_response_with_id("0", "/b"), "end")
    agent.run_sync("?", "t")
    result = agent.resume_sync(thread_id="t", approvals={"0": True})
    assert RUNS == ["/a"]
    assert result.stop_reason == APPROVAL_REQUIRED
    (call,) = result.pending
    result = agent.resume_sync(thread_id="t", approvals={"0": True})  # sent twice
    assert (RUNS, result.pending) == (["/a"], (call,))
    assert agent.resume_sync(thread_id="t", approvals={call.id: True}).message == "end"
    assert RUNS == ["/a", "/b"]


def test_a_repeated_decision_changes_nothing() -> None:
    agent = make_agent(tool_call("delete", path="/a"), "end")
    (call,) = agent.run_sync("?", "t").pending
    for _ in range(3):
        assert agent.resume_sync(thread_id="t", approvals={call.id: True}).message == "end"
    assert RUNS == ["/a"]


def needs_approval(arguments: Mapping[str, Any]) -> bool:
    return arguments["path"].startswith("/etc")


async def is_guest(arguments: Mapping[str, Any], context: ToolContext) -> bool:
    assert context.tool_name == "delete"
    return context.metadata["user"] == "guest"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("rule", "path", "user", "waits"),
    [
        (needs_approval, "/etc/x", "ada", True),
        (needs_approval, "/tmp/x", "ada", False),
        (is_guest, "/tmp/x", "guest", True),
        (is_guest, "/tmp/x", "ada", False),
    ],
)
def test_a_function_decides_for_each_call(
    runtime: str, rule: Any, path: str, user: str, waits: bool
) -> None:
    tools = [tool(delete.function, requires_approval=rule)]
    agent = make_agent(tool_call("delete", path=path), "end", tools=tools)
    result = run_to_end(runtime, agent, "?", "t", metadata={"user": user})
    assert bool(result.pending) == waits
    assert ([] if waits else [path]) == RUNS


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("force", ["true", True, "{'force': True}"])
def test_the_function_decides_about_what_a_lenient_tool_reads(runtime: str, force: Any) -> None:
    """Else a call would run that nobody has approved."""

    @tool(lenient=True, requires_approval=lambda arguments: arguments["force"] is True)
    def wipe(force: bool) -> None:
        """Wipe it."""
        raise AssertionError

    call = tool_call("wipe", force=force)
    if isinstance(force, str) and "force" in force:
        call = Message.assistant(None, [ToolCall("1", "wipe", malformed_arguments=force)])
    agent = make_agent(call, "end", tools=[wipe])
    assert run_to_end(runtime, agent, "?", "t").stop_reason == "approval_required"


def test_an_error_of_the_function_ends_the_run_before_the_tool_runs() -> None:
    tools = [tool(delete.function, requires_approval=lambda arguments: arguments["other"])]
    with pytest.raises(KeyError):
        make_agent(tool_call("delete", path="/a"), tools=tools).run_sync("?", "t")
    tools = [tool(delete.function, requires_approval=lambda arguments: None)]
    with pytest.raises(TypeError, match="not a bool"):
        make_agent(tool_call("delete", path="/a"), tools=tools).run_sync("?", "t")
    assert RUNS == []


@pytest.mark.parametrize("call", [tool_call("delete"), tool_call("delete", path=1)])
def test_nobody_is_asked_about_a_call_with_wrong_arguments(call: Any) -> None:
    result = make_agent(call, "end").run_sync("?", "t")
    assert result.stop_reason == "complete"
    assert "path" in get_results(result)[0]


def test_the_repeat_of_an_idempotent_call_needs_no_approval() -> None:
    once = tool(delete.function, idempotent=True, requires_approval=True)
    call = tool_call("delete", path="/a")
    agent = make_agent(call, call, "end", tools=[once])
    (pending,) = agent.run_sync("?", "t").pending
    assert agent.resume_sync(thread_id="t", approvals={pending.id: True}).message == "end"
    assert RUNS == ["/a"]


def test_a_new_prompt_does_not_run_what_waits() -> None:
    agent = make_agent([tool_call("delete", path="/a"), tool_call("read", path="/b")], "end")
    agent.run_sync("?", "t")
    result = agent.run_sync("Never mind.", "t")
    assert RUNS == ["read /b"]
    assert get_results(result) == [
        "Error: no result: the conversation was interrupted before the call was done",
        "text of /b",
    ]


def test_the_hooks_see_a_call_before_it_waits_and_may_change_or_cancel_it() -> None:
    class Renames:
        def on_before_tool_call(self, event: Any) -> None:
            event.arguments = {"path": "/b"}

    class Cancels:
        def on_before_tool_call(self, event: Any) -> None:
            event.cancel = "not here"

    agent = make_agent(tool_call("delete", path="/a"), "end", hooks=[Renames()])
    (call,) = agent.run_sync("?", "t").pending
    assert call.arguments == {"path": "/b"}
    agent.resume_sync(thread_id="t", approvals={call.id: True})
    assert RUNS == ["/b"]
    agent = make_agent(tool_call("delete", path="/a"), "end", hooks=[Cancels()])
    assert "not here" in get_results(agent.run_sync("?", "t"))[0]


def test_a_run_that_waits_has_no_typed_answer_and_is_not_assessed() -> None:
    agent = make_agent(tool_call("delete", path="/a"), output_schema=int, reflexion=True)
    result = agent.run_sync("?", "t")
    assert result.parsed is None
    assert APPROVAL_REQUIRED in str(result.parse_error)
    assert result.state.reasoning is None


def test_the_last_event_of_a_streamed_run_says_that_calls_wait() -> None:
    with make_agent(tool_call("delete", path="/a")).stream_sync("?", "t") as run:
        last = list(run)[-1]
    assert isinstance(last, TerminateEvent)
    assert last.reason == APPROVAL_REQUIRED
    assert len(run.result.pending) == 1


@pytest.mark.parametrize("decision", [None, 1, ["yes"], {}])
def test_a_decision_of_another_kind_is_refused(decision: Any) -> None:
    with pytest.raises(ConfigurationError, match="approvals"):
        make_agent("x").resume_sync(thread_id="t", approvals={"0": decision})


def test_a_decision_about_an_unknown_call_is_refused_and_names_those_that_wait() -> None:
    agent = make_agent(tool_call("delete", path="/a"))
    (call,) = agent.run_sync("?", "t").pending
    with pytest.raises(ConfigurationError, match=call.id):
        agent.resume_sync(thread_id="t", approvals={"other": True})
    assert RUNS == []


@pytest.mark.parametrize("rule", [None, "yes", 1, lambda: True, lambda a, b, c: True])
def test_a_rule_that_cannot_work_is_refused(rule: Any) -> None:
    with pytest.raises(ConfigurationError, match="requires_approval"):
        tool(delete.function, requires_approval=rule)
