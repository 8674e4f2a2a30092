"""Locus's own connections, against servers on plain sockets: on each runtime, and over TLS."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from locus.core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    StreamInterruptedError,
)
from locus.core.messages import ImagePart, Message
from locus.models.native.openai import OpenAIModel
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Received, Reply
from locus.transport import open_socket
from locus.transport.tls_session import get_tls_context
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, build_reply, build_stream_reply, join_text
from tests.support.raw_servers import RawServer, TlsServerFiles, read_request
from tests.support.servers.openai_server import make_model
from tests.support.subprocess_scripts import run_script
from tests.support.timing import FOREVER, HANG_SECONDS, HangGuard

pytestmark = pytest.mark.usefixtures("no_leaks", "clean_environment")

UNFINISHED = build_stream_reply().stall(sum(map(len, build_stream_reply().body[:4])))
WHOLE = b"".join(build_reply().framed("length").iter_writes())  # type: ignore[arg-type]


def make_model_at(url: str, **kw: Any) -> OpenAIModel:
    return OpenAIModel("m", "key", url, **{"timeout": FOREVER, "max_retries": 0, **kw})


# -- answers that come early -------------------------------------------------------------------

REFUSAL = b'{"error":{"message":"too large for me"}}'
REFUSAL_HEAD = b"HTTP/1.1 413 Too Large\r\ncontent-length: %d\r\n\r\n" % len(REFUSAL)


def refuse_and_close(connection: socket.socket) -> None:
    connection.recv(4000)
    connection.sendall(REFUSAL_HEAD + REFUSAL)
    connection.shutdown(socket.SHUT_WR)
    time.sleep(0.05)


def refuse_and_wait(connection: socket.socket) -> None:
    """Neither read on nor close: only what was sent shows that there is an answer."""
    connection.recv(4000)
    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + REFUSAL_HEAD)
    time.sleep(0.05)
    connection.sendall(REFUSAL)
    threading.Event().wait(FOREVER)


@pytest.mark.parametrize("serve", [refuse_and_close, refuse_and_wait])
def test_an_answer_that_comes_before_the_request_is_sent_is_read(
    runtime: Runtime, serve: Callable[[socket.socket], None]
) -> None:
    image = ImagePart(data=bytes(9 << 20), media_type="image/png")
    with RawServer(serve) as server, HangGuard():
        model = make_model_at(server.url, max_retries=2)
        with pytest.raises(APIStatusError, match="too large for me") as exc_info:
            runtime.complete(model, [Message.user([image])])
        assert exc_info.value.status_code == 413
        assert server.connections == 1


def test_a_server_that_stops_reading_is_a_timeout(runtime: Runtime) -> None:
    image = ImagePart(data=bytes(9 << 20), media_type="image/png")
    with RawServer(lambda connection: threading.Event().wait(FOREVER) and None) as server:
        model = make_model_at(server.url, timeout=0.2)
        with HangGuard(), pytest.raises(APITimeoutError, match="WriteTimeout"):
            runtime.complete(model, [Message.user([image])])


# -- connections that have died ----------------------------------------------------------------


def test_a_kept_connection_that_has_died_is_replaced_by_a_fresh_one(
    server: LoopbackServer, runtime: Runtime
) -> None:
    """It is closed when it is used again, so that nothing shows before. This is no retry."""
    used: set[int] = set()

    def answer(received: Received) -> Reply:
        if received.connection in used:
            return build_reply().truncate(0, "head")
        used.add(received.connection)
        return build_stream_reply() if received.json().get("stream") else build_reply()

    server.always(answer)
    model = make_model(server)
    for _ in range(2):
        assert runtime.complete(model, "hello").content == TEXT
        assert join_text(runtime.collect_events(model, "hello")) == TEXT
    runtime.close(model)


def test_several_dead_connections_cost_no_more_than_one(
    server: LoopbackServer, backend: str
) -> None:
    arrived, dead = threading.Barrier(3), threading.Event()
    kept: set[int] = set()

    def answer(received: Received) -> Reply:
        if dead.is_set():
            return (
                build_reply().truncate(0, "head") if received.connection in kept else build_reply()
            )
        kept.add(received.connection)
        arrived.wait(HANG_SECONDS)
        return build_reply()

    async def main() -> None:
        model = make_model(server)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(model.complete, "hello")
        dead.set()
        assert (await model.complete("hello")).content == TEXT

    server.always(answer)
    anyio.run(main, backend=backend)
    assert len(server.requests) == 5
    assert server.connections_total == 4


def test_a_fresh_connection_that_dies_is_an_error(server: LoopbackServer, runtime: Runtime) -> None:
    """The server may have read the request."""
    server.always(build_reply().truncate(0, "head"))
    with pytest.raises(APIConnectionError, match="without sending a response"):
        runtime.complete(make_model(server), "hello")
    assert len(server.requests) == 1


def test_what_nobody_asked_for_is_not_read_as_the_next_answer(runtime: Runtime) -> None:
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(WHOLE)
            time.sleep(0.02)
            connection.sendall(WHOLE.replace(b"200", b"500", 1))

    with RawServer(serve) as server:
        model = make_model_at(server.url)
        for number in (1, 2):
            assert runtime.complete(model, "hello").content == TEXT
            assert server.connections == number
            time.sleep(0.1)
        runtime.close(model)


# -- hosts -------------------------------------------------------------------------------------


def answer_requests(connection: socket.socket) -> None:
    while read_request(connection):
        connection.sendall(WHOLE)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the addresses of the host ``two.test``."""
    look_up = socket.getaddrinfo

    def set_addresses(*addresses: tuple[str, int]) -> None:
        def look_up_host(host: Any, *args: Any, **kw: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if name != "two.test":
                return look_up(host, *args, **kw)
            if kw.get("flags"):
                raise socket.gaierror("not a number")
            infos = []
            for ip, port in addresses:
                family = socket.AF_INET6 if ":" in ip else socket.AF_INET
                infos.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip, port)))
            return infos

        monkeypatch.setattr(socket, "getaddrinfo", look_up_host)

    return set_addresses


