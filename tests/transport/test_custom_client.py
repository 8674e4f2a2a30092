"""``http_client=``: the caller's own httpx or httpx2 client, used as it is and never closed."""

from __future__ import annotations

import gzip
import importlib
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from locus.core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    StreamInterruptedError,
)
from locus.models.native.openai import OpenAIModel
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import LoopbackServer, Pause, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, build_reply, build_stream_reply, join_text
from tests.support.http2_server import start_http2_server
from tests.support.servers.openai_server import API_KEY, make_model
from tests.support.timing import FOREVER, HANG_SECONDS, HangGuard

pytestmark = pytest.mark.usefixtures("no_leaks", "clean_environment")

BASE = "http://model.test/v1"


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    """httpx and httpx2, in turn."""
    return pytest.importorskip(request.param)


@pytest.fixture
def make_client(library: Any, runtime: Runtime) -> Iterator[Callable[..., Any]]:
    """Makes a client for the runtime, blocking or async, and closes it after the test."""
    clients: list[Any] = []

    def make(**kw: Any) -> Any:
        client_class = library.Client if runtime.name == "blocking" else library.AsyncClient
        clients.append(client_class(**{"trust_env": False, "timeout": FOREVER, **kw}))
        return clients[-1]

    yield make
    for client in clients:
        if runtime.name == "blocking":
            client.close()
        else:
            runtime.close(client)


