"""``OpenAIModel``: what it is told, what it sends, what it keeps to itself."""

from __future__ import annotations

import copy
import gc
import logging
import pickle
import sys
import traceback
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import httpx
import pytest

from locus.core.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    LocusError,
    ResponseParseError,
)
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.response import ModelResponse
from locus.models.base import ModelConfig, ModelProtocol, RequestBuilder, ResponseParser
from locus.models.native.openai import OpenAIConfig, OpenAIModel
from locus.testing.loopback_server import LoopbackServer, Received, Reply
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser
from tests.support import runtimes
from tests.support.runtimes import (
    KEY,
    TEXT,
    Runtime,
    chunks,
    model_of,
    run,
    script,
    streamed,
    text,
    whole,
)

backend, environment, no_leaks = runtimes.backend, runtimes.environment, runtimes.no_leaks
runtime, server = runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")

HERE = "http://127.0.0.1:9/v1"
"""An address where nobody listens; nothing should get that far."""

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
HELLO = [{"role": "user", "content": "hello"}]


def sent(server: LoopbackServer) -> dict[str, Any]:
    """The JSON that the server got last."""
    body: dict[str, Any] = server.requests[-1].json()
    return body


# -- what it is told ---------------------------------------------------------------------------


def test_the_defaults() -> None:
    config = OpenAIModel(api_key=KEY).config
    assert config == OpenAIConfig(
        model="gpt-4o",
        api_key=KEY,
        base_url="https://api.openai.com/v1",
        max_tokens=4096,
        temperature=0.7,
        top_p=0.9,
        stop_sequences=(),
        timeout=600.0,
        max_retries=2,
    )
    assert isinstance(config, ModelConfig)


def test_the_positions_of_the_arguments() -> None:
    config = OpenAIModel("m", "key", HERE, 5, 0.1).config
    said = (config.model, config.api_key, config.base_url, config.max_tokens, config.temperature)
    assert said == ("m", "key", HERE, 5, 0.1)


def test_the_environment_is_read_as_the_sdk_reads_it(
    server: LoopbackServer, runtime: Runtime, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    environment.setenv("OPENAI_BASE_URL", f"{server.url}/else/")
    environment.setenv("OPENAI_ORG_ID", "org-1")
    environment.setenv("OPENAI_PROJECT_ID", "proj_1")
    server.always(whole())
    runtime.ask(OpenAIModel(), "hello")
    request = server.requests[0]
    assert request.path == "/else/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-from-the-environment"
    assert request.headers["openai-organization"] == "org-1"
    assert request.headers["openai-project"] == "proj_1"


def test_arguments_win_over_the_environment(environment: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "ORG_ID", "PROJECT_ID"):
        environment.setenv(f"OPENAI_{name}", "from the environment")
    environment.setenv("OPENAI_BASE_URL", "http://environment.test")
    config = OpenAIModel("m", "mine", HERE, organization="ours", project="this").config
    said = (config.api_key, config.base_url, config.organization, config.project)
    assert said == ("mine", HERE, "ours", "this")


def test_a_missing_key_is_said_before_anything_is_sent(runtime: Runtime) -> None:
    model = OpenAIModel()
    for ask in (runtime.ask, runtime.stream, runtime.invoke):
        with pytest.raises(ConfigurationError, match="pass api_key=, or set OPENAI_API_KEY"):
            ask(model, "hello")


def test_a_server_of_ones_own_may_want_no_key(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    assert runtime.ask(OpenAIModel("m", base_url=server.url), "hello").content == TEXT
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080/v1",
        "ftp://localhost/v1",
        "http://",
        "/v1",
        "http://[::1/v1",
        "http://localhost/v1?key=hidden",
        "http://localhost/v1#hidden",
        "http://hidden:secret@localhost/v1",
        "http://hidden@localhost/v1",
        "user:hidden@localhost/v1",
        "http://localhost:port/v1",
        "http://localhost:99999/v1",
        "http://localhost:0/v1",
        "http://api..test/v1",
        f"http://{'a' * 64}.test/v1",
    ],
)
def test_a_base_url_that_cannot_work_is_refused_and_keeps_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        OpenAIModel("m", KEY, url)
    assert "hidden" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_slash_at_the_end_of_base_url_makes_no_difference() -> None:
    assert OpenAIModel("m", KEY, HERE + "/") == OpenAIModel("m", KEY, HERE)


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}\u200b", "", "sk\x00", "schlüssel"])
def test_a_key_that_cannot_travel_is_refused_without_showing_it(key: str) -> None:
    if not key:
        assert OpenAIModel("m", key, HERE).config.credentials() == {}
        return
    with pytest.raises(ConfigurationError, match=r"api_key|header authorization") as caught:
        OpenAIModel("m", key, HERE)
    assert key.strip() not in str(caught.value)


