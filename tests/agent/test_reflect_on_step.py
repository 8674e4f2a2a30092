"""Reflexion in a run: when a step is assessed, what the model reads, and what a resume knows."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from locus.agent import Agent, AgentState
from locus.core.agent_added_message import is_agent_added_message
from locus.core.errors import ConfigurationError, RateLimitError
from locus.core.events import ReflectEvent, TerminateEvent, ThinkEvent, ToolCompleteEvent
from locus.core.messages import Role
from locus.core.termination import ConfidenceMet
from locus.memory import MemoryCheckpointer, SlidingWindowManager, SummarizingManager
from locus.models import OpenAIModel
from locus.reasoning import Reflector
from locus.testing import FunctionModel, LoopbackServer, Reply, ScriptedModel, text, tool_call
from locus.tools import tool
from tests.agent.recorded_runs import (
    record_on_all_runtimes,
    record_run,
    remove_durations,
    run_to_end,
)
from tests.support.runtimes import run_async


@tool
def weather(city: str) -> str:
    """Look at the sky."""
    if city == "Atlantis":
        raise LookupError("there is no such city")
    return "sunny"


def call(city: str) -> Any:
    return tool_call("weather", city=city)


def select_notes(messages: Any) -> list[Any]:
    return [message for message in messages if is_agent_added_message(message)]


def test_every_runtime_has_the_same_events_and_guidance_enters_the_next_turn() -> None:
    models: list[ScriptedModel] = []

    def make_agent() -> Agent:
        model = ScriptedModel(
            tool_call("weather", "a", city="Atlantis"),
            tool_call("weather", "b", city="Rome"),
            "OK.",
        )
        models.append(model)
        return Agent(model, [weather], reflexion=True)

    runs = record_on_all_runtimes(make_agent, "How is it?")
    first = runs["blocking"]
    for run in runs.values():
        assert remove_durations(run.events) == remove_durations(first.events)
    reflections = first.select_events_of_type(ReflectEvent)
    assert [(event.iteration, event.confidence) for event in reflections] == [(1, 0.0), (2, 0.5)]
    assert "there is no such city" in reflections[0].guidance
    assert reflections[1].guidance is None
    kinds = [type(event) for event in first.events if not event.__class__.__name__.startswith("Mo")]
    position = kinds.index(ReflectEvent)
    assert kinds[position - 1] is ToolCompleteEvent
    assert kinds[position + 1] is ThinkEvent
    assert kinds[-1] is TerminateEvent
    for model in models:
        note = model.calls[1].messages[-1]
        assert note.role is Role.USER
        assert "not of the user" in note.text
        assert note.metadata == {"locus_added_by": "reflexion"}
        assert len(select_notes(model.calls[2].messages)) == 1


@pytest.mark.parametrize(
    ("cities", "loops"),
    [
        (["Rome"] * 4, [False, False, True, True]),
        (["Rome", "Oslo"] * 2, [False, False, False, True]),
        (["Rome", "Oslo", "Bern", "Rome"], [False] * 4),
    ],
)
def test_loops_of_identical_and_cyclic_calls_are_seen(
    runtime_name: str, cities: list[str], loops: list[bool]
) -> None:
    model = ScriptedModel(*map(call, cities), "OK.")
    run = record_run(runtime_name, Agent(model, [weather], reflexion=True), "How is it?")
    events = run.select_events_of_type(ReflectEvent)
    assert [event.loop_detected for event in events] == loops
    for event in events:
        assert ("You are repeating" in (event.guidance or "")) == event.loop_detected


def test_equal_calls_of_one_response_are_no_loop(runtime_name: str) -> None:
    model = ScriptedModel([call("Rome"), call("Rome"), call("Rome")], "OK.")
    run = record_run(runtime_name, Agent(model, [weather], reflexion=True), "How is it?")
    assert [e.loop_detected for e in run.select_events_of_type(ReflectEvent)] == [False]


def test_a_condition_on_the_confidence_stops_the_run(runtime_name: str) -> None:
    model = ScriptedModel(*map(call, "ABCDE"))
    agent = Agent(model, [weather], reflexion=True, termination=ConfidenceMet(0.8))
    result = run_to_end(runtime_name, agent, "How is it?")
    assert result.stop_reason == "ConfidenceMet(0.8)"
    assert (result.iterations, result.state.confidence) == (3, 0.875)


def test_the_confidence_begins_anew_with_each_prompt(runtime_name: str) -> None:
    model = ScriptedModel(*map(call, "ABC"), call("D"), "OK.")
    agent = Agent(
        model,
        [weather],
        reflexion=True,
        termination=ConfidenceMet(0.8),
        checkpointer=MemoryCheckpointer(),
    )
    assert run_to_end(runtime_name, agent, "How is it?", "t").state.confidence == 0.875
    result = run_to_end(runtime_name, agent, "And there?", "t")
    assert (result.stop_reason, result.state.confidence) == ("complete", 0.5)


@pytest.mark.parametrize(
    ("reflector", "iterations"),
    [
        (True, [1, 2, 3]),
        (Reflector(every=2), [2]),
        (Reflector(when="error"), [2]),
        (Reflector(when="loop"), []),
        (False, []),
        (None, []),
    ],
)
def test_the_reflector_says_which_rounds_are_assessed(
    runtime_name: str, reflector: Any, iterations: list[int]
) -> None:
    model = ScriptedModel(call("Rome"), call("Atlantis"), call("Oslo"), "OK.")
    run = record_run(runtime_name, Agent(model, [weather], reflexion=reflector), "How is it?")
    assert [e.iteration for e in run.select_events_of_type(ReflectEvent)] == iterations


VERDICT = json.dumps({"assessment": "Good.", "confidence": 0.9, "guidance": "Ask for Oslo."})


def test_a_judge_model_assesses_the_step_and_its_tokens_count(runtime_name: str) -> None:
    judge = ScriptedModel(text(VERDICT, usage={"prompt_tokens": 100}))
    model = ScriptedModel(call("Rome"), text("OK.", usage={"prompt_tokens": 1}))
    agent = Agent(model, [weather], reflexion=Reflector(judge))
    run = record_run(runtime_name, agent, "How is it?")
    (event,) = run.select_events_of_type(ReflectEvent)
    assert event == ReflectEvent(1, "Good.", "Ask for Oslo.", 0.9, False)
    assert run.result is not None
    assert run.result.usage == run.terminate_event.usage == {"prompt_tokens": 101}
    assert run.result.iterations == 2  # the judge's call is none of the agent's
    assert model.calls[1].messages[-1].text.endswith("Ask for Oslo.")
    assert judge.calls[0].streamed is False


def test_an_error_of_the_judge_model_ends_the_run_with_its_state_saved(runtime_name: str) -> None:
    judge = ScriptedModel(RateLimitError("slow down", status_code=429), VERDICT)
    checkpointer = MemoryCheckpointer()
    agent = Agent(
        ScriptedModel(call("Rome"), "OK."),
        [weather],
        reflexion=Reflector(judge),
        checkpointer=checkpointer,
    )
    run = record_run(runtime_name, agent, "How is it?", "t")
    assert isinstance(run.error, RateLimitError)
    assert run.terminate_event.reason.startswith("error: RateLimitError")
    # The step is assessed when the thread is resumed, and the tool does not run again.
    resumed = record_run(runtime_name, agent, resume=True, thread_id="t")
    (event,) = resumed.select_events_of_type(ReflectEvent)
    assert (event.iteration, event.confidence) == (1, 0.9)
    assert resumed.result is not None
    assert (resumed.result.message, resumed.result.tool_calls) == ("OK.", 0)


class FailingOnceCheckpointer(MemoryCheckpointer):
    """Fails at the n-th save, as a process that dies there."""

    def __init__(self, fails_at: int) -> None:
        super().__init__()
        self.saves, self.fails_at = 0, fails_at

    def save(self, thread_id: str, state: AgentState) -> None:
        self.saves += 1
        if self.saves >= self.fails_at > 0:
            raise OSError("the process has died")
        super().save(thread_id, state)


@pytest.mark.parametrize("fails_at", range(1, 9))
def test_a_thread_that_was_interrupted_anywhere_is_assessed_as_if_it_was_not(
    runtime_name: str, fails_at: int
) -> None:
    def answer(messages: Any, *_: Any, **__: Any) -> Any:
        done = sum(message.role is Role.TOOL for message in messages)
        return (call("Rome"), call("Atlantis"), call("Rome"), "OK.")[done]

    checkpointer = FailingOnceCheckpointer(fails_at)
    agent = Agent(FunctionModel(answer), [weather], reflexion=True, checkpointer=checkpointer)
    run = record_run(runtime_name, agent, "How is it?", "t")
    checkpointer.fails_at = 0
    if run.error is None:
        pytest.skip("the run has fewer saves")
    if checkpointer.load("t") is None:
        return  # nothing had been saved
    result = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert result.message == "OK."
    assert result.state.confidence == 0.625
    assert len(select_notes(result.state.messages)) == 1


def test_guidance_does_not_make_tool_choice_apply_again(runtime_name: str) -> None:
    model = ScriptedModel(call("Atlantis"), "OK.")
    agent = Agent(model, [weather], reflexion=True, tool_choice="required")
    assert run_to_end(runtime_name, agent, "How is it?").message == "OK."
    assert ["tool_choice" in recorded.options for recorded in model.calls] == [True, False]


def test_a_window_keeps_the_question_and_the_guidance(runtime_name: str) -> None:
    model = ScriptedModel(call("Rome"), call("Atlantis"), "OK.")
    agent = Agent(
        model,
        [weather],
        reflexion=True,
        conversation_manager=SlidingWindowManager(max_messages=2),
    )
    run_to_end(runtime_name, agent, "How is it?")
    shown = model.calls[2].messages
    assert shown[0].text == "How is it?"
    assert is_agent_added_message(shown[-1])


def test_a_summary_hides_neither_the_task_nor_the_rounds(runtime_name: str) -> None:
    judge = ScriptedModel(VERDICT, cycle=True)
    agent = Agent(
        ScriptedModel(*map(call, "ABCABC"), "OK."),
        [weather],
        reflexion=Reflector(judge, every=4),
        conversation_manager=SummarizingManager(
            ScriptedModel("A summary.", cycle=True), threshold=3, keep_last=2
        ),
        checkpointer=MemoryCheckpointer(),
    )
    run = record_run(runtime_name, agent, "How is it?", "t")
    events = run.select_events_of_type(ReflectEvent)
    assert [(e.iteration, e.loop_detected) for e in events] == [(4, False), (6, True)]
    for recorded in judge.calls:
        assert "<task>\nHow is it?\n</task>" in recorded.messages[1].text
    assert run.result is not None
    record = run.result.state.reasoning
    assert record is not None
    assert (record.round_count, len(record.round_digests)) == (6, 6)
    agent = agent.copy(model=ScriptedModel(call("A"), "OK."))
    record = run_to_end(runtime_name, agent, "And now?", "t").state.reasoning
    assert record is not None
    assert record.round_count == 1  # each prompt begins anew


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_judge_leaves_a_thread_that_can_be_resumed(backend: str) -> None:
    async def wait_for_ever(*_: Any, **__: Any) -> Any:
        waiting.set()
        await anyio.sleep_forever()

    checkpointer = MemoryCheckpointer()
    model = ScriptedModel(call("Rome"), "OK.")
    agent = Agent(
        model,
        [weather],
        reflexion=Reflector(FunctionModel(wait_for_ever)),
        checkpointer=checkpointer,
    )
    waiting: Any = None

    async def main() -> None:
        nonlocal waiting
        waiting = anyio.Event()
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await agent.arun("How is it?", "t")

            group.start_soon(run)
            await waiting.wait()
            group.cancel_scope.cancel()

    run_async(backend, main)
    result = agent.copy(reflexion=True).resume_sync(thread_id="t")
    assert (result.message, result.state.confidence, result.tool_calls) == ("OK.", 0.5, 0)


@pytest.mark.parametrize("value", [1, "yes", Reflector, object()])
def test_another_setting_is_an_error(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"reflexion is True or .*locus\.reasoning"):
        Agent(ScriptedModel("x"), reflexion=value)


def test_mistral_is_sent_the_guidance_in_an_order_that_it_accepts(
    runtime_name: str, server: LoopbackServer
) -> None:
    """It rejects a message of the user right after a tool's result."""
    function = {"name": "weather", "arguments": '{"city": "Atlantis"}'}
    calls = [{"id": "abcdefghi", "type": "function", "function": function}]
    answers = [{"content": "", "tool_calls": calls}, {"content": "OK."}]
    server.enqueue(
        *(
            Reply.json({"choices": [{"index": 0, "message": {"role": "assistant", **answer}}]})
            for answer in answers
        )
    )
    model = OpenAIModel("mistral-large-latest", api_key="k", base_url=server.url)
    run_to_end(runtime_name, Agent(model, [weather], reflexion=True), "How is it?")
    model.close_sync()
    roles = [message["role"] for message in server.requests[1].json()["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
