"""Providers with an API key, defined in a few lines from the common base."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import pytest

from locus import AnthropicModel, get_model, register_provider
from locus.core.errors import AuthenticationError, ConfigurationError
from locus.core.response import FinishReason
from locus.models import KeyedChatCompletionsModel, KeyedConfig, KeyedModel, registry
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Reply
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser
from tests.support.chat_replies import TEXT, build_reply, build_stream_reply, join_text
from tests.support.servers import anthropic_server
from tests.support.timing import FOREVER

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")

KEY = "sk-toy-0123456789"


class ToyModel(KeyedChatCompletionsModel):
    prefix = "toy"
    title = "Toy Cloud"
    environment = {"api_key": "TOY_API_KEY", "base_url": "TOY_URL"}  # noqa: RUF012
    default_base_url = "http://toy.invalid/v1"


@pytest.fixture
def toy_environment(clean_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ToyModel.environment.values():
        clean_environment.delenv(name, raising=False)
    return clean_environment


def make_local_toy(server: LoopbackServer, **kw: Any) -> ToyModel:
    return ToyModel("toy-1", base_url=f"{server.url}/v1", timeout=FOREVER, max_retries=0, **kw)


# -- a host with the chat completions format -------------------------------------------------------


def test_a_provider_of_a_few_lines_completes_and_streams(
    server: LoopbackServer, runtime: Runtime, toy_environment: pytest.MonkeyPatch
) -> None:
    toy_environment.setenv("TOY_API_KEY", KEY)
    toy_environment.setenv("TOY_URL", f"{server.url}/v1/")
    server.enqueue(build_reply(), build_stream_reply())
    model = ToyModel("toy-1", timeout=FOREVER, max_retries=0, seed=7)
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    runtime.close(model)
    for request in server.requests:
        assert request.path == "/v1/chat/completions"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert (request.json()["model"], request.json()["seed"]) == ("toy-1", 7)


def test_without_a_key_nothing_is_sent_and_the_error_names_the_variable(
    server: LoopbackServer, runtime: Runtime, toy_environment: pytest.MonkeyPatch
) -> None:
    model = ToyModel("toy-1")
    for call in (runtime.complete, runtime.collect_events):
        with pytest.raises(
            ConfigurationError,
            match=r"^Toy Cloud needs an API key: pass api_key=, or set TOY_API_KEY; for another",
        ):
            call(model, "hello")
    runtime.close(model)
    server.enqueue(build_reply())
    model = make_local_toy(server)  # another server may need no key
    assert runtime.complete(model, "hello").content == TEXT
    runtime.close(model)
    assert "authorization" not in server.requests[0].headers


def test_a_rejected_key_names_the_variable_and_is_never_shown(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.enqueue(Reply.json({"error": {"message": f"no such key: {KEY}"}}, status=401))
    model = make_local_toy(server, api_key=KEY)
    with pytest.raises(AuthenticationError, match="check api_key= or TOY_API_KEY") as exc_info:
        runtime.complete(model, "hello")
    runtime.close(model)
    assert KEY not in str(exc_info.value)
    assert KEY not in repr(model)


def test_arguments_come_before_the_environment(toy_environment: pytest.MonkeyPatch) -> None:
    toy_environment.setenv("TOY_API_KEY", "sk-of-the-environment")
    toy_environment.setenv("TOY_URL", "http://environment.test")
    config = ToyModel("m", KEY, "http://argument.test").config
    assert (config.api_key, config.base_url) == (KEY, "http://argument.test")
    config = ToyModel("m", "", "").config  # an empty value is the same as none
    assert (config.api_key, config.base_url) == ("sk-of-the-environment", "http://environment.test")
    toy_environment.setenv("TOY_URL", "")
    assert ToyModel("m").config.base_url == "http://toy.invalid/v1"


def test_the_first_of_several_variables_counts(toy_environment: pytest.MonkeyPatch) -> None:
    class RenamedModel(ToyModel):
        environment = {"api_key": ("TOY_API_KEY", "OLD_TOY_KEY")}  # noqa: RUF012

    with pytest.raises(ConfigurationError, match="or set TOY_API_KEY or OLD_TOY_KEY; for"):
        RenamedModel("m").build_provider_headers()
    for name, other in (("OLD_TOY_KEY", ""), ("TOY_API_KEY", KEY)):
        toy_environment.setenv("TOY_API_KEY", other)
        toy_environment.setenv(name, f"sk-{name}")
        assert RenamedModel("m").config.api_key == f"sk-{name}"
    assert RenamedModel.key_hint == "check api_key= or TOY_API_KEY or OLD_TOY_KEY"


def test_such_a_model_is_a_value_like_every_other() -> None:
    model = ToyModel("m", KEY, temperature=0)
    assert model == ToyModel("m", KEY, temperature=0)
    assert pickle.loads(pickle.dumps(model)) == model
    assert model.copy(temperature=1).config.temperature == 1
    assert ToyModel(config=model.config, model="ignored").config is model.config
    assert model.capabilities.structured_output == "always"
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        ToyModel("m", temperatur=0)


def test_it_is_registered_by_its_class(
    monkeypatch: pytest.MonkeyPatch, toy_environment: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_registered_factories", {})
    register_provider("toy", ToyModel)
    model = get_model("toy:toy-1:latest", api_key=KEY)
    assert isinstance(model, ToyModel)
    assert (model.config.model, model.provider) == ("toy-1:latest", "toy")


def test_a_host_says_what_its_own_stop_reasons_mean(server: LoopbackServer) -> None:
    class ToyParser(ChatCompletionsParser):
        stop_meanings: ClassVar[Mapping[str, FinishReason]] = {"toy_limit": "length"}

    class LimitedModel(ToyModel):
        parser_class = ToyParser

    choice = {"delta": {"content": "so"}, "finish_reason": "toy_limit"}
    body = {"choices": [{"message": {"content": "so"}, "finish_reason": "toy_limit"}]}
    model = LimitedModel("toy-1", base_url=f"{server.url}/v1", timeout=FOREVER, max_retries=0)
    for reply in (Reply.sse([{"choices": [choice]}]), Reply.json(body)):
        server.enqueue(reply)
        *_, last = model.stream_sync("hello")
        assert last.response is not None
        assert (last.stop_reason, last.response.finish_reason) == ("toy_limit", "length")
    server.enqueue(Reply.json(body))
    assert model.complete_sync("hello").finish_reason == "length"
    model.close_sync()


@pytest.mark.sdk
def test_its_sdk_client_has_its_key_and_address() -> None:
    pytest.importorskip("openai")
    client = ToyModel("m", KEY).client
    assert (client.api_key, str(client.base_url)) == (KEY, "http://toy.invalid/v1/")


@pytest.mark.parametrize(
    ("key", "message"),
    [(5, "must be a string"), (f"{KEY}\n", "api_key|header"), (f" {KEY}", "api_key|header")],
)
@pytest.mark.parametrize("cls", [ToyModel, AnthropicModel])
def test_an_invalid_key_is_an_error_at_once(cls: Any, key: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        cls("m", key)


# -- other formats and other credentials -----------------------------------------------------------


def test_a_host_with_another_known_format_is_a_subclass_too(
    server: LoopbackServer, runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    class MessagesHost(AnthropicModel):
        prefix = "messages-host"
        title = "Messages Host"
        environment: ClassVar[Mapping[str, str]] = {"api_key": "MESSAGES_HOST_KEY"}
        default_base_url = server.url

    with pytest.raises(ConfigurationError, match=r"Messages Host needs .* MESSAGES_HOST_KEY"):
        runtime.complete(MessagesHost(), "hello")
    clean_environment.setenv("MESSAGES_HOST_KEY", KEY)
    server.enqueue(anthropic_server.build_reply())
    model = MessagesHost(timeout=FOREVER, max_retries=0)
    runtime.complete(model, "hello")
    runtime.close(model)
    assert server.requests[0].headers["x-api-key"] == KEY
    assert MessagesHost.key_hint == "check api_key= or MESSAGES_HOST_KEY"


def test_a_provider_with_a_header_of_its_own_is_a_config_more(
    server: LoopbackServer, runtime: Runtime
) -> None:
    @attrs.frozen
    class OwnConfig(KeyedConfig):
        team: str | None = None

        def build_credential_headers(self) -> dict[str, str]:
            return {"x-own-key": self.api_key or "", "x-own-team": self.team or ""}

    class OwnModel(KeyedModel[OwnConfig]):
        prefix = "own"
        config_class = OwnConfig
        builder_class = ChatCompletionsBuilder
        parser_class = ChatCompletionsParser
        default_base_url = server.url
        url_path = "/chat"

    with pytest.raises(ConfigurationError, match=r"^own needs an API key: pass api_key=; for"):
        runtime.complete(OwnModel("m"), "hello")
    server.enqueue(build_reply())
    model = OwnModel("m", KEY, team="blue", timeout=FOREVER, max_retries=0)
    assert runtime.complete(model, "hello").content == TEXT
    runtime.close(model)
    request = server.requests[0]
    assert request.path == "/chat"
    assert (request.headers["x-own-key"], request.headers["x-own-team"]) == (KEY, "blue")


# -- Anthropic's two credentials -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ({}, ("KEY", "TOKEN"), ("KEY", None)),
        ({}, (None, "TOKEN"), (None, "TOKEN")),
        ({"auth_token": None}, (None, "TOKEN"), (None, "TOKEN")),
        ({"api_key": "own"}, ("KEY", "TOKEN"), ("own", None)),
        ({"auth_token": "own"}, ("KEY", "TOKEN"), (None, "own")),
    ],
)
def test_anthropic_uses_one_credential(
    clean_environment: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    variables: tuple[str | None, str | None],
    expected: tuple[str | None, str | None],
) -> None:
    for name, value in zip(("API_KEY", "AUTH_TOKEN"), variables, strict=True):
        if value is not None:
            clean_environment.setenv(f"ANTHROPIC_{name}", value)
    config = AnthropicModel(**arguments).config
    assert (config.api_key, config.auth_token) == expected
