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
from locus.testing.loopback_server import LoopbackServer, Pause, Reply
from tests.support import runtimes
from tests.support.runtimes import (
    TEXT,
    USAGE,
    WORDS,
    AtMost,
    Runtime,
    chunk,
    chunks,
    model_of,
    streamed,
    text,
    whole,
)

environment, no_leaks = runtimes.environment, runtimes.no_leaks
runtime, server = runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("no_leaks")

ENDLESS = Reply.sse(chunks(), done=False).then("stall")
"""A stream that never ends, nor the connection."""


def test_a_whole_answer_arrives(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    answer = runtime.ask(model_of(server), "hello")
    assert answer.content == TEXT
    assert answer.finish_reason == "stop"
    assert (answer.prompt_tokens, answer.completion_tokens) == (9, 5)
    assert answer.model == "loop-1-0613"


def test_a_streamed_answer_equals_the_whole_one(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole(), streamed())
    model = model_of(server)
    answer = runtime.ask(model, "hello")
    events = runtime.stream(model, "hello")
    assert text(events) == TEXT
    assert [event.done for event in events] == [False] * len(WORDS) + [True]
    assert events[-1].response == answer
    assert events[-1].usage == answer.usage == {k: v for k, v in USAGE.items() if "total" not in k}


def test_invoke_gives_the_message(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    assert runtime.invoke(model_of(server), "hello").text == TEXT


def test_the_model_is_its_own_context(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server)
    assert runtime.within(model, lambda same: same is model and runtime.ask(model, "x").content)
    server.wait_closed(timeout=2)


def test_events_come_as_they_arrive_and_not_at_the_end(
    server: LoopbackServer, runtime: Runtime
) -> None:
    go_on = threading.Event()
    pieces = streamed().body
    server.always(
        Reply.stream([*pieces[:3], Pause(10, go_on), *pieces[3:]], headers=streamed().headers)
    )
    with runtime.open(model_of(server), "hello") as events:
        assert [next(events).content, next(events).content] == list(WORDS[:2])
        assert not go_on.is_set()
        go_on.set()
        assert text(events) == "".join(WORDS[2:])


def test_two_calls_in_a_row_use_one_connection(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server)
    for _ in range(3):
        runtime.ask(model, "hello")
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_two_streams_in_a_row_use_one_connection(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(streamed())
    model = model_of(server)
    for _ in range(3):
        assert text(runtime.stream(model, "hello")) == TEXT
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_a_whole_answer_and_a_stream_share_their_connection(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(whole(), streamed(), whole())
    model = model_of(server)
    runtime.ask(model, "hello")
    runtime.stream(model, "hello")
    runtime.ask(model, "hello")
    assert server.connections_total == 1


def test_a_refusal_leaves_its_connection_in_use(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply.error(400), whole())
    model = model_of(server)
    with pytest.raises(APIStatusError):
        runtime.ask(model, "hello")
    runtime.ask(model, "hello")
    assert server.connections_total == 1


def test_copies_share_connections(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server)
    runtime.ask(model, "hello")
    runtime.ask(model.copy(temperature=0.0), "hello")
    runtime.ask(model.bind_tools([]), "hello")
    assert server.connections_total == 1


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_pooled_connection_that_died_is_not_noticed_by_the_caller(
    server: LoopbackServer, runtime: Runtime, ending: str
) -> None:
    server.always(whole().then(ending), streamed().then(ending), whole())  # type: ignore[arg-type]
    model = model_of(server, max_retries=0)
    for ask in (runtime.ask, runtime.stream, runtime.ask):
        ask(model, "hello")
        server.wait_closed(timeout=2, remaining=1 if len(server.requests) == 3 else 0)
    assert server.connections_total == 3


def test_a_server_that_goes_silent_after_the_end_does_not_delay_it(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(streamed().stall(len(streamed().content)), streamed())
    model = model_of(server)
    with AtMost(0.6):
        assert text(runtime.stream(model, "hello")) == TEXT
    server.wait_closed(timeout=1)  # its connection is of no more use
    assert text(runtime.stream(model, "hello")) == TEXT


def test_a_server_that_dribbles_after_the_end_does_not_delay_it(
    server: LoopbackServer, runtime: Runtime
) -> None:
    more = [piece for _ in range(100) for piece in (b": still here\n\n", Pause(0.05))]
    server.always(Reply.stream([*streamed().body, *more], headers=streamed().headers))
    with AtMost(0.6):
        assert text(runtime.stream(model_of(server), "hello")) == TEXT
    server.wait_closed(timeout=1)


def test_the_last_event_is_handed_out_before_an_unclosed_body_is_waited_for(
    server: LoopbackServer, runtime: Runtime
) -> None:
    """What follows the end mark is none of the answer's business, an error neither."""
    server.always(Reply.sse([*chunks(), "[DONE]", {"error": {"message": "too late"}}], done=False))
    events = runtime.stream(model_of(server), "hello")
    assert text(events) == TEXT
    assert events[-1].done


@pytest.mark.parametrize("wait", ["header", "body"])
def test_a_silent_server_is_a_timeout_that_says_what_to_do(
    server: LoopbackServer, runtime: Runtime, wait: str
) -> None:
    server.always(whole().stall(0, "head") if wait == "header" else whole().stall(10))
    with AtMost(1.5), pytest.raises(APITimeoutError, match="raise timeout=") as caught:
        runtime.ask(model_of(server, timeout=0.2), "hello")
    assert caught.value.answer_begun is (wait == "body")
    server.wait_closed(timeout=1)


def test_the_timeout_is_for_silence_and_not_for_the_whole(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(streamed().dribble(len(streamed().content) // 8, every=0.1))
    assert text(runtime.stream(model_of(server, timeout=0.4), "hello")) == TEXT


def test_a_call_has_its_own_timeout(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole().stall(0, "head"))
    model = model_of(server, timeout=30.0)
    with pytest.raises(APITimeoutError):
        runtime.ask(model, "hello", timeout=0.1)
    with pytest.raises(APITimeoutError):
        runtime.stream(model.bind_tools([], timeout=0.1), "hello")


def test_no_timeout_waits_longer(server: LoopbackServer, runtime: Runtime) -> None:
    first, second = whole().split_at(20).body
    server.always(whole().with_body(first, Pause(0.3), second))
    assert runtime.ask(model_of(server, timeout=0.1), "hello", timeout=None).content == TEXT


def test_nobody_listens(runtime: Runtime, environment: pytest.MonkeyPatch) -> None:
    with LoopbackServer() as server:
        model = model_of(server)
    with pytest.raises(APIConnectionError, match="check base_url, the network") as caught:
        runtime.ask(model, "hello")
    assert (caught.value.provider, caught.value.model) == ("openai", "loop-1")
    with pytest.raises(APIConnectionError, match="check base_url, the network"):
        runtime.stream(model, "hello")


def test_a_stream_that_is_cut_hands_out_what_came_and_then_says_so(
    server: LoopbackServer, runtime: Runtime
) -> None:
    pieces = streamed().body
    server.always(streamed().truncate(sum(map(len, pieces[:4]))))
    got: list[ModelChunkEvent] = []
    with pytest.raises(StreamInterruptedError) as caught:
        got.extend(runtime.open(model_of(server), "hello"))
    assert [event.content for event in got] == list(WORDS[:3])
    assert caught.value.partial is not None
    assert caught.value.partial.content == "".join(WORDS[:3])
    assert not any(event.done for event in got)
    server.wait_closed(timeout=1)


def test_a_stream_that_falls_silent_is_a_timeout_with_what_came(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(streamed().stall(sum(map(len, streamed().body[:4]))))
    with pytest.raises(APITimeoutError) as caught:
        runtime.stream(model_of(server, timeout=0.4), "hello")
    assert caught.value.partial is not None
    assert caught.value.partial.content == "".join(WORDS[:3])
    server.wait_closed(timeout=1)


def test_an_error_inside_a_stream_comes_after_the_events_before_it(
    server: LoopbackServer, runtime: Runtime
) -> None:
    error = {"error": {"message": "no room", "type": "overloaded_error"}}
    server.always(Reply.sse([*chunks()[:3], error]))
    with runtime.open(model_of(server), "hello") as events:
        assert [next(events).content, next(events).content] == list(WORDS[:2])
        with pytest.raises(APIStatusError, match="no room") as caught:
            next(events)
    assert caught.value.status_code == 529
    assert caught.value.partial is not None
    assert caught.value.partial.content == "".join(WORDS[:2])
    assert "openai loop-1: POST" in str(caught.value)


def test_an_exhausted_stream_stays_exhausted(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(streamed())
    events = runtime.open(model_of(server), "hello")
    assert text(events) == TEXT
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(events)
    assert len(server.requests) == 1


def test_a_failed_stream_is_over(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(streamed().truncate(200))
    events = runtime.open(model_of(server), "hello")
    with pytest.raises(StreamInterruptedError):
        list(events)
    with pytest.raises(StopIteration):
        next(events)
    assert len(server.requests) == 1


def test_a_stream_sends_nothing_until_it_is_asked(server: LoopbackServer, runtime: Runtime) -> None:
    model = model_of(server)
    runtime.open(model, "hello").close()
    with runtime.open(model, "hello"):
        pass
    assert server.connections_total == 0


def test_a_closed_stream_gives_no_more(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(streamed())
    events = runtime.open(model_of(server), "hello")
    next(events)
    events.close()
    events.close()
    server.wait_closed(timeout=1)
    with pytest.raises(StopIteration):
        next(events)


def test_a_redirect_is_not_followed_with_the_key(server: LoopbackServer, runtime: Runtime) -> None:
    elsewhere = {"location": "http://127.0.0.1:9/stolen"}
    server.always(Reply(307, elsewhere))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APIStatusError, match="redirects are not followed") as caught:
            ask(model_of(server), "hello")
        assert caught.value.status_code == 307


def test_the_body_of_a_refusal_is_read_to_a_limit(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply.stream([b"x" * 100_000] * 30 + [Pause(20)], status=400))
    with AtMost(3), pytest.raises(APIStatusError) as caught:
        runtime.ask(model_of(server), "hello")
    assert 1_000_000 <= len(caught.value.body) <= 1_200_000
    assert len(str(caught.value)) < 600
    server.wait_closed(timeout=2)


@pytest.mark.parametrize("fault", ["cut", "reset", "stall"])
def test_a_refusal_that_breaks_off_is_still_that_refusal(
    server: LoopbackServer, runtime: Runtime, fault: str
) -> None:
    reply = Reply.error(404, "no such model")
    server.always({"cut": reply.truncate, "reset": reply.reset, "stall": reply.stall}[fault](30))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(NotFoundError, match="404"):
            ask(model_of(server, timeout=0.2), "hello")


def test_a_server_that_does_not_stream_is_understood(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(whole())
    events = runtime.stream(model_of(server), "hello")
    assert [(event.content, event.done) for event in events] == [(TEXT, True)]


def test_a_stream_where_a_whole_answer_was_asked_is_an_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(streamed())
    with pytest.raises(ResponseParseError, match="cannot be read"):
        runtime.ask(model_of(server), "hello")


def test_bytes_that_are_not_text_are_an_error(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply(200, {"content-type": "application/json"}, b"\xff\xfe\x00{"))
    with pytest.raises(ResponseParseError):
        runtime.ask(model_of(server), "hello")


PACKED = {"content-type": "application/json", "content-encoding": "gzip"}


def test_a_compressed_answer_is_read(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(
        *(Reply(200, PACKED, gzip.compress(reply.content)) for reply in (whole(), streamed()))
    )
    model = model_of(server)
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT


# httpx drops generators of its own here, and trio remarks on it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_answer_that_cannot_be_unpacked_is_an_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply(200, PACKED, b"this is not gzip at all"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APIConnectionError, match="DecodingError"):
            ask(model_of(server), "hello")
    server.wait_closed(timeout=1)


def test_a_long_stream_in_tiny_pieces(server: LoopbackServer, runtime: Runtime) -> None:
    words = [f"{number} " for number in range(300)]
    server.always(streamed(words).dribble(37))
    assert text(runtime.stream(model_of(server), "hello")) == "".join(words)


def test_a_large_answer(server: LoopbackServer, runtime: Runtime) -> None:
    long = "€" * 700_000
    server.always(whole(long), Reply.sse([chunk({"content": long}), chunk(finish="stop")]))
    model = model_of(server)
    assert runtime.ask(model, "hello").content == long
    assert text(runtime.stream(model, "hello")) == long


def test_a_large_question(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    runtime.ask(model_of(server), "€" * 1_000_000)
    assert server.requests[0].json()["messages"][0]["content"] == "€" * 1_000_000


def test_a_proxy_in_the_environment_is_used(
    server: LoopbackServer, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    unfinished = streamed().stall(sum(map(len, streamed().body[:3])))
    server.always(whole(), streamed(), unfinished)
    model = model_of(server, base_url="http://model.test/v1")
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    assert {r.target for r in server.requests} == {"http://model.test/v1/chat/completions"}
    assert server.connections_total == 1
    with runtime.open(model, "hello") as events:
        next(events)
    server.wait_closed(timeout=1)
    runtime.close(model)


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 2.0**31, 2_000_000])
def test_a_timeout_without_end_is_none(
    server: LoopbackServer, runtime: Runtime, seconds: float
) -> None:
    first, second = whole().split_at(20).body
    server.always(whole().with_body(first, Pause(0.02), second))
    assert runtime.ask(model_of(server, timeout=seconds), "hello").content == TEXT
    assert runtime.ask(model_of(server), "hello", timeout=seconds).content == TEXT


@pytest.mark.parametrize("seconds", [-1.0, 0.0, math.nan])
def test_a_senseless_timeout_is_refused_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, seconds: float
) -> None:
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ConfigurationError, match="timeout"):
            ask(model_of(server), "hello", timeout=seconds)
    assert server.connections_total == 0
