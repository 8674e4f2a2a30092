"""``AnthropicModel``: what it is told, what it sends, and what it learns from a refusal."""

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
    OverloadedError,
    RateLimitError,
)
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall, ToolResult
from locus.models.base import ModelProtocol
from locus.models.native.anthropic import AnthropicConfig, AnthropicModel
from locus.testing.loopback_server import LoopbackServer, Reply
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from tests.support import runtimes
from tests.support.runtimes import Runtime, text
from tests.support.servers import anthropic_server
from tests.support.servers.anthropic_server import (
    AS_JSON,
    KEY,
    LOOK,
    SCHEMA,
    TEXT,
    USAGE,
    WORDS,
    model_of,
    refusal,
    streamed,
    whole,
)
from tests.support.wire_json.anthropic_json import RESPOND, delta, start, stop
from tests.support.wire_json.chat_json import check_law

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
environment, server = anthropic_server.environment, anthropic_server.server
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")


# -- what it is told ---------------------------------------------------------------------------


def test_the_defaults() -> None:
    model = AnthropicModel(api_key=KEY)
    assert model.config == AnthropicConfig(
        model="claude-sonnet-4-20250514",
        api_key=KEY,
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


def test_the_environment_is_read_as_the_sdk_reads_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ANTHROPIC_AUTH_TOKEN", "token")
    assert AnthropicModel().config.credentials() == {"authorization": "Bearer token"}
    environment.setenv("ANTHROPIC_API_KEY", KEY)
    environment.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9/")
    model = AnthropicModel()
    assert model.config.credentials() == {"x-api-key": KEY}
    assert model.config.base_url == "http://127.0.0.1:9"
    said = AnthropicModel(api_key="mine", base_url="http://127.0.0.1:8")
    assert (said.config.api_key, said.config.base_url) == ("mine", "http://127.0.0.1:8")
    token = AnthropicModel(auth_token="mine")
    assert token.config.credentials() == {"authorization": "Bearer mine"}


@pytest.mark.parametrize(
    ("kw", "kind", "message"),
    [
        ({"api_kee": "x"}, TypeError, "did you mean 'api_key'"),
        ({"seed": 1}, TypeError, "unknown keyword 'seed'"),
        ({"api_key": "x", "auth_token": "y"}, ConfigurationError, "exclude each other"),
        ({"api_key": "x\n"}, ConfigurationError, "the header x-api-key"),
        ({"base_url": "api.anthropic.com"}, ConfigurationError, "base_url must be an http"),
        ({"thinking": True}, ConfigurationError, "thinking takes"),
        ({"api_version": "2023-06-01\n"}, ConfigurationError, "the header anthropic-version"),
        ({"max_tokens": 0}, ConfigurationError, "max_tokens must be more than 0"),
    ],
)
def test_what_cannot_work_is_refused(kw: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        AnthropicModel(**kw)


def test_a_key_is_wanted_by_anthropic_and_by_nobody_else(
    server: LoopbackServer, runtime: Runtime
) -> None:
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ConfigurationError, match="set ANTHROPIC_API_KEY"):
            ask(AnthropicModel(), "hello")
    server.always(whole())
    assert runtime.ask(AnthropicModel(base_url=server.url), "hello").content == TEXT
    assert "x-api-key" not in server.requests[-1].headers


def test_models_are_values_and_keep_their_key_to_themselves() -> None:
    model = AnthropicModel(api_key=KEY, thinking=2000, prompt_cache=True)
    same = AnthropicModel(api_key=KEY, thinking=2000, prompt_cache=True)
    assert model == same == pickle.loads(pickle.dumps(model))
    assert len({model, same, model.copy(thinking=None)}) == 2
    assert KEY not in repr(model)


def test_a_copy_is_built_by_what_it_was_told() -> None:
    model = AnthropicModel(api_key=KEY)

    def flags(model: AnthropicModel) -> tuple[Any, Any]:
        builder = model.request_builder
        assert isinstance(builder, AnthropicMessagesBuilder)
        return builder.prompt_cache, builder.thinking and builder.thinking["type"]

    assert flags(model) == (False, None)
    cached = model.copy(prompt_cache=True)
    assert flags(cached) == (True, None)
    assert flags(cached.copy(temperature=0)) == (True, None)
    assert flags(cached.bind_tools([LOOK])) == (True, None)
    assert flags(cached.copy(thinking="adaptive")) == (True, "adaptive")
    assert cached.copy(prompt_cache=False) == model
    mine = AnthropicModel(
        api_key=KEY, thinking=5, request_builder=AnthropicMessagesBuilder(prompt_cache=True)
    )
    assert flags(mine) == (True, "enabled")
    assert flags(mine.copy(thinking=None)) == (True, None)


def test_a_builder_of_the_callers_own_is_left_alone(server: LoopbackServer) -> None:
    class Mine:
        def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
            return {"mine": options["max_tokens"]}

    server.always(refusal(400, "invalid_request_error", "temperature is deprecated"), whole())
    model = model_of(server, request_builder=Mine(), prompt_cache=True).copy(max_tokens=3)
    with pytest.raises(BadRequestError):
        model.complete_sync("hello")
    assert server.requests[-1].json() == {"mine": 3}


# -- what it sends -----------------------------------------------------------------------------


def test_it_answers_whole_and_streamed(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole(), streamed())
    model = model_of(server)
    answer = runtime.ask(model, "hello")
    found = runtime.stream(model, "hello")
    assert [event.content for event in found[:-1]] == list(WORDS)
    assert check_law(found) == answer
    assert (answer.content, answer.usage, answer.finish_reason) == (TEXT, USAGE, "stop")
    assert (answer.model, answer.response_id) == ("claude-1-loop-20250101", "msg_1")
    server.always(whole())
    assert runtime.invoke(model, "hello") == answer.message
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/v1/messages")
        assert request.headers["x-api-key"] == KEY
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert request.headers["content-type"] == "application/json"
    assert server.requests[0].json() == {
        "model": "claude-1-loop",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.7,
    }
    assert server.requests[1].json()["stream"] is True


def test_tools_are_used_over_turns_with_the_thinking_that_led_to_them(
    server: LoopbackServer, runtime: Runtime
) -> None:
    blocks = [
        {"type": "thinking", "thinking": "I must look.", "signature": "seal"},
        {"type": "redacted_thinking", "data": "dark"},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "Zürich"}},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {}},
    ]
    pieces = [
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="I must "),
        delta(0, type="thinking_delta", thinking="look."),
        delta(0, type="signature_delta", signature="seal"),
        stop(0),
        start(1, **blocks[1]),
        stop(1),
        start(2, type="text", text=""),
        delta(2, type="text_delta", text="Looking."),
        stop(2),
        start(3, **{**blocks[3], "input": {}}),
        delta(3, type="input_json_delta", partial_json=""),
        delta(3, type="input_json_delta", partial_json='{"at": "Zü'),
        delta(3, type="input_json_delta", partial_json='rich"}'),
        stop(3),
        start(4, **blocks[4]),
        stop(4),
    ]
    model = model_of(server, thinking=2000).bind_tools([LOOK])
    server.enqueue(whole(*blocks, reason="tool_use"), streamed(*pieces, reason="tool_use"))
    first = runtime.ask(model, "where?")
    assert check_law(runtime.stream(model, "where?")) == first
    assert first.reasoning == "I must look."
    assert first.finish_reason == "tool_calls"
    assert first.message.content == (
        ThinkingPart("I must look.", "seal"),
        ThinkingPart(redacted="dark"),
        TextPart("Looking."),
    )
    assert first.tool_calls == (
        ToolCall("toolu_1", "look", {"at": "Zürich"}),
        ToolCall("toolu_2", "look"),
    )
    server.enqueue(whole())
    results = [Message.tool(ToolResult(call.id, call.name, "there")) for call in first.tool_calls]
    runtime.ask(model, [Message.user("where?"), first.message, *results])
    body = server.requests[-1].json()
    assert body["messages"][1] == {"role": "assistant", "content": blocks}
    assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == [
        "toolu_1",
        "toolu_2",
    ]
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert "temperature" not in body


