"""A model sends each request to the right address with its credentials, and says what it can do.

And responses mean what the provider's words mean: calls that arrive mixed, stop reasons, counts.
"""

from __future__ import annotations

import json
from typing import Any, Final

import attrs
import pytest

from locus.core.messages import ImagePart, Message, Role, ToolResult
from locus.core.response import ModelResponse
from locus.testing.formats.parametrize import each_case
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.runtimes import Runtime
from locus.testing.formats.spoken_format import THOUGHT
from locus.testing.formats.strategies.response_contents import CallContent, ResponseContent
from locus.testing.formats.stream_reader import check_streaming_law
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import LoopbackServer

WEATHER_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "zq_weather",
        "description": "zq-description",
        "parameters": {
            "type": "object",
            "properties": {"zq_city": {"type": "string", "description": "where"}},
            "required": ["zq_city"],
        },
    },
}
CALLS: Final = (
    CallContent("call_0", "zq_weather", '{"zq_city": "Oslo", "days": [1, 2]}'),
    CallContent("call_1", "zq_weather", '{"zq_city": "Zürich ✓"}'),
    CallContent("call_2", "zq_clock", "{}"),
)


def parse_both(wire: WireFormat, content: ResponseContent) -> list[ModelResponse]:
    """Parse a content as a body and as a stream, each character of it in a frame of its own."""
    frames = wire.build_frames(content, lambda text: list(text) or [""])
    return [
        wire.parser.parse(json.dumps(wire.build_body(content))),
        wire.stream_reader.decode_response(wire.encode_frames(*frames)),
    ]


# -- requests --------------------------------------------------------------------------------------


def test_every_request_has_its_address_and_the_credentials(
    wire: WireFormat, server: LoopbackServer, runtime: Runtime
) -> None:
    model = wire.make_model(server)
    server.enqueue(wire.build_reply(), wire.build_stream_reply())
    runtime.complete(model, "hello")
    runtime.collect_events(model, "hello")
    complete, stream = server.requests
    wire.check_received(complete, stream=False)
    wire.check_received(stream, stream=True)


def test_the_model_s_name_reaches_the_server(wire: WireFormat, server: LoopbackServer) -> None:
    model = wire.make_model(server, model="zq-model")
    server.always(wire.build_reply())
    model.complete_sync("hello")
    (received,) = server.requests
    assert "zq-model" in f"{received.path} {received.body.decode()}"


def test_the_model_s_options_are_those_of_its_config(
    wire: WireFormat, server: LoopbackServer
) -> None:
    model = wire.make_model(server, max_tokens=77, temperature=None, top_p=None)
    for stream in (False, True):
        body = json.dumps(model.request("hello", stream=stream))
        assert "77" in body
    assert model.request("hello", max_tokens=78) == model.copy(max_tokens=78).request("hello")


def test_a_tool_is_sent_with_its_description_and_schema(wire: WireFormat) -> None:
    (tool,) = wire.read_tools(wire.encode_request("x", [WEATHER_TOOL]))
    name, description, schema = tool
    assert (name, description) == ("zq_weather", "zq-description")
    assert "zq_city" in json.dumps(schema)
    assert wire.read_tools(wire.encode_request("x")) == []


# -- capabilities ----------------------------------------------------------------------------------


def test_the_capabilities_are_those_of_the_format(wire: WireFormat, server: LoopbackServer) -> None:
    capabilities = wire.make_model(server).capabilities
    assert capabilities.structured_output == wire.structured_output
    assert capabilities.thinking == wire.thinks
    for role in Role:
        if role in ImagePart.roles:
            assert capabilities.can_send(ImagePart, role) == wire.can_hold_images(role)
    if "response_format" in wire.sent_options:
        assert capabilities.structured_output != "never"


# -- responses -------------------------------------------------------------------------------------


def test_calls_keep_their_ids_and_arguments_however_they_arrive(wire: WireFormat) -> None:
    content = wire.make_content("Look:", calls=CALLS)
    expected = [(call.name, json.loads(call.text)) for call in CALLS]
    responses = parse_both(wire, content)
    for response in responses:
        assert [(call.name, call.arguments) for call in response.tool_calls] == expected
        assert response.finish_reason == "tool_calls"
        assert response.content == "Look:"
        ids = [call.id for call in response.tool_calls]
        assert len(set(ids)) == len(ids)
        if wire.sends_call_ids:
            assert ids == [call.id for call in CALLS]
    complete, streamed = responses
    assert complete == streamed


@each_case("word", lambda wire: list(wire.stop_reasons))
def test_a_stop_reason_means_what_the_provider_means(wire: WireFormat, word: str) -> None:
    meaning = wire.stop_reasons[word]
    calls = CALLS if meaning == "tool_calls" else ()
    content = wire.make_content("so", calls=calls, stop=word)
    for response in parse_both(wire, content):
        assert (response.stop_reason, response.finish_reason) == (word, meaning)


def test_token_counts_are_reported_by_both(wire: WireFormat) -> None:
    content = attrs.evolve(wire.make_content("so"), prompt_tokens=9, completion_tokens=5)
    for response in parse_both(wire, content):
        assert (response.prompt_tokens, response.completion_tokens) == (9, 5)


@each_case("text", lambda wire: wire.wants_back)
def test_what_the_provider_wants_back_is_sent_to_it_and_to_nobody_else(
    wire: WireFormat, text: str, server: LoopbackServer
) -> None:
    content = wire.make_content("Look:", reasoning=THOUGHT, calls=CALLS[:1])
    frames = wire.build_frames(content, lambda text: (text,))
    server.enqueue(wire.make_body_reply(wire.build_body(content)), wire.make_stream_reply(*frames))
    model = wire.make_model(server)
    complete = model.complete_sync("hello")
    *_, last = model.stream_sync("hello")
    with LoopbackServer() as other_server:
        other = wire.make_model(other_server)
        for response in (complete, last.response):
            messages = [Message.user("hello"), response.message]
            messages += [Message.tool(ToolResult(c.id, c.name, "")) for c in response.tool_calls]
            assert text in json.dumps(model.request(messages))
            assert text not in json.dumps(other.request(messages))


@pytest.mark.usefixtures("no_leaks")
def test_a_round_of_tools_on_every_runtime(
    wire: WireFormat, server: LoopbackServer, runtime: Runtime
) -> None:
    model = wire.make_model(server).bind_tools([WEATHER_TOOL])
    content = wire.make_content("Look:", calls=CALLS[:2])
    frames = wire.build_frames(content, lambda text: (text,))
    body = wire.build_body(content)
    messages = [Message.system("Be brief."), Message.user("How is the weather?")]
    answers: list[Any] = []
    for stream in (False, True):
        from_server = wire.make_stream_reply(*frames) if stream else wire.make_body_reply(body)
        server.enqueue(from_server, wire.build_stream_reply() if stream else wire.build_reply())
        conversation = list(messages)
        for _ in range(2):
            response = (
                check_streaming_law(runtime.collect_events(model, conversation))
                if stream
                else runtime.complete(model, conversation)
            )
            conversation.append(response.message)
            conversation += [
                Message.tool(ToolResult(call.id, call.name, f"zq-result-{index}"))
                for index, call in enumerate(response.tool_calls)
            ]
        answers.append(conversation)
        last = server.requests[-1].body
        assert b"zq-result-0" in last
        assert b"zq-result-1" in last
        read = wire.read_request(last)
        assert sum(len(message.calls) for message in read) == 2
        wire.check_received(server.requests[-1], stream=stream)
    assert answers[0] == answers[1]
