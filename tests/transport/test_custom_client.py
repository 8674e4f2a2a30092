"""``http_client=``: the caller's own httpx or httpx2 client, used as it is and never closed."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from locus.core.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    StreamInterruptedError,
)
from locus.models.native.openai import OpenAIModel
from locus.testing.loopback_server import LoopbackServer, Pause, Reply
from tests.support import runtimes
from tests.support.runtimes import KEY, TEXT, WORDS, Runtime, model_of, run, streamed, text, whole

backend, no_leaks = runtimes.backend, runtimes.no_leaks
environment, runtime, server = runtimes.environment, runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("no_leaks", "environment")

BASE = "http://model.test/v1"


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    """Each generation of the library."""
    return pytest.importorskip(request.param)


@pytest.fixture
def bring(library: Any, runtime: Runtime) -> Iterator[Callable[..., Any]]:
    """Makes a client of the kind that the runtime wants, and closes it in the end."""
    made: list[Any] = []

    def make(**kw: Any) -> Any:
        kind = library.Client if runtime.name == "blocking" else library.AsyncClient
        made.append(kind(**{"trust_env": False, "timeout": 5.0, **kw}))
        return made[-1]

    yield make
    for client in made:
        if runtime.name == "blocking":
            client.close()
        else:
            runtime.close(client)


def test_it_sends_through_the_client(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(whole(), streamed())
    model = model_of(server, http_client=bring(headers={"x-mine": "1", "user-agent": "mine"}))
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    for request in server.requests:
        assert request.headers["x-mine"] == "1"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.connection == 1


def test_it_is_never_closed(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(whole())
    client = bring()
    model = model_of(server, http_client=client)
    runtime.within(model, lambda same: runtime.ask(same, "hello"))
    runtime.close(model)
    runtime.close(model.copy(temperature=0.1))
    assert not client.is_closed
    runtime.ask(model, "hello")
    del model
    assert not client.is_closed
    assert server.connections_total == 1


def test_a_client_serves_several_models(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(whole())
    client = bring()
    for name in ("one", "two"):
        runtime.ask(model_of(server, model=name, http_client=client), "hello")
    assert [request.json()["model"] for request in server.requests] == ["one", "two"]
    assert server.connections_total == 1


def test_a_test_transport_needs_no_server(
    runtime: Runtime, bring: Callable[..., Any], library: Any
) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> Any:
        seen.append(request)
        reply = streamed() if b'"stream":true' in request.content else whole()
        return library.Response(200, headers=dict(reply.headers), content=reply.content)

    client = bring(transport=library.MockTransport(answer))
    model = OpenAIModel("m", KEY, BASE, http_client=client)
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    assert [str(request.url) for request in seen] == [f"{BASE}/chat/completions"] * 2


def test_a_test_transport_may_stream(
    runtime: Runtime, bring: Callable[..., Any], library: Any
) -> None:
    pieces = [piece for piece in streamed().body if isinstance(piece, bytes)]

    def blocking() -> Iterator[bytes]:
        yield from pieces

    async def nonblocking() -> AsyncIterator[bytes]:
        for piece in pieces:
            await anyio.lowlevel.checkpoint()
            yield piece

    def answer(request: Any) -> Any:
        return library.Response(
            200, content=blocking() if runtime.name == "blocking" else nonblocking()
        )

    client = bring(transport=library.MockTransport(answer))
    model = OpenAIModel("m", KEY, BASE, http_client=client)
    assert text(runtime.stream(model, "hello")) == TEXT
    with runtime.open(model, "hello") as events:
        assert next(events).content == WORDS[0]


def test_a_dropped_stream_gives_its_connection_back_to_the_client(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(streamed().stall(sum(map(len, streamed().body[:3]))))
    model = model_of(server, http_client=bring())
    events = runtime.open(model, "hello")
    next(events)
    del events
    server.wait_closed(timeout=1)
    server.always(whole())
    assert runtime.ask(model, "hello").content == TEXT


def test_its_hooks_are_called(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(whole())
    seen: list[str] = []

    def hook(request: Any) -> None:
        seen.append(str(request.url))

    async def async_hook(request: Any) -> None:
        hook(request)

    hooks = {"request": [hook if runtime.name == "blocking" else async_hook]}
    runtime.ask(model_of(server, http_client=bring(event_hooks=hooks)), "hello")
    assert seen == [f"{server.url}/v1/chat/completions"]


def test_its_own_timeout_is_kept(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(whole().stall(0, "head"))
    model = OpenAIModel("m", KEY, f"{server.url}/v1", http_client=bring(timeout=0.1), max_retries=0)
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APITimeoutError):
            ask(model, "hello")


def test_a_timeout_that_is_said_wins(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(whole().stall(0, "head"))
    with pytest.raises(APITimeoutError):
        runtime.ask(model_of(server, http_client=bring(timeout=30.0), timeout=0.1), "hello")
    with pytest.raises(APITimeoutError):
        runtime.ask(model_of(server, http_client=bring(timeout=30.0)), "hello", timeout=0.1)
    first, second = whole().split_at(20).body
    server.always(whole().with_body(first, Pause(0.3), second))
    model = model_of(server, http_client=bring(timeout=0.1))
    assert runtime.ask(model, "hello", timeout=None).content == TEXT


def test_its_failures_have_locus_names(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any], library: Any
) -> None:
    server.always(Reply.error(401), streamed().truncate(sum(map(len, streamed().body[:3]))))
    model = model_of(server, http_client=bring())
    with pytest.raises(AuthenticationError):
        runtime.ask(model, "hello")
    with pytest.raises(StreamInterruptedError):
        runtime.stream(model, "hello")

    def refuse(request: Any) -> Any:
        raise library.ConnectError("no route", request=request)

    model = OpenAIModel(
        "m", KEY, BASE, http_client=bring(transport=library.MockTransport(refuse)), max_retries=0
    )
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APIConnectionError, match="no route") as caught:
            ask(model, "hello")
        assert isinstance(caught.value.__cause__, library.ConnectError)


def test_retries_are_locus_own(
    server: LoopbackServer, runtime: Runtime, bring: Callable[..., Any]
) -> None:
    server.always(Reply.error(429, headers={"retry-after-ms": "1"}), whole())
    assert runtime.ask(model_of(server, http_client=bring(), max_retries=1), "x").content == TEXT


def test_a_pair_serves_every_runtime(server: LoopbackServer, library: Any, backend: str) -> None:
    server.always(whole())

    async def main() -> None:
        with library.Client(trust_env=False) as blocking:
            async with library.AsyncClient(trust_env=False) as nonblocking:
                for pair in ((blocking, nonblocking), [nonblocking, blocking]):
                    model = model_of(server, http_client=pair)
                    assert model.complete_sync("hello").content == TEXT
                    assert (await model.complete("hello")).content == TEXT

    run(backend, main)
    assert len(server.requests) == 4


def test_a_pair_may_be_of_both_libraries(server: LoopbackServer) -> None:
    pytest.importorskip("httpx2")
    httpx, httpx2 = importlib.import_module("httpx"), importlib.import_module("httpx2")
    server.always(whole())

    async def main() -> None:
        with httpx2.Client(trust_env=False) as blocking:
            async with httpx.AsyncClient(trust_env=False) as nonblocking:
                model = model_of(server, http_client=(blocking, nonblocking))
                assert model.complete_sync("hello").content == TEXT
                assert (await model.complete("hello")).content == TEXT

    run("asyncio", main)


def test_a_client_of_a_class_of_ones_own(server: LoopbackServer, library: Any) -> None:
    class Mine(library.Client):  # type: ignore[misc, name-defined]
        pass

    server.always(whole())
    with Mine(trust_env=False) as client:
        assert model_of(server, http_client=client).complete_sync("hello").content == TEXT


def test_the_wrong_kind_for_the_call_is_said(library: Any, backend: str) -> None:
    with library.Client() as client:
        model = OpenAIModel("m", KEY, BASE, http_client=client)

        async def ask() -> None:
            with pytest.raises(ConfigurationError, match="a blocking client only"):
                await model.complete("hello")
            with pytest.raises(ConfigurationError, match="a blocking client only"):
                async for _ in model.stream("hello"):
                    pass

        run(backend, ask)

    async def main() -> None:
        async with library.AsyncClient() as client:
            model = OpenAIModel("m", KEY, BASE, http_client=client)
            with pytest.raises(ConfigurationError, match="an async client only"):
                model.complete_sync("hello")
            with pytest.raises(ConfigurationError, match="an async client only"):
                next(model.stream_sync("hello"))

    run(backend, main)


def wrong(httpx: ModuleType) -> list[Any]:
    return [object(), "http://proxy:3128", httpx.Client, httpx.Response(200), (), (None,), {}, 0]


def test_anything_else_is_a_type_error(library: Any) -> None:
    for client in wrong(library):
        with pytest.raises(TypeError, match="http_client= takes an httpx"):
            OpenAIModel("m", KEY, BASE, http_client=client)


def test_two_clients_of_one_kind_are_no_pair(library: Any) -> None:
    with (
        library.Client() as one,
        library.Client() as other,
        pytest.raises(TypeError, match="http_client= takes an httpx"),
    ):
        OpenAIModel("m", KEY, BASE, http_client=(one, other))


def test_a_model_with_a_client_stays_in_its_process(library: Any) -> None:
    with library.Client() as client:
        model = OpenAIModel("m", KEY, BASE, http_client=client)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(model)


def test_a_model_with_a_client_is_a_value_still(library: Any) -> None:
    with library.Client() as client, library.Client() as other:
        model = OpenAIModel("m", KEY, BASE, http_client=client)
        assert model == OpenAIModel("m", KEY, BASE, http_client=client)
        assert hash(model) == hash(OpenAIModel("m", KEY, BASE, http_client=client))
        assert model != OpenAIModel("m", KEY, BASE, http_client=other)
        assert model != OpenAIModel("m", KEY, BASE)
        assert model.copy(temperature=0.1).http_client is client
        assert model.copy(http_client=other).http_client is other
        assert model.copy(http_client=None).http_client is None


def test_no_key_is_asked_for_where_the_client_may_have_one(
    runtime: Runtime, bring: Callable[..., Any], library: Any
) -> None:
    """A client for a proxy that knows the key, say."""

    def answer(request: Any) -> Any:
        assert "authorization" not in request.headers
        return library.Response(200, content=whole().content)

    client = bring(transport=library.MockTransport(answer))
    assert runtime.ask(OpenAIModel("m", http_client=client), "hello").content == TEXT


def test_the_default_timeout_counts_where_it_is_said() -> None:
    """600 seconds are Locus's default; only said aloud do they replace the client's own."""
    httpx = pytest.importorskip("httpx")
    seen: list[float] = []

    def answer(request: Any) -> Any:
        seen.append(request.extensions["timeout"]["read"])
        message = {"role": "assistant", "content": "hi"}
        return httpx.Response(200, json={"choices": [{"message": message}]})

    with httpx.Client(transport=httpx.MockTransport(answer), timeout=7.0) as client:
        model = OpenAIModel("m", KEY, "http://loop.test/v1", http_client=client)
        model.complete_sync("hello")
        model.complete_sync("hello", timeout=600.0)
        model.bind_tools([], timeout=600.0).complete_sync("hello")
    assert seen == [7.0, 600.0, 600.0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_that_its_owner_closed_is_refused_by_name(backend: str) -> None:
    httpx = pytest.importorskip("httpx")

    async def main() -> None:
        blocking, nonblocking = httpx.Client(), httpx.AsyncClient()
        blocking.close()
        await nonblocking.aclose()
        model = OpenAIModel("m", KEY, "http://loop.test/v1", http_client=(blocking, nonblocking))
        with pytest.raises(ConfigurationError, match="has been closed"):
            model.complete_sync("hello")
        with pytest.raises(ConfigurationError, match="has been closed"):
            await model.complete("hello")

    run(backend, main)