def test_a_structured_answer_is_its_text(server: LoopbackServer, runtime: Runtime) -> None:
    respond = {"type": "tool_use", "id": "t", "name": RESPOND, "input": {"city": "Zürich"}}
    pieces = [
        start(**{**respond, "input": {}}),
        delta(type="input_json_delta", partial_json='{ "city": '),
        delta(type="input_json_delta", partial_json='"Z\\u00fcrich"}'),
        stop(),
    ]
    server.always(whole(respond, reason="tool_use"), streamed(*pieces, reason="tool_use"))
    model = model_of(server)
    answer = runtime.ask(model, "where?", response_format=AS_JSON)
    assert check_law(runtime.stream(model, "where?", response_format=AS_JSON)) == answer
    assert (answer.content, answer.tool_calls) == ('{"city":"Zürich"}', ())
    assert (answer.stop_reason, answer.finish_reason) == ("tool_use", "stop")
    body = server.requests[0].json()
    assert body["tool_choice"]["name"] == RESPOND


def test_prompt_caching(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server, prompt_cache=True)
    answer = runtime.ask(model, [Message.system("be brief"), Message.user("hello")], [LOOK])
    assert answer.usage["cache_read_input_tokens"] == 3
    assert answer.usage["cache_creation_input_tokens"] == 2
    body = server.requests[0].json()
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral"}