def take_closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_the_next_address_of_a_host_is_tried(
    runtime: Runtime, resolve: Callable[..., None]
) -> None:
    with RawServer(answer_requests) as server:
        resolve(("127.0.0.1", take_closed_port()), ("127.0.0.1", server.port))
        model = make_model_at("http://two.test")
        assert runtime.complete(model, "hello").content == TEXT
        runtime.close(model)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_an_address_that_leads_nowhere_does_not_hold_up_the_next_one(
    runtime: Runtime, resolve: Callable[..., None]
) -> None:
    with RawServer(answer_requests) as server, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):  # the queue is full, and what else comes is dropped
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(full.getsockname())
        resolve(full.getsockname(), ("127.0.0.1", server.port))
        model = make_model_at("http://two.test")
        assert open_socket.NEXT_ADDRESS_DELAY < 1
        assert runtime.complete(model, "hello").content == TEXT
        runtime.close(model)
        for each in waiting:
            each.close()


def test_an_error_names_what_each_address_said(
    runtime: Runtime, resolve: Callable[..., None]
) -> None:
    resolve(("127.0.0.1", take_closed_port()), ("127.0.0.1", take_closed_port()))
    with pytest.raises(APIConnectionError, match=r"ConnectError.*refused"):
        runtime.complete(make_model_at("http://two.test"), "hello")
    resolve()
    with pytest.raises(APIConnectionError, match="no address"):
        runtime.complete(make_model_at("http://two.test"), "hello")


def test_a_host_that_is_not_known_is_an_error(runtime: Runtime) -> None:
    with pytest.raises(APIConnectionError, match="ConnectError"):
        runtime.complete(make_model_at("http://nowhere.invalid"), "hello")


