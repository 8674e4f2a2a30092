"""Tests of how a model's turn ends: why the run ends with it, or that the turn goes on."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from locus import Agent, tool
from locus.core.events import TerminateEvent
from locus.core.messages import Message, RefusalPart
from locus.core.response import ModelResponse
from locus.core.termination import NoToolCalls
from locus.memory import MemoryCheckpointer
from locus.testing import ScriptedModel, text, tool_call

RUNS: list[str] = []


@tool
def wipe(path: str) -> str:
    """Delete a folder."""
    RUNS.append(path)
    return "gone"


def make_paused(said: str = "Wait.") -> ModelResponse:
    message = Message.assistant(said, metadata={"blocks": [{"type": "server_tool_use"}]})
    return ModelResponse(message, stop_reason="pause_turn")


@pytest.mark.parametrize(
    ("response", "stop_reason", "finish_reason"),
    [
        (text("Yes."), "complete", "stop"),
        (text("Yes.", stop_reason="length"), "length", "length"),
        (text("Yes.", stop_reason="model_context_window_exceeded"), "length", "length"),
        (text("Yes.", stop_reason="content_filter"), "content_filter", "content_filter"),
        (text("Yes.", stop_reason="SAFETY"), "content_filter", "content_filter"),
        (text("", stop_reason="refusal"), "refusal", "content_filter"),
        (Message.assistant([RefusalPart("No.")]), "refusal", None),
        (text("Yes.", stop_reason="something new"), "complete", "other"),
        (text("", stop_reason="MALFORMED_FUNCTION_CALL"), "other", "other"),
        (text("", stop_reason="function_call_filter: UNEXPECTED_TOOL_CALL"), "other", "other"),
        (text("Ye", stop_reason="incomplete"), "other", "other"),
        (text("Ye", stop_reason="insufficient_system_resource"), "other", "other"),
    ],
)
def test_the_run_says_how_the_last_answer_ended(
    response: Any, stop_reason: str, finish_reason: str | None
) -> None:
    with Agent(ScriptedModel(response)).stream_sync("?") as run:
        last = list(run)[-1]
    assert run.result.stop_reason == stop_reason
    assert isinstance(last, TerminateEvent)
    assert last.reason == stop_reason
    assert last.finish_reason == run.result.finish_reason
    if finish_reason is not None:
        assert run.result.finish_reason == finish_reason


def test_the_calls_of_a_refused_turn_are_neither_run_nor_stored() -> None:
    RUNS.clear()
    refused = attrs.evolve(tool_call("wipe", path="/"), stop_reason="refusal")
    result = Agent(ScriptedModel(refused), [wipe]).run_sync("?")
    assert (RUNS, result.stop_reason, result.tool_calls) == ([], "refusal", 0)
    assert [str(message.role) for message in result.state.messages] == ["user"]


def test_a_paused_turn_is_sent_back_and_goes_on() -> None:
    model = ScriptedModel(make_paused(), make_paused("Still."), "Five.")
    result = Agent(model).run_sync("?")
    assert (result.message, result.stop_reason, result.iterations) == ("Five.", "complete", 3)
    assert [len(call.messages) for call in model.calls] == [1, 2, 3]


def test_a_pause_is_not_the_end_for_a_condition() -> None:
    model = ScriptedModel(make_paused(), "Five.")
    result = Agent(model, termination=NoToolCalls()).run_sync("?")
    assert (result.message, result.stop_reason) == ("Five.", "NoToolCalls()")


def test_a_turn_that_pauses_for_ever_ends_at_the_limit() -> None:
    result = Agent(ScriptedModel(make_paused(), cycle=True), max_iterations=3).run_sync("?")
    assert (result.stop_reason, result.iterations) == ("MaxIterations(3)", 3)


def test_a_resumed_run_continues_a_paused_turn() -> None:
    checkpointer = MemoryCheckpointer()
    model = ScriptedModel(make_paused(), RuntimeError("killed"), "Five.")
    agent = Agent(model, checkpointer=checkpointer)
    with pytest.raises(RuntimeError, match="killed"):
        agent.run_sync("?", thread_id="t")
    assert agent.resume_sync(thread_id="t").message == "Five."


def test_a_resumed_run_still_knows_that_its_answer_was_cut_off() -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel(text("The", stop_reason="length")), checkpointer=checkpointer)
    agent.run_sync("?", thread_id="t")
    result = agent.resume_sync(thread_id="t")
    assert (result.message, result.stop_reason, result.finish_reason) == ("The", "length", "length")


def test_an_answer_of_a_type_that_was_cut_off_is_asked_for_shorter() -> None:
    model = ScriptedModel(text("[1, 2", stop_reason="length"), "[1]")
    result = Agent(model, output_schema=list[int]).run_sync("?")
    assert result.parsed == [1]
    assert "cut off" in model.calls[1].messages[-1].text


def test_a_refused_answer_of_a_type_is_not_asked_for_again() -> None:
    model = ScriptedModel(text("", stop_reason="refusal"), "[1]")
    result = Agent(model, output_schema=list[int]).run_sync("?")
    assert (len(model.calls), result.parsed, result.stop_reason) == (1, None, "refusal")
    assert result.parse_error is not None
