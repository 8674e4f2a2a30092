"""``AnthropicModel``: its options, its requests, and its fallbacks after an error."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from locus.core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    RateLimitError,
)
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall, ToolResult
from locus.models.base import ModelProtocol
from locus.models.native.anthropic import DEFAULT_MODEL, AnthropicConfig, AnthropicModel
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Reply
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from tests.support.anthropic_responses import RESPOND_TOOL_NAME
from tests.support.chat_replies import join_text
from tests.support.decoding import check_streaming_law
from tests.support.servers.anthropic_server import (
    API_KEY,
    LOOK_TOOL,
    PLACE_RESPONSE_FORMAT,
    SCHEMA,
    TEXT,
    TEXT_CHUNKS,
    USAGE,
    build_error_reply,
    build_reply,
    build_stream_reply,
    make_model,
)
from tests.support.wire_json.anthropic_json import (
    make_block_delta,
    make_block_start,
    make_block_stop,
)

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")


# -- options -----------------------------------------------------------------------------------


def test_the_defaults() -> None:
    model = AnthropicModel(api_key=API_KEY)
    assert model.config == AnthropicConfig(
        model=DEFAULT_MODEL,
        api_key=API_KEY,
        base_url="https://api.anthropic.com",
        max_tokens=4096,
        temperature=0.7,
        top_p=0.9,
        prompt_cache=False,
        thinking=None,
    )
    assert isinstance(model, ModelProtocol)
    assert not model.supports_structured_output
    assert not model.server_stateful
    assert isinstance(model.request_builder, AnthropicMessagesBuilder)
    assert isinstance(model.response_parser, AnthropicMessagesParser)


def test_the_environment_is_read_as_the_sdk_reads_it(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("ANTHROPIC_AUTH_TOKEN", "token")
    assert AnthropicModel().config.build_credential_headers() == {"authorization": "Bearer token"}
    clean_environment.setenv("ANTHROPIC_API_KEY", API_KEY)
    clean_environment.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/")
    model = AnthropicModel()
    assert model.config.build_credential_headers() == {"x-api-key": API_KEY}
    assert model.config.base_url == "http://127.0.0.1:9"
    options = AnthropicModel(api_key="mine", base_url="http://127.0.0.1:8")
    assert (options.config.api_key, options.config.base_url) == ("mine", "http://127.0.0.1:8")
    token = AnthropicModel(auth_token="mine")
    assert token.config.build_credential_headers() == {"authorization": "Bearer mine"}


@pytest.mark.parametrize(
    ("kw", "error_class", "message"),
    [
        ({"api_kee": "x"}, TypeError, "did you mean 'api_key'"),
        ({"seed": 1}, ConfigurationError, "seed=1 .*Anthropic's API has no such"),
        ({"api_key": "x", "auth_token": "y"}, ConfigurationError, "exclude each other"),
        ({"api_key": "x\n"}, ConfigurationError, "the header x-api-key"),
        ({"base_url": "api.anthropic.com"}, ConfigurationError, "base_url must be an http"),
        ({"thinking": True}, ConfigurationError, "thinking takes"),
        ({"api_version": "2023-06-01\n"}, ConfigurationError, "the header anthropic-version"),
        ({"max_tokens": 0}, ConfigurationError, "max_tokens must be more than 0"),
    ],
)
def test_invalid_options_are_errors(kw: Any, error_class: type[Exception], message: str) -> None:
    with pytest.raises(error_class, match=message):
        AnthropicModel(**kw)


def test_a_key_is_needed_for_anthropics_own_server_only(
    server: LoopbackServer, runtime: Runtime
) -> None:
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ConfigurationError, match="set ANTHROPIC_API_KEY"):
            call_model(AnthropicModel(), "hello")
    server.always(build_reply())
    assert runtime.complete(AnthropicModel(base_url=server.url), "hello").content == TEXT
    assert "x-api-key" not in server.requests[-1].headers


def test_models_are_compared_by_value_and_do_not_show_their_key() -> None:
    model = AnthropicModel(api_key=API_KEY, thinking=2000, prompt_cache=True)
    same = AnthropicModel(api_key=API_KEY, thinking=2000, prompt_cache=True)
    assert model == same == pickle.loads(pickle.dumps(model))
    assert len({model, same, model.copy(thinking=None)}) == 2
    assert API_KEY not in repr(model)


def test_a_copy_updates_its_builder() -> None:
    model = AnthropicModel(api_key=API_KEY)

    def get_builder_flags(model: AnthropicModel) -> tuple[Any, Any]:
        builder = model.request_builder
        assert isinstance(builder, AnthropicMessagesBuilder)
        return builder.prompt_cache, builder.thinking and builder.thinking["type"]

    assert get_builder_flags(model) == (False, None)
    cached = model.copy(prompt_cache=True)
    assert get_builder_flags(cached) == (True, None)
    assert get_builder_flags(cached.copy(temperature=0)) == (True, None)
    assert get_builder_flags(cached.bind_tools([LOOK_TOOL])) == (True, None)
    assert get_builder_flags(cached.copy(thinking="adaptive")) == (True, "adaptive")
    assert cached.copy(prompt_cache=False) == model
    mine = AnthropicModel(
        api_key=API_KEY, thinking=5, request_builder=AnthropicMessagesBuilder(prompt_cache=True)
    )
    assert get_builder_flags(mine) == (True, "enabled")
    assert get_builder_flags(mine.copy(thinking=None)) == (True, None)


def test_a_custom_builder_is_not_changed(server: LoopbackServer) -> None:
    class CustomBuilder:
        def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
            return {"mine": options["max_tokens"]}

    server.always(
        build_error_reply(400, "invalid_request_error", "temperature is deprecated"), build_reply()
    )
    model = make_model(server, request_builder=CustomBuilder(), prompt_cache=True).copy(
        max_tokens=3
    )
    with pytest.raises(BadRequestError):
        model.complete_sync("hello")
    assert server.requests[-1].json() == {"mine": 3}


# -- requests ----------------------------------------------------------------------------------


def test_it_responds_complete_and_streamed(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(server)
    response = runtime.complete(model, "hello")
    events = runtime.collect_events(model, "hello")
    assert [event.content for event in events[:-1]] == list(TEXT_CHUNKS)
    assert check_streaming_law(events) == response
    assert (response.content, response.usage, response.finish_reason) == (TEXT, USAGE, "stop")
    assert (response.model, response.response_id) == ("claude-1-loop-20250101", "msg_1")
    server.always(build_reply())
    assert runtime.invoke(model, "hello") == response.message
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/v1/messages")
        assert request.headers["x-api-key"] == API_KEY
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert request.headers["content-type"] == "application/json"
    assert server.requests[0].json() == {
        "model": "claude-1-loop",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.7,
    }
    assert server.requests[1].json()["stream"] is True


def test_tool_calls_are_sent_back_with_their_thinking(
    server: LoopbackServer, runtime: Runtime
) -> None:
    blocks = [
        {"type": "thinking", "thinking": "I must look.", "signature": "signature"},
        {"type": "redacted_thinking", "data": "dark"},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "Zürich"}},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
    ]
    stream_events = [
        make_block_start(0, type="thinking", thinking="", signature=""),
        make_block_delta(0, type="thinking_delta", thinking="I must "),
        make_block_delta(0, type="thinking_delta", thinking="look."),
        make_block_delta(0, type="signature_delta", signature="signature"),
        make_block_stop(0),
        make_block_start(1, **blocks[1]),
        make_block_stop(1),
        make_block_start(2, type="text", text=""),
        make_block_delta(2, type="text_delta", text="Looking."),
        make_block_stop(2),
        make_block_start(3, **{**blocks[3], "input": {}}),
        make_block_delta(3, type="input_json_delta", partial_json=""),
        make_block_delta(3, type="input_json_delta", partial_json='{"at": "Zü'),
        make_block_delta(3, type="input_json_delta", partial_json='rich"}'),
        make_block_stop(3),
        make_block_start(4, **blocks[4]),
        make_block_stop(4),
    ]
    model = make_model(server, model="claude-sonnet-4-5", thinking=2000, max_tokens=3000)
    model = model.bind_tools([LOOK_TOOL])
    server.enqueue(
        build_reply(*blocks, reason="tool_use"),
        build_stream_reply(*stream_events, reason="tool_use"),
    )
    first = runtime.complete(model, "where?")
    assert check_streaming_law(runtime.collect_events(model, "where?")) == first
    assert first.reasoning == "I must look."
    assert first.finish_reason == "tool_calls"
    assert first.message.content == (
        ThinkingPart("I must look.", "signature"),
        ThinkingPart(redacted="dark"),
        TextPart("Looking."),
    )
    assert first.tool_calls == (
        ToolCall("toolu_1", "look", {"at": "Zürich"}),
        ToolCall("toolu_2", "look"),
    )
    server.enqueue(build_reply())
    results = [Message.tool(ToolResult(call.id, call.name, "there")) for call in first.tool_calls]
    runtime.complete(model, [Message.user("where?"), first.message, *results])
    body = server.requests[-1].json()
    assert body["messages"][1] == {"role": "assistant", "content": blocks}
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == [
        "toolu_1",
        "toolu_2",
    ]
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert "temperature" not in body


def test_a_structured_response_is_text(server: LoopbackServer, runtime: Runtime) -> None:
    respond = {
        "type": "tool_use",
        "id": "t",
        "name": RESPOND_TOOL_NAME,
        "input": {"city": "Zürich"},
    }
    stream_events = [
        make_block_start(**{**respond, "input": {}}),
        make_block_delta(type="input_json_delta", partial_json='{ "city": '),
        make_block_delta(type="input_json_delta", partial_json='"Z\\u00fcrich"}'),
        make_block_stop(),
    ]
    server.always(
        build_reply(respond, reason="tool_use"),
        build_stream_reply(*stream_events, reason="tool_use"),
    )
    model = make_model(server)
    response = runtime.complete(model, "where?", response_format=PLACE_RESPONSE_FORMAT)
    assert (
        check_streaming_law(
            runtime.collect_events(model, "where?", response_format=PLACE_RESPONSE_FORMAT)
        )
        == response
    )
    assert (response.content, response.tool_calls) == ('{"city":"Zürich"}', ())
    assert (response.stop_reason, response.finish_reason) == ("tool_use", "stop")
    body = server.requests[0].json()
    assert body["tool_choice"]["name"] == RESPOND_TOOL_NAME


def test_prompt_caching(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server, prompt_cache=True)
    response = runtime.complete(
        model, [Message.system("be brief"), Message.user("hello")], [LOOK_TOOL]
    )
    assert response.usage["cache_read_input_tokens"] == 3
    assert response.usage["cache_creation_input_tokens"] == 2
    body = server.requests[0].json()
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral"}


def test_a_newer_version_of_the_api_is_sent_no_temperature(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply())
    newer = {"anthropic-version": "2026-10-21"}
    runtime.complete(make_model(server, api_version="2026-10-21"), "hello")
    runtime.complete(make_model(server), "hello", extra_headers=newer)
    for request in server.requests:
        assert request.headers["anthropic-version"] == "2026-10-21"
        assert not {"temperature", "top_p"} & request.json().keys()


def test_keywords_of_a_call_override_the_config(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(server, stop_sequences=["A"], max_tokens=5)
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(
            model,
            "hello",
            max_tokens=7,
            temperature=0,
            stop="B",
            extra_headers={"Anthropic-Beta": "x"},
            extra_body={"top_k": 5},
        )
    for request in server.requests:
        body = request.json()
        assert (body["max_tokens"], body["temperature"], body["top_k"]) == (7, 0, 5)
        assert body["stop_sequences"] == ["B"]
        assert request.headers["anthropic-beta"] == "x"
    with pytest.raises(TypeError, match="did you mean 'max_tokens'"):
        runtime.complete(model, "hello", max_token=5)


@pytest.mark.parametrize(
    ("config", "bound", "options", "sent"),
    [
        ({}, {}, {}, {"temperature": 0.7}),
        ({"top_p": 0.5}, {}, {}, {"top_p": 0.5}),
        ({"temperature": 0.1}, {}, {}, {"temperature": 0.1}),
        ({"temperature": 0.1, "top_p": 0.5}, {}, {}, {"temperature": 0.1}),
        ({"temperature": None}, {}, {}, {"top_p": 0.9}),
        ({"temperature": None, "top_p": None}, {}, {}, {}),
        ({}, {}, {"top_p": 0.5}, {"top_p": 0.5}),
        ({}, {"top_p": 0.5}, {}, {"top_p": 0.5}),
        ({}, {"top_p": 0.5}, {"temperature": 0.2}, {"temperature": 0.2}),
        ({"top_p": 0.5}, {"temperature": 0.1}, {}, {"temperature": 0.1}),
        ({}, {}, {"temperature": None}, {}),
    ],
)
def test_of_temperature_and_top_p_the_one_that_was_set_is_sent(
    server: LoopbackServer, config: Any, bound: Any, options: Any, sent: Any
) -> None:
    server.always(build_reply())
    make_model(server, **config).bind_tools([], **bound).complete_sync("hello", **options)
    body = server.requests[-1].json()
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == sent


def test_both_temperature_and_top_p_are_refused() -> None:
    model = AnthropicModel("claude-sonnet-4-5", "key")
    for ask in (model.request, lambda _, **both: model.bind_tools([], **both)):
        with pytest.raises(ConfigurationError, match="either temperature or top_p"):
            ask("hello", temperature=0.2, top_p=0.5)


# -- fallbacks after an error ------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "`temperature` is deprecated for this model.",
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        "`temperature` may only be set to 1 when thinking is enabled.",
    ],
)
def test_a_rejected_temperature_is_left_out(
    server: LoopbackServer, runtime: Runtime, message: str
) -> None:
    server.always(
        build_error_reply(400, "invalid_request_error", message),
        build_stream_reply(),
        build_reply(),
    )
    model = make_model(server, model="arn:aws:bedrock:profile/x")
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    first, second = (request.json() for request in server.requests)
    assert first.pop("temperature") == 0.7
    assert first == second


def test_a_rejected_tool_choice_is_replaced_by_the_apis_own_format(
    server: LoopbackServer, runtime: Runtime
) -> None:
    message = 'tool_choice: type "tool" and "any" are not supported for this model.'
    response = {"type": "text", "text": '{"city": "Oslo"}'}
    server.always(build_error_reply(400, "invalid_request_error", message), build_reply(response))
    response = runtime.complete(
        make_model(server), "where?", [LOOK_TOOL], response_format=PLACE_RESPONSE_FORMAT
    )
    assert response.content == '{"city": "Oslo"}'
    first, second = (request.json() for request in server.requests)
    assert first["tool_choice"]["name"] == RESPOND_TOOL_NAME
    assert "tool_choice" not in second
    assert second["output_config"]["format"]["schema"] == {**SCHEMA, "additionalProperties": False}


def test_rejected_system_messages_are_moved(server: LoopbackServer, runtime: Runtime) -> None:
    message = "role 'system' is not supported on this model"
    server.always(build_error_reply(400, "invalid_request_error", message), build_reply())
    messages = [Message.user("hello"), Message.system("be brief")]
    runtime.complete(make_model(server, model="claude-opus-5"), messages)
    first, second = (request.json() for request in server.requests)
    assert first["messages"][1]["role"] == "system"
    assert second["system"] == "be brief"
    assert second["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(("status", "request_count"), [(422, 2), (403, 1), (500, 1)])
def test_there_is_no_fallback_for_other_status_codes(
    server: LoopbackServer, status: int, request_count: int
) -> None:
    server.always(build_error_reply(status, "some_error", "temperature is not supported"))
    with pytest.raises(APIStatusError):
        make_model(server).complete_sync("hello")
    assert len(server.requests) == request_count


def test_several_options_are_left_out_one_after_the_other(server: LoopbackServer) -> None:
    server.always(
        build_error_reply(
            400, "invalid_request_error", "`temperature` is deprecated for this model."
        ),
        build_error_reply(400, "invalid_request_error", "tool_choice forces tool use"),
        build_reply(),
    )
    make_model(server).complete_sync("where?", response_format=PLACE_RESPONSE_FORMAT)
    assert len(server.requests) == 3
    assert not {"temperature", "tool_choice"} & server.requests[-1].json().keys()


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("temperature: range: 0..1", {"temperature": 1.5}),
        ("tool_choice: `any` is not supported for this model.", {"tool_choice": "required"}),
        ("messages: role must alternate with the system prompt", {}),
        ("`temperature` is deprecated for this model.", {"temperature": None}),
        ("max_tokens: too many", {}),
    ],
)
def test_other_status_errors_are_raised(
    server: LoopbackServer, runtime: Runtime, message: str, options: Any
) -> None:
    server.always(build_error_reply(400, "invalid_request_error", message))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(BadRequestError, match=message.replace("?", r"\?")):
            call_model(make_model(server), "hello", [LOOK_TOOL], **options)
    assert len(server.requests) == 2


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (build_error_reply(400, "invalid_request_error", "boom"), BadRequestError),
        (
            build_error_reply(400, "invalid_request_error", "prompt is too long: boom"),
            ContextWindowExceededError,
        ),
        (build_error_reply(401, "authentication_error", "boom"), AuthenticationError),
        (build_error_reply(413, "request_too_large", "boom"), APIStatusError),
        (build_error_reply(429, "rate_limit_error", "boom", retry_after="7"), RateLimitError),
        (build_error_reply(500, "api_error", "boom"), InternalServerError),
        (build_error_reply(529, "overloaded_error", "boom"), OverloadedError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_status_errors_are_of_their_class(
    server: LoopbackServer, runtime: Runtime, reply: Reply, error_class: type[APIStatusError]
) -> None:
    server.always(reply.with_header("request-id", "req_7"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(error_class, match="boom") as exc_info:
            call_model(make_model(server), "hello")
        error = exc_info.value
        assert type(error) is error_class
        assert (error.status_code, error.request_id) == (reply.status, "req_7")
        assert (error.provider, error.model) == ("anthropic", "claude-1-loop")
        assert API_KEY not in str(error)
        if error_class is RateLimitError:
            assert error.retry_after == 7
        if error_class is AuthenticationError:
            assert "ANTHROPIC_API_KEY" in str(error)


def test_a_key_in_an_error_body_is_removed(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(401, "authentication_error", f"no such key: {API_KEY}"))
    with pytest.raises(AuthenticationError) as exc_info:
        runtime.complete(make_model(server), "hello")
    assert API_KEY not in str(exc_info.value) + exc_info.value.body


def test_an_overloaded_server_is_retried_until_the_response_has_started(
    server: LoopbackServer, runtime: Runtime
) -> None:
    busy = build_error_reply(529, "overloaded_error", "boom", retry_after_ms="1")
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}
    server.always(busy, build_reply())
    assert runtime.complete(make_model(server, max_retries=1), "hello").content == TEXT
    server.always(Reply.sse([("error", error)], done=False), build_stream_reply())
    assert join_text(runtime.collect_events(make_model(server, max_retries=1), "hello")) == TEXT
    options = [
        make_block_start(type="text", text=""),
        make_block_delta(type="text_delta", text="so far"),
        error,
    ]
    server.always(build_stream_reply(*options), build_stream_reply())
    before = len(server.requests)
    with pytest.raises(OverloadedError) as exc_info:
        runtime.collect_events(make_model(server, max_retries=1), "hello")
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "so far"
    assert len(server.requests) == before + 1


CODE_RUN = {
    "id": "msg_1",
    "content": [{"type": "text", "text": "4"}],
    "stop_reason": "end_turn",
    "container": {"id": "container_1", "expires_at": "2026-01-01T00:00:00Z"},
}
EXPIRED = [
    (404, "Container container_1 not found or has expired"),
    (400, "container: container_1 does not exist"),
]


@pytest.mark.parametrize(("status", "said"), EXPIRED)
def test_a_container_that_has_expired_is_left_out_once(
    server: LoopbackServer, status: int, said: str
) -> None:
    server.enqueue(
        Reply.json(CODE_RUN),
        Reply.error(status, said),
        Reply.json({**CODE_RUN, "container": {"id": "container_2"}}),
    )
    with AnthropicModel(api_key="k", base_url=server.url) as model:
        asked = [Message.user("2+2?"), model.complete_sync("2+2?").message, Message.user("3+3?")]
        response = model.complete_sync(asked)
        assert [sent.json().get("container") for sent in server.requests[1:]] == [
            "container_1",
            None,
        ]
        again = [*asked, response.message, Message.user("4+4?")]
        assert model.request(again)["container"] == "container_2"
        assert model.request(asked)["container"] == "container_1"  # only that one had expired


def test_a_container_that_the_caller_names_is_never_dropped(server: LoopbackServer) -> None:
    server.always(Reply.error(404, "Container container_1 not found"))
    model = AnthropicModel(api_key="k", base_url=server.url)
    with model, pytest.raises(NotFoundError, match="container_1"):
        model.complete_sync("x", extra_body={"container": "container_1"})
    assert len(server.requests) == 1