def test_ipv6_is_reached(runtime: Runtime) -> None:
    try:
        server = RawServer(answer_requests, family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        model = make_model_at(f"http://[::1]:{server.port}")
        assert runtime.complete(model, "hello").content == TEXT
        runtime.close(model)


# -- cancelling, dropping, ending, forking -----------------------------------------------------


def run_on(loop_name: str, main: Callable[[], Any]) -> Any:
    if loop_name == "uvloop":
        uvloop: Any = pytest.importorskip("uvloop")
        return uvloop.run(main())
    return anyio.run(main, backend=loop_name)


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_task_that_is_cancelled_at_any_step_leaves_no_connection(
    server: LoopbackServer, loop_name: str, streamed: bool
) -> None:
    reply = build_stream_reply() if streamed else build_reply()
    server.always(reply.with_header("connection", "close").then("close"))

    async def main() -> None:
        model = make_model(server)

        async def call() -> None:
            if not streamed:
                await model.complete("hello")
                return
            async for _ in model.stream("hello"):
                pass

        for steps in range(30):
            task = asyncio.create_task(call())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await anyio.to_thread.run_sync(server.wait_closed, HANG_SECONDS)
        await call()

    run_on(loop_name, main)


def test_a_connection_that_is_being_opened_can_be_cancelled(backend: str) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        waiting = []
        for _ in range(3):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(full.getsockname())

        async def main() -> None:
            with anyio.move_on_after(0.1) as scope:
                await make_model_at(url).complete("hello")
            assert scope.cancelled_caught

        with HangGuard():
            anyio.run(main, backend=backend)
        for each in waiting:
            each.close()


def count_sockets() -> int:
    links = []
    for number in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # of the listing itself
            continue
    return sum(link.startswith("socket:") for link in links)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("loop_name", ["asyncio", "trio", "uvloop"])
def test_a_stream_that_is_dropped_gives_its_descriptor_back_at_once(
    server: LoopbackServer, loop_name: str
) -> None:
    server.always(UNFINISHED)

    async def main() -> None:
        model = make_model(server)
        streams = [model.stream("hello") for _ in range(5)]
        async for _ in model.stream("hello"):
            break
        await anyio.to_thread.run_sync(server.wait_closed, HANG_SECONDS)
        before = count_sockets()
        for stream in streams:
            await anext(stream)
        assert count_sockets() > before
        del stream
        streams.clear()
        gc.collect()
        await anyio.to_thread.run_sync(server.wait_closed, HANG_SECONDS)
        assert count_sockets() <= before

    run_on(loop_name, main)


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_a_loop_that_is_only_closed_takes_its_connections_with_it(
    server: LoopbackServer, loop_name: str
) -> None:
    server.always(build_reply())
    model = make_model(server)
    module: Any = pytest.importorskip(loop_name)
    loops = []
    for _ in range(3):
        loop = module.new_event_loop()
        loops.append(weakref.ref(loop))
        loop.run_until_complete(model.complete("hello"))
        assert server.connections_open == 1
        loop.close()
        server.wait_closed()
        del loop
    gc.collect()
    assert [loop() for loop in loops[:-1]] == [None, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("runtime_name", ["blocking", "asyncio", "trio", "uvloop"])
def test_a_forked_child_cuts_no_stream_of_its_parent(
    server: LoopbackServer, runtime_name: str
) -> None:
    """The child drops its copy, and then ends it by all means; a stream of its own works."""
    parts = build_stream_reply().framed("length").dribble(64, 0.02)
    server.always(parts)
    printed = run_script(
        f"""
        import asyncio, gc, os, sys, warnings
        import anyio
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        from locus import OpenAIModel
        model = OpenAIModel("m", "k", "{server.url}/v1", max_retries=0)

        def fork(drop):
            child = os.fork()
            if child == 0:
                drop()
                gc.collect()
                model.close_sync()
                os._exit(0)
            os.waitpid(child, 0)

        async def main():
            streams = [model.stream("hello")]
            await anext(streams[0])
            fork(streams.clear)
            print(len([event async for event in streams[0]]))

        if sys.argv[1] == "blocking":
            streams = [model.stream_sync("hello")]
            next(streams[0])
            fork(lambda: streams.pop().close())
            print(len(list(streams[0])))
        elif sys.argv[1] == "uvloop":
            import uvloop
            uvloop.run(main())
        else:
            anyio.run(main, backend=sys.argv[1])
        """,
        runtime_name,
    )
    assert int(printed) == len(TEXT_CHUNKS)


def test_the_childs_copy_of_a_connection_does_not_keep_it_open(server: LoopbackServer) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    server.always(build_reply())
    model = make_model(server)
    model.complete_sync("hello")
    ready, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go_on[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    model.close_sync()
    server.wait_closed()
    os.write(go_on[1], b"x")
    os.waitpid(child, 0)
    for descriptor in (*ready, *go_on):
        os.close(descriptor)


def test_httpx_is_not_imported(server: LoopbackServer) -> None:
    server.always(
        lambda received: build_stream_reply() if received.json().get("stream") else build_reply()
    )
    run_script(
        f"""
        import sys, anyio
        from locus import OpenAIModel
        model = OpenAIModel("m", "k", "{server.url}")
        model.complete_sync("hello")
        list(model.stream_sync("hello"))
        loud = {{"httpx", "httpx2", "httpcore", "h11"}}
        assert not loud & set(sys.modules), loud & set(sys.modules)
        for backend in ("asyncio", "trio"):
            anyio.run(model.complete, "hello", backend=backend)
        assert not loud & set(sys.modules), loud & set(sys.modules)
        """,
        prelude="",
    )


def test_every_path_sends_the_same_request(
    server: LoopbackServer, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    server.always(build_reply())
    headers = {"x-mine": "1"}
    url = "http://elsewhere.test/v1"
    runtime.complete(make_model(server, extra_headers=headers), "hello")
    monkeypatch.setenv("HTTP_PROXY", server.url)
    model = make_model(server, base_url=url, extra_headers=headers)
    runtime.complete(model, "hello")
    runtime.close(model)
    make_client: Any = httpx.Client if runtime.name == "blocking" else httpx.AsyncClient
    client = make_client(trust_env=False)
    runtime.complete(make_model(server, extra_headers=headers, http_client=client), "hello")
    if runtime.name == "blocking":
        client.close()
    else:
        runtime.close(client)
    sent = [{**request.headers, "host": ""} for request in server.requests]
    assert sent[0] == sent[1] == sent[2]
    assert sent[0]["accept-encoding"] == "gzip, deflate"
    assert len({request.body for request in server.requests}) == 1


# -- TLS ---------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServerFiles]:
    """What a server over TLS needs, whose certificate this process trusts."""
    files = TlsServerFiles(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate_file))
    get_tls_context.cache_clear()
    yield files
    get_tls_context.cache_clear()


def test_calls_and_streams_over_tls_share_a_connection(
    tls: TlsServerFiles, runtime: Runtime
) -> None:
    def serve(connection: socket.socket) -> None:
        while request := read_request(connection):
            reply = build_stream_reply() if b'"stream":true' in request else build_reply()
            for step in reply.iter_writes():
                assert isinstance(step, bytes)
                connection.sendall(step)

    with tls.start_server(serve) as server:
        model = make_model_at(f"https://localhost:{server.port}")
        for _ in range(2):
            assert runtime.complete(model, "hello").content == TEXT
            assert join_text(runtime.collect_events(model, "hello")) == TEXT
        large = Message.user([ImagePart(data=bytes(2 << 20), media_type="image/png")])
        assert runtime.complete(model, [large]).content == TEXT
        assert server.connections == 1
        runtime.close(model)


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_body_that_the_end_of_tls_ends(
    tls: TlsServerFiles, runtime: Runtime, is_clean: bool
) -> None:
    """Without the closing alert, anybody may have cut the connection (RFC 9112, 9.8)."""

    def serve(connection: ssl.SSLSocket) -> None:
        read_request(connection)
        for step in build_reply().framed("close").iter_writes():
            assert isinstance(step, bytes)
            connection.sendall(step)
        if is_clean:
            connection.unwrap()

    with tls.start_server(serve) as server:
        model = make_model_at(f"https://127.0.0.1:{server.port}")
        if is_clean:
            assert runtime.complete(model, "hello").content == TEXT
        else:
            with pytest.raises(APIConnectionError, match="was cut"):
                runtime.complete(model, "hello")


def test_a_refusal_over_tls_is_read_before_the_request_is_sent(
    tls: TlsServerFiles, runtime: Runtime
) -> None:
    image = ImagePart(data=bytes(9 << 20), media_type="image/png")
    with tls.start_server(refuse_and_wait) as server, HangGuard():
        model = make_model_at(f"https://localhost:{server.port}")
        with pytest.raises(APIStatusError, match="too large for me"):
            runtime.complete(model, [Message.user([image])])


def test_tls_that_fails_is_an_error(
    tls: TlsServerFiles, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls.start_server(answer_requests) as server:
        get_tls_context.cache_clear()
        monkeypatch.delenv("SSL_CERT_FILE")  # nobody knows the certificate
        with pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            runtime.complete(make_model_at(f"https://localhost:{server.port}"), "hello")
    with RawServer(answer_requests) as plain, pytest.raises(APIConnectionError, match="Connect"):
        runtime.complete(make_model_at(f"https://localhost:{plain.port}", timeout=0.5), "hello")


def test_a_tls_stream_that_is_cut_is_interrupted(tls: TlsServerFiles, runtime: Runtime) -> None:
    def serve(connection: ssl.SSLSocket) -> None:
        read_request(connection)
        for step in list(build_stream_reply().iter_writes())[:4]:
            assert isinstance(step, bytes)
            connection.sendall(step)

    with tls.start_server(serve) as server, pytest.raises(StreamInterruptedError) as exc_info:
        runtime.collect_events(make_model_at(f"https://localhost:{server.port}"), "hello")
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_are_named(
    runtime: Runtime, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, "/no/such/place")
    get_tls_context.cache_clear()
    with pytest.raises(ConfigurationError, match=variable):
        runtime.complete(make_model_at("https://127.0.0.1:9"), "hello")


def test_a_file_that_holds_no_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    get_tls_context.cache_clear()
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE holds no certificates"):
        make_model_at("https://127.0.0.1:9").complete_sync("hello")
