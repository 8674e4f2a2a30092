"""Answers of a type: how a provider is asked for them, how they are parsed, and retries."""

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
from locus.models import AnthropicModel
from locus.testing import ScriptedModel, text, tool_call
from locus.testing.server import Reply
from locus.tools import tool
from tests.agent.recorded_runs import run_to_end
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.inference import MODEL_FACTORIES, InferenceCloud, ScriptedReply
from tests.support.servers import anthropic_server, ollama_server

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud, profile = inference.cloud, inference.profile


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
def look_up(city: str) -> str:
    """Look at a city."""
    return f"{city} has 700000 people"


class NativeFormatModel(ScriptedModel):
    """A model with a native ``response_format``."""

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
def test_the_answer_is_a_value_of_the_type(runtime_name: str, schema: Any, value: Any) -> None:
    content = f'{{"value": [{GOOD}]}}' if schema == list[City] else GOOD
    result = run_to_end(
        runtime_name, Agent(NativeFormatModel(content), output_schema=schema), "Where?"
    )
    assert result.parsed == value
    assert result.parse_error is None
    assert result.parsed_as(schema) == value


def test_a_provider_with_a_native_format_gets_it_in_every_call(runtime_name: str) -> None:
    model = NativeFormatModel(tool_call("look_up", city="Oslo"), GOOD)
    result = run_to_end(runtime_name, Agent(model, [look_up], output_schema=City), "Where?")
    assert result.parsed == City("Oslo", 700000)
    for call in model.calls:
        assert call.options["response_format"]["json_schema"]["name"] == "City"
        assert len(call.tools) == 1
    assert model.calls[0].messages[0].role is Role.USER  # no instructions are needed


def test_other_models_get_instructions(runtime_name: str) -> None:
    model = ScriptedModel(tool_call("look_up", city="Oslo"), f"Here:\n```json\n{GOOD}\n```")
    result = run_to_end(
        runtime_name, Agent(model, [look_up], "Be brief.", output_schema=City), "Where?"
    )
    assert result.parsed == City("Oslo", 700000)
    system = model.calls[0].messages[0].text
    assert system.startswith("Be brief.\n\nWhen you give your final answer")
    assert '"people"' in system
    assert model.calls[0].options == {}


def test_the_model_is_asked_again_if_its_answer_does_not_fit(runtime_name: str) -> None:
    model = ScriptedModel("Oslo, I think.", '{"name": "Oslo"}', GOOD)
    result = run_to_end(runtime_name, Agent(model, output_schema=City), "Where?")
    assert result.parsed == City("Oslo", 700000)
    assert (result.iterations, result.message) == (3, GOOD)
    last = model.calls[2].messages[-1]
    assert last.role is Role.USER
    assert "people" in last.text


def test_retries_are_limited_and_the_error_is_in_the_result(runtime_name: str) -> None:
    model = ScriptedModel("No.", cycle=True)
    agent = Agent(model, output_schema=City)
    result = run_to_end(runtime_name, agent, "Where?")
    assert result.parsed is None
    assert isinstance(result.parse_error, StructuredOutputError)
    assert (result.iterations, result.stop_reason, result.message) == (3, "complete", "No.")
    with pytest.raises(StructuredOutputError):
        result.parsed_as(City)
    model.calls.clear()
    run_to_end(runtime_name, agent.copy(output_schema_retries=0), "Where?")
    assert len(model.calls) == 1
    model.calls.clear()
    result = run_to_end(runtime_name, agent.copy(max_iterations=2), "Where?")
    assert (len(model.calls), result.stop_reason) == (2, "MaxIterations(2)")
    assert result.state.messages[-1].role is Role.ASSISTANT


def test_tools_may_be_called_in_a_retry(runtime_name: str) -> None:
    model = ScriptedModel("Let me see.", tool_call("look_up", city="Oslo"), GOOD)
    result = run_to_end(runtime_name, Agent(model, [look_up], output_schema=City), "Where?")
    assert (result.parsed, result.tool_calls) == (City("Oslo", 700000), 1)


def test_a_thread_with_an_answer_that_was_not_parsed_is_resumed(runtime_name: str) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel("No.", GOOD), checkpointer=checkpointer)
    run_to_end(runtime_name, agent, "Where?", "t")
    typed = agent.copy(output_schema=City)
    result = run_to_end(runtime_name, typed, resume=True, thread_id="t")
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 1)


