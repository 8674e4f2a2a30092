"""``OpenAIModel``: its options, its requests, its fallbacks, and its secrets."""

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
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import LoopbackServer, Received, Reply
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser
from tests.support.chat_replies import (
    TEXT,
    build_chunks,
    build_reply,
    build_stream_reply,
    join_text,
)
from tests.support.servers.openai_server import API_KEY, make_model
from tests.support.subprocess_scripts import run_script

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")

UNUSED_ADDRESS = "http://127.0.0.1:9/v1"
"""A URL where no server listens; nothing should be sent to it."""

LOOK_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
HELLO = [{"role": "user", "content": "hello"}]


def get_last_body(server: LoopbackServer) -> dict[str, Any]:
    """The JSON body of the last request that the server has received."""
    body: dict[str, Any] = server.requests[-1].json()
    return body


# -- options -----------------------------------------------------------------------------------


def test_the_defaults() -> None:
    config = OpenAIModel(api_key=API_KEY).config
    assert config == OpenAIConfig(
        model="gpt-4o",
        api_key=API_KEY,
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
    config = OpenAIModel("m", "key", UNUSED_ADDRESS, 5, 0.1).config
    options = (config.model, config.api_key, config.base_url, config.max_tokens, config.temperature)
    assert options == ("m", "key", UNUSED_ADDRESS, 5, 0.1)


def test_the_environment_is_read_as_the_sdk_reads_it(
    server: LoopbackServer, runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    clean_environment.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    clean_environment.setenv("OPENAI_BASE_URL", f"{server.url}/else/")
    clean_environment.setenv("OPENAI_ORG_ID", "org-1")
    clean_environment.setenv("OPENAI_PROJECT_ID", "proj_1")
    server.always(build_reply())
    runtime.complete(OpenAIModel(), "hello")
    request = server.requests[0]
    assert request.path == "/else/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-from-the-environment"
    assert request.headers["openai-organization"] == "org-1"
    assert request.headers["openai-project"] == "proj_1"


def test_arguments_win_over_the_environment(clean_environment: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "ORG_ID", "PROJECT_ID"):
        clean_environment.setenv(f"OPENAI_{name}", "from the environment")
    clean_environment.setenv("OPENAI_BASE_URL", "http://environment.test")
    config = OpenAIModel("m", "mine", UNUSED_ADDRESS, organization="ours", project="this").config
    options = (config.api_key, config.base_url, config.organization, config.project)
    assert options == ("mine", UNUSED_ADDRESS, "ours", "this")


def test_a_missing_key_is_an_error_before_anything_is_sent(runtime: Runtime) -> None:
    model = OpenAIModel()
    for call_model in (runtime.complete, runtime.collect_events, runtime.invoke):
        with pytest.raises(ConfigurationError, match="pass api_key=, or set OPENAI_API_KEY"):
            call_model(model, "hello")


def test_another_server_may_need_no_key(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    assert runtime.complete(OpenAIModel("m", base_url=server.url), "hello").content == TEXT
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
def test_an_invalid_base_url_is_an_error_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as exc_info:
        OpenAIModel("m", API_KEY, url)
    assert "hidden" not in str(exc_info.value)
    assert "secret" not in str(exc_info.value)


def test_a_slash_at_the_end_of_base_url_makes_no_difference() -> None:
    assert OpenAIModel("m", API_KEY, UNUSED_ADDRESS + "/") == OpenAIModel(
        "m", API_KEY, UNUSED_ADDRESS
    )


@pytest.mark.parametrize(
    "key", [f"{API_KEY}\n", f" {API_KEY}", f"{API_KEY}\u200b", "", "sk\x00", "schlüssel"]
)
def test_a_key_that_cannot_be_sent_is_an_error_without_the_key(key: str) -> None:
    if not key:
        assert OpenAIModel("m", key, UNUSED_ADDRESS).config.build_credential_headers() == {}
        return
    with pytest.raises(ConfigurationError, match=r"api_key|header authorization") as exc_info:
        OpenAIModel("m", key, UNUSED_ADDRESS)
    assert key.strip() not in str(exc_info.value)


@pytest.mark.parametrize("key", [b"bytes", 12345678, object()])
def test_a_key_that_is_no_string_is_an_error_without_the_key(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as exc_info:
        OpenAIModel("m", key, UNUSED_ADDRESS)
    assert repr(key) not in str(exc_info.value)


@pytest.mark.parametrize(
    "options",
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
def test_an_invalid_option_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        OpenAIModel(api_key=API_KEY, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": float("nan")},  # JSON would have null, which means "leave it out"
        {"top_p": float("inf")},
        {"seed": 10**400},  # no float holds it
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
def test_an_invalid_call_option_is_an_error_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, options: dict[str, Any]
) -> None:
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            call_model(make_model(server), "hello", **options)
    assert not server.requests


@pytest.mark.parametrize("url", [5, b"http://localhost"], ids=repr)
def test_a_base_url_that_is_no_string_is_an_error(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        OpenAIModel("any", base_url=url)


def test_options_beside_a_config_are_an_error() -> None:
    config = OpenAIModel("any", API_KEY).config
    with pytest.raises(TypeError, match="top_p"):
        OpenAIModel(config=config, top_p=0.1)
    assert OpenAIModel(config=config, tools=[LOOK_TOOL]).config == config


def test_an_unknown_argument_is_a_type_error_that_suggests() -> None:
    with pytest.raises(TypeError, match="'temprature'; did you mean 'temperature'"):
        OpenAIModel(temprature=0.1)
    with pytest.raises(TypeError, match="'max_retry'; here it is max_retries="):
        OpenAIModel(max_retry=1)
    with pytest.raises(TypeError, match=r"'qqqqq'; extra_body= takes"):
        OpenAIModel(qqqqq=1)


def test_an_unknown_keyword_of_a_call_is_a_type_error_that_suggests(runtime: Runtime) -> None:
    model = OpenAIModel("m", API_KEY, UNUSED_ADDRESS)
    for call_model in (runtime.complete, runtime.collect_events, runtime.invoke):
        with pytest.raises(TypeError, match="'max_token'; did you mean 'max_tokens'"):
            call_model(model, "hello", max_token=5)
        with pytest.raises(TypeError, match="an unknown keyword 'top_k'"):
            call_model(model, "hello", top_k=5)
        with pytest.raises(TypeError, match="an unknown keyword 'stream'"):
            call_model(model, "hello", stream=True)
    with pytest.raises(TypeError, match="'sead'; did you mean 'seed'"):
        model.bind_tools([], sead=1)


# -- the model as a value ----------------------------------------------------------------------


def test_it_is_a_model() -> None:
    model = OpenAIModel(api_key=API_KEY)
    assert isinstance(model, ModelProtocol)
    assert model.supports_structured_output is True
    assert model.server_stateful is False
    builder: RequestBuilder = model.request_builder
    parser: ResponseParser = model.response_parser
    assert builder.build("hello", model="m")["messages"] == HELLO
    assert parser.parse(build_reply().content).content == TEXT


def test_it_is_immutable() -> None:
    model = OpenAIModel(api_key=API_KEY)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.config = None  # type: ignore[misc, assignment]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.config.model = "else"  # type: ignore[misc]
    with pytest.raises(TypeError):
        model.bind_tools([], seed=1).options["seed"] = 2  # type: ignore[index]


def test_it_is_compared_by_value() -> None:
    one, same, other = (
        OpenAIModel(name, API_KEY, UNUSED_ADDRESS, seed=1) for name in ("a", "a", "b")
    )
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert len({one, same, other}) == 2
    bound = one.bind_tools([LOOK_TOOL], stop="END")
    assert bound != one
    assert bound == same.bind_tools([LOOK_TOOL], stop="END")
    assert hash(bound) == hash(same.bind_tools([LOOK_TOOL], stop="END"))
    assert copy.copy(one) == one == copy.deepcopy(one)
    assert pickle.loads(pickle.dumps(bound)) == bound


def test_a_copy_has_the_changes() -> None:
    model = OpenAIModel("a", API_KEY, UNUSED_ADDRESS, seed=1).bind_tools([LOOK_TOOL], stop="END")
    other = model.copy(model="b", temperature=None, max_retries=0)
    assert other.config == attrs.evolve(model.config, model="b", temperature=None, max_retries=0)
    assert (other.tools, other.options) == (model.tools, model.options)
    assert model.config.model == "a"
    assert type(other) is OpenAIModel
    with pytest.raises(TypeError, match="'modle'; did you mean 'model'"):
        model.copy(modle="b")
    with pytest.raises(ConfigurationError):
        model.copy(max_tokens=0)


def test_a_copy_with_another_base_url_sends_to_it(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    with LoopbackServer() as other:
        other.always(build_reply("other"))
        model = make_model(server)
        assert runtime.complete(model, "hello").content == TEXT
        moved = model.copy(base_url=other.url)
        assert runtime.complete(moved, "hello").content == "other"
        assert runtime.complete(model, "hello").content == TEXT
        runtime.close(moved)
        assert server.connections_open == 1


def test_a_copy_with_another_key_sends_that_key(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server)
    runtime.complete(model, "hello")
    runtime.complete(model.copy(api_key="sk-the-other-one"), "hello")
    keys = [request.headers["authorization"] for request in server.requests]
    assert keys == [f"Bearer {API_KEY}", "Bearer sk-the-other-one"]


def test_a_copy_of_a_subclass_is_of_that_subclass(server: LoopbackServer, runtime: Runtime) -> None:
    class Gateway(OpenAIModel):
        """A provider that differs by its path and a header."""

        def build_url(self, *, stream: bool = False) -> str:
            return f"{self.config.base_url}/gateway"

        def build_provider_headers(self) -> dict[str, str]:
            return {**super().build_provider_headers(), "x-tenant": "7"}

    server.always(build_reply())
    model = Gateway("m", API_KEY, server.url).copy(temperature=0.1).bind_tools([])
    assert type(model) is Gateway
    runtime.complete(model, "hello")
    assert server.requests[0].path == "/gateway"
    assert server.requests[0].headers["x-tenant"] == "7"


def test_bound_tools_are_used_by_calls_without_tools(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply())
    other = {"type": "function", "function": {"name": "listen"}}
    model = make_model(server).bind_tools([LOOK_TOOL], tool_choice="look", seed=1)
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(model, "hello")
        assert get_last_body(server)["tools"] == [LOOK_TOOL]
        assert get_last_body(server)["tool_choice"] == {
            "type": "function",
            "function": {"name": "look"},
        }
        assert get_last_body(server)["seed"] == 1
        call_model(model, "hello", [other], tool_choice="auto", seed=2)
        assert get_last_body(server)["tools"] == [other]
        assert (get_last_body(server)["tool_choice"], get_last_body(server)["seed"]) == ("auto", 2)
        call_model(model, "hello", [], tool_choice=None)
        assert "tools" not in get_last_body(server)
    rebound = model.bind_tools([other], tool_choice=None, max_tokens=3)
    runtime.complete(rebound, "hello")
    assert get_last_body(server)["tools"] == [other]
    assert (get_last_body(server)["seed"], get_last_body(server)["max_tokens"]) == (1, 3)
    assert "tool_choice" not in get_last_body(server)


def test_a_tool_is_anything_with_a_schema(server: LoopbackServer) -> None:
    class Mine:
        def to_openai_schema(self) -> Mapping[str, Any]:
            return LOOK_TOOL

    server.always(build_reply())
    make_model(server).complete_sync("hello", [Mine()])
    assert get_last_body(server)["tools"] == [LOOK_TOOL]
    for wrong in ([object()], [{"name": "look"}], LOOK_TOOL, "look"):
        with pytest.raises(ConfigurationError, match="tools"):
            make_model(server).complete_sync("hello", wrong)


# -- requests ----------------------------------------------------------------------------------


def test_the_smallest_request(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(server)
    plain = {
        "model": "loop-1",
        "messages": HELLO,
        "max_tokens": 4096,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    runtime.complete(model, "hello")
    assert get_last_body(server) == plain
    runtime.collect_events(model, "hello")
    assert get_last_body(server) == {
        **plain,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("locus-llm/")
        assert request.headers["authorization"] == f"Bearer {API_KEY}"


def test_options_that_are_none_are_not_sent(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    runtime.complete(make_model(server, max_tokens=None, temperature=None, top_p=None), "hello")
    assert get_last_body(server) == {"model": "loop-1", "messages": HELLO}


ALL_OPTIONS: dict[str, Any] = {
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


def test_every_call_option_is_sent_by_complete_and_stream(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply())
    model = make_model(server, seed=9, frequency_penalty=1.0, stop_sequences=["STOP"])
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(model, "hello", [LOOK_TOOL], **ALL_OPTIONS)
        body = get_last_body(server)
        assert {name: body[name] for name in ALL_OPTIONS} == ALL_OPTIONS
        call_model(model, "hello")
        assert (get_last_body(server)["seed"], get_last_body(server)["frequency_penalty"]) == (
            9,
            1.0,
        )
        assert get_last_body(server)["stop"] == ["STOP"]


def test_arguments_of_the_model_are_sent(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    options = {"seed": 3, "frequency_penalty": 0.1, "presence_penalty": 0.2, "top_p": 0.3}
    runtime.complete(make_model(server, stop_sequences="END", **options), "hello")
    body = get_last_body(server)
    assert {name: body[name] for name in options} == options
    assert body["stop"] == ["END"]


def test_a_call_can_unset_an_option_of_the_model(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server, seed=3, presence_penalty=1.0, stop_sequences=["END"])
    nothing = dict.fromkeys(("max_tokens", "temperature", "top_p", "seed", "stop"))
    runtime.complete(model, "hello", presence_penalty=None, **nothing)
    assert get_last_body(server) == {"model": "loop-1", "messages": HELLO}


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_a_penalty_of_zero_is_not_sent(
    server: LoopbackServer, runtime: Runtime, zero: float
) -> None:
    server.always(build_reply())
    model = make_model(server, presence_penalty=zero, frequency_penalty=zero)
    runtime.complete(model, "hello")
    assert not [name for name in get_last_body(server) if "penalty" in name]
    runtime.complete(make_model(server, presence_penalty=1.0), "hello", presence_penalty=zero)
    assert not [name for name in get_last_body(server) if "penalty" in name]


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
    server.always(build_reply())
    make_model(server, model=name, frequency_penalty=1.0, seed=1).complete_sync("hello")
    assert get_last_body(server) == {
        "model": name,
        "messages": HELLO,
        "max_completion_tokens": 4096,
        "seed": 1,
    }


@pytest.mark.parametrize("name", SAMPLING)
def test_other_models_get_the_usual(server: LoopbackServer, name: str) -> None:
    server.always(build_reply())
    make_model(server, model=name).complete_sync("hello")
    assert (get_last_body(server)["max_tokens"], get_last_body(server)["temperature"]) == (
        4096,
        0.7,
    )
    assert "max_completion_tokens" not in get_last_body(server)


def test_extra_headers_are_sent_and_win(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    headers = {"X-Mine": "1", "Authorization": "Bearer another", "User-Agent": "mine"}
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(make_model(server), "hello", extra_headers=headers)
        sent_headers = server.requests[-1].headers
        assert (
            sent_headers["x-mine"],
            sent_headers["authorization"],
            sent_headers["user-agent"],
        ) == (
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
def test_extra_headers_that_cannot_be_sent_are_an_error_without_their_values(
    server: LoopbackServer, runtime: Runtime, headers: Any
) -> None:
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ConfigurationError, match="header") as exc_info:
            call_model(make_model(server), "hello", extra_headers=headers)
        assert "hidden" not in str(exc_info.value)
    assert server.connections_total == 0


def test_extra_body_is_sent_and_wins(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    extra = {"top_k": 5, "temperature": 0.25, "provider": {"order": ["a", None]}}
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(make_model(server), "hello", extra_body=extra)
        assert {name: get_last_body(server)[name] for name in extra} == extra
    with pytest.raises(ConfigurationError, match="extra_body"):
        runtime.complete(make_model(server), "hello", extra_body=[1])
    with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        runtime.complete(make_model(server), "hello", extra_body={"what": object()})


def test_a_tool_is_chosen_by_its_name(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server)
    runtime.complete(model, "hello", [LOOK_TOOL], tool_choice="look")
    assert get_last_body(server)["tool_choice"] == {
        "type": "function",
        "function": {"name": "look"},
    }
    for choice in ("auto", "none", "required", {"type": "function", "function": {"name": "x"}}):
        runtime.complete(model, "hello", [LOOK_TOOL], tool_choice=choice)
        assert get_last_body(server)["tool_choice"] == choice
    with pytest.raises(ConfigurationError, match=r"tool_choice='listen'.*\(look\)"):
        runtime.complete(model, "hello", [LOOK_TOOL], tool_choice="listen")


def test_a_response_format_is_sent_as_it_is(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    response_format = {
        "type": "json_schema",
        "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}},
    }
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(make_model(server), "hello", response_format=response_format)
        assert get_last_body(server)["response_format"] == response_format
    with pytest.raises(ConfigurationError, match="response_format"):
        runtime.complete(make_model(server), "hello", response_format="json_object")


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
def test_an_invalid_conversation_is_an_error_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, messages: Sequence[Message], position: str
) -> None:
    for call_model in (runtime.complete, runtime.open_stream):
        with pytest.raises(ValueError, match=position):
            call_model(make_model(server), messages)
    assert server.connections_total == 0


def test_a_lone_surrogate_is_an_error_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime
) -> None:
    with pytest.raises(ConfigurationError, match="surrogate"):
        runtime.complete(make_model(server), "half \ud83d")
    assert server.connections_total == 0


def test_bound_tools_are_copies_of_the_callers_objects() -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"required": ["a"]}}}
    extra = {"a": {"b": [1]}}
    model = OpenAIModel("any", API_KEY).bind_tools([tool], extra_body=extra)
    before = pickle.dumps((model.tools, model.options))
    tool["function"]["parameters"]["required"].append("c")  # type: ignore[index]
    tool["function"]["name"] = "other"  # type: ignore[index]
    extra["a"]["b"].append(2)
    assert pickle.dumps((model.tools, model.options)) == before
    with pytest.raises(TypeError, match="immutable"):
        model.tools[0]["function"]["name"] = "other"


# -- fallbacks after an error ------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422])
def test_rejected_stream_options_are_left_out(
    server: LoopbackServer, runtime: Runtime, status: int
) -> None:
    server.always(
        Reply.error(status, "Unrecognized request argument: stream_options"), build_stream_reply()
    )
    assert (
        join_text(runtime.collect_events(make_model(server, max_retries=0), "hello", seed=4))
        == TEXT
    )
    first, second = (request.json() for request in server.requests)
    assert first.pop("stream_options") == {"include_usage": True}
    assert second == first


def test_the_fallback_sends_the_same_conversation(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(
        Reply.error(400, "Unrecognized request argument: stream_options"), build_stream_reply()
    )
    messages: Any = iter([Message.user("hello")])  # an iterator can be read once only
    tools: Any = iter([LOOK_TOOL])
    assert (
        join_text(runtime.collect_events(make_model(server, max_retries=0), messages, tools))
        == TEXT
    )
    first, second = (request.json() for request in server.requests)
    assert (first["messages"], first["tools"]) == (second["messages"], second["tools"])
    assert (second["messages"], second["tools"]) == (HELLO, [LOOK_TOOL])


def test_other_status_errors_of_a_stream_are_raised(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.error(400, "temperature is too high"))
    with pytest.raises(BadRequestError, match="temperature is too high"):
        runtime.collect_events(make_model(server), "hello")
    server.always(Reply.error(400, "stream_options are wrong, and all the rest too"))
    with pytest.raises(BadRequestError):
        runtime.collect_events(make_model(server), "hello")
    with pytest.raises(BadRequestError):
        runtime.complete(make_model(server), "hello")
    assert len(server.requests) == 4


def test_stream_usage_can_be_switched_off(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply.sse(build_chunks()[:-1]))
    events = runtime.collect_events(make_model(server, stream_usage=False), "hello")
    assert join_text(events) == TEXT
    assert events[-1].usage == {}
    assert "stream_options" not in get_last_body(server)


# -- custom builders and parsers ---------------------------------------------------------------


class CustomBuilder(ChatCompletionsBuilder):
    """For a provider whose requests have another member."""

    def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
        return {**super().build(messages, tools, **options), "volume": 11}


class CustomParser(ChatCompletionsParser):
    """For a provider that wraps its responses."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        return attrs.evolve(super().parse(response), model="renamed")


@attrs.frozen
class CustomFormat:
    """A format of its own, without any of Locus's classes."""

    def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
        return {"ask": messages, "to": options["model"], "streamed": options["stream"]}

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        assert isinstance(response, bytes)
        return ModelResponse(Message.assistant(response.decode()))

    def make_decoder(self) -> Any:
        return ChatCompletionsParser().make_decoder()


def test_a_builder_and_a_parser_can_be_replaced(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(server, request_builder=CustomBuilder(), response_parser=CustomParser())
    assert runtime.complete(model, "hello").model == "renamed"
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert [request.json()["volume"] for request in server.requests] == [11, 11]
    assert model.copy(temperature=0.1).request_builder is model.request_builder
    assert pickle.loads(pickle.dumps(model)).copy(seed=1).config.seed == 1


def test_a_provider_that_locus_does_not_know(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply(200, {"content-type": "text/plain"}, b"hi"), build_stream_reply())
    model = make_model(server, request_builder=CustomFormat(), response_parser=CustomFormat())
    assert runtime.complete(model, "hello").content == "hi"
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert [request.json() for request in server.requests] == [
        {"ask": "hello", "to": "loop-1", "streamed": streams} for streams in (False, True)
    ]


# -- secrets -----------------------------------------------------------------------------------


def make_echo_reply(status: int) -> Any:
    """Makes a reply that repeats the key of the request in its error message."""

    def respond(received: Received) -> Reply:
        key = received.headers["authorization"]
        return Reply.error(status, f"I do not know {key}")

    return respond


def reply_with_page(received: Received) -> Reply:
    return Reply.html(f"<p>{received.headers['authorization']}</p>", 200)


def reply_with_stream(received: Received) -> Reply:
    error = {
        "error": {"message": f"no {received.headers['authorization']}", "type": "server_error"}
    }
    return Reply.sse([*build_chunks()[:3], error])


@pytest.mark.parametrize(
    "respond",
    [make_echo_reply(401), make_echo_reply(500), reply_with_page, reply_with_stream],
    ids=["401", "500", "page", "stream"],
)
def test_a_key_is_in_no_error(
    server: LoopbackServer,
    runtime: Runtime,
    respond: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.always(respond)
    caplog.set_level(logging.DEBUG)
    calls = (
        [runtime.collect_events]
        if respond is reply_with_stream
        else [runtime.complete, runtime.collect_events]
    )
    for call_model in calls:
        with pytest.raises(APIError) as exc_info:
            call_model(
                make_model(server, max_retries=1), "hello", extra_headers={"x-api-key": "hunter2"}
            )
        error = exc_info.value
        texts = [
            str(error),
            repr(error),
            "".join(traceback.format_exception(error)),
            repr(vars(error)),
            repr(pickle.dumps(error)),
            repr(vars(pickle.loads(pickle.dumps(error)))),
        ]
        assert [API_KEY in text for text in texts] == [False] * len(texts)
        assert "***" in repr(vars(error))
    assert API_KEY not in caplog.text
    for record in caplog.records:
        assert API_KEY not in repr(vars(record))
    assert API_KEY not in "".join(capfd.readouterr())


def test_a_key_in_a_response_header_is_in_no_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(
        lambda received: Reply.error(401, headers={"x-echo": received.headers["authorization"]})
    )
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(AuthenticationError) as exc_info:
            call_model(make_model(server), "hello")
        assert exc_info.value.headers["x-echo"] == "***"


def test_a_key_in_another_header_is_in_no_error(server: LoopbackServer, runtime: Runtime) -> None:
    names = ("x-api-key", "api-key", "cookie", "x-password", "x-goog-api-key", "x-token")

    def respond(received: Received) -> Reply:
        return Reply.error(401, " ".join(received.headers[name] for name in names))

    server.always(respond)
    with pytest.raises(AuthenticationError) as exc_info:
        runtime.complete(
            make_model(server), "hello", extra_headers={name: f"hidden-{name}" for name in names}
        )
    assert "hidden-" not in str(exc_info.value) + exc_info.value.body


def test_a_key_of_a_custom_client_is_in_no_error(server: LoopbackServer) -> None:
    server.always(make_echo_reply(401))
    with httpx.Client(headers={"authorization": f"Bearer {API_KEY}"}) as client:
        model = OpenAIModel("any", base_url=server.url, http_client=client)
        with pytest.raises(AuthenticationError) as exc_info:
            model.complete_sync("hello")
    assert API_KEY not in str(exc_info.value) + exc_info.value.body


def test_a_key_is_in_no_connection_error(runtime: Runtime) -> None:
    with LoopbackServer() as server:
        model = make_model(server)
    with pytest.raises(APIError) as exc_info:
        runtime.complete(model, "hello")
    lines = traceback.TracebackException.from_exception(exc_info.value, capture_locals=True)
    ours = [line for line in "".join(lines.format()).split("\n") if API_KEY in line]
    assert ours == []


def test_a_key_is_in_no_repr() -> None:
    model = OpenAIModel("m", API_KEY, UNUSED_ADDRESS).bind_tools(
        [], extra_headers={"x-api-key": "hunter2"}
    )
    for value in (model, model.config, model.copy(seed=1), [model], {"model": model}):
        for text in (repr(value), str(value), f"{value!r}"):
            assert API_KEY not in text
            assert "hunter2" not in text
    assert "'m'" in repr(model)


def test_an_error_names_provider_model_and_url_and_gives_a_hint(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.error(401, "Incorrect API key provided", code="invalid_api_key"))
    with pytest.raises(AuthenticationError) as exc_info:
        runtime.complete(make_model(server), "hello")
    assert str(exc_info.value) == (
        f"openai loop-1: POST {server.url}/v1/chat/completions: 401: Incorrect API key provided "
        "(check api_key= or OPENAI_API_KEY)"
    )
    again = pickle.loads(pickle.dumps(exc_info.value))
    assert str(again) == str(exc_info.value)
    assert (again.status_code, again.body) == (401, exc_info.value.body)
    assert isinstance(again, LocusError)


def test_an_html_page_as_response_is_an_error_with_a_hint(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.html("<html>welcome</html>", 200))
    with pytest.raises(
        ResponseParseError, match="check that base_url is the API's root"
    ) as exc_info:
        runtime.complete(make_model(server), "hello")
    assert exc_info.value.body == "<html>welcome</html>"


# -- the SDK's client --------------------------------------------------------------------------


@pytest.mark.sdk
def test_client_is_the_sdks_with_this_models_settings() -> None:
    openai = pytest.importorskip("openai")
    model = OpenAIModel(
        "m",
        API_KEY,
        UNUSED_ADDRESS,
        organization="org-1",
        project="proj_1",
        timeout=7.0,
        max_retries=5,
    )
    client = model.client
    assert isinstance(client, openai.AsyncOpenAI)
    assert client.api_key == API_KEY
    assert str(client.base_url) == UNUSED_ADDRESS + "/"
    assert (client.organization, client.project) == ("org-1", "proj_1")
    assert (client.timeout, client.max_retries) == (7.0, 5)
    assert model.client is client


@pytest.mark.sdk
def test_a_copy_has_a_client_with_its_settings() -> None:
    pytest.importorskip("openai")
    model = OpenAIModel("m", API_KEY, UNUSED_ADDRESS)
    assert model.client.api_key == API_KEY
    other = model.copy(api_key="sk-the-other-one", timeout=3.0)
    assert (other.client.api_key, other.client.timeout) == ("sk-the-other-one", 3.0)
    assert model.client.api_key == API_KEY
    assert model.bind_tools([]).client is model.client


@pytest.mark.sdk
def test_client_works_in_each_loop(server: LoopbackServer) -> None:
    pytest.importorskip("openai")
    server.always(build_reply())
    model = make_model(server)
    clients = []

    async def main() -> None:
        client = model.client
        assert model.client is client
        clients.append(client)
        response = await client.chat.completions.create(model="m", messages=HELLO)
        assert response.choices[0].message.content == TEXT
        await model.aclose()

    for backend in ("asyncio", "trio", "asyncio"):
        run_async(backend, main)
        server.wait_closed()
    assert len({id(client) for client in clients}) == 3


@pytest.mark.sdk
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_dropped_models_client_is_closed_while_its_loop_runs(
    server: LoopbackServer, backend: str
) -> None:
    pytest.importorskip("openai")
    server.always(build_reply())

    async def main() -> None:
        last = make_model(server)
        dropped = []
        for _ in range(3):
            model = make_model(server)
            client = model.client
            await client.chat.completions.create(model="m", messages=HELLO)
            dropped.append((weakref.ref(model.connections), client))
            del model
        gc.collect()
        await last.complete("hello")  # dropped clients are closed at the next call
        assert all(reference() is None for reference, _ in dropped)
        assert all(client.is_closed() for _, client in dropped)
        await last.aclose()

    run_async(backend, main)
    server.wait_closed()


@pytest.mark.sdk
def test_client_is_closed_at_the_end_of_its_loop(server: LoopbackServer) -> None:
    pytest.importorskip("openai")
    server.always(build_reply())
    run_script(
        f"""
        import asyncio, gc, trio, openai
        from locus import OpenAIModel
        model = OpenAIModel("m", {API_KEY!r}, "{server.url}/v1")

        async def main():
            messages = [{{"role": "user", "content": "hello"}}]
            await model.client.chat.completions.create(model="m", messages=messages)

        asyncio.run(main())
        trio.run(main)
        gc.collect()
        """
    )
    server.wait_closed()


def test_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigurationError, match=r'pip install "locus-llm\[openai\]"') as exc_info:
        _ = OpenAIModel("m", API_KEY, UNUSED_ADDRESS).client
    assert "\n" not in str(exc_info.value)
