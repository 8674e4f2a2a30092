"""Models of the responses format: with and without a conversation that the server stores."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    StreamInterruptedError,
)
from locus.core.messages import ImagePart, Message, ToolCall, ToolResult
from locus.testing import check_model_conformance
from locus.testing.formats.runtimes import Runtime
from locus.testing.formats.stream_reader import check_streaming_law
from locus.testing.server import LoopbackServer, Reply
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, join_text
from tests.support.servers.responses_server import (
    USAGE,
    LoopbackModel,
    build_reply,
    build_stream_events,
    build_stream_reply,
    make_model,
)
from tests.support.timing import HangGuard
from tests.support.wire_json.responses_json import make_message_item, make_text_delta

pytestmark = pytest.mark.usefixtures("no_leaks")

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SUMMARY = [{"type": "summary_text", "text": "hm"}]
ENCRYPTED_REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": SUMMARY,
    "encrypted_content": "gAAA",
}
CALLS = tuple(
    {
        "type": "function_call",
        "id": f"fc_{number}",
        "call_id": f"call_{number}",
        "name": "look",
        "arguments": f'{{"at":{number}}}',
        "status": "completed",
    }
    for number in (1, 2)
)


# -- responses ---------------------------------------------------------------------------------


def test_a_response_is_the_same_complete_and_streamed(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply(), build_stream_reply())
    response = runtime.complete(make_model(server), "hello", max_tokens=7)
    events = runtime.collect_events(make_model(server), "hello", max_tokens=7)
    assert [event.content for event in events[:-1]] == list(TEXT_CHUNKS)
    assert check_streaming_law(events) == response
    assert (response.content, response.finish_reason) == (TEXT, "stop")
    assert (response.usage, response.model, response.response_id) == (USAGE, "loop-1", "resp_1")
    one, two = (request.json() for request in server.requests)
    assert two == {**one, "stream": True}
    assert one["max_output_tokens"] == 7
    assert {request.path for request in server.requests} == {"/v1/responses"}


def test_the_server_stores_the_conversation(server: LoopbackServer, runtime: Runtime) -> None:
    model = make_model(server)
    assert model.server_stateful
    server.always(
        build_reply(id="resp_1"), build_stream_reply(id="resp_2"), build_reply(id="resp_3")
    )
    messages = [Message.system("be brief"), Message.user("one")]
    state = None
    for number, call_model in enumerate(
        [runtime.complete, runtime.collect_events, runtime.complete], 1
    ):
        response = call_model(model, messages, provider_state=state)
        response = response[-1].response if isinstance(response, list) else response
        state = response.provider_state
        assert state == {"previous_response_id": f"resp_{number}"}
        messages += [response.message, Message.user(f"more {number}")]
    bodies = [request.json() for request in server.requests]
    assert [body.get("previous_response_id") for body in bodies] == [None, "resp_1", "resp_2"]
    assert [len(body["input"]) for body in bodies] == [2, 1, 1]
    assert all(body["store"] is True and "include" not in body for body in bodies)


def test_the_server_stores_nothing(server: LoopbackServer, runtime: Runtime) -> None:
    model = make_model(server, model="gpt-5", store=False)
    assert not model.server_stateful
    items = (ENCRYPTED_REASONING, make_message_item(TEXT, index=1))
    server.always(build_reply(*items), build_stream_reply(*items))
    messages = [Message.user("one")]
    response = runtime.complete(model, messages, provider_state={"previous_response_id": "resp_0"})
    assert response.provider_state is None
    assert response.reasoning == "hm"
    messages += [response.message, Message.user("two")]
    assert check_streaming_law(runtime.collect_events(model, messages)) == response
    one, two = (request.json() for request in server.requests)
    for body in (one, two):
        assert body["store"] is False
        assert body["include"] == ["reasoning.encrypted_content"]
        assert not {"previous_response_id", "temperature", "top_p"} & body.keys()
    assert two["input"][0] == one["input"][0]
    assert two["input"][1:3] == [ENCRYPTED_REASONING, make_message_item(TEXT, index=1)]


@pytest.mark.parametrize("store", [True, False])
def test_a_round_of_tools(server: LoopbackServer, runtime: Runtime, store: bool) -> None:
    server.always(build_reply(*CALLS), build_stream_reply(*CALLS))
    model = make_model(server, store=store).bind_tools([LOOK])
    response = runtime.complete(model, "where?")
    assert check_streaming_law(runtime.collect_events(model, "where?")) == response
    assert response.tool_calls == tuple(
        ToolCall(f"call_{number}", "look", {"at": number}) for number in (1, 2)
    )
    assert (response.stop_reason, response.finish_reason) == ("completed", "tool_calls")
    messages = [Message.user("where?"), response.message]
    messages.append(Message.tool(ToolResult("call_1", "look", "", error="dark")))
    messages.append(Message.tool(ToolResult("call_2", "look", "there")))
    server.always(build_reply())
    runtime.complete(model, messages, provider_state=response.provider_state)
    body = server.requests[-1].json()
    results = [
        {"type": "function_call_output", "call_id": "call_1", "output": "Error: dark"},
        {"type": "function_call_output", "call_id": "call_2", "output": "there"},
    ]
    assert body["input"][-2:] == results
    assert len(body["input"]) == (2 if store else 5)
    assert body.get("previous_response_id") == ("resp_1" if store else None)
    assert body["tools"][0]["name"] == "look"


def test_a_response_at_its_token_limit_has_the_finish_reason_length(
    server: LoopbackServer, runtime: Runtime
) -> None:
    cut = {"status": "incomplete", "reason": "max_output_tokens"}
    server.always(build_reply(**cut), build_stream_reply(**cut))
    response = runtime.complete(make_model(server), "hello")
    assert check_streaming_law(runtime.collect_events(make_model(server), "hello")) == response
    assert (response.stop_reason, response.finish_reason) == ("max_output_tokens", "length")


def test_a_response_format_is_sent_as_text_format(server: LoopbackServer) -> None:
    server.always(build_reply())
    model = make_model(server)
    assert model.supports_structured_output
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    model.complete_sync("x", response_format={"type": "json_schema", "json_schema": schema})
    assert server.requests[-1].json()["text"] == {"format": {"type": "json_schema", **schema}}


def test_what_cannot_be_sent_is_an_error_before_anything_is_sent(server: LoopbackServer) -> None:
    model = make_model(server)
    picture = Message.system([ImagePart(url="https://x")])
    for messages, options in (("x", {"stop": "a"}), ([picture], {}), ([], {})):
        with pytest.raises(ConfigurationError):
            model.complete_sync(messages, **options)
    with pytest.raises(ConfigurationError, match="no stop sequences"):
        make_model(server, stop_sequences=["END"]).complete_sync("x")
    assert not server.requests


# -- the model as a value ----------------------------------------------------------------------


def test_store_is_a_field_of_the_config() -> None:
    stored, unstored = LoopbackModel(), LoopbackModel(store=False)
    for model, store in (
        (stored, True),
        (unstored, False),
        (stored.copy(store=False), False),
        (unstored.copy(store=True), True),
        (unstored.bind_tools([LOOK]), False),
        (
            LoopbackModel(store=False, request_builder=ResponsesBuilder(encrypted_reasoning=False)),
            False,
        ),
    ):
        assert model.server_stateful is store
        assert model.request_builder.store is store  # type: ignore[attr-defined]
        assert model.response_parser.store is store  # type: ignore[attr-defined]
    assert stored.copy(store=False) == unstored
    assert stored != unstored
    assert hash(stored) == hash(LoopbackModel())
    assert pickle.loads(pickle.dumps(unstored)) == unstored
    with pytest.raises(TypeError, match="did you mean 'store'"):
        LoopbackModel(stor=True)


def test_custom_builders_and_parsers_are_not_changed(server: LoopbackServer) -> None:
    class Builder:
        def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
            return {"mine": options["model"]}

    class Parser:
        parse, make_decoder = ResponsesParser().parse, ResponsesParser().make_decoder

    builder, parser = Builder(), Parser()
    model = make_model(server, request_builder=builder, response_parser=parser, store=False)
    assert model.copy(store=True).request_builder is builder
    assert model.copy(store=True).response_parser is parser
    server.always(build_reply())
    assert model.complete_sync("x").content == TEXT
    assert server.requests[-1].json() == {"mine": "loop-1"}


# -- errors ------------------------------------------------------------------------------------


def build_error_reply(status: int, message: str, **more: Any) -> Reply:
    return Reply.json({"error": {"message": message, **more}}, status)


@pytest.mark.parametrize(
    "message",
    [
        "Encrypted content is not supported with this model.",
        "The encrypted content gAAA... could not be verified.",
        "Reasoning input items can only be provided to a reasoning model.",
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
    ],
)
def test_reasoning_that_cannot_be_read_is_left_out(
    server: LoopbackServer, runtime: Runtime, message: str
) -> None:
    response = ResponsesParser().parse(
        build_reply(ENCRYPTED_REASONING, make_message_item("so", index=1)).content
    )
    messages = [Message.user("one"), response.message, Message.user("two")]
    model = make_model(server, model="gpt-5", store=False)
    for reply, call_model in (
        (build_reply(), runtime.complete),
        (build_stream_reply(), runtime.collect_events),
    ):
        server.always(build_error_reply(400, message), reply)
        call_model(model, messages)
        first, second = (request.json() for request in server.requests[-2:])
        assert "include" not in second
        assert [item["type"] for item in first["input"]][1] == "reasoning"
        assert [item["type"] for item in second["input"]] == ["message"] * 3
        assert second["store"] is False


@pytest.mark.parametrize(
    ("status", "message", "options"),
    [
        (400, "no such tool", {}),
        (500, "the encrypted content broke", {}),
        (400, "encrypted", {"model": "gpt-4o"}),
        (400, "encrypted", {"request_builder": ResponsesBuilder(encrypted_reasoning=False)}),
    ],
)
def test_other_status_errors_are_raised(
    server: LoopbackServer, status: int, message: str, options: Any
) -> None:
    server.always(build_error_reply(status, message))
    model = make_model(server, **{"model": "gpt-5", "store": False, **options})
    with pytest.raises(APIStatusError, match=message):
        model.complete_sync("x")
    assert len(server.requests) == 1


def test_status_errors_are_of_their_class(server: LoopbackServer, runtime: Runtime) -> None:
    not_found_message = "Previous response with id 'resp_0' not found."
    for reply, error_class in (
        (
            build_error_reply(404, not_found_message, code="previous_response_not_found"),
            NotFoundError,
        ),
        (
            build_error_reply(400, "too long", code="context_length_exceeded"),
            ContextWindowExceededError,
        ),
        (build_error_reply(400, "boom"), BadRequestError),
        (build_reply(status="failed"), APIStatusError),
    ):
        server.always(reply)
        for call_model in (runtime.complete, runtime.collect_events):
            with pytest.raises(error_class) as exc_info:
                call_model(
                    make_model(server), "x", provider_state={"previous_response_id": "resp_0"}
                )
            assert type(exc_info.value) is error_class
            assert (exc_info.value.provider, exc_info.value.model) == ("loop", "loop-1")


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "boom"}, RateLimitError),
        (
            {
                "type": "response.failed",
                "response": {"error": {"code": "server_error", "message": "boom"}},
            },
            InternalServerError,
        ),
    ],
)
def test_an_error_in_the_stream_is_raised_after_the_events_before_it(
    server: LoopbackServer,
    runtime: Runtime,
    error: dict[str, Any],
    error_class: type[APIStatusError],
) -> None:
    server.always(Reply.sse([make_text_delta("so "), make_text_delta("far"), error], done=False))
    events: list[Any] = []
    with pytest.raises(error_class, match="boom") as exc_info:
        events.extend(runtime.open_stream(make_model(server, max_retries=2), "x"))
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "so far"
    assert len(server.requests) == 1


@pytest.mark.parametrize("event_count", range(len(build_stream_events())))
@pytest.mark.parametrize("half", [False, True])
def test_an_incomplete_stream_is_an_error_with_the_partial_response(
    server: LoopbackServer, runtime: Runtime, event_count: int, half: bool
) -> None:
    chunks = [chunk for chunk in build_stream_reply().body if isinstance(chunk, bytes)]
    received_bytes = (
        b"".join(chunks[:event_count]) + chunks[event_count][: len(chunks[event_count]) // 2 * half]
    )
    server.always(build_stream_reply().framed("close").truncate(len(received_bytes)))
    events: list[Any] = []
    with HangGuard(), pytest.raises(StreamInterruptedError) as exc_info:
        events.extend(runtime.open_stream(make_model(server), "x"))
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == join_text(events)
    assert TEXT.startswith(join_text(events))


# -- a real server -----------------------------------------------------------------------------


def make_engine_model(**kw: Any) -> LoopbackModel:
    """A model of llama.cpp in this process, which implements the responses format itself."""
    from locus.models.local import LocalModel

    engine = LocalModel(context=1024, threads=1).engine
    known = {"temperature": 0, "max_tokens": 16, "max_retries": 0, "store": False}
    headers = {"authorization": f"Bearer {engine.key}"}
    return LoopbackModel(
        "smollm2", **{"base_url": engine.url, "extra_headers": headers, **known, **kw}
    )


@pytest.mark.engine
def test_llama_cpp_responds_complete_and_streamed(runtime: Runtime) -> None:
    question = "What is the capital of France? Answer in one sentence."
    response = runtime.complete(make_engine_model(), question)
    events = runtime.collect_events(make_engine_model(), question)
    streamed = check_streaming_law(events)
    assert "Paris" in response.content
    assert streamed.message == response.message
    assert (streamed.stop_reason, streamed.model) == (response.stop_reason, response.model)
    assert streamed.completion_tokens == response.completion_tokens > 0
    assert len([event for event in events if event.content]) > 4
    assert (response.stop_reason, response.finish_reason) == ("completed", "stop")
    assert response.message.metadata == {}


@pytest.mark.engine
def test_llama_cpp_reads_the_conversation(runtime: Runtime) -> None:
    messages = [
        Message.system("You know the capitals of all countries."),
        Message.user("What is the capital of France?"),
        Message.assistant("The capital of France is Paris."),
        Message.user("And of Italy?"),
    ]
    assert "Rome" in runtime.complete(make_engine_model(), messages).content


@pytest.mark.engine
@pytest.mark.parametrize("store", [True, False])
def test_a_model_of_llama_cpp_passes_the_conformance_checks(store: bool) -> None:
    # llama.cpp closes connections after a stream without announcing it, so a call may fail.
    check_model_conformance(make_engine_model(store=store, max_retries=2))


@pytest.mark.engine
def test_llama_cpp_accepts_tools_calls_and_results(runtime: Runtime) -> None:
    """Its model makes no calls; those in the conversation count as prompt tokens."""
    messages = [
        Message.user("Look north."),
        Message.assistant(
            "I look.", [ToolCall("call_1", "look", {"at": "north"}), ToolCall("call_2", "look")]
        ),
        Message.tool(ToolResult("call_1", "look", "A tall white tower.")),
        Message.tool(ToolResult("call_2", "look", "", error="too dark")),
        Message.user("What was there?"),
    ]
    response = runtime.complete(make_engine_model(), messages, [LOOK])
    assert (
        response.prompt_tokens
        > runtime.complete(make_engine_model(), messages[:1]).prompt_tokens + 10
    )
    assert (
        check_streaming_law(runtime.collect_events(make_engine_model(), messages, [LOOK])).message
        == response.message
    )


@pytest.mark.engine
def test_llama_cpp_rejects_what_it_does_not_support(runtime: Runtime) -> None:
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ContextWindowExceededError):
            call_model(make_engine_model(), "word " * 1100)
        with pytest.raises(BadRequestError, match="previous_response_id"):
            call_model(
                make_engine_model(store=True),
                "x",
                provider_state={"previous_response_id": "resp_1"},
            )