def test_a_retry_stays_a_retry_after_a_resume(runtime_name: str) -> None:
    model = ScriptedModel(
        tool_call("look_up", city="Oslo"), "No.", OSError("gone"), "No.", "No.", GOOD
    )
    agent = Agent(
        model,
        [look_up],
        output_schema=City,
        tool_choice="required",
        checkpointer=MemoryCheckpointer(),
        output_schema_retries=2,
    )
    with pytest.raises(OSError, match="gone"):
        run_to_end(runtime_name, agent, "Where?", "t")
    result = run_to_end(runtime_name, agent, resume=True, thread_id="t")
    assert isinstance(result.parse_error, StructuredOutputError)  # two retries, one of them before
    choices = [call.options.get("tool_choice") for call in model.calls]
    assert choices == ["required", None, None, None, None]


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_retries_are_limited_however_often_a_thread_is_resumed(
    runtime_name: str, retries: int
) -> None:
    model = ScriptedModel("No.", cycle=True)
    agent = Agent(
        model,
        output_schema=City,
        output_schema_retries=retries,
        max_iterations=1,
        checkpointer=MemoryCheckpointer(),
    )
    assert run_to_end(runtime_name, agent, "Where?", "t").parse_error is not None
    for _ in range(4):
        assert run_to_end(runtime_name, agent, resume=True, thread_id="t").parse_error is not None
    assert len(model.calls) == 1 + retries


def test_a_run_that_ends_before_its_answer_has_an_error(runtime_name: str) -> None:
    agent = Agent(
        ScriptedModel("No.", tool_call("look_up", city="Oslo"), GOOD),
        [look_up],
        output_schema=City | None,
        max_iterations=2,
        checkpointer=MemoryCheckpointer(),
    )
    result = run_to_end(runtime_name, agent, "Where?", "t")
    assert result.parsed is None
    assert "the run ended before it (MaxIterations(2))" in str(result.parse_error)
    assert run_to_end(runtime_name, agent, resume=True, thread_id="t").parsed == City(
        "Oslo", 700000
    )
    called = agent.copy(model=ScriptedModel(tool_call("look_up", city="Oslo")))
    ended = run_to_end(runtime_name, called.copy(termination=ToolCalled("look_up")), "Where?")
    assert "ToolCalled('look_up')" in str(ended.parse_error)


def test_a_refusal_is_a_final_answer(runtime_name: str) -> None:
    refusal = Message.assistant([RefusalPart("I will not say.")])
    model = ScriptedModel(ModelResponse(refusal, stop_reason="stop"), GOOD)
    result = run_to_end(runtime_name, Agent(model, output_schema=City), "Where?")
    assert (result.iterations, result.message) == (1, "I will not say.")
    assert str(result.parse_error) == "the model refused: I will not say."


@attrs.frozen
class Counts:
    name: str
    people: dict[str, int]


@pytest.mark.parametrize(
    ("schema", "content", "value"),
    [
        (Counts, '{"name": "A", "people": {"Oslo": 7}}', Counts("A", {"Oslo": 7})),
        (dict[str, int], '{"Oslo": 7}', {"Oslo": 7}),
        (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
    ],
)
def test_a_type_that_strict_mode_cannot_express_is_requested_without_it(
    runtime_name: str, schema: Any, content: str, value: Any
) -> None:
    model = NativeFormatModel(content)
    result = run_to_end(runtime_name, Agent(model, output_schema=schema), "Where?")
    assert result.parsed == value
    json_schema = model.calls[0].options["response_format"]["json_schema"]
    assert json_schema.get("strict") is not True


def test_a_type_without_a_schema_is_an_error_before_anything_is_saved(
    runtime_name: str,
) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(ScriptedModel("?"), output_schema=complex, checkpointer=checkpointer)
    with pytest.raises(ConfigurationError):
        run_to_end(runtime_name, agent, "Where?", "t")
    assert checkpointer.load("t") is None


def test_any_result_can_be_parsed_as_a_type(runtime_name: str) -> None:
    result = run_to_end(runtime_name, Agent(ScriptedModel(text(GOOD))), "Where?")
    assert result.parsed is None
    assert result.parsed_as(City) == City("Oslo", 700000)
    with pytest.raises(StructuredOutputError):
        result.parsed_as(list[int])


# -- providers that can enforce a schema, but not while the model calls tools --------------------


def run_and_close(runtime_name: str, agent: Agent) -> AgentResult:
    if runtime_name == "blocking":
        with agent.model:  # type: ignore[union-attr]
            return agent.run_sync("Where?")

    async def main() -> AgentResult:
        async with agent.model:  # type: ignore[union-attr]
            return await agent.arun("Where?")

    return anyio.run(main, backend=runtime_name)


def make_anthropic_replies() -> tuple[Reply, Reply, Reply]:
    block = {"type": "tool_use", "id": "1", "name": "look_up", "input": {"city": "Oslo"}}
    arguments = {"name": "Oslo", "people": 700000}
    schema_block = {
        "type": "tool_use",
        "id": "2",
        "name": "respond_with_schema",
        "input": arguments,
    }
    build = anthropic_server.build_reply
    text_block = {"type": "text", "text": "Oslo, then."}
    return (
        build(block, reason="tool_use"),
        build(text_block),
        build(schema_block, reason="tool_use"),
    )


def test_anthropic_enforces_the_schema_in_a_retry_or_without_tools(
    runtime_name: str, server: Any
) -> None:
    call_reply, text_reply, schema_reply = make_anthropic_replies()
    server.enqueue(call_reply, text_reply, schema_reply, schema_reply)
    model = anthropic_server.make_model(server)
    result = run_and_close(runtime_name, Agent(model, [look_up], output_schema=City))
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 3)
    first, second, third = (request.json() for request in server.requests)
    for body in (first, second):
        assert [tool["name"] for tool in body["tools"]] == ["look_up"]
    assert [tool["name"] for tool in third["tools"]] == ["look_up", "respond_with_schema"]
    assert third["tool_choice"]["name"] == "respond_with_schema"
    assert "JSON Schema" in str(first["system"])
    result = run_and_close(runtime_name, Agent(model, output_schema=City))  # without tools: at once
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 1)


