"""Answers of a type: asked for with what the provider has, read, and asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import anyio
import attrs
import pytest

from locus.agent import Agent, AgentResult
from locus.core.errors import ConfigurationError, StructuredOutputError
from locus.core.messages import Message, RefusalPart, Role
from locus.core.response import ModelResponse
from locus.core.termination import ToolCalled
from locus.memory import MemoryCheckpointer
from locus.testing import ScriptedModel, text, tool_call
from locus.testing.loopback_server import Reply
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES, to_end
from tests.support import runtimes
from tests.support.servers import anthropic_server, ollama_server

no_leaks, server = runtimes.no_leaks, runtimes.server


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@attrs.frozen
class City:
    name: str
    people: int


@dataclass
class Place:
    name: str
    people: int


class Spot(TypedDict):
    name: str
    people: int


GOOD = '{"name": "Oslo", "people": 700000}'


@tool
def look(city: str) -> str:
    """Look at a city."""
    return f"{city} has 700000 people"


class Native(ScriptedModel):
    """A model with a ``response_format`` of its own."""

    __slots__ = ()

    @property
    def supports_structured_output(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (City, City("Oslo", 700000)),
        (Place, Place("Oslo", 700000)),
        (Spot, {"name": "Oslo", "people": 700000}),
        (list[City], [City("Oslo", 700000)]),
    ],
)
def test_the_answer_is_a_value_of_the_type(runtime: str, schema: Any, value: Any) -> None:
    said = f'{{"value": [{GOOD}]}}' if schema == list[City] else GOOD
    result = to_end(runtime, Agent(Native(said), output_schema=schema), "Where?")
    assert result.parsed == value
    assert result.parse_error is None
    assert result.parsed_as(schema) == value


def test_a_provider_with_a_format_of_its_own_is_asked_for_it_each_time(runtime: str) -> None:
    model = Native(tool_call("look", city="Oslo"), GOOD)
    result = to_end(runtime, Agent(model, [look], output_schema=City), "Where?")
    assert result.parsed == City("Oslo", 700000)
    for call in model.calls:
        assert call.options["response_format"]["json_schema"]["name"] == "City"
        assert len(call.tools) == 1
    assert model.calls[0].messages[0].role is Role.USER  # nothing has to be said in words


def test_others_are_asked_in_words(runtime: str) -> None:
    model = ScriptedModel(tool_call("look", city="Oslo"), f"Here:\n```json\n{GOOD}\n```")
    result = to_end(runtime, Agent(model, [look], "Be brief.", output_schema=City), "Where?")
    assert result.parsed == City("Oslo", 700000)
    system = model.calls[0].messages[0].text
    assert system.startswith("Be brief.\n\nWhen you give your final answer")
    assert '"people"' in system
    assert model.calls[0].options == {}


def test_an_answer_that_cannot_be_read_is_asked_for_again(runtime: str) -> None:
    model = ScriptedModel("Oslo, I think.", '{"name": "Oslo"}', GOOD)
    result = to_end(runtime, Agent(model, output_schema=City), "Where?")
    assert result.parsed == City("Oslo", 700000)
    assert (result.iterations, result.message) == (3, GOOD)
    last = model.calls[2].messages[-1]
    assert last.role is Role.USER
    assert "people" in last.text


def test_asking_again_has_an_end_and_the_error_is_in_the_result(runtime: str) -> None:
    model = ScriptedModel("No.", cycle=True)
    agent = Agent(model, output_schema=City)
    result = to_end(runtime, agent, "Where?")
    assert result.parsed is None
    assert isinstance(result.parse_error, StructuredOutputError)
    assert (result.iterations, result.stop_reason, result.message) == (3, "complete", "No.")
    with pytest.raises(StructuredOutputError):
        result.parsed_as(City)
    model.calls.clear()
    to_end(runtime, agent.copy(output_schema_retries=0), "Where?")
    assert len(model.calls) == 1
    model.calls.clear()
    result = to_end(runtime, agent.copy(max_iterations=2), "Where?")
    assert (len(model.calls), result.stop_reason) == (2, "MaxIterations(2)")
    assert result.state.messages[-1].role is Role.ASSISTANT


def test_tools_may_be_called_on_the_way_to_a_better_answer(runtime: str) -> None:
    model = ScriptedModel("Let me see.", tool_call("look", city="Oslo"), GOOD)
    result = to_end(runtime, Agent(model, [look], output_schema=City), "Where?")
    assert (result.parsed, result.tool_calls) == (City("Oslo", 700000), 1)


def test_a_thread_that_was_cut_off_before_its_answer_was_read_goes_on(runtime: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel("No.", GOOD), checkpointer=checkpointer)
    to_end(runtime, agent, "Where?", "t")
    typed = agent.copy(output_schema=City)
    result = to_end(runtime, typed, resume=True, thread_id="t")
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 1)


def test_an_answer_that_is_asked_for_again_goes_on_so_after_a_resume(runtime: str) -> None:
    model = ScriptedModel(
        tool_call("look", city="Oslo"), "No.", OSError("gone"), "No.", "No.", GOOD
    )
    agent = Agent(
        model,
        [look],
        output_schema=City,
        tool_choice="required",
        checkpointer=MemoryCheckpointer(),
        output_schema_retries=2,
    )
    with pytest.raises(OSError, match="gone"):
        to_end(runtime, agent, "Where?", "t")
    result = to_end(runtime, agent, resume=True, thread_id="t")
    assert isinstance(result.parse_error, StructuredOutputError)  # two retries, one before
    choices = [call.options.get("tool_choice") for call in model.calls]
    assert choices == ["required", None, None, None, None]


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_however_often_a_thread_is_resumed_it_is_asked_again_no_more_often(
    runtime: str, retries: int
) -> None:
    model = ScriptedModel("No.", cycle=True)
    agent = Agent(
        model,
        output_schema=City,
        output_schema_retries=retries,
        max_iterations=1,
        checkpointer=MemoryCheckpointer(),
    )
    assert to_end(runtime, agent, "Where?", "t").parse_error is not None
    for _ in range(4):
        assert to_end(runtime, agent, resume=True, thread_id="t").parse_error is not None
    assert len(model.calls) == 1 + retries


def test_a_run_that_ends_before_its_answer_says_so(runtime: str) -> None:
    agent = Agent(
        ScriptedModel("No.", tool_call("look", city="Oslo"), GOOD),
        [look],
        output_schema=City | None,
        max_iterations=2,
        checkpointer=MemoryCheckpointer(),
    )
    result = to_end(runtime, agent, "Where?", "t")
    assert result.parsed is None
    assert "the run ended before it (MaxIterations(2))" in str(result.parse_error)
    assert to_end(runtime, agent, resume=True, thread_id="t").parsed == City("Oslo", 700000)
    called = agent.copy(model=ScriptedModel(tool_call("look", city="Oslo")))
    ended = to_end(runtime, called.copy(termination=ToolCalled("look")), "Where?")
    assert "ToolCalled('look')" in str(ended.parse_error)


def test_a_refusal_is_an_answer_and_is_not_asked_again(runtime: str) -> None:
    refusal = Message.assistant([RefusalPart("I will not say.")])
    model = ScriptedModel(ModelResponse(refusal, stop_reason="stop"), GOOD)
    result = to_end(runtime, Agent(model, output_schema=City), "Where?")
    assert (result.iterations, result.message) == (1, "I will not say.")
    assert str(result.parse_error) == "the model refused: I will not say."


@attrs.frozen
class Counts:
    name: str
    people: dict[str, int]


@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        (Counts, '{"name": "A", "people": {"Oslo": 7}}', Counts("A", {"Oslo": 7})),
        (dict[str, int], '{"Oslo": 7}', {"Oslo": 7}),
        (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
    ],
)
def test_what_strict_mode_cannot_say_is_asked_for_without_it(
    runtime: str, schema: Any, said: str, value: Any
) -> None:
    model = Native(said)
    result = to_end(runtime, Agent(model, output_schema=schema), "Where?")
    assert result.parsed == value
    asked = model.calls[0].options["response_format"]["json_schema"]
    assert asked.get("strict") is not True


def test_a_type_that_no_schema_can_say_is_refused_before_anything_is_saved(runtime: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel("?"), output_schema=complex, checkpointer=checkpointer)
    with pytest.raises(ConfigurationError):
        to_end(runtime, agent, "Where?", "t")
    assert checkpointer.load("t") is None


def test_any_result_can_be_read_as_a_type(runtime: str) -> None:
    result = to_end(runtime, Agent(ScriptedModel(text(GOOD))), "Where?")
    assert result.parsed is None
    assert result.parsed_as(City) == City("Oslo", 700000)
    with pytest.raises(StructuredOutputError):
        result.parsed_as(list[int])


# -- providers that can hold a model to a schema, but not while it calls tools -------------------


def drive(runtime: str, agent: Agent) -> AgentResult:
    if runtime == "blocking":
        with agent.model:  # type: ignore[union-attr]
            return agent.run_sync("Where?")

    async def main() -> AgentResult:
        async with agent.model:  # type: ignore[union-attr]
            return await agent.arun("Where?")

    return anyio.run(main, backend=runtime)


def anthropic_answers() -> tuple[Reply, Reply, Reply]:
    block = {"type": "tool_use", "id": "1", "name": "look", "input": {"city": "Oslo"}}
    made = {"name": "Oslo", "people": 700000}
    pinned = {"type": "tool_use", "id": "2", "name": "respond_with_schema", "input": made}
    whole = anthropic_server.whole
    words = {"type": "text", "text": "Oslo, then."}
    return whole(block, reason="tool_use"), whole(words), whole(pinned, reason="tool_use")


def test_anthropic_is_held_to_the_schema_where_that_keeps_no_tool_away(
    runtime: str, server: Any
) -> None:
    calls, words, pinned = anthropic_answers()
    server.enqueue(calls, words, pinned, pinned)
    model = anthropic_server.model_of(server)
    result = drive(runtime, Agent(model, [look], output_schema=City))
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 3)
    first, second, third = (request.json() for request in server.requests)
    assert [[tool["name"] for tool in body["tools"]] for body in (first, second)] == [["look"]] * 2
    assert [tool["name"] for tool in third["tools"]] == ["respond_with_schema"]
    assert "JSON Schema" in str(first["system"])
    result = drive(runtime, Agent(model, output_schema=City))  # without tools: at once
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 1)


def test_ollama_is_held_to_the_schema_where_that_keeps_no_tool_away(
    runtime: str, server: Any
) -> None:
    function = {"function": {"name": "look", "arguments": {"city": "Oslo"}}}

    def says(content: str, **more: Any) -> Reply:
        message = {"role": "assistant", "content": content, **more}
        about = {"model": "loop-1", "created_at": "2025-10-01T12:00:00Z", "done": True}
        return Reply.json({**about, "message": message, "done_reason": "stop"})

    server.enqueue(says("", tool_calls=[function]), says("Oslo, then."), says(GOOD), says(GOOD))
    model = ollama_server.model_of(server)
    result = drive(runtime, Agent(model, [look], output_schema=City))
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 3)
    bodies = [request.json() for request in server.requests]
    assert ["format" in body for body in bodies] == [False, False, True]
    assert [bool(body.get("tools")) for body in bodies] == [True, True, False]
    assert drive(runtime, Agent(model, output_schema=City)).iterations == 1
    assert "format" in server.requests[-1].json()