@pytest.mark.parametrize("key", [b"bytes", 12345678, object()])
def test_a_key_that_is_no_text_is_refused_without_showing_it(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        OpenAIModel("m", key, HERE)
    assert repr(key) not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"max_retries": None},
        {"model": ""},
        {"model": None},
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(said))):
        OpenAIModel(api_key=KEY, **said)


@pytest.mark.parametrize(
    "said",
    [
        {"temperature": float("nan")},  # JSON would have null, which means "leave it out"
        {"top_p": float("inf")},
        {"temperature": "hot"},
        {"max_tokens": "5"},
        {"max_tokens": True},
        {"seed": "a"},
        {"presence_penalty": []},
        {"stop": 5},
        {"stop": [5]},
        {"stop": {"a": None, 1: None}},
    ],
    ids=str,
)
def test_a_keyword_that_cannot_work_is_refused_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, said: dict[str, Any]
) -> None:
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ConfigurationError, match=next(iter(said))):
            ask(model_of(server), "hello", **said)
    assert not server.requests


@pytest.mark.parametrize("url", [5, b"http://localhost"], ids=repr)
def test_a_base_url_that_is_no_text_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        OpenAIModel("any", base_url=url)


def test_what_a_config_would_override_in_silence_is_refused() -> None:
    config = OpenAIModel("any", KEY).config
    with pytest.raises(TypeError, match="top_p"):
        OpenAIModel(config=config, top_p=0.1)
    assert OpenAIModel(config=config, tools=[LOOK]).config == config


def test_an_unknown_argument_is_a_type_error_that_suggests() -> None:
    with pytest.raises(TypeError, match="'temprature'; did you mean 'temperature'"):
        OpenAIModel(temprature=0.1)
    with pytest.raises(TypeError, match="'max_retry'; did you mean 'max_retries'"):
        OpenAIModel(max_retry=1)
    with pytest.raises(TypeError, match=r"'qqqqq'; extra_body= takes"):
        OpenAIModel(qqqqq=1)


def test_an_unknown_keyword_of_a_call_is_a_type_error_that_suggests(runtime: Runtime) -> None:
    model = OpenAIModel("m", KEY, HERE)
    for ask in (runtime.ask, runtime.stream, runtime.invoke):
        with pytest.raises(TypeError, match="'max_token'; did you mean 'max_tokens'"):
            ask(model, "hello", max_token=5)
        with pytest.raises(TypeError, match="an unknown keyword 'top_k'"):
            ask(model, "hello", top_k=5)
        with pytest.raises(TypeError, match="an unknown keyword 'stream'"):
            ask(model, "hello", stream=True)
    with pytest.raises(TypeError, match="'sead'; did you mean 'seed'"):
        model.bind_tools([], sead=1)


# -- what it is --------------------------------------------------------------------------------


def test_it_keeps_the_contract() -> None:
    model = OpenAIModel(api_key=KEY)
    assert isinstance(model, ModelProtocol)
    assert model.supports_structured_output is True
    assert model.server_stateful is False
    builder: RequestBuilder = model.request_builder
    parser: ResponseParser = model.response_parser
    assert builder.build("hello", model="m")["messages"] == HELLO
    assert parser.parse(whole().content).content == TEXT


def test_it_is_immutable() -> None:
    model = OpenAIModel(api_key=KEY)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.config = None  # type: ignore[misc, assignment]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.config.model = "else"  # type: ignore[misc]
    with pytest.raises(TypeError):
        model.bind_tools([], seed=1).options["seed"] = 2  # type: ignore[index]


