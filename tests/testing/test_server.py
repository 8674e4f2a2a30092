"""The loopback server does what it says: to the byte, on the wire, and in its accounts.

Raw sockets show what is sent; httpx, blocking and async, shows what a real client makes of it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.testing.server import (
    FAULTS,
    Fault,
    LoopbackServer,
    Pause,
    Received,
    Reply,
    ReplyOrFactory,
)
from tests.support.timing import HANG_SECONDS, HangGuard

TLS = ssl.create_default_context()  # costs more than all else in a client; made once
GET = b"GET /x HTTP/1.1\r\nhost: here\r\n\r\n"
TEXT = Reply(200, {"content-type": "text/plain"}, b"0123456789")
JSON = Reply.json({"id": "1", "choices": [{"message": {"content": "Zürich, 10 € ✓"}}]})
EVENTS = [{"choices": [{"delta": {"content": word}}]} for word in ("Zürich", " costs", " 10 €")]
STREAM = Reply.sse(EVENTS)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        yield server


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_client(timeout: float = HANG_SECONDS) -> httpx.Client:
    return httpx.Client(timeout=timeout, trust_env=False, verify=TLS)


@contextlib.contextmanager
def open_connection(server: LoopbackServer) -> Iterator[socket.socket]:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=HANG_SECONDS) as sock:
        yield sock


def read_until_closed(sock: socket.socket) -> bytes:
    """Every byte up to the FIN."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def send_and_read_reply(server: LoopbackServer, request: bytes = GET) -> bytes:
    with open_connection(server) as sock:
        sock.sendall(request)
        return read_until_closed(sock)


def read_until_reset(sock: socket.socket) -> bytes:
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        return received
    pytest.fail(f"a FIN, not an RST, after {received!r}")


