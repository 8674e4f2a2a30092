"""``api_key=`` may be a function, blocking or async, which is asked for each request."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from locus import AnthropicModel, OCIChatCompletionsModel, OllamaModel, OpenAIModel
from locus.core.errors import AuthenticationError, ConfigurationError
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Received, Reply
from tests.support.chat_replies import TEXT, build_reply, build_stream_reply, join_text

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")


def get_fixed_key() -> str:
    return "zq-fixed-key"


class Keys:
    """Returns another key each time."""

    def __init__(self) -> None:
        self.count = 0

    def get_next(self) -> str:
        self.count += 1
        return f"zq-key-{self.count}"

    async def get_next_async(self) -> str:
        await anyio.lowlevel.checkpoint()
        return self.get_next()


def make_model(server: LoopbackServer, api_key: Any, **kw: Any) -> OpenAIModel:
    return OpenAIModel("m", api_key, server.url, **{"max_retries": 0, **kw})


def get_sent_keys(server: LoopbackServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


def test_each_request_has_a_key_of_its_own(server: LoopbackServer, runtime: Runtime) -> None:
    server.enqueue(build_reply(), build_stream_reply(), Reply.error(503, retry_after=0))
    server.always(build_reply())
    model = make_model(server, Keys().get_next, max_retries=1)
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert runtime.complete(model, "hello").content == TEXT
    assert get_sent_keys(server) == ["zq-key-1", "zq-key-2", "zq-key-3", "zq-key-4"]
    runtime.close(model)


def test_an_async_function_is_awaited(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server, Keys().get_next_async)
    if runtime.name == "blocking":
        with pytest.raises(ConfigurationError, match="async function, which a blocking call"):
            runtime.complete(model, "hello")
        assert not server.requests
    else:
        assert runtime.complete(model, "hello").content == TEXT
        assert get_sent_keys(server) == ["zq-key-1"]
    runtime.close(model)


def test_the_key_shows_nowhere(server: LoopbackServer, runtime: Runtime) -> None:
    def echo(received: Received) -> Reply:
        return Reply.error(401, f"wrong key {received.headers['authorization']}")

    server.always(echo)
    model = make_model(server, get_fixed_key)
    with pytest.raises(AuthenticationError) as exc_info:
        runtime.complete(model, "hello")
    shown = [str(exc_info.value), exc_info.value.body, repr(model), repr(model.config)]
    assert "zq-fixed-key" not in "".join(shown)
    assert b"zq-fixed-key" not in pickle.dumps(exc_info.value) + pickle.dumps(model)
    assert pickle.loads(pickle.dumps(model)) == model
    runtime.close(model)


@pytest.mark.parametrize("returned", [None, "", 5, " key", "k\n"], ids=repr)
def test_what_is_no_key_is_an_error(server: LoopbackServer, returned: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"api_key|the header authorization"):
        make_model(server, lambda: returned).complete_sync("hello")
    assert not server.requests


def test_an_error_of_the_function_is_raised(server: LoopbackServer, runtime: Runtime) -> None:
    def fail() -> str:
        raise OSError("the key store is closed")

    model = make_model(server, fail)
    with pytest.raises(OSError, match="the key store is closed"):
        runtime.complete(model, "hello")
    assert not server.requests
    runtime.close(model)


@pytest.mark.parametrize(
    ("make", "header", "expected"),
    [
        (AnthropicModel, "x-api-key", "zq-fixed-key"),
        (OllamaModel, "authorization", "Bearer zq-fixed-key"),
        (OCIChatCompletionsModel, "authorization", "Bearer zq-fixed-key"),
    ],
)
def test_every_provider_takes_a_function(
    server: LoopbackServer, make: Callable[..., Any], header: str, expected: str
) -> None:
    server.always(Reply.error(400, "seen"))
    model = make("m", api_key=get_fixed_key, base_url=server.url, max_retries=0)
    with pytest.raises(Exception, match="seen"):
        model.complete_sync("hello")
    assert server.requests[0].headers[header] == expected
    assert "zq-fixed-key" not in repr(model)


def test_a_callers_own_client_gets_the_key_too(server: LoopbackServer) -> None:
    server.always(build_reply())
    with httpx.Client() as client:
        model = OpenAIModel("m", get_fixed_key, server.url, http_client=client)
        assert model.complete_sync("hello").content == TEXT
    assert get_sent_keys(server) == ["zq-fixed-key"]


@pytest.mark.sdk
@pytest.mark.parametrize("function", ["get_next", "get_next_async"])
def test_the_sdk_client_asks_the_function(server: LoopbackServer, function: str) -> None:
    server.always(build_reply())
    model = make_model(server, getattr(Keys(), function))

    async def ask() -> None:
        client = model.client
        for _ in range(2):
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hello"}]
            )
        await client.close()

    anyio.run(ask)
    assert get_sent_keys(server) == ["zq-key-1", "zq-key-2"]


@pytest.mark.sdk
@pytest.mark.parametrize("function", ["get_next", "get_next_async"])
@pytest.mark.parametrize("make", [AnthropicModel, OllamaModel])
def test_sdk_clients_without_functions_of_their_own_ask_it_as_well(
    server: LoopbackServer, make: Callable[..., Any], function: str
) -> None:
    server.always(Reply.error(400, "no"))
    model = make("m", api_key=getattr(Keys(), function), base_url=server.url, max_retries=0)
    header = "x-api-key" if make is AnthropicModel else "authorization"

    async def call(client: Any, messages: Any) -> None:
        if make is AnthropicModel:
            await client.messages.create(model="m", max_tokens=9, messages=messages)
        else:
            await client.chat("m", messages)

    async def ask() -> None:
        messages = [{"role": "user", "content": "hello"}]
        client = model.client
        for _ in range(2):
            with pytest.raises(Exception, match="no"):
                await call(client, messages)
        await client.close()

    anyio.run(ask)
    sent = [received.headers[header].removeprefix("Bearer ") for received in server.requests]
    assert sent == ["zq-key-1", "zq-key-2"]
    assert all("none" not in received.headers.values() for received in server.requests)
