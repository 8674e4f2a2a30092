"""Sending and reading through the models' own connections, on each runtime."""

from __future__ import annotations

import gzip
import math
import threading

import pytest

from locus.core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    NotFoundError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.events import ModelChunkEvent
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Pause, Reply
from tests.support.chat_replies import (
    TEXT,
    TEXT_CHUNKS,
    USAGE,
    build_chunk,
    build_chunks,
    build_reply,
    build_stream_reply,
    join_text,
)
from tests.support.servers.openai_server import make_model
from tests.support.timing import FOREVER, HangGuard, retry_slower

pytestmark = pytest.mark.usefixtures("no_leaks")

ENDLESS = Reply.sse(build_chunks(), done=False).then("stall")
"""A stream that never ends, nor the connection."""


def test_a_complete_response_is_parsed(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    response = runtime.complete(make_model(server), "hello")
    assert response.content == TEXT
    assert response.finish_reason == "stop"
    assert (response.prompt_tokens, response.completion_tokens) == (9, 5)
    assert response.model == "loop-1-0613"


def test_a_streamed_response_equals_the_complete_one(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(server)
    response = runtime.complete(model, "hello")
    events = runtime.collect_events(model, "hello")
    assert join_text(events) == TEXT
    assert [event.done for event in events] == [False] * len(TEXT_CHUNKS) + [True]
    assert events[-1].response == response
    assert events[-1].usage == response.usage == USAGE


def test_invoke_returns_the_message(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    assert runtime.invoke(make_model(server), "hello").text == TEXT


def test_the_model_is_a_context_manager(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server)
    assert runtime.run_in_context(
        model, lambda same: same is model and runtime.complete(model, "x").content
    )
    server.wait_closed()


def test_events_are_returned_as_they_arrive(server: LoopbackServer, runtime: Runtime) -> None:
    go_on = threading.Event()
    body_parts = build_stream_reply().body
    server.always(
        Reply.stream(
            [*body_parts[:3], Pause(FOREVER, go_on), *body_parts[3:]],
            headers=build_stream_reply().headers,
        )
    )
    with runtime.open_stream(make_model(server), "hello") as events:
        assert [next(events).content, next(events).content] == list(TEXT_CHUNKS[:2])
        assert not go_on.is_set()
        go_on.set()
        assert join_text(events) == "".join(TEXT_CHUNKS[2:])


def test_two_calls_in_a_row_use_one_connection(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server)
    for _ in range(3):
        runtime.complete(model, "hello")
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_two_streams_in_a_row_use_one_connection(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_stream_reply())
    model = make_model(server)
    for _ in range(3):
        assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_a_complete_response_and_a_stream_share_a_connection(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply(), build_stream_reply(), build_reply())
    model = make_model(server)
    runtime.complete(model, "hello")
    runtime.collect_events(model, "hello")
    runtime.complete(model, "hello")
    assert server.connections_total == 1


def test_a_connection_is_used_again_after_an_error_status(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.error(400), build_reply())
    model = make_model(server)
    with pytest.raises(APIStatusError):
        runtime.complete(model, "hello")
    runtime.complete(model, "hello")
    assert server.connections_total == 1


def test_copies_share_connections(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server)
    runtime.complete(model, "hello")
    runtime.complete(model.copy(temperature=0.0), "hello")
    runtime.complete(model.bind_tools([]), "hello")
    assert server.connections_total == 1


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_pooled_connection_that_was_closed_is_replaced(
    server: LoopbackServer, runtime: Runtime, ending: str
) -> None:
    server.always(build_reply().then(ending), build_stream_reply().then(ending), build_reply())  # type: ignore[arg-type]
    model = make_model(server, max_retries=0)
    for call_model in (runtime.complete, runtime.collect_events, runtime.complete):
        call_model(model, "hello")
        server.wait_closed(remaining=1 if len(server.requests) == 3 else 0)
    assert server.connections_total == 3


def test_a_server_that_is_silent_after_the_end_does_not_delay_it(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(
        build_stream_reply().stall(len(build_stream_reply().content)), build_stream_reply()
    )
    model = make_model(server)
    with HangGuard():
        assert join_text(runtime.collect_events(model, "hello")) == TEXT
    server.wait_closed()  # the connection cannot be used again
    assert join_text(runtime.collect_events(model, "hello")) == TEXT


def test_a_server_that_sends_slowly_after_the_end_does_not_delay_it(
    server: LoopbackServer, runtime: Runtime
) -> None:
    late_parts = [part for _ in range(1000) for part in (b": still here\n\n", Pause(0.2))]
    server.always(
        Reply.stream(
            [*build_stream_reply().body, *late_parts], headers=build_stream_reply().headers
        )
    )
    with HangGuard():
        assert join_text(runtime.collect_events(make_model(server), "hello")) == TEXT
    server.wait_closed()


def test_the_last_event_is_returned_before_the_body_ends(
    server: LoopbackServer, runtime: Runtime
) -> None:
    """What follows the end marker is ignored, an error as well."""
    server.always(
        Reply.sse([*build_chunks(), "[DONE]", {"error": {"message": "too late"}}], done=False)
    )
    events = runtime.collect_events(make_model(server), "hello")
    assert join_text(events) == TEXT
    assert events[-1].done


@pytest.mark.parametrize("wait", ["header", "body"])
def test_a_silent_server_is_a_timeout_with_a_hint(
    server: LoopbackServer, runtime: Runtime, wait: str
) -> None:
    server.always(build_reply().stall(0, "head") if wait == "header" else build_reply().stall(10))

    def check_timeout(factor: float) -> None:
        with HangGuard(), pytest.raises(APITimeoutError, match="raise timeout=") as exc_info:
            runtime.complete(make_model(server, timeout=0.2 * factor), "hello")
        assert exc_info.value.response_started is (wait == "body")

    retry_slower(check_timeout)
    server.wait_closed()


def test_the_timeout_is_for_silence_and_not_for_the_response(
    server: LoopbackServer, runtime: Runtime
) -> None:
    def check_arrival(factor: float) -> None:
        server.always(
            build_stream_reply().dribble(len(build_stream_reply().content) // 8, every=0.1 * factor)
        )
        assert (
            join_text(runtime.collect_events(make_model(server, timeout=0.4 * factor), "hello"))
            == TEXT
        )

    retry_slower(check_arrival)


def test_a_call_has_its_own_timeout(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply().stall(0, "head"))
    model = make_model(server, timeout=FOREVER)
    with HangGuard(), pytest.raises(APITimeoutError):
        runtime.complete(model, "hello", timeout=0.1)
    with HangGuard(), pytest.raises(APITimeoutError):
        runtime.collect_events(model.bind_tools([], timeout=0.1), "hello")


def test_no_timeout_waits_longer(server: LoopbackServer, runtime: Runtime) -> None:
    first, second = build_reply().split_at(20).body
    server.always(build_reply().with_body(first, Pause(0.3), second))
    assert runtime.complete(make_model(server, timeout=0.1), "hello", timeout=None).content == TEXT


def test_a_refused_connection_is_an_error_with_a_hint(
    runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    with LoopbackServer() as server:
        model = make_model(server)
    with pytest.raises(APIConnectionError, match="check base_url, the network") as exc_info:
        runtime.complete(model, "hello")
    assert (exc_info.value.provider, exc_info.value.model) == ("openai", "loop-1")
    with pytest.raises(APIConnectionError, match="check base_url, the network"):
        runtime.collect_events(model, "hello")


def test_a_stream_that_is_cut_off_gives_its_events_and_then_an_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    body_parts = build_stream_reply().body
    server.always(build_stream_reply().truncate(sum(map(len, body_parts[:4]))))
    events: list[ModelChunkEvent] = []
    with pytest.raises(StreamInterruptedError) as exc_info:
        events.extend(runtime.open_stream(make_model(server), "hello"))
    assert [event.content for event in events] == list(TEXT_CHUNKS[:3])
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "".join(TEXT_CHUNKS[:3])
    assert not any(event.done for event in events)
    server.wait_closed()


def test_a_stream_that_falls_silent_is_a_timeout_with_the_partial_response(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_stream_reply().stall(sum(map(len, build_stream_reply().body[:4]))))

    def check_interruption(factor: float) -> None:
        with pytest.raises(APITimeoutError) as exc_info:
            runtime.collect_events(make_model(server, timeout=0.2 * factor), "hello")
        assert exc_info.value.partial is not None
        assert exc_info.value.partial.content == "".join(TEXT_CHUNKS[:3])

    retry_slower(check_interruption)
    server.wait_closed()


def test_an_error_inside_a_stream_is_raised_after_the_events_before_it(
    server: LoopbackServer, runtime: Runtime
) -> None:
    error = {"error": {"message": "no room", "type": "overloaded_error"}}
    server.always(Reply.sse([*build_chunks()[:3], error]))
    with runtime.open_stream(make_model(server), "hello") as events:
        assert [next(events).content, next(events).content] == list(TEXT_CHUNKS[:2])
        with pytest.raises(APIStatusError, match="no room") as exc_info:
            next(events)
    assert exc_info.value.status_code == 529
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "".join(TEXT_CHUNKS[:2])
    assert "openai loop-1: POST" in str(exc_info.value)


def test_an_exhausted_stream_stays_exhausted(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_stream_reply())
    events = runtime.open_stream(make_model(server), "hello")
    assert join_text(events) == TEXT
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(events)
    assert len(server.requests) == 1


def test_a_failed_stream_is_over(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_stream_reply().truncate(200))
    events = runtime.open_stream(make_model(server), "hello")
    with pytest.raises(StreamInterruptedError):
        list(events)
    with pytest.raises(StopIteration):
        next(events)
    assert len(server.requests) == 1


def test_a_stream_sends_nothing_before_its_first_event_is_requested(
    server: LoopbackServer, runtime: Runtime
) -> None:
    model = make_model(server)
    runtime.open_stream(model, "hello").close()
    with runtime.open_stream(model, "hello"):
        pass
    assert server.connections_total == 0


def test_a_closed_stream_has_no_more_events(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_stream_reply())
    events = runtime.open_stream(make_model(server), "hello")
    next(events)
    events.close()
    events.close()
    server.wait_closed()
    with pytest.raises(StopIteration):
        next(events)


def test_a_redirect_is_not_followed_with_the_key(server: LoopbackServer, runtime: Runtime) -> None:
    elsewhere = {"location": "http://127.0.0.1:9/stolen"}
    server.always(Reply(307, elsewhere))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APIStatusError, match="redirects are not followed") as exc_info:
            call_model(make_model(server), "hello")
        assert exc_info.value.status_code == 307


def test_the_body_of_an_error_response_is_read_up_to_a_limit(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.stream([b"x" * 100_000] * 30 + [Pause(FOREVER)], status=400))
    with HangGuard(), pytest.raises(APIStatusError) as exc_info:
        runtime.complete(make_model(server), "hello")
    assert 1_000_000 <= len(exc_info.value.body) <= 1_200_000
    assert len(str(exc_info.value)) < 600
    server.wait_closed()


@pytest.mark.parametrize("fault", ["cut", "reset", "stall"])
def test_an_incomplete_error_response_is_still_that_error(
    server: LoopbackServer, runtime: Runtime, fault: str
) -> None:
    reply = Reply.error(404, "no such model")
    server.always({"cut": reply.truncate, "reset": reply.reset, "stall": reply.stall}[fault](30))

    def check_status_error(factor: float) -> None:
        for call_model in (runtime.complete, runtime.collect_events):
            with pytest.raises(NotFoundError, match="404"):
                call_model(make_model(server, timeout=0.2 * factor), "hello")

    retry_slower(check_status_error)


def test_a_complete_response_to_a_stream_request_is_parsed(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply())
    events = runtime.collect_events(make_model(server), "hello")
    assert [(event.content, event.done) for event in events] == [(TEXT, True)]


def test_a_stream_as_response_to_complete_is_read_like_a_stream(
    server: LoopbackServer, runtime: Runtime
) -> None:
    """Some gateways stream although nobody asked for it."""
    server.always(build_stream_reply())
    response = runtime.complete(make_model(server), "hello")
    assert (response.content, response.finish_reason) == (TEXT, "stop")
    assert response.usage == USAGE


def test_bytes_that_are_not_text_are_an_error(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply(200, {"content-type": "application/json"}, b"\xff\xfe\x00{"))
    with pytest.raises(ResponseParseError):
        runtime.complete(make_model(server), "hello")


PACKED = {"content-type": "application/json", "content-encoding": "gzip"}


def test_a_compressed_response_is_decompressed(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(
        *(
            Reply(200, PACKED, gzip.compress(reply.content))
            for reply in (build_reply(), build_stream_reply())
        )
    )
    model = make_model(server)
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT


# httpx drops its own generators here, and trio warns about it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_response_that_cannot_be_decompressed_is_an_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply(200, PACKED, b"this is not gzip at all"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APIConnectionError, match="DecodingError"):
            call_model(make_model(server), "hello")
    server.wait_closed()


def test_a_long_stream_in_tiny_chunks(server: LoopbackServer, runtime: Runtime) -> None:
    texts = [f"{number} " for number in range(300)]
    server.always(build_stream_reply(texts).dribble(37))
    assert join_text(runtime.collect_events(make_model(server), "hello")) == "".join(texts)


def test_a_large_response(server: LoopbackServer, runtime: Runtime) -> None:
    long = "€" * 700_000
    server.always(
        build_reply(long),
        Reply.sse([build_chunk({"content": long}), build_chunk(finish_reason="stop")]),
    )
    model = make_model(server)
    assert runtime.complete(model, "hello").content == long
    assert join_text(runtime.collect_events(model, "hello")) == long


def test_a_large_request(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    runtime.complete(make_model(server), "€" * 1_000_000)
    assert server.requests[0].json()["messages"][0]["content"] == "€" * 1_000_000


def test_a_proxy_in_the_environment_is_used(
    server: LoopbackServer, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    unfinished = build_stream_reply().stall(sum(map(len, build_stream_reply().body[:3])))
    server.always(build_reply(), build_stream_reply(), unfinished)
    model = make_model(server, base_url="http://model.test/v1")
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert {r.target for r in server.requests} == {"http://model.test/v1/chat/completions"}
    assert server.connections_total == 1
    with runtime.open_stream(model, "hello") as events:
        next(events)
    server.wait_closed()
    runtime.close(model)


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 2.0**31, 2_000_000])
def test_an_infinite_timeout_is_none(
    server: LoopbackServer, runtime: Runtime, seconds: float
) -> None:
    first, second = build_reply().split_at(20).body
    server.always(build_reply().with_body(first, Pause(0.02), second))
    assert runtime.complete(make_model(server, timeout=seconds), "hello").content == TEXT
    assert runtime.complete(make_model(server), "hello", timeout=seconds).content == TEXT


@pytest.mark.parametrize("seconds", [-1.0, 0.0, math.nan])
def test_an_invalid_timeout_is_an_error_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, seconds: float
) -> None:
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ConfigurationError, match="timeout"):
            call_model(make_model(server), "hello", timeout=seconds)
    assert server.connections_total == 0