def test_it_is_a_value() -> None:
    one, same, other = (OpenAIModel(name, KEY, HERE, seed=1) for name in ("a", "a", "b"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert len({one, same, other}) == 2
    bound = one.bind_tools([LOOK], stop="END")
    assert bound != one
    assert bound == same.bind_tools([LOOK], stop="END")
    assert hash(bound) == hash(same.bind_tools([LOOK], stop="END"))
    assert copy.copy(one) == one == copy.deepcopy(one)
    assert pickle.loads(pickle.dumps(bound)) == bound


def test_a_copy_has_the_changes() -> None:
    model = OpenAIModel("a", KEY, HERE, seed=1).bind_tools([LOOK], stop="END")
    other = model.copy(model="b", temperature=None, max_retries=0)
    assert other.config == attrs.evolve(model.config, model="b", temperature=None, max_retries=0)
    assert (other.tools, other.options) == (model.tools, model.options)
    assert model.config.model == "a"
    assert type(other) is OpenAIModel
    with pytest.raises(TypeError, match="'modle'; did you mean 'model'"):
        model.copy(modle="b")
    with pytest.raises(ConfigurationError):
        model.copy(max_tokens=0)


def test_a_copy_to_another_server_goes_there(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    with LoopbackServer() as other:
        other.always(whole("other"))
        model = model_of(server)
        assert runtime.ask(model, "hello").content == TEXT
        moved = model.copy(base_url=other.url)
        assert runtime.ask(moved, "hello").content == "other"
        assert runtime.ask(model, "hello").content == TEXT
        runtime.close(moved)
        assert server.connections_open == 1


def test_a_copy_with_another_key_sends_that(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server)
    runtime.ask(model, "hello")
    runtime.ask(model.copy(api_key="sk-the-other-one"), "hello")
    keys = [request.headers["authorization"] for request in server.requests]
    assert keys == [f"Bearer {KEY}", "Bearer sk-the-other-one"]


def test_a_subclass_stays_one(server: LoopbackServer, runtime: Runtime) -> None:
    class Gateway(OpenAIModel):
        """A provider that differs by its path and a header."""

        def _url(self) -> str:
            return f"{self.config.base_url}/gateway"

        def _headers(self) -> dict[str, str]:
            return {**super()._headers(), "x-tenant": "7"}

    server.always(whole())
    model = Gateway("m", KEY, server.url).copy(temperature=0.1).bind_tools([])
    assert type(model) is Gateway
    runtime.ask(model, "hello")
    assert server.requests[0].path == "/gateway"
    assert server.requests[0].headers["x-tenant"] == "7"


def test_bound_tools_are_used_where_a_call_brings_none(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(whole())
    other = {"type": "function", "function": {"name": "listen"}}
    model = model_of(server).bind_tools([LOOK], tool_choice="look", seed=1)
    for ask in (runtime.ask, runtime.stream):
        ask(model, "hello")
        assert sent(server)["tools"] == [LOOK]
        assert sent(server)["tool_choice"] == {"type": "function", "function": {"name": "look"}}
        assert sent(server)["seed"] == 1
        ask(model, "hello", [other], tool_choice="auto", seed=2)
        assert sent(server)["tools"] == [other]
        assert (sent(server)["tool_choice"], sent(server)["seed"]) == ("auto", 2)
        ask(model, "hello", [], tool_choice=None)
        assert "tools" not in sent(server)
    rebound = model.bind_tools([other], tool_choice=None, max_tokens=3)
    runtime.ask(rebound, "hello")
    assert sent(server)["tools"] == [other]
    assert (sent(server)["seed"], sent(server)["max_tokens"]) == (1, 3)
    assert "tool_choice" not in sent(server)


def test_a_tool_is_anything_that_describes_itself(server: LoopbackServer) -> None:
    class Mine:
        def to_openai_schema(self) -> Mapping[str, Any]:
            return LOOK

    server.always(whole())
    model_of(server).complete_sync("hello", [Mine()])
    assert sent(server)["tools"] == [LOOK]
    for wrong in ([object()], [{"name": "look"}], LOOK, "look"):
        with pytest.raises(ConfigurationError, match="tools"):
            model_of(server).complete_sync("hello", wrong)


# -- what it sends -----------------------------------------------------------------------------


def test_the_least_that_is_sent(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole(), streamed())
    model = model_of(server)
    plain = {
        "model": "loop-1",
        "messages": HELLO,
        "max_tokens": 4096,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    runtime.ask(model, "hello")
    assert sent(server) == plain
    runtime.stream(model, "hello")
    assert sent(server) == {**plain, "stream": True, "stream_options": {"include_usage": True}}
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("locus-llm/")
        assert request.headers["authorization"] == f"Bearer {KEY}"


def test_nothing_is_sent_of_what_is_none(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    runtime.ask(model_of(server, max_tokens=None, temperature=None, top_p=None), "hello")
    assert sent(server) == {"model": "loop-1", "messages": HELLO}


SAID: dict[str, Any] = {
    "max_tokens": 5,
    "temperature": 0.0,
    "top_p": 1.0,
    "stop": ["END", "\n"],
    "seed": 0,
    "frequency_penalty": -0.5,
    "presence_penalty": 0.5,
    "response_format": {"type": "json_object"},
    "tool_choice": "required",
    "parallel_tool_calls": False,
}


def test_keywords_of_a_call_are_sent_by_both(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server, seed=9, frequency_penalty=1.0, stop_sequences=["STOP"])
    for ask in (runtime.ask, runtime.stream):
        ask(model, "hello", [LOOK], **SAID)
        body = sent(server)
        assert {name: body[name] for name in SAID} == SAID
        ask(model, "hello")
        assert (sent(server)["seed"], sent(server)["frequency_penalty"]) == (9, 1.0)
        assert sent(server)["stop"] == ["STOP"]


def test_arguments_of_the_model_are_sent(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    said = {"seed": 3, "frequency_penalty": 0.1, "presence_penalty": 0.2, "top_p": 0.3}
    runtime.ask(model_of(server, stop_sequences="END", **said), "hello")
    body = sent(server)
    assert {name: body[name] for name in said} == said
    assert body["stop"] == ["END"]


def test_a_call_may_take_back_what_the_model_says(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server, seed=3, presence_penalty=1.0, stop_sequences=["END"])
    nothing = dict.fromkeys(("max_tokens", "temperature", "top_p", "seed", "stop"))
    runtime.ask(model, "hello", presence_penalty=None, **nothing)
    assert sent(server) == {"model": "loop-1", "messages": HELLO}


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_a_penalty_of_zero_is_not_sent(
    server: LoopbackServer, runtime: Runtime, zero: float
) -> None:
    server.always(whole())
    model = model_of(server, presence_penalty=zero, frequency_penalty=zero)
    runtime.ask(model, "hello")
    assert not [name for name in sent(server) if "penalty" in name]
    runtime.ask(model_of(server, presence_penalty=1.0), "hello", presence_penalty=zero)
    assert not [name for name in sent(server) if "penalty" in name]


REASONING = [
    *("o1", "o1-mini", "o1-2024-12-17", "o3", "o3-mini", "o3-pro", "o4-mini"),
    *("gpt-5", "gpt-5-mini", "gpt-5.1", "gpt-5.2-codex", "gpt-6", "gpt-10-nano"),
    *("openai.o3", "openai.gpt-5", "openai.gpt-5-mini", "openai/gpt-5", "openai/o4-mini"),
    "ft:o4-mini-2025-04-16:org::id",
]
SAMPLING = [
    *("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4-turbo", "gpt-3.5-turbo", "chatgpt-4o-latest"),
    *("gpt-oss-120b", "openai.gpt-oss-20b", "openai.gpt-4o", "llama-3.3", "olmo-2", "o1js"),
    *("grok-4", "my-gpt-5-tune", "deepseek-r1", "omni-1", "gpt-5x"),
]


@pytest.mark.parametrize("name", REASONING)
def test_reasoning_models_get_their_own_limit_and_no_sampling(
    server: LoopbackServer, name: str
) -> None:
    server.always(whole())
    model_of(server, model=name, frequency_penalty=1.0, seed=1).complete_sync("hello")
    assert sent(server) == {
        "model": name,
        "messages": HELLO,
        "max_completion_tokens": 4096,
        "seed": 1,
    }


@pytest.mark.parametrize("name", SAMPLING)
def test_other_models_get_the_usual(server: LoopbackServer, name: str) -> None:
    server.always(whole())
    model_of(server, model=name).complete_sync("hello")
    assert (sent(server)["max_tokens"], sent(server)["temperature"]) == (4096, 0.7)
    assert "max_completion_tokens" not in sent(server)


def test_extra_headers_are_sent_and_win(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    headers = {"X-Mine": "1", "Authorization": "Bearer another", "User-Agent": "mine"}
    for ask in (runtime.ask, runtime.stream):
        ask(model_of(server), "hello", extra_headers=headers)
        got = server.requests[-1].headers
        assert (got["x-mine"], got["authorization"], got["user-agent"]) == (
            "1",
            "Bearer another",
            "mine",
        )


@pytest.mark.parametrize(
    "headers",
    [
        {"x mine": "1"},
        {"": "1"},
        {"x-mine\r\nx-other": "1"},
        {"x-mine": "hidden\r\nx-other: 1"},
        {"x-mine": "hidden\x00"},
        {"x-mine": " hidden"},
        {"x-mine": "hidden€"},
        {"x-mine": 1},
        {"x-mine": None},
        {7: "1"},
        [("x-mine", "hidden")],
        "x-mine: hidden",
    ],
    ids=repr,
)
def test_extra_headers_that_cannot_travel_are_refused_without_showing_them(
    server: LoopbackServer, runtime: Runtime, headers: Any
) -> None:
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ConfigurationError, match="header") as caught:
            ask(model_of(server), "hello", extra_headers=headers)
        assert "hidden" not in str(caught.value)
    assert server.connections_total == 0


def test_extra_body_is_sent_and_wins(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    extra = {"top_k": 5, "temperature": 0.25, "provider": {"order": ["a", None]}}
    for ask in (runtime.ask, runtime.stream):
        ask(model_of(server), "hello", extra_body=extra)
        assert {name: sent(server)[name] for name in extra} == extra
    with pytest.raises(ConfigurationError, match="extra_body"):
        runtime.ask(model_of(server), "hello", extra_body=[1])
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        runtime.ask(model_of(server), "hello", extra_body={"what": object()})


def test_a_tool_is_chosen_by_its_name(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server)
    runtime.ask(model, "hello", [LOOK], tool_choice="look")
    assert sent(server)["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    for choice in ("auto", "none", "required", {"type": "function", "function": {"name": "x"}}):
        runtime.ask(model, "hello", [LOOK], tool_choice=choice)
        assert sent(server)["tool_choice"] == choice
    with pytest.raises(ConfigurationError, match=r"tool_choice='listen'.*\(look\)"):
        runtime.ask(model, "hello", [LOOK], tool_choice="listen")


def test_a_response_format_is_sent_as_it_is(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    form = {
        "type": "json_schema",
        "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}},
    }
    for ask in (runtime.ask, runtime.stream):
        ask(model_of(server), "hello", response_format=form)
        assert sent(server)["response_format"] == form
    with pytest.raises(ConfigurationError, match="response_format"):
        runtime.ask(model_of(server), "hello", response_format="json_object")


@pytest.mark.parametrize(
    ("messages", "position"),
    [
        ([], "empty"),
        ([Message.user("x"), Message.assistant()], r"messages\[1\]"),
        ([Message.tool(ToolResult("call_1", "look", "x"))], r"messages\[0\]"),
        (
            [
                Message.assistant(tool_calls=[ToolCall("call_1", "look")]),
                Message.tool(ToolResult("call_2", "look", "x")),
            ],
            r"messages\[1\]",
        ),
    ],
    ids=["empty", "silent", "unasked", "mismatched"],
)
def test_a_conversation_that_nobody_can_accept_is_refused_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, messages: Sequence[Message], position: str
) -> None:
    for ask in (runtime.ask, runtime.open):
        with pytest.raises(ValueError, match=position):
            ask(model_of(server), messages)
    assert server.connections_total == 0


def test_half_a_character_is_refused_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime
) -> None:
    with pytest.raises(ConfigurationError, match="surrogate"):
        runtime.ask(model_of(server), "half \ud83d")
    assert server.connections_total == 0


def test_what_was_bound_does_not_change_with_the_callers_objects() -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"required": ["a"]}}}
    extra = {"a": {"b": [1]}}
    model = OpenAIModel("any", KEY).bind_tools([tool], extra_body=extra)
    before = pickle.dumps((model.tools, model.options))
    tool["function"]["parameters"]["required"].append("c")  # type: ignore[index]
    tool["function"]["name"] = "other"  # type: ignore[index]
    extra["a"]["b"].append(2)
    assert pickle.dumps((model.tools, model.options)) == before
    with pytest.raises(TypeError, match="immutable"):
        model.tools[0]["function"]["name"] = "other"


# -- servers that know less --------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422])
def test_stream_options_are_left_out_where_the_server_does_not_know_them(
    server: LoopbackServer, runtime: Runtime, status: int
) -> None:
    server.always(Reply.error(status, "Unrecognized request argument: stream_options"), streamed())
    assert text(runtime.stream(model_of(server, max_retries=0), "hello", seed=4)) == TEXT
    first, second = (request.json() for request in server.requests)
    assert first.pop("stream_options") == {"include_usage": True}
    assert second == first


def test_what_is_asked_again_is_what_was_said_first(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.error(400, "Unrecognized request argument: stream_options"), streamed())
    messages: Any = iter([Message.user("hello")])  # can be read once only
    tools: Any = iter([LOOK])
    assert text(runtime.stream(model_of(server, max_retries=0), messages, tools)) == TEXT
    first, second = (request.json() for request in server.requests)
    assert (first["messages"], first["tools"]) == (second["messages"], second["tools"])
    assert (second["messages"], second["tools"]) == (HELLO, [LOOK])


def test_other_refusals_of_a_stream_are_refusals(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply.error(400, "temperature is too high"))
    with pytest.raises(BadRequestError, match="temperature is too high"):
        runtime.stream(model_of(server), "hello")
    server.always(Reply.error(400, "stream_options are wrong, and all the rest too"))
    with pytest.raises(BadRequestError):
        runtime.stream(model_of(server), "hello")
    with pytest.raises(BadRequestError):
        runtime.ask(model_of(server), "hello")
    assert len(server.requests) == 4


def test_a_model_can_be_told_not_to_ask_for_usage(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply.sse(chunks()[:-1]))
    events = runtime.stream(model_of(server, stream_usage=False), "hello")
    assert text(events) == TEXT
    assert events[-1].usage == {}
    assert "stream_options" not in sent(server)


# -- the seams ---------------------------------------------------------------------------------


class Shouting(ChatCompletionsBuilder):
    """A provider that wants another member."""

    def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
        return {**super().build(messages, tools, **options), "volume": 11}


class Renaming(ChatCompletionsParser):
    """A provider that wraps its answers."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        return attrs.evolve(super().parse(response), model="renamed")


@attrs.frozen
class Echo:
    """A provider with a format of its own, and none of Locus's classes in it."""

    def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
        return {"ask": messages, "to": options["model"], "streamed": options["stream"]}

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        assert isinstance(response, bytes)
        return ModelResponse(Message.assistant(response.decode()))

    def decoder(self) -> Any:
        return ChatCompletionsParser().decoder()


def test_a_builder_and_a_parser_can_be_replaced(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole(), streamed())
    model = model_of(server, request_builder=Shouting(), response_parser=Renaming())
    assert runtime.ask(model, "hello").model == "renamed"
    assert text(runtime.stream(model, "hello")) == TEXT
    assert [request.json()["volume"] for request in server.requests] == [11, 11]
    assert model.copy(temperature=0.1).request_builder is model.request_builder
    assert pickle.loads(pickle.dumps(model)).copy(seed=1).config.seed == 1


def test_a_provider_that_locus_does_not_know(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply(200, {"content-type": "text/plain"}, b"hi"), streamed())
    model = model_of(server, request_builder=Echo(), response_parser=Echo())
    assert runtime.ask(model, "hello").content == "hi"
    assert text(runtime.stream(model, "hello")) == TEXT
    assert [request.json() for request in server.requests] == [
        {"ask": "hello", "to": "loop-1", "streamed": streams} for streams in (False, True)
    ]


# -- secrets -----------------------------------------------------------------------------------


def echo(status: int) -> Any:
    """A server that says aloud what it was told in confidence."""

    def answer(got: Received) -> Reply:
        key = got.headers["authorization"]
        return Reply.error(status, f"I do not know {key}")

    return answer


def echo_page(got: Received) -> Reply:
    return Reply.html(f"<p>{got.headers['authorization']}</p>", 200)


def echo_stream(got: Received) -> Reply:
    error = {"error": {"message": f"no {got.headers['authorization']}", "type": "server_error"}}
    return Reply.sse([*chunks()[:3], error])


@pytest.mark.parametrize(
    "answer", [echo(401), echo(500), echo_page, echo_stream], ids=["401", "500", "page", "stream"]
)
def test_a_key_shows_in_no_error(
    server: LoopbackServer,
    runtime: Runtime,
    answer: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.always(answer)
    caplog.set_level(logging.DEBUG)
    asks = [runtime.stream] if answer is echo_stream else [runtime.ask, runtime.stream]
    for ask in asks:
        with pytest.raises(APIError) as caught:
            ask(model_of(server, max_retries=1), "hello", extra_headers={"x-api-key": "hunter2"})
        error = caught.value
        shown = [
            str(error),
            repr(error),
            "".join(traceback.format_exception(error)),
            repr(vars(error)),
            repr(pickle.dumps(error)),
            repr(vars(pickle.loads(pickle.dumps(error)))),
        ]
        assert [KEY in words for words in shown] == [False] * len(shown)
        assert "***" in repr(vars(error))
    assert KEY not in caplog.text
    for record in caplog.records:
        assert KEY not in repr(vars(record))
    assert KEY not in "".join(capfd.readouterr())


def test_a_key_that_comes_back_in_a_header_shows_in_no_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(lambda got: Reply.error(401, headers={"x-echo": got.headers["authorization"]}))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(AuthenticationError) as caught:
            ask(model_of(server), "hello")
        assert caught.value.headers["x-echo"] == "***"


def test_a_key_in_another_header_shows_in_no_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    names = ("x-api-key", "api-key", "cookie", "proxy-authorization", "x-goog-api-key", "x-token")

    def answer(got: Received) -> Reply:
        return Reply.error(401, " ".join(got.headers[name] for name in names))

    server.always(answer)
    with pytest.raises(AuthenticationError) as caught:
        runtime.ask(
            model_of(server), "hello", extra_headers={name: f"hidden-{name}" for name in names}
        )
    assert "hidden-" not in str(caught.value) + caught.value.body


def test_a_key_of_a_client_that_was_brought_shows_in_no_error(server: LoopbackServer) -> None:
    server.always(echo(401))
    with httpx.Client(headers={"authorization": f"Bearer {KEY}"}) as client:
        model = OpenAIModel("any", base_url=server.url, http_client=client)
        with pytest.raises(AuthenticationError) as caught:
            model.complete_sync("hello")
    assert KEY not in str(caught.value) + caught.value.body


def test_a_key_shows_in_no_failed_connection(runtime: Runtime) -> None:
    with LoopbackServer() as server:
        model = model_of(server)
    with pytest.raises(APIError) as caught:
        runtime.ask(model, "hello")
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [line for line in "".join(lines.format()).split("\n") if KEY in line]
    assert ours == []


def test_a_key_shows_in_no_repr() -> None:
    model = OpenAIModel("m", KEY, HERE).bind_tools([], extra_headers={"x-api-key": "hunter2"})
    for value in (model, model.config, model.copy(seed=1), [model], {"model": model}):
        for words in (repr(value), str(value), f"{value!r}"):
            assert KEY not in words
            assert "hunter2" not in words
    assert "'m'" in repr(model)


def test_an_error_tells_who_was_asked_for_what_and_what_to_do(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.error(401, "Incorrect API key provided", code="invalid_api_key"))
    with pytest.raises(AuthenticationError) as caught:
        runtime.ask(model_of(server), "hello")
    assert str(caught.value) == (
        f"openai loop-1: POST {server.url}/v1/chat/completions: 401: Incorrect API key provided "
        "(check api_key= or OPENAI_API_KEY)"
    )
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert (again.status_code, again.body) == (401, caught.value.body)
    assert isinstance(again, LocusError)


def test_a_page_that_is_no_api_is_said_to_be_none(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply.html("<html>welcome</html>", 200))
    with pytest.raises(ResponseParseError, match="check that base_url is the API's root") as caught:
        runtime.ask(model_of(server), "hello")
    assert caught.value.body == "<html>welcome</html>"


# -- the SDK's client --------------------------------------------------------------------------


@pytest.mark.sdk
def test_client_is_the_sdks_with_this_models_settings() -> None:
    openai = pytest.importorskip("openai")
    model = OpenAIModel(
        "m", KEY, HERE, organization="org-1", project="proj_1", timeout=7.0, max_retries=5
    )
    client = model.client
    assert isinstance(client, openai.AsyncOpenAI)
    assert client.api_key == KEY
    assert str(client.base_url) == HERE + "/"
    assert (client.organization, client.project) == ("org-1", "proj_1")
    assert (client.timeout, client.max_retries) == (7.0, 5)
    assert model.client is client


@pytest.mark.sdk
def test_a_copy_has_a_client_of_its_own_settings() -> None:
    pytest.importorskip("openai")
    model = OpenAIModel("m", KEY, HERE)
    assert model.client.api_key == KEY
    other = model.copy(api_key="sk-the-other-one", timeout=3.0)
    assert (other.client.api_key, other.client.timeout) == ("sk-the-other-one", 3.0)
    assert model.client.api_key == KEY
    assert model.bind_tools([]).client is model.client


@pytest.mark.sdk
def test_client_works_in_each_loop(server: LoopbackServer) -> None:
    pytest.importorskip("openai")
    server.always(whole())
    model = model_of(server)
    clients = []

    async def main() -> None:
        client = model.client
        assert model.client is client
        clients.append(client)
        answer = await client.chat.completions.create(model="m", messages=HELLO)
        assert answer.choices[0].message.content == TEXT
        await model.aclose()

    for kind in ("asyncio", "trio", "asyncio"):
        run(kind, main)
        server.wait_closed(timeout=1)
    assert len({id(client) for client in clients}) == 3


@pytest.mark.sdk
@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_dropped_models_client_is_closed_in_a_loop_that_goes_on(
    server: LoopbackServer, kind: str
) -> None:
    pytest.importorskip("openai")
    server.always(whole())

    async def main() -> None:
        last = model_of(server)
        dropped = []
        for _ in range(3):
            model = model_of(server)
            client = model.client
            await client.chat.completions.create(model="m", messages=HELLO)
            dropped.append((weakref.ref(model.connections), client))
            del model
        gc.collect()
        await last.complete("hello")  # what was dropped is closed at the next occasion
        assert all(reference() is None for reference, _ in dropped)
        assert all(client.is_closed() for _, client in dropped)
        await last.aclose()

    run(kind, main)
    server.wait_closed(timeout=1)


@pytest.mark.sdk
def test_client_leaves_nothing_behind_at_the_end_of_its_loop(server: LoopbackServer) -> None:
    pytest.importorskip("openai")
    server.always(whole())
    script(
        f"""
        import asyncio, gc, trio, openai
        from locus import OpenAIModel
        model = OpenAIModel("m", {KEY!r}, "{server.url}/v1")

        async def main():
            said = [{{"role": "user", "content": "hello"}}]
            await model.client.chat.completions.create(model="m", messages=said)

        asyncio.run(main())
        trio.run(main)
        gc.collect()
        """
    )
    server.wait_closed(timeout=1)


def test_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigurationError, match=r'pip install "locus-llm\[openai\]"') as caught:
        _ = OpenAIModel("m", KEY, HERE).client
    assert "\n" not in str(caught.value)