def test_a_newer_version_of_the_api_gets_no_temperature(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(whole())
    newer = {"anthropic-version": "2026-10-21"}
    runtime.ask(model_of(server, api_version="2026-10-21"), "hello")
    runtime.ask(model_of(server), "hello", extra_headers=newer)
    for request in server.requests:
        assert request.headers["anthropic-version"] == "2026-10-21"
        assert not {"temperature", "top_p"} & request.json().keys()


def test_keywords_of_a_call_override_the_config(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole(), streamed())
    model = model_of(server, stop_sequences=["A"], max_tokens=5)
    for ask in (runtime.ask, runtime.stream):
        ask(
            model,
            "hello",
            max_tokens=7,
            temperature=0,
            stop="B",
            seed=1,
            extra_headers={"Anthropic-Beta": "x"},
            extra_body={"top_k": 5},
        )
    for request in server.requests:
        body = request.json()
        assert (body["max_tokens"], body["temperature"], body["top_k"]) == (7, 0, 5)
        assert (body["stop_sequences"], "seed" in body) == (["B"], False)
        assert request.headers["anthropic-beta"] == "x"
    with pytest.raises(TypeError, match="did you mean 'max_tokens'"):
        runtime.ask(model, "hello", max_token=5)


@pytest.mark.parametrize(
    ("config", "bound", "said", "sent"),
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
        ({}, {}, {"temperature": 0.2, "top_p": 0.5}, {"temperature": 0.2}),
    ],
)
def test_of_temperature_and_top_p_the_one_that_was_asked_for_is_sent(
    server: LoopbackServer, config: Any, bound: Any, said: Any, sent: Any
) -> None:
    server.always(whole())
    model_of(server, **config).bind_tools([], **bound).complete_sync("hello", **said)
    body = server.requests[-1].json()
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == sent


# -- what it learns from a refusal -------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "`temperature` is deprecated for this model.",
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        "`temperature` may only be set to 1 when thinking is enabled.",
    ],
)
def test_a_model_that_takes_no_temperature_is_asked_again_without(
    server: LoopbackServer, runtime: Runtime, words: str
) -> None:
    server.always(refusal(400, "invalid_request_error", words), streamed(), whole())
    model = model_of(server, model="arn:aws:bedrock:profile/x")
    assert text(runtime.stream(model, "hello")) == TEXT
    first, second = (request.json() for request in server.requests)
    assert first.pop("temperature") == 0.7
    assert first == second


def test_a_model_that_cannot_be_made_to_call_is_asked_in_the_apis_own_way(
    server: LoopbackServer, runtime: Runtime
) -> None:
    words = 'tool_choice: type "tool" and "any" are not supported for this model.'
    answer = {"type": "text", "text": '{"city": "Oslo"}'}
    server.always(refusal(400, "invalid_request_error", words), whole(answer))
    got = runtime.ask(model_of(server), "where?", [LOOK], response_format=AS_JSON)
    assert got.content == '{"city": "Oslo"}'
    first, second = (request.json() for request in server.requests)
    assert first["tool_choice"]["name"] == RESPOND
    assert "tool_choice" not in second
    assert second["output_config"]["format"]["schema"] == SCHEMA