def read_bytes(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        data = sock.recv(size - len(received))
        assert data, f"a FIN after {received!r}"
        received += data
    return received


def encode_reply(reply: Reply, method: str = "GET") -> bytes:
    return b"".join(step for step in reply.iter_writes(method) if isinstance(step, bytes))


# -- which reply is sent -----------------------------------------------------------------------


def test_queued_replies_come_in_order_and_then_the_default(server: LoopbackServer) -> None:
    server.always(Reply.json("a"), Reply.json("b"))
    server.enqueue(Reply.json(1), Reply.json(2))
    with make_client() as http:
        received = [http.get(server.url).json() for _ in range(5)]
    assert received == [1, 2, "a", "b", "b"]


def test_a_401_once_is_two_queued_replies(server: LoopbackServer) -> None:
    server.enqueue(Reply.error(401), Reply.json({}))
    with make_client() as http:
        assert [http.post(server.url).status_code for _ in range(2)] == [401, 200]


def test_a_route_goes_before_the_queue_and_leaves_it_alone(server: LoopbackServer) -> None:
    server.route("POST", "/v1/*", Reply.json("once"), Reply.json("route"))
    server.enqueue(Reply.json("queue"))
    with make_client() as http:
        received = [http.post(server.url + "/v1/chat?a=b").json() for _ in range(3)]
        received.append(http.get(server.url + "/v1/chat").json())
    assert received == ["once", "route", "route", "queue"]


def test_a_callable_sees_the_request_and_makes_the_reply(server: LoopbackServer) -> None:
    server.always(lambda received: Reply.json(received.json()["n"] * 2))
    with make_client() as http:
        assert http.post(server.url, json={"n": 21}).json() == 42


def test_a_request_without_a_reply_is_a_404_and_fails_the_test() -> None:
    server = LoopbackServer().start()
    with make_client() as http:
        response = http.get(server.url + "/nowhere?x=1")
    assert response.status_code == 404
    assert "no reply for GET /nowhere?x=1" in response.json()["error"]["message"]
    with pytest.raises(AssertionError, match="no reply for GET /nowhere"):
        server.close()
    server.close()  # raised once; closing again does nothing


def raise_key_error(request: Received) -> Reply:
    raise KeyError(request.path)


def test_an_error_in_a_callable_is_a_500_with_the_traceback_and_is_raised_at_the_end() -> None:
    server = LoopbackServer().start()
    server.always(raise_key_error)
    with make_client() as http:
        response = http.get(server.url + "/x")
    assert response.status_code == 500
    assert "in raise_key_error\n" in response.text
    with pytest.raises(KeyError, match="/x"):
        server.close()


def send_request_for_each_reply(*replies: ReplyOrFactory) -> None:
    """A test in small: one request for each response."""
    with LoopbackServer() as server, make_client() as http:
        server.enqueue(*replies)
        for _ in replies:
            http.get(server.url)


def test_a_failed_assertion_of_pytest_in_a_callable_is_raised_too() -> None:
    with pytest.raises(pytest.fail.Exception, match="not this"):
        send_request_for_each_reply(lambda received: pytest.fail("not this"))


def test_several_errors_are_raised_as_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        send_request_for_each_reply(raise_key_error, lambda received: "text")  # type: ignore[arg-type,return-value]
    assert [type(error) for error in caught.value.exceptions] == [KeyError, TypeError]


def test_a_failing_block_keeps_its_own_error_and_gets_the_servers_as_a_note() -> None:
    def fail_too() -> None:
        with LoopbackServer() as server, make_client() as http:
            http.get(server.url)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail_too()
    assert "no reply for GET /" in caught.value.__notes__[0]


def test_a_server_starts_once_and_has_no_url_before() -> None:
    server = LoopbackServer()
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url
    with server, pytest.raises(RuntimeError, match="starts once"):
        server.start()


# -- what it read ----------------------------------------------------------------------------


def test_a_request_is_recorded_completely(server: LoopbackServer) -> None:
    server.always(JSON)
    sent = (
        b"PUT /a/b?c=%20 HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: 2\r\n\r\n"
    )
    before = time.monotonic()
    with open_connection(server) as sock:
        sock.sendall(sent)
        time.sleep(0.02)
        sock.sendall(b"[]")
        server.wait_requests(1)
    (received,) = server.requests
    assert (received.method, received.target, received.path) == ("PUT", "/a/b?c=%20", "/a/b")
    assert received.headers == {"host": "h", "x-two": "1, 2", "content-length": "2"}
    assert (received.body, received.json()) == (b"[]", [])
    assert before + 0.02 <= received.at <= time.monotonic()


def test_chunked_request_bodies_are_joined(server: LoopbackServer) -> None:
    server.always(JSON)
    with make_client() as http:
        http.post(server.url, content=iter([b"one", b"two"]))
    assert server.requests[0].headers["transfer-encoding"] == "chunked"
    assert server.requests[0].body == b"onetwo"


def test_a_large_request_body_arrives(server: LoopbackServer) -> None:
    server.always(JSON)
    body = os.urandom(3_000_000)
    with make_client() as http:
        http.post(server.url, content=body)
    assert server.requests[0].body == body


def test_a_client_that_expects_100_continue_gets_it_before_it_sends_the_body(
    server: LoopbackServer,
) -> None:
    server.always(TEXT)
    with open_connection(server) as sock:
        sock.sendall(
            b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        assert read_bytes(sock, 12) == b"HTTP/1.1 100"
        sock.sendall(b"hi")
        assert b"HTTP/1.1 200 OK" in read_bytes(sock, len(b" \r\n\r\n" + encode_reply(TEXT)))
    assert server.requests[0].body == b"hi"


def test_requests_on_one_connection_share_its_number(server: LoopbackServer) -> None:
    server.always(JSON)
    with make_client() as one, make_client() as two:
        for http in (one, one, two, one):
            http.get(server.url)
        assert server.connections_open == 2
    assert [r.connection for r in server.requests] == [1, 1, 2, 1]
    server.wait_closed()
    assert (server.connections_open, server.connections_total) == (0, 2)


def test_pipelined_requests_are_answered_in_order(server: LoopbackServer) -> None:
    server.enqueue(Reply.stream([b"1", Pause(0.02), b"2"]), Reply.raw(b"last"))
    assert send_and_read_reply(server, GET + GET).endswith(b"\r\n0\r\n\r\nlast")


@pytest.mark.parametrize(
    "request_bytes",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nhost: h\r\nConnection: close\r\n\r\n"],
    ids=["http-1.0", "connection-close"],
)
def test_a_clients_last_request_closes_the_connection(
    server: LoopbackServer, request_bytes: bytes
) -> None:
    server.always(TEXT)
    received = send_and_read_reply(server, request_bytes)
    assert b"\r\nconnection: close\r\n" in received
    assert received.endswith(b"0123456789")


def test_what_is_not_http_gets_a_400_and_is_not_counted_as_a_request(
    server: LoopbackServer,
) -> None:
    assert send_and_read_reply(server, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert server.requests == ()


def test_a_client_that_leaves_in_the_middle_of_a_request_is_forgotten(
    server: LoopbackServer,
) -> None:
    with open_connection(server) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhal")
        while not server.connections_open:
            time.sleep(0.001)
    server.wait_closed()
    assert server.requests == ()


# -- what it sends ---------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (TEXT, HEAD + b"content-length: 10\r\n\r\n0123456789"),
        (TEXT.framed("close"), HEAD + b"connection: close\r\n\r\n0123456789"),
        (TEXT.framed("chunked"), CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n"),
        (TEXT.framed("chunked").split_at(1, 4), None),
        (TEXT.framed("raw"), b"0123456789"),
        (TEXT.with_header("Content-Length", "99"), HEAD + b"content-length: 99\r\n\r\n0123456789"),
        (TEXT.truncate(0, "accept"), b""),
        (TEXT.truncate(0, "head"), b""),
        (TEXT.truncate(12, "head"), b"HTTP/1.1 200"),
        (TEXT.truncate(0), HEAD + b"content-length: 10\r\n\r\n"),
        (TEXT.truncate(), HEAD + b"content-length: 10\r\n\r\n01234"),
        (TEXT.truncate(-1), HEAD + b"content-length: 10\r\n\r\n012345678"),
        (TEXT.framed("chunked").truncate(3), CHUNKED + b"a\r\n012"),
        (
            TEXT.framed("chunked").split_at(3).truncate(3),
            CHUNKED + b"3\r\n012\r\n",
        ),
        (TEXT.framed("chunked").truncate(10), CHUNKED + b"a\r\n0123456789\r\n"),
        (TEXT.framed("close").truncate(3), HEAD + b"connection: close\r\n\r\n012"),
        (Reply.stream([b"", b"a", b""]).truncate(1), None),
        (Reply(204), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (Reply(799), b"HTTP/1.1 799 \r\ncontent-length: 0\r\n\r\n"),
    ],
)
def test_the_bytes_of_a_reply(server: LoopbackServer, reply: Reply, expected: bytes | None) -> None:
    if expected is not None:
        assert encode_reply(reply) == expected
    with open_connection(server) as sock:
        server.always(reply if reply.ending != "keep" else reply.then("close"))
        sock.sendall(GET)
        assert read_until_closed(sock) == encode_reply(reply)


def test_elements_of_the_body_are_the_chunks_and_empty_ones_are_left_out() -> None:
    reply = Reply.stream([b"ab", b"", Pause(0), b"c"])
    assert encode_reply(reply).partition(b"\r\n\r\n")[2] == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_head_request_gets_the_headers_alone(server: LoopbackServer, framing: str) -> None:
    server.always(TEXT.framed(framing))  # type: ignore[arg-type]
    with make_client() as http:
        assert http.head(server.url).content == b""
        assert http.get(server.url).content == b"0123456789"


def test_constructors_send_what_a_provider_sends() -> None:
    error = Reply.error(429, "slow down", retry_after=2, code="rate_limit")
    assert dict(error.headers) == {"content-type": "application/json", "retry-after": "2"}
    assert json.loads(error.content)["error"] == {
        "message": "slow down",
        "type": "invalid_request_error",
        "param": None,
        "code": "rate_limit",
    }
    assert JSON.content.decode().count("€") == 1  # not escaped: tests need the UTF-8
    assert Reply.ndjson([{"a": 1}, {"b": 2}]).body == (b'{"a":1}\n', b'{"b":2}\n')
    assert Reply.json({}, headers={"Content-Type": "x"}).headers == (("content-type", "x"),)
    assert Reply.html().status == 502


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_events_are_framed_with_the_chosen_line_end(newline: str) -> None:
    reply = Reply.sse(
        [{"a": "é"}, "two\nlines", ("ping", {}), b": raw\n\n"],
        newline=newline,  # type: ignore[arg-type]
    )
    events = ['data: {"a":"é"}', "data: two|data: lines", "event: ping|data: {}", "data: [DONE]"]
    sent = [(e.replace("|", newline) + newline * 2).encode() for e in events]
    assert reply.body == (*sent[:3], b": raw\n\n", sent[3])
    assert Reply.sse(["x"], done=False).content == b"data: x\n\n"


def test_a_chunked_client_reads_exactly_the_chunks(server: LoopbackServer) -> None:
    server.always(STREAM.split_at(3, 5, 60), STREAM.dribble(7))
    with make_client() as http:
        for size in (None, 7):
            with http.stream("GET", server.url) as response:
                chunks = list(response.iter_raw())
            assert b"".join(chunks) == STREAM.content
            if size:
                assert {len(chunk) for chunk in chunks[:-1]} == {size}
            else:
                assert [len(chunk) for chunk in chunks[:3]] == [3, 2, 55]


@given(st.binary(max_size=60), st.data())
def test_however_a_body_is_split_its_content_stays(content: bytes, data: st.DataObject) -> None:
    complete = Reply.stream([content])
    offsets = data.draw(st.lists(st.integers(0, len(content))))
    assert complete.split_at(*offsets).content == content
    n = data.draw(st.integers(1, 70))
    dribbled = complete.dribble(n, every=0.001)
    assert dribbled.content == content
    assert all(len(p) <= n for p in dribbled.body if isinstance(p, bytes))
    writes = list(dribbled.in_writes_of(n).iter_writes())
    assert b"".join(p for p in writes if isinstance(p, bytes)) == encode_reply(dribbled)
    assert all(len(p) <= n for p in writes if isinstance(p, bytes))
    at = data.draw(st.integers(0, len(content)))
    assert encode_reply(complete.framed("close").truncate(at)).endswith(b"\r\n\r\n" + content[:at])


def test_a_reply_that_could_not_break_where_asked_is_refused() -> None:
    with pytest.raises(ValueError, match="the body has 10 bytes"):
        TEXT.truncate(11)
    with pytest.raises(ValueError, match="the body has 10 bytes"):
        TEXT.reset(-11)
    with pytest.raises(ValueError, match="the head has"):
        TEXT.stall(1000, "head")
    with pytest.raises(ValueError, match="at least one byte"):
        TEXT.dribble(0)
    with pytest.raises(ValueError, match="framing"):
        TEXT.framed("magic")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes or a Pause"):
        Reply.stream(["text"])  # type: ignore[list-item]


# -- pauses, stalls, resets ------------------------------------------------------------------


def test_a_pause_takes_its_time(server: LoopbackServer) -> None:
    server.always(Reply.stream([b"a", Pause(0.1), b"b"]))
    start = time.monotonic()
    with make_client() as http:
        assert http.get(server.url).content == b"ab"
    assert time.monotonic() - start >= 0.1


def test_a_pause_ends_when_its_event_is_set(server: LoopbackServer) -> None:
    go_on = threading.Event()
    server.always(Reply.stream([b"a", Pause(until=go_on), b"b"]))
    with make_client() as http, http.stream("GET", server.url) as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"a"  # it has come although the rest was not yet sent
        go_on.set()
        assert list(chunks) == [b"b"]


SILENCES = {
    "pause": Reply.stream([b"a", Pause(2 * HANG_SECONDS), b"b"]),
    "pause-until": Reply.stream([b"a", Pause(until=threading.Event()), b"b"]),
    "stall-on-accept": TEXT.stall(0, "accept"),
    "stall-before-head": TEXT.stall(0, "head"),
    "stall-in-head": TEXT.stall(None, "head"),
    "stall-after-head": TEXT.stall(0),
    "stall-in-body": TEXT.stall(5),
    "stall-at-the-end": TEXT.then("stall"),
}


@pytest.mark.parametrize("reply", SILENCES.values(), ids=SILENCES)
def test_silence_follows_what_was_sent_until_the_client_leaves(
    server: LoopbackServer, reply: Reply
) -> None:
    server.always(reply)
    with open_connection(server) as sock:
        sock.sendall(GET)
        expected = encode_reply(Reply.stream([b"a"])).removesuffix(b"0\r\n\r\n")
        if reply.ending == "stall":
            expected = encode_reply(reply)
        assert read_bytes(sock, len(expected)) == expected
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert server.connections_open == 1
    server.wait_closed()


@pytest.mark.parametrize("reply", SILENCES.values(), ids=SILENCES)
def test_silence_never_delays_the_end_of_the_server(reply: Reply) -> None:
    with LoopbackServer() as server:
        server.always(reply)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                sock = stack.enter_context(open_connection(server))
                sock.sendall(GET + GET)  # bytes the server has not asked for must not hold it up
            time.sleep(0.03)
            with HangGuard():
                server.close()
            assert server.connections_open == 0


def test_a_client_that_does_not_read_never_delays_the_end_of_the_server() -> None:
    with LoopbackServer() as server, open_connection(server) as sock:
        server.always(Reply(body=b"x" * 50_000_000))
        sock.sendall(GET)
        server.wait_requests()
        time.sleep(0.02)
        with HangGuard():
            server.close()


@pytest.mark.parametrize(
    ("reply", "sent"),
    [
        (TEXT.reset(0, "head"), b""),
        (TEXT.reset(12, "head"), b"HTTP/1.1 200"),
        (TEXT.reset(0), encode_reply(TEXT.truncate(0))),
        (TEXT.reset(4), encode_reply(TEXT.truncate(4))),
        (TEXT.then("reset"), encode_reply(TEXT)),
    ],
)
def test_a_reset_comes_after_the_bytes_before_it(
    server: LoopbackServer, reply: Reply, sent: bytes
) -> None:
    server.always(reply)
    with open_connection(server) as sock:
        sock.sendall(GET)
        server.wait_closed()
        assert read_until_reset(sock) == sent


def test_a_connection_reset_on_accept_is_dead_before_any_request(server: LoopbackServer) -> None:
    server.enqueue(TEXT.reset(0, "accept"))
    with (
        pytest.raises(ConnectionResetError),
        open_connection(server) as sock,
    ):  # at the latest in recv
        sock.recv(1)
    assert server.requests == ()


def test_a_connection_closed_on_accept_ends_cleanly_before_any_request(
    server: LoopbackServer,
) -> None:
    server.enqueue(TEXT.truncate(0, "accept"), TEXT.then("close"))
    with open_connection(server) as sock:
        sock.sendall(GET)
        assert sock.recv(1) == b""
    assert server.requests == ()
    assert send_and_read_reply(server) == encode_reply(TEXT)  # one connection alone was turned away


def test_an_idle_connection_closed_by_the_server_is_dead_in_the_clients_pool(
    server: LoopbackServer,
) -> None:
    server.always(TEXT.then("close"))
    with make_client() as http:
        for _ in range(2):
            response = http.get(server.url)
            assert "connection" not in response.headers
            server.wait_closed()
    assert [r.connection for r in server.requests] == [1, 2]


def test_raw_bytes_may_also_be_a_good_response_that_keeps_the_connection(
    server: LoopbackServer,
) -> None:
    server.always(Reply.raw(encode_reply(TEXT), ending="keep"))
    with make_client() as http:
        assert [http.get(server.url).text for _ in range(2)] == ["0123456789"] * 2
    assert server.connections_total == 1


# -- its accounts and its end ----------------------------------------------------------------


def test_waiting_in_vain_says_what_is_there(server: LoopbackServer) -> None:
    with open_connection(server):
        while not server.connections_open:
            time.sleep(0.001)
        server.wait_closed(remaining=1)
        with pytest.raises(TimeoutError, match="1 connections open, 0 requests"):
            server.wait_closed(timeout=0.01)
        with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 1 requests"):
            server.wait_requests(timeout=0.01)


def test_forty_connections_are_served_at_the_same_time(server: LoopbackServer) -> None:
    everyone_is_here = threading.Barrier(40)

    def meet(received: Received) -> Reply:
        everyone_is_here.wait(HANG_SECONDS)
        return Reply.json(received.connection)

    server.always(meet)
    with make_client() as http, ThreadPoolExecutor(40) as pool:
        received = list(pool.map(lambda _: http.get(server.url).json(), range(40)))
    assert sorted(received) == list(range(1, 41))


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_nothing_is_left_after_the_end() -> None:
    gc.collect()  # what earlier tests have left
    threads, files = set(threading.enumerate()), count_open_files()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for reply in (
            TEXT,
            STREAM.reset(),
            STREAM.stall(),
            TEXT.truncate(0, "accept"),
        ):
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(LoopbackServer())
                server.always(reply)
                for _ in range(5):
                    stack.enter_context(open_connection(server)).sendall(GET)
        gc.collect()
    # Threads that idle for a while, and their files, may have gone meanwhile.
    assert set(threading.enumerate()) <= threads
    assert count_open_files() <= files


def test_a_callable_that_does_not_return_is_reported_instead_of_waited_for() -> None:
    release = threading.Event()

    def hang(received: Received) -> Reply:
        release.wait(HANG_SECONDS)
        return TEXT

    server = LoopbackServer().start()
    server.always(hang)
    with open_connection(server) as sock:
        sock.sendall(GET)
        server.wait_requests()
        with pytest.raises(RuntimeError, match=r"still runs in.*loopback-1"):
            server.close(timeout=0.05)
    release.set()
    server.wait_closed()


def test_it_starts_and_stops_at_once() -> None:
    with HangGuard():  # which takes less than a second; polling takes minutes
        for _ in range(500):
            with LoopbackServer():
                pass


def test_another_process_can_be_the_client(server: LoopbackServer) -> None:
    server.always(JSON)
    code = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())"
    done = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, check=True)
    assert done.stdout == JSON.content


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_neither_disturbs_the_server_nor_keeps_its_connections_alive() -> None:
    with LoopbackServer() as server, open_connection(server) as sock:
        server.always(TEXT)
        sock.sendall(GET)
        assert read_bytes(sock, len(encode_reply(TEXT))) == encode_reply(TEXT)
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork in a threaded process
            child = os.fork()
        if child == 0:
            status = 1
            try:
                with open_connection(server) as own:
                    own.sendall(GET)
                    status = int(read_bytes(own, len(encode_reply(TEXT))) != encode_reply(TEXT))
                os.close(writing)
                os.read(reading, 1)  # stay, with copies of every socket, until the parent is done
            finally:
                os._exit(status)
        try:
            server.wait_requests(2)
            server.wait_closed(remaining=1)  # the child has its response
            server.close()
            assert sock.recv(1) == b""
            with pytest.raises(ConnectionRefusedError), open_connection(server):
                pass
        finally:
            os.close(writing)
            os.close(reading)
            assert os.waitpid(child, 0)[1] == 0


# -- every fault -----------------------------------------------------------------------------


class InvalidResponseError(Exception):
    """Raised by the strict client below for a response that is not valid."""


def read_complete_content(response: httpx.Response, complete_reply: Reply) -> bytes:
    """Read as `Outcome` requires: the complete content, or an error."""
    if response.status_code != 200:
        raise InvalidResponseError(response.status_code)
    text = response.content
    if complete_reply is STREAM and not text.endswith(b"data: [DONE]\n\n"):
        raise InvalidResponseError("no end marker")
    if complete_reply is JSON and "choices" not in json.loads(text):
        raise InvalidResponseError("not a completion")
    return text


ERRORS = (httpx.TransportError, InvalidResponseError, ValueError)


def check_outcome(fault: Fault, complete_reply: Reply, results: list[bytes | Exception]) -> None:
    complete = complete_reply.content
    if fault.outcome == "success":
        assert results == [complete, complete]
    elif fault.outcome == "error":
        assert all(isinstance(result, ERRORS) for result in results), results
    else:
        assert all(result == complete or isinstance(result, ERRORS) for result in results), results


both_replies = pytest.mark.parametrize("good", [JSON, STREAM], ids=["json", "sse"])
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@both_replies
@every_fault
def test_every_fault_has_the_outcome_it_names(
    server: LoopbackServer, fault: Fault, good: Reply
) -> None:
    server.always(*fault(good))
    results: list[bytes | Exception] = []
    with make_client(timeout=0.15 if fault.stalls else HANG_SECONDS) as http:
        for _ in range(2):
            for _attempt in range(1 + fault.retries):
                try:
                    result: bytes | Exception = read_complete_content(
                        http.post(server.url, json={}), good
                    )
                except ERRORS as error:
                    result = error
                if isinstance(result, bytes):
                    break
            results.append(result)
            if fault.phase == "after":
                server.wait_closed()
    check_outcome(fault, good, results)
    server.wait_closed()


@pytest.mark.anyio
@every_fault
async def test_every_fault_has_the_same_outcome_for_an_async_client(
    server: LoopbackServer, fault: Fault
) -> None:
    server.always(*fault(STREAM))
    results: list[bytes | Exception] = []
    timeout = 0.15 if fault.stalls else HANG_SECONDS
    async with httpx.AsyncClient(timeout=timeout, trust_env=False, verify=TLS) as http:
        for _ in range(2):
            for _attempt in range(1 + fault.retries):
                try:
                    result: bytes | Exception = read_complete_content(
                        await http.post(server.url), STREAM
                    )
                except ERRORS as error:
                    result = error
                if isinstance(result, bytes):
                    break
            results.append(result)
            if fault.phase == "after":
                await anyio.to_thread.run_sync(server.wait_closed)
    check_outcome(fault, STREAM, results)
    await anyio.to_thread.run_sync(server.wait_closed)


@pytest.mark.anyio
async def test_an_async_client_that_leaves_a_stream_early_closes_its_connection(
    server: LoopbackServer,
) -> None:
    server.always(STREAM.stall())
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
        with anyio.move_on_after(0.1):
            async with http.stream("GET", server.url) as response:
                async for _ in response.aiter_raw():
                    pass
        await anyio.to_thread.run_sync(server.wait_closed)


def test_an_error_inside_a_stream_is_between_complete_events() -> None:
    for newline in ("\n", "\r\n", "\r"):
        good = Reply.sse(EVENTS, newline=newline)
        (reply,) = FAULTS["error_inside_200"](good)
        before, _, report = reply.content.partition(b"event: error\n")
        assert before.endswith((newline * 2).encode())
        assert before == b"".join(p for p in good.body if isinstance(p, bytes))[: len(before)]
        assert json.loads(report.removeprefix(b"data: "))["error"]["code"] == "server_error"
    (reply,) = FAULTS["error_inside_200"](Reply.ndjson([{"a": 1}] * 4))
    lines = [json.loads(line) for line in reply.content.splitlines()]
    assert lines == [{"a": 1}, {"a": 1}, {"error": "the engine failed"}]
    (reply,) = FAULTS["error_inside_200"](JSON)
    assert list(json.loads(reply.content)) == ["error"]


def test_half_a_character_is_complete_for_http_and_invalid_as_text() -> None:
    (reply,) = FAULTS["cut_half_character"](JSON)
    assert reply.ending == "keep"
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        reply.content.decode()


@both_replies
@every_fault
def test_every_fault_changes_what_is_on_the_wire_or_after_it(fault: Fault, good: Reply) -> None:
    replies = fault(good)
    if fault.name not in ("chunked", "with_length"):  # one of them is how the good one is sent
        assert replies != (good,)
    if fault.outcome == "success":
        assert replies[-1].content == good.content