def test_ollama_enforces_the_schema_in_a_retry_or_without_tools(
    runtime_name: str, server: Any
) -> None:
    function = {"function": {"name": "look_up", "arguments": {"city": "Oslo"}}}

    def make_reply(content: str, **fields: Any) -> Reply:
        message = {"role": "assistant", "content": content, **fields}
        common = {"model": "loop-1", "created_at": "2025-10-01T12:00:00Z", "done": True}
        return Reply.json({**common, "message": message, "done_reason": "stop"})

    server.enqueue(
        make_reply("", tool_calls=[function]),
        make_reply("Oslo, then."),
        make_reply(GOOD),
        make_reply(GOOD),
    )
    model = ollama_server.make_model(server)
    result = run_and_close(runtime_name, Agent(model, [look_up], output_schema=City))
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 3)
    bodies = [request.json() for request in server.requests]
    assert ["format" in body for body in bodies] == [False, False, True]
    assert [bool(body.get("tools")) for body in bodies] == [True, True, True]
    assert run_and_close(runtime_name, Agent(model, output_schema=City)).iterations == 1
    assert "format" in server.requests[-1].json()


OCI_FORMATS = {"GENERIC": "always", "COHERE": "without_tools", "COHEREV2": "without_tools"}
"""When OCI's own formats enforce a schema."""


@pytest.mark.sdk
@pytest.mark.usefixtures("isolated_environment", "profile")
@pytest.mark.parametrize("api_format", OCI_FORMATS)
def test_oci_enforces_the_schema_in_its_own_formats(
    runtime_name: str, cloud: InferenceCloud, api_format: str
) -> None:
    pytest.importorskip("oci")
    model = MODEL_FACTORIES["generic"](cloud, api_format=api_format)
    if OCI_FORMATS[api_format] == "always":
        calls = ScriptedReply("", (("look_up", {"city": "Oslo"}),))
        cloud.queue_replies(calls, ScriptedReply(GOOD), ScriptedReply(GOOD))
        expected = [True, True, True]
    else:  # with tools, instructions come first
        cloud.queue_replies(ScriptedReply("Oslo, then."), ScriptedReply(GOOD), ScriptedReply(GOOD))
        expected = [False, True, True]
    result = run_and_close(runtime_name, Agent(model, [look_up], output_schema=City))
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 2)
    assert run_and_close(runtime_name, Agent(model, output_schema=City)).iterations == 1
    bodies = [request.json()["chatRequest"] for request in cloud.accepted_requests]
    assert ["people" in str(body.get("responseFormat")) for body in bodies] == expected


def test_a_subclass_under_another_prefix_enforces_the_schema(
    runtime_name: str, server: Any
) -> None:
    class GatewayModel(AnthropicModel):
        prefix = "gateway"

    schema_reply = make_anthropic_replies()[2]
    server.enqueue(schema_reply)
    model = GatewayModel("claude-sonnet-4-5", api_key="k", base_url=server.url)
    result = run_and_close(runtime_name, Agent(model, output_schema=City))
    assert (result.parsed, result.iterations) == (City("Oslo", 700000), 1)
    assert server.requests[0].json()["tool_choice"]["name"] == "respond_with_schema"


class OwnModel:
    """A model of the user's own, without capabilities."""

    def __init__(self, supports_structured_output: bool) -> None:
        self.supports_structured_output = supports_structured_output
        self.scripted = ScriptedModel(GOOD)

    async def complete(self, *arguments: Any, **kw: Any) -> ModelResponse:
        return await self.scripted.complete(*arguments, **kw)

    def stream(self, *arguments: Any, **kw: Any) -> Any:
        return self.scripted.stream(*arguments, **kw)


@pytest.mark.parametrize("is_supported", [True, False])
def test_a_model_without_capabilities_is_asked_as_its_property_says(
    backend: str, is_supported: bool
) -> None:
    model = OwnModel(is_supported)
    result = run_to_end(backend, Agent(model, output_schema=City), "Where?")
    assert result.parsed == City("Oslo", 700000)
    call = model.scripted.calls[0]
    assert ("response_format" in call.options) is is_supported
    assert (call.messages[0].role is Role.SYSTEM) is not is_supported
