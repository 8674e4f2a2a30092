"""``output_mode``: by which mechanism an answer of a type is given, and what a refusal changes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from locus.agent import Agent
from locus.core.errors import BadRequestError, ConfigurationError
from locus.core.events import ModelChunkEvent, ThinkEvent
from locus.core.messages import Message, RefusalPart, ToolCall
from locus.core.response import ModelResponse
from locus.memory import MemoryCheckpointer
from locus.models.capabilities import ModelCapabilities
from locus.testing import ScriptedModel, text, tool_call
from locus.testing.formats.spoken_format import split_into_chunks
from locus.testing.server import LoopbackServer, Received, Reply
from locus.tools import tool
from tests.agent.recorded_runs import record_run, run_to_end
from tests.support.chat_replies import build_reply
from tests.support.formats import FORMATS, WireFormat
from tests.support.servers import anthropic_server, responses_server
from tests.support.servers.openai_server import make_model
from tests.support.wire_json.responses_json import make_message_item

pytestmark = pytest.mark.usefixtures("formats_environment", "no_leaks")


@attrs.frozen
class City:
    name: str
    people: int


OSLO = City("Oslo", 700000)
OSLO_FIELDS = {"name": "Oslo", "people": 700000}
OSLO_JSON = json.dumps(OSLO_FIELDS)
NO_SCHEMA = Reply.error(400, "This response_format type (json_schema) is unavailable now")


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


def make_answer(wire: WireFormat, *, streamed: bool) -> Reply:
    content = wire.make_content(OSLO_JSON)
    if streamed:
        return wire.make_stream_reply(*wire.build_frames(content, split_into_chunks))
    return wire.make_body_reply(wire.build_body(content))


def remove_members(body: dict[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    for path in paths:
        *outer_names, name = path.split(".")
        members = body
        for outer_name in outer_names:
            members = members.get(outer_name, {})
        members.pop(name, None)
    return body


@pytest.mark.one_runtime_each
@pytest.mark.parametrize(
    "wire", [pytest.param(wire, id=wire.name, marks=wire.marks) for wire in FORMATS]
)
def test_a_refused_schema_is_asked_for_in_words_and_never_sent_again(
    wire: WireFormat, runtime_name: str, server: LoopbackServer
) -> None:
    model = wire.make_model(server)
    before = model.capabilities.structured_output
    server.enqueue(NO_SCHEMA, make_answer(wire, streamed=True), make_answer(wire, streamed=False))
    agent = Agent(model, output_schema=City)
    run = record_run(runtime_name, agent, "Where?")
    assert run.result is not None, run.error
    assert (run.result.parsed, run.result.iterations) == (OSLO, 1)
    assert run.select_events_of_type(ModelChunkEvent)
    assert run_to_end(runtime_name, agent, "Where?").parsed == OSLO
    bodies = [remove_members(request.json(), wire.stream_members) for request in server.requests]
    assert len(bodies) == 3
    assert bodies[0] != bodies[1] == bodies[2]
    assert "people" in json.dumps(bodies[1])
    assert (before, model.capabilities.structured_output) == (wire.structured_output, "never")
    assert wire.make_model(server).capabilities.structured_output == before


def read_schemas(server: LoopbackServer) -> list[tuple[bool, bool]]:
    """Return of each request whether it has a schema, and whether it has tools."""
    bodies = [request.json() for request in server.requests]
    return [("response_format" in body, "tools" in body) for body in bodies]


def test_a_schema_that_is_refused_beside_tools_only_is_sent_without_them(
    runtime_name: str, server: LoopbackServer
) -> None:
    def respond(received: Received) -> Reply:
        body = received.json()
        if "response_format" in body and "tools" in body:
            return Reply.error(400, "json mode cannot be combined with tool/function calling")
        return build_reply(OSLO_JSON if "response_format" in body else "It is Oslo.")

    server.always(respond)
    model = make_model(server)
    result = run_to_end(runtime_name, Agent(model, [look], output_schema=City), "Where?")
    assert result.parsed == OSLO
    assert read_schemas(server) == [(True, True), (False, True), (True, False)]
    assert model.capabilities.structured_output == "without_tools"
    assert run_to_end(runtime_name, Agent(model, output_schema=City), "Where?").iterations == 1
    assert read_schemas(server)[3:] == [(True, False)]


@pytest.mark.parametrize(
    ("replies", "support"),
    [
        # Only this schema is refused: another one may be accepted.
        ([Reply.error(400, "Invalid schema for response_format 'City'"), OSLO_JSON], "always"),
        # The same error without the schema: that was not the cause.
        ([NO_SCHEMA, NO_SCHEMA], "always"),
        ([Reply.error(400, "Invalid 'messages[0].content': too long")], "always"),
        ([Reply.error(400, "not with tools: response_format"), NO_SCHEMA], "always"),
        ([NO_SCHEMA, OSLO_JSON], "never"),
    ],
)
def test_only_what_turned_out_to_be_the_cause_is_remembered(
    server: LoopbackServer, replies: list[Any], support: str
) -> None:
    server.enqueue(*(build_reply(one) if isinstance(one, str) else one for one in replies))
    model = make_model(server)
    agent = Agent(model, output_schema=City)
    if isinstance(replies[-1], str):
        assert agent.run_sync("Where?").parsed == OSLO
    else:
        with pytest.raises(BadRequestError) as caught:
            agent.run_sync("Where?")
        notes = getattr(caught.value, "__notes__", ())
        assert len(notes) == len(replies) - 1  # what was refused first is not hidden
    assert len(server.requests) == len(replies)
    assert model.capabilities.structured_output == support


def test_a_refused_schema_of_a_stored_conversation(
    runtime_name: str, server: LoopbackServer
) -> None:
    """The instructions reach a server that has the conversation already."""
    server.enqueue(
        responses_server.build_reply(make_message_item("Hello.")),
        Reply.error(400, "Unsupported: 'text.format'"),
        responses_server.build_reply(make_message_item(OSLO_JSON)),
    )
    model = responses_server.make_model(server)
    agent = Agent(model, checkpointer=MemoryCheckpointer())
    run_to_end(runtime_name, agent, "Hi.", thread_id="t")
    result = run_to_end(runtime_name, agent.copy(output_schema=City), "Where?", thread_id="t")
    assert result.parsed == OSLO
    assert "people" in json.dumps(server.requests[-1].json()["input"])


def test_a_model_that_was_not_told_the_schema_is_told_it_when_it_is_asked_again() -> None:
    """Some servers take a ``response_format`` and do not enforce it."""

    class NativeModel(ScriptedModel):
        base_capabilities = ModelCapabilities(structured_output="always")

    model = NativeModel("Oslo.", OSLO_JSON)
    assert Agent(model, output_schema=City).run_sync("Where?").parsed == OSLO
    assert len(model.calls[0].messages) == 1
    assert '"people"' in model.calls[1].messages[-1].text


def test_an_answer_that_repeats_the_schema_is_no_answer() -> None:
    """It would fit a type whose members all have defaults."""

    @attrs.frozen
    class Options:
        name: str = ""
        people: int = 0

    @attrs.frozen
    class Schema:
        type: str = ""
        properties: dict[str, int] = attrs.Factory(dict)

    echo = '{"type": "object", "properties": {"people": {"type": "integer"}}}'
    model = ScriptedModel(f"Here:\n```json\n{echo}\n```", OSLO_JSON)
    assert Agent(model, output_schema=Options).run_sync("?").parsed == Options("Oslo", 700000)
    assert "it is the schema" in model.calls[1].messages[-1].text
    other = '{"type": "t", "properties": {"people": 1}}'
    result = Agent(ScriptedModel(other), output_schema=Schema).run_sync("?")
    assert result.parsed == Schema("t", {"people": 1})


# The other modes.


def test_the_native_form_is_asked_for_whatever_happens(
    runtime_name: str, server: LoopbackServer
) -> None:
    server.enqueue(NO_SCHEMA)
    agent = Agent(make_model(server), output_schema=City, output_mode="native")
    with pytest.raises(BadRequestError, match="json_schema"):
        run_to_end(runtime_name, agent, "Where?")
    assert len(server.requests) == 1
    agent = Agent(ScriptedModel("x"), output_schema=City, output_mode="native")
    with pytest.raises(ConfigurationError, match="output_mode='native': ScriptedModel"):
        run_to_end(runtime_name, agent, "Where?")


def test_in_words_alone(runtime_name: str, server: LoopbackServer) -> None:
    server.enqueue(build_reply("Oslo."), build_reply(OSLO_JSON))
    agent = Agent(make_model(server), [look], output_schema=City, output_mode="prompted")
    assert run_to_end(runtime_name, agent, "Where?").parsed == OSLO
    assert read_schemas(server) == [(False, True), (False, True)]
    assert "people" in json.dumps(server.requests[0].json()["messages"][0])


def test_an_answer_by_the_call_of_a_tool(runtime_name: str) -> None:
    model = ScriptedModel(
        tool_call("look", q="x"),
        [text("Here it is."), tool_call("final_answer", **OSLO_FIELDS)],
        "You are welcome.",
    )
    agent = Agent(
        model, [look], output_schema=City, output_mode="tool", checkpointer=MemoryCheckpointer()
    )
    run = record_run(runtime_name, agent, "Where?", thread_id="t")
    result = run.result
    assert result is not None
    assert (result.parsed, json.loads(result.message)) == (OSLO, OSLO_FIELDS)
    assert (result.stop_reason, result.finish_reason) == ("complete", "stop")
    assert (result.tool_calls, result.state.pending_calls()) == (1, ())
    thoughts = run.select_events_of_type(ThinkEvent)
    assert [len(thought.tool_calls) for thought in thoughts] == [1, 0]
    offered = model.calls[0].tools[-1]["function"]
    assert "people" in offered["parameters"]["properties"]
    assert "final_answer" in model.calls[0].messages[0].text
    # What was said is text, so that an agent without such a tool can go on with it.
    goes_on = agent.copy(output_schema=None, output_mode="auto")
    assert run_to_end(runtime_name, goes_on, "Thank you.", thread_id="t").stop_reason == "complete"
    assert not any(message.tool_calls for message in model.calls[2].messages[3:])


def test_a_call_with_an_answer_that_does_not_fit_is_asked_for_again(runtime_name: str) -> None:
    model = ScriptedModel(
        "It is Oslo.",
        tool_call("final_answer", name="Oslo"),
        tool_call("final_answer", **OSLO_FIELDS),
    )
    agent = Agent(model, output_schema=City, output_mode="tool")
    assert run_to_end(runtime_name, agent, "Where?").parsed == OSLO
    for call in model.calls[1:]:
        assert "by calling final_answer" in call.messages[-1].text
    assert "people" in model.calls[2].messages[-1].text


def test_an_answer_beside_other_calls_is_not_taken(runtime_name: str) -> None:
    """The model did not know their results yet."""
    answer = tool_call("final_answer", **OSLO_FIELDS)
    model = ScriptedModel([tool_call("look", q="x"), answer], answer)
    agent = Agent(model, [look], output_schema=City, output_mode="tool")
    result = run_to_end(runtime_name, agent, "Where?")
    assert (result.parsed, result.iterations) == (OSLO, 2)
    found, rejected = (message.text for message in result.state.messages if message.role == "tool")
    assert found == "found x"
    assert "final_answer again, alone" in rejected


def test_the_last_answer_may_be_a_call_of_the_answers_tool() -> None:
    answer = tool_call("final_answer", **OSLO_FIELDS)
    model = ScriptedModel(tool_call("look", q="x"), [tool_call("look", q="y"), answer])
    agent = Agent(
        model, [look], output_schema=City, output_mode="tool", max_iterations=1, final_answer=True
    )
    result = agent.run_sync("Where?")
    assert (result.parsed, result.tool_calls) == (OSLO, 1)
    assert [schema["function"]["name"] for schema in model.calls[1].tools] == ["final_answer"]


def test_the_answers_tool_has_a_name_of_its_own_and_stands_beside_bound_tools() -> None:
    @tool
    def final_answer() -> str:
        """Another thing."""
        return "?"

    model = ScriptedModel(tool_call("give_final_answer", value=[1, 2]), cycle=True)
    result = Agent(
        model.bind_tools([final_answer]), output_schema=list[int], output_mode="tool"
    ).run_sync("?")
    assert result.parsed == [1, 2]
    names = [schema["function"]["name"] for schema in model.calls[0].tools]
    assert names == ["final_answer", "give_final_answer"]


def test_a_server_that_stores_calls_is_told_the_answer_as_text(
    runtime_name: str, server: LoopbackServer
) -> None:
    """It would wait for the result of the call."""
    call = {"type": "function_call", "call_id": "1", "name": "final_answer", "arguments": OSLO_JSON}
    server.enqueue(
        responses_server.build_reply(call),
        responses_server.build_reply(make_message_item("Bye.")),
    )
    agent = Agent(
        responses_server.make_model(server),
        output_schema=City,
        output_mode="tool",
        checkpointer=MemoryCheckpointer(),
    )
    assert run_to_end(runtime_name, agent, "Where?", thread_id="t").parsed == OSLO
    run_to_end(runtime_name, agent.copy(output_schema_retries=0), "Bye.", thread_id="t")
    last = server.requests[-1].json()
    assert "previous_response_id" not in last
    assert "700000" in json.dumps(last["input"])


def test_a_refusal_in_place_of_a_call() -> None:
    call = ToolCall("1", "final_answer", OSLO_FIELDS)
    refused = ModelResponse(
        Message.assistant([RefusalPart("No.")], [call]), stop_reason="content_filter"
    )
    result = Agent(ScriptedModel(refused), output_schema=City, output_mode="tool").run_sync("?")
    assert (result.parsed, result.stop_reason) == (None, "refusal")


def test_anthropics_own_format_by_a_call(runtime_name: str, server: LoopbackServer) -> None:
    block = {"type": "tool_use", "id": "1", "name": "final_answer", "input": OSLO_FIELDS}
    server.enqueue(anthropic_server.build_reply(block, reason="tool_use"))
    model = anthropic_server.make_model(server)
    agent = Agent(model, [look], output_schema=City, output_mode="tool")
    assert run_to_end(runtime_name, agent, "Where?").parsed == OSLO
    (body,) = (request.json() for request in server.requests)
    assert "tool_choice" not in body


@pytest.mark.parametrize("mode", ["jsonn", None, "NATIVE", ["native"]])
def test_a_mode_that_there_is_not(mode: Any) -> None:
    with pytest.raises(ConfigurationError, match="'auto', 'native', 'tool' or 'prompted'"):
        Agent(ScriptedModel("x"), output_schema=City, output_mode=mode)


def test_a_model_without_tools_has_no_tool_for_the_answer() -> None:
    class Silent(ScriptedModel):
        base_capabilities = ModelCapabilities(tools=False)

    with pytest.raises(ConfigurationError, match="cannot call tools"):
        Agent(Silent("x"), output_schema=City, output_mode="tool").run_sync("?")