def test_a_server_that_takes_no_system_turns_is_asked_again_without(
    server: LoopbackServer, runtime: Runtime
) -> None:
    words = "role 'system' is not supported on this model"
    server.always(refusal(400, "invalid_request_error", words), whole())
    turns_ = [Message.user("hello"), Message.system("be brief")]
    runtime.ask(model_of(server, model="claude-opus-5"), turns_)
    first, second = (request.json() for request in server.requests)
    assert first["messages"][1]["role"] == "system"
    assert second["system"] == "be brief"
    assert second["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(("status", "asked"), [(422, 2), (403, 1), (500, 1)])
def test_only_what_is_wrong_with_the_request_is_left_out_of_it(
    server: LoopbackServer, status: int, asked: int
) -> None:
    server.always(refusal(status, "some_error", "temperature is not supported"))
    with pytest.raises(APIStatusError):
        model_of(server).complete_sync("hello")
    assert len(server.requests) == asked


def test_one_thing_after_the_other_is_left_out(server: LoopbackServer) -> None:
    server.always(
        refusal(400, "invalid_request_error", "`temperature` is deprecated for this model."),
        refusal(400, "invalid_request_error", "tool_choice forces tool use"),
        whole(),
    )
    model_of(server).complete_sync("where?", response_format=AS_JSON)
    assert len(server.requests) == 3
    assert not {"temperature", "tool_choice"} & server.requests[-1].json().keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("temperature: range: 0..1", {"temperature": 1.5}),
        ("tool_choice: `any` is not supported for this model.", {"tool_choice": "required"}),
        ("messages: role must alternate with the system prompt", {}),
        ("`temperature` is deprecated for this model.", {"temperature": None}),
        ("max_tokens: too many", {}),
    ],
)
def test_other_refusals_are_the_callers(
    server: LoopbackServer, runtime: Runtime, words: str, said: Any
) -> None:
    server.always(refusal(400, "invalid_request_error", words))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(BadRequestError, match=words.replace("?", r"\?")):
            ask(model_of(server), "hello", [LOOK], **said)
    assert len(server.requests) == 2


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(400, "invalid_request_error", "boom"), BadRequestError),
        (
            refusal(400, "invalid_request_error", "prompt is too long: boom"),
            ContextWindowExceededError,
        ),
        (refusal(401, "authentication_error", "boom"), AuthenticationError),
        (refusal(413, "request_too_large", "boom"), APIStatusError),
        (refusal(429, "rate_limit_error", "boom", retry_after="7"), RateLimitError),
        (refusal(500, "api_error", "boom"), InternalServerError),
        (refusal(529, "overloaded_error", "boom"), OverloadedError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refusals_are_told(
    server: LoopbackServer, runtime: Runtime, reply: Reply, kind: type[APIStatusError]
) -> None:
    server.always(reply.with_header("request-id", "req_7"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(kind, match="boom") as caught:
            ask(model_of(server), "hello")
        error = caught.value
        assert type(error) is kind
        assert (error.status_code, error.request_id) == (reply.status, "req_7")
        assert (error.provider, error.model) == ("anthropic", "claude-1-loop")
        assert KEY not in str(error)
        if kind is RateLimitError:
            assert error.retry_after == 7
        if kind is AuthenticationError:
            assert "ANTHROPIC_API_KEY" in str(error)


def test_a_key_that_is_quoted_back_is_struck_out(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(refusal(401, "authentication_error", f"no such key: {KEY}"))
    with pytest.raises(AuthenticationError) as caught:
        runtime.ask(model_of(server), "hello")
    assert KEY not in str(caught.value) + caught.value.body


def test_an_overloaded_server_is_asked_again_until_it_has_begun_to_answer(
    server: LoopbackServer, runtime: Runtime
) -> None:
    busy = refusal(529, "overloaded_error", "boom", retry_after_ms="1")
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}
    server.always(busy, whole())
    assert runtime.ask(model_of(server, max_retries=1), "hello").content == TEXT
    server.always(Reply.sse([("error", error)], done=False), streamed())
    assert text(runtime.stream(model_of(server, max_retries=1), "hello")) == TEXT
    said = [start(type="text", text=""), delta(type="text_delta", text="so far"), error]
    server.always(streamed(*said), streamed())
    before = len(server.requests)
    with pytest.raises(OverloadedError) as caught:
        runtime.stream(model_of(server, max_retries=1), "hello")
    assert caught.value.partial is not None
    assert caught.value.partial.content == "so far"
    assert len(server.requests) == before + 1