def test_it_sends_through_the_client(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(
        server, http_client=make_client(headers={"x-mine": "1", "user-agent": "mine"})
    )
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    for request in server.requests:
        assert request.headers["x-mine"] == "1"
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert request.connection == 1


def test_it_is_never_closed(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(build_reply())
    client = make_client()
    model = make_model(server, http_client=client)
    runtime.run_in_context(model, lambda entered_model: runtime.complete(entered_model, "hello"))
    runtime.close(model)
    runtime.close(model.copy(temperature=0.1))
    assert not client.is_closed
    runtime.complete(model, "hello")
    del model
    assert not client.is_closed
    assert server.connections_total == 1


def test_a_client_serves_several_models(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(build_reply())
    client = make_client()
    for name in ("one", "two"):
        runtime.complete(make_model(server, model=name, http_client=client), "hello")
    assert [request.json()["model"] for request in server.requests] == ["one", "two"]
    assert server.connections_total == 1


def test_a_test_transport_needs_no_server(
    runtime: Runtime, make_client: Callable[..., Any], library: Any
) -> None:
    seen: list[Any] = []

    def handle_request(request: Any) -> Any:
        seen.append(request)
        reply = build_stream_reply() if b'"stream":true' in request.content else build_reply()
        return library.Response(200, headers=dict(reply.headers), content=reply.content)

    client = make_client(transport=library.MockTransport(handle_request))
    model = OpenAIModel("m", API_KEY, BASE, http_client=client)
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert [str(request.url) for request in seen] == [f"{BASE}/chat/completions"] * 2


def test_a_test_transport_may_stream(
    runtime: Runtime, make_client: Callable[..., Any], library: Any
) -> None:
    chunks = [chunk for chunk in build_stream_reply().body if isinstance(chunk, bytes)]

    def blocking_body() -> Iterator[bytes]:
        yield from chunks

    async def async_body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            await anyio.lowlevel.checkpoint()
            yield chunk

    def handle_request(request: Any) -> Any:
        return library.Response(
            200, content=blocking_body() if runtime.name == "blocking" else async_body()
        )

    client = make_client(transport=library.MockTransport(handle_request))
    model = OpenAIModel("m", API_KEY, BASE, http_client=client)
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    with runtime.open_stream(model, "hello") as events:
        assert next(events).content == TEXT_CHUNKS[0]


def test_a_dropped_stream_returns_its_connection_to_the_client(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(build_stream_reply().stall(sum(map(len, build_stream_reply().body[:3]))))
    model = make_model(server, http_client=make_client())
    events = runtime.open_stream(model, "hello")
    next(events)
    del events
    server.wait_closed()
    server.always(build_reply())
    assert runtime.complete(model, "hello").content == TEXT


def test_its_hooks_are_called(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(build_reply())
    seen: list[str] = []

    def record_request(request: Any) -> None:
        seen.append(str(request.url))

    async def record_request_async(request: Any) -> None:
        record_request(request)

    hooks = {"request": [record_request if runtime.name == "blocking" else record_request_async]}
    runtime.complete(make_model(server, http_client=make_client(event_hooks=hooks)), "hello")
    assert seen == [f"{server.url}/v1/chat/completions"]


def test_the_timeout_of_the_client_is_used(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(build_reply().stall(0, "head"))
    model = OpenAIModel(
        "m", API_KEY, f"{server.url}/v1", http_client=make_client(timeout=0.1), max_retries=0
    )
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APITimeoutError):
            call_model(model, "hello")


def test_an_explicit_timeout_replaces_that_of_the_client(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(build_reply().stall(0, "head"))
    patient_client = make_client(timeout=FOREVER)
    with HangGuard(), pytest.raises(APITimeoutError):
        runtime.complete(make_model(server, http_client=patient_client, timeout=0.1), "hello")
    with HangGuard(), pytest.raises(APITimeoutError):
        runtime.complete(make_model(server, http_client=patient_client), "hello", timeout=0.1)
    first, second = build_reply().split_at(20).body
    server.always(build_reply().with_body(first, Pause(0.3), second))
    model = make_model(server, http_client=make_client(timeout=0.1))
    assert runtime.complete(model, "hello", timeout=None).content == TEXT


def test_its_failures_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any], library: Any
) -> None:
    server.always(
        Reply.error(401),
        build_stream_reply().truncate(sum(map(len, build_stream_reply().body[:3]))),
    )
    model = make_model(server, http_client=make_client())
    with pytest.raises(AuthenticationError):
        runtime.complete(model, "hello")
    with pytest.raises(StreamInterruptedError):
        runtime.collect_events(model, "hello")

    def raise_connect_error(request: Any) -> Any:
        raise library.ConnectError("no route", request=request)

    model = OpenAIModel(
        "m",
        API_KEY,
        BASE,
        http_client=make_client(transport=library.MockTransport(raise_connect_error)),
        max_retries=0,
    )
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APIConnectionError, match="no route") as exc_info:
            call_model(model, "hello")
        assert isinstance(exc_info.value.__cause__, library.ConnectError)


def test_locus_retries(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    server.always(Reply.error(429, headers={"retry-after-ms": "1"}), build_reply())
    assert (
        runtime.complete(make_model(server, http_client=make_client(), max_retries=1), "x").content
        == TEXT
    )


def test_a_pair_serves_every_runtime(server: LoopbackServer, library: Any, backend: str) -> None:
    server.always(build_reply())

    async def main() -> None:
        with library.Client(trust_env=False) as blocking_body:
            async with library.AsyncClient(trust_env=False) as async_body:
                for pair in ((blocking_body, async_body), [async_body, blocking_body]):
                    model = make_model(server, http_client=pair)
                    assert model.complete_sync("hello").content == TEXT
                    assert (await model.complete("hello")).content == TEXT

    run_async(backend, main)
    assert len(server.requests) == 4


def test_a_pair_may_mix_httpx_and_httpx2(server: LoopbackServer) -> None:
    pytest.importorskip("httpx2")
    httpx, httpx2 = importlib.import_module("httpx"), importlib.import_module("httpx2")
    server.always(build_reply())

    async def main() -> None:
        with httpx2.Client(trust_env=False) as blocking_body:
            async with httpx.AsyncClient(trust_env=False) as async_body:
                model = make_model(server, http_client=(blocking_body, async_body))
                assert model.complete_sync("hello").content == TEXT
                assert (await model.complete("hello")).content == TEXT

    run_async("asyncio", main)


def test_a_client_of_a_subclass(server: LoopbackServer, library: Any) -> None:
    class CustomClientClass(library.Client):  # type: ignore[misc, name-defined]
        pass

    server.always(build_reply())
    with CustomClientClass(trust_env=False) as client:
        assert make_model(server, http_client=client).complete_sync("hello").content == TEXT


def test_a_client_for_the_other_runtime_is_a_clear_error(library: Any, backend: str) -> None:
    with library.Client() as client:
        model = OpenAIModel("m", API_KEY, BASE, http_client=client)

        async def call_model() -> None:
            with pytest.raises(ConfigurationError, match="only a blocking client"):
                await model.complete("hello")
            with pytest.raises(ConfigurationError, match="only a blocking client"):
                async for _ in model.stream("hello"):
                    pass

        run_async(backend, call_model)

    async def main() -> None:
        async with library.AsyncClient() as client:
            model = OpenAIModel("m", API_KEY, BASE, http_client=client)
            with pytest.raises(ConfigurationError, match="only an async client"):
                model.complete_sync("hello")
            with pytest.raises(ConfigurationError, match="only an async client"):
                next(model.stream_sync("hello"))

    run_async(backend, main)


def list_invalid_clients(httpx: ModuleType) -> list[Any]:
    return [object(), "http://proxy:3128", httpx.Client, httpx.Response(200), (), (None,), {}, 0]


def test_anything_else_is_a_type_error(library: Any) -> None:
    for client in list_invalid_clients(library):
        with pytest.raises(TypeError, match="http_client= takes an httpx"):
            OpenAIModel("m", API_KEY, BASE, http_client=client)


def test_two_blocking_clients_are_an_error(library: Any) -> None:
    with (
        library.Client() as one,
        library.Client() as other,
        pytest.raises(TypeError, match="http_client= takes an httpx"),
    ):
        OpenAIModel("m", API_KEY, BASE, http_client=(one, other))


def test_a_model_with_a_client_cannot_be_pickled(library: Any) -> None:
    with library.Client() as client:
        model = OpenAIModel("m", API_KEY, BASE, http_client=client)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(model)


def test_a_model_with_a_client_is_compared_by_value(library: Any) -> None:
    with library.Client() as client, library.Client() as other:
        model = OpenAIModel("m", API_KEY, BASE, http_client=client)
        assert model == OpenAIModel("m", API_KEY, BASE, http_client=client)
        assert hash(model) == hash(OpenAIModel("m", API_KEY, BASE, http_client=client))
        assert model != OpenAIModel("m", API_KEY, BASE, http_client=other)
        assert model != OpenAIModel("m", API_KEY, BASE)
        assert model.copy(temperature=0.1).http_client is client
        assert model.copy(http_client=other).http_client is other
        assert model.copy(http_client=None).http_client is None


def test_no_key_is_needed_with_a_client(
    runtime: Runtime, make_client: Callable[..., Any], library: Any
) -> None:
    """The client may send to a proxy that adds the key."""

    def handle_request(request: Any) -> Any:
        assert "authorization" not in request.headers
        return library.Response(200, content=build_reply().content)

    client = make_client(transport=library.MockTransport(handle_request))
    assert runtime.complete(OpenAIModel("m", http_client=client), "hello").content == TEXT


def test_the_default_timeout_counts_only_if_it_is_explicit() -> None:
    """600 seconds are Locus's default; only an explicit 600 replaces the client's own timeout."""
    httpx = pytest.importorskip("httpx")
    seen: list[float] = []

    def handle_request(request: Any) -> Any:
        seen.append(request.extensions["timeout"]["read"])
        message = {"role": "assistant", "content": "hi"}
        return httpx.Response(200, json={"choices": [{"message": message}]})

    with httpx.Client(transport=httpx.MockTransport(handle_request), timeout=7.0) as client:
        model = OpenAIModel("m", API_KEY, "http://loop.test/v1", http_client=client)
        model.complete_sync("hello")
        model.complete_sync("hello", timeout=600.0)
        model.bind_tools([], timeout=600.0).complete_sync("hello")
    assert seen == [7.0, 600.0, 600.0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_that_was_closed_is_a_clear_error(backend: str) -> None:
    httpx = pytest.importorskip("httpx")

    async def main() -> None:
        blocking_body, async_body = httpx.Client(), httpx.AsyncClient()
        blocking_body.close()
        await async_body.aclose()
        model = OpenAIModel(
            "m", API_KEY, "http://loop.test/v1", http_client=(blocking_body, async_body)
        )
        with pytest.raises(ConfigurationError, match="has been closed"):
            model.complete_sync("hello")
        with pytest.raises(ConfigurationError, match="has been closed"):
            await model.complete("hello")

    run_async(backend, main)


def test_redirects_are_not_followed(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    """The key would travel with them."""
    with LoopbackServer() as other:
        place = f"{other.url.replace('127.0.0.1', 'localhost')}/elsewhere"
        server.always(Reply(308, {"location": place}, b""))
        model = make_model(server, http_client=make_client(follow_redirects=True))
        for call_model in (runtime.complete, runtime.collect_events):
            with pytest.raises(APIStatusError, match="elsewhere") as exc_info:
                call_model(model, "hello")
            assert exc_info.value.status_code == 308
        assert not other.requests


def test_what_a_server_sets_is_not_sent_with_another_call(
    server: LoopbackServer, runtime: Runtime, make_client: Callable[..., Any]
) -> None:
    """The cookies that the client had are the caller's, and are sent."""
    server.always(build_reply().with_header("set-cookie", "session=tenant-a; Path=/"))
    client = make_client(cookies={"mine": "1", "session": "0"})
    model = make_model(server, http_client=client)
    for other in (model, model.copy(api_key="another")):
        runtime.complete(other, "hello")
        assert dict(client.cookies) == {"mine": "1", "session": "0"}
    runtime.complete(model, "hello", extra_headers={"cookie": "this=1"})
    sent = [request.headers["cookie"] for request in server.requests]
    assert sent == ["mine=1; session=0"] * 2 + ["this=1"]


@pytest.mark.parametrize("second_loop", ["asyncio", "trio"])
def test_a_client_of_another_loop_is_a_clear_error(library: Any, second_loop: str) -> None:
    """It fails with a RuntimeError of its first loop, at a connection that it has kept."""
    loops: list[str] = []

    async def handle_request(_: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        loops.append("")
        if len(loops) > 1:
            raise RuntimeError("Event loop is closed")
        return library.Response(200, content=build_reply().content)

    client = library.AsyncClient(transport=library.MockTransport(handle_request))
    model = OpenAIModel("m", API_KEY, BASE, http_client=client)
    assert run_async("asyncio", model.complete, "hello").content == TEXT
    with pytest.raises(ConfigurationError, match=r"the client .* another event loop"):
        run_async(second_loop, model.complete, "hello")


def test_other_codings_than_ours_are_named(
    runtime: Runtime, make_client: Callable[..., Any], library: Any
) -> None:
    """Bodies are decoded as those of Locus's own connections are, whatever httpx could read."""

    def blocking_body(data: bytes) -> Iterator[bytes]:
        yield data[:20]
        yield data[20:]

    async def async_body(data: bytes) -> AsyncIterator[bytes]:
        for piece in blocking_body(data):
            await anyio.lowlevel.checkpoint()
            yield piece

    def handle_request(request: Any) -> Any:
        packed = gzip.compress(build_reply().content[:9]) + gzip.compress(build_reply().content[9:])
        body = (blocking_body if runtime.name == "blocking" else async_body)(packed)
        coding = request.headers.get("x-coding", "gzip")
        return library.Response(200, headers={"content-encoding": coding}, content=body)

    client = make_client(transport=library.MockTransport(handle_request))
    model = OpenAIModel("m", API_KEY, BASE, http_client=client, max_retries=0)
    assert runtime.complete(model, "hello").content == TEXT
    for coding in ("compress", "gzip, gzip"):
        with pytest.raises(APIConnectionError, match=coding):
            runtime.complete(model, "hello", extra_headers={"x-coding": coding})


def test_streams_of_one_http2_connection_do_each_other_no_harm(
    runtime: Runtime, library: Any
) -> None:
    """One is left, and another has its content but not its last frame: a third one goes on."""
    go_on = threading.Event()
    reply = build_stream_reply()

    def pause(prompt: str, sent: int) -> None:
        if (prompt == "late" and sent == len(reply.body)) or (prompt != "late" and sent == 3):
            go_on.wait(HANG_SECONDS)

    with start_http2_server(reply, pause) as server:
        make: Any = library.Client if runtime.name == "blocking" else library.AsyncClient
        client = make(http1=False, http2=True, trust_env=False, timeout=FOREVER)
        model = OpenAIModel("m", API_KEY, server.url, http_client=client, max_retries=0)
        bystander = runtime.open_stream(model, "bystander")
        assert next(bystander).content == TEXT_CHUNKS[0]
        with runtime.open_stream(model, "left") as left:
            next(left)
        dropped = runtime.open_stream(model, "dropped")
        next(dropped)
        del dropped
        with HangGuard():
            assert join_text(runtime.collect_events(model, "late")) == TEXT
        go_on.set()
        assert join_text(bystander) == "".join(TEXT_CHUNKS[1:])
        assert server.connections == 1
        if runtime.name == "blocking":
            client.close()
        else:
            runtime.close(client)
