"""When a request is sent again, how often, and after which delay; on each runtime."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import stamina

from locus.core.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
    get_status_error_class,
)
from locus.models.native.openai import OpenAIModel
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Reply
from locus.transport.retries import MAX_RETRY_AFTER, RetryPolicy, is_retryable
from tests.support.chat_replies import (
    TEXT,
    build_chunks,
    build_reply,
    build_stream_reply,
    join_text,
)
from tests.support.servers.openai_server import make_model
from tests.support.timing import HANG_SECONDS, HangGuard, retry_slower

pytestmark = pytest.mark.usefixtures("no_leaks")

RETRIED = (408, 409, 429, 500, 502, 503, 504, 529)
FINAL = (400, 401, 403, 404, 413, 422, 451)


def build_error_reply(status: int, **headers: str) -> Reply:
    """An error response. A client that retries waits only a millisecond."""
    all_headers = {"retry_after_ms": "1", **headers}
    return Reply.error(
        status, headers={name.replace("_", "-"): value for name, value in all_headers.items()}
    )


@pytest.fixture
def delay_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, float]]]:
    """The limits between which each random delay is drawn; the delays themselves are skipped."""
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.0

    monkeypatch.setattr("locus.transport.retries.random.uniform", uniform)
    return drawn


@pytest.mark.parametrize("status", RETRIED)
def test_a_temporary_error_is_retried(
    server: LoopbackServer, runtime: Runtime, status: int
) -> None:
    server.always(
        build_error_reply(status), build_reply(), build_error_reply(status), build_stream_reply()
    )
    model = make_model(server, max_retries=1)
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", FINAL)
def test_a_permanent_error_is_not_retried(
    server: LoopbackServer, runtime: Runtime, status: int
) -> None:
    server.always(build_error_reply(status))
    model = make_model(server, max_retries=2)
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(get_status_error_class(status)):
            call_model(model, "hello")
    assert len(server.requests) == 2


def test_two_retries_are_the_default(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(429))
    model = OpenAIModel("m", api_key="k", base_url=server.url)
    assert model.config.max_retries == 2
    for number, call_model in enumerate((runtime.complete, runtime.collect_events), 1):
        with pytest.raises(RateLimitError, match="raise max_retries"):
            call_model(model, "hello")
        assert len(server.requests) == 3 * number


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_max_retries_is_the_number_of_further_requests(
    server: LoopbackServer, runtime: Runtime, retries: int
) -> None:
    server.always(build_error_reply(503))
    with pytest.raises(InternalServerError):
        runtime.complete(make_model(server, max_retries=retries), "hello")
    assert len(server.requests) == 1 + retries


def test_each_attempt_sends_the_same(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(500), build_error_reply(500), build_reply())
    runtime.complete(
        make_model(server, max_retries=2), "hello", seed=3, extra_headers={"x-mine": "1"}
    )
    first, *others = server.requests
    for other in others:
        assert (other.body, dict(other.headers)) == (first.body, dict(first.headers))


def test_the_first_permanent_error_ends_the_attempts(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_error_reply(429), build_error_reply(400), build_reply())
    with pytest.raises(BadRequestError):
        runtime.complete(make_model(server, max_retries=5), "hello")
    assert len(server.requests) == 2


def test_the_last_error_is_raised(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(500), build_error_reply(503), build_error_reply(429))
    with pytest.raises(RateLimitError) as exc_info:
        runtime.complete(make_model(server, max_retries=2), "hello")
    assert str(exc_info.value).count("openai loop-1: POST") == 1


@pytest.mark.parametrize("fault", ["accept", "head"])
def test_a_failed_connection_is_retried(
    server: LoopbackServer,
    runtime: Runtime,
    fault: str,
    delay_limits: list[tuple[float, float]],
) -> None:
    server.always(build_reply().reset(0, fault), build_reply())  # type: ignore[arg-type]
    model = make_model(server, max_retries=1)
    assert runtime.complete(model, "hello").content == TEXT
    server.always(build_stream_reply().reset(0, "head"), build_stream_reply())
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert delay_limits[-1] == (0, 0.5)


def test_an_incomplete_response_is_retried(
    server: LoopbackServer, runtime: Runtime, delay_limits: list[tuple[float, float]]
) -> None:
    server.always(build_reply().truncate(), build_reply())
    assert runtime.complete(make_model(server, max_retries=1), "hello").content == TEXT


def test_silence_before_the_first_byte_is_retried(
    server: LoopbackServer, runtime: Runtime, delay_limits: list[tuple[float, float]]
) -> None:
    def check_retry(factor: float) -> None:
        before = len(server.requests)
        server.always(
            build_reply().stall(0, "head"),
            build_reply(),
            build_reply().stall(0, "head"),
            build_stream_reply(),
        )
        model = make_model(server, max_retries=1, timeout=0.2 * factor)
        assert runtime.complete(model, "hello").content == TEXT
        assert join_text(runtime.collect_events(model, "hello")) == TEXT
        assert len(server.requests) == before + 4

    retry_slower(check_retry)


def test_silence_after_the_first_byte_is_not_retried(
    server: LoopbackServer, runtime: Runtime, delay_limits: list[tuple[float, float]]
) -> None:
    def check_no_retry(factor: float) -> None:
        before = len(server.requests)
        delay_limits.clear()
        model = make_model(server, max_retries=2, timeout=0.2 * factor)
        for reply, call_model in (
            (build_reply(), runtime.complete),
            (build_stream_reply(), runtime.collect_events),
        ):
            server.always(reply.stall(20))
            with pytest.raises(APITimeoutError):
                call_model(model, "hello")
        assert len(server.requests) == before + 2
        assert delay_limits == []

    retry_slower(check_no_retry)


def test_a_response_that_cannot_be_parsed_is_not_retried(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.html(status=200))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(ResponseParseError):
            call_model(make_model(server, max_retries=2), "hello")
    assert len(server.requests) == 2


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part_count", [0, 1])
def test_a_stream_that_fails_before_its_first_event_is_retried(
    server: LoopbackServer,
    runtime: Runtime,
    delay_limits: list[tuple[float, float]],
    part_count: int,
) -> None:
    """The first chunk holds the role only and makes no event, so the caller has seen nothing."""
    server.always(
        build_stream_reply().reset(sum(map(len, build_stream_reply().body[:part_count]))),
        build_stream_reply(),
    )
    assert join_text(runtime.collect_events(make_model(server, max_retries=1), "hello")) == TEXT
    assert len(server.requests) == 2


def test_a_stream_that_starts_with_an_error_is_retried(
    server: LoopbackServer, runtime: Runtime, delay_limits: list[tuple[float, float]]
) -> None:
    busy = Reply.sse([{"error": {"message": "no room", "type": "overloaded_error"}}])
    server.always(busy, build_stream_reply())
    assert join_text(runtime.collect_events(make_model(server, max_retries=1), "hello")) == TEXT


BROKEN = {
    "cut": build_stream_reply().truncate(sum(map(len, build_stream_reply().body[:3]))),
    "reset": build_stream_reply().reset(sum(map(len, build_stream_reply().body[:3]))),
    "error": Reply.sse(
        [*build_chunks()[:3], {"error": {"message": "no", "type": "overloaded_error"}}]
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_stream_whose_first_event_was_returned_is_not_retried(
    server: LoopbackServer,
    runtime: Runtime,
    how: str,
    delay_limits: list[tuple[float, float]],
) -> None:
    server.always(BROKEN[how], build_stream_reply())
    events = runtime.open_stream(make_model(server, max_retries=5), "hello")
    assert next(events).content == "Zürich"
    with pytest.raises((StreamInterruptedError, InternalServerError)):
        list(events)
    assert len(server.requests) == 1
    assert delay_limits == []


# -- delays ------------------------------------------------------------------------------------


@pytest.fixture
def recorded_waits() -> Iterator[list[float]]:
    """How long is waited before each retry, in seconds."""
    recorded_waits: list[float] = []
    stamina.instrumentation.set_on_retry_hooks(
        [lambda details: recorded_waits.append(details.wait_for)]
    )
    yield recorded_waits
    stamina.instrumentation.set_on_retry_hooks(None)


def get_request_gaps(server: LoopbackServer) -> list[float]:
    return [after.at - before.at for before, after in pairwise(server.requests)]


def test_retry_after_is_obeyed(
    server: LoopbackServer, runtime: Runtime, recorded_waits: list[float]
) -> None:
    server.always(
        build_error_reply(429, retry_after_ms="150"),
        Reply.error(429, retry_after=0.2),
        build_error_reply(
            429, retry_after_ms="1", retry_after="30"
        ),  # milliseconds take precedence
        build_reply(),
    )
    runtime.complete(make_model(server, max_retries=3), "hello")
    assert recorded_waits == pytest.approx([0.15, 0.2, 0.001])
    assert all(
        gap >= wait for gap, wait in zip(get_request_gaps(server), recorded_waits, strict=True)
    )


def test_retry_after_is_obeyed_by_streams(
    server: LoopbackServer, runtime: Runtime, recorded_waits: list[float]
) -> None:
    server.always(build_error_reply(503, retry_after_ms="150"), build_stream_reply())
    runtime.collect_events(make_model(server, max_retries=1), "hello")
    assert recorded_waits == pytest.approx([0.15])
    assert get_request_gaps(server)[0] >= 0.15


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2015 07:28:00 GMT", "-1", "soon", "nan", "inf"])
def test_a_retry_after_that_is_not_a_number_of_seconds_is_ignored(
    server: LoopbackServer,
    runtime: Runtime,
    value: str,
    delay_limits: list[tuple[float, float]],
) -> None:
    server.always(Reply.error(429, retry_after=value), build_reply())
    runtime.complete(make_model(server, max_retries=1), "hello")
    assert delay_limits == [(0, 0.5)]


def test_the_server_can_request_a_retry(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(400, x_should_retry="true"), build_reply())
    assert runtime.complete(make_model(server, max_retries=1), "hello").content == TEXT


def test_the_server_can_forbid_a_retry(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(429, x_should_retry="false"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(RateLimitError):
            call_model(make_model(server, max_retries=2), "hello")
    assert len(server.requests) == 2


def test_delays_grow_and_are_drawn_with_full_jitter(
    server: LoopbackServer, runtime: Runtime, delay_limits: list[tuple[float, float]]
) -> None:
    server.always(Reply.error(500))
    with pytest.raises(InternalServerError):
        runtime.complete(make_model(server, max_retries=6), "hello")
    assert delay_limits[:6] == [(0, 0.5), (0, 1.0), (0, 2.0), (0, 4.0), (0, 8.0), (0, 8.0)]


def make_status_error(status: int, **headers: str) -> APIStatusError:
    all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return get_status_error_class(status)("no", status_code=status, headers=all_headers)


def test_the_policy_draws_full_jitter() -> None:
    drawn = [
        [(policy := RetryPolicy())(make_status_error(500)), policy(make_status_error(500))]
        for _ in range(200)
    ]
    for column, high in ((0, 0.5), (1, 1.0)):
        values = [float(pair[column]) for pair in drawn]
        assert 0 <= min(values) < 0.2 * high
        assert 0.8 * high < max(values) <= high


def test_the_policy_obeys_retry_after_and_gives_up_where_it_is_too_long() -> None:
    assert RetryPolicy()(make_status_error(429, retry_after="7")) == 7.0
    assert RetryPolicy()(make_status_error(429, retry_after_ms="20")) == 0.02
    assert RetryPolicy()(make_status_error(429, retry_after=str(MAX_RETRY_AFTER))) == 60.0
    assert RetryPolicy()(make_status_error(429, retry_after="86400")) is False
    assert not is_retryable(make_status_error(503, retry_after="61"))


def test_the_policy_gives_no_delay_for_a_permanent_error() -> None:
    assert RetryPolicy()(make_status_error(400)) is False
    assert RetryPolicy()(ValueError("not ours")) is False
    assert RetryPolicy()(make_status_error(500, x_should_retry="false")) is False


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        *((make_status_error(status), True) for status in RETRIED),
        *((make_status_error(status), False) for status in FINAL),
        (make_status_error(599), True),
        (make_status_error(301), False),
        (APIConnectionError("no"), True),
        (APITimeoutError("no"), True),
        (StreamInterruptedError("no"), True),
        (ResponseParseError("no"), False),
        (APIError("no"), False),
        (AuthenticationError("no", status_code=401, headers={"X-Should-Retry": "true"}), True),
        (KeyboardInterrupt(), False),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'status_code', '')}",
)
def test_which_errors_are_retryable(error: BaseException, worth: bool) -> None:
    assert is_retryable(error) is worth


def test_a_timeout_is_retryable_until_the_response_has_started() -> None:
    error = APITimeoutError("no")
    error.response_started = True
    assert not is_retryable(error)


# -- in users' tests ---------------------------------------------------------------------------


def test_retries_can_be_switched_off_for_a_program(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_error_reply(500))
    stamina.set_active(False)
    try:
        with pytest.raises(InternalServerError):
            runtime.complete(make_model(server, max_retries=5), "hello")
    finally:
        stamina.set_active(True)
    assert len(server.requests) == 1


def test_delays_can_be_switched_off_for_a_program(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(*[Reply.error(429, retry_after=HANG_SECONDS)] * 2, build_reply())
    with HangGuard(), stamina.set_testing(True, attempts=3):
        assert runtime.complete(make_model(server, max_retries=2), "hello").content == TEXT


def test_instrumentation_sees_each_retry(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(429), build_error_reply(503), build_reply())
    seen: list[stamina.instrumentation.RetryDetails] = []
    stamina.instrumentation.set_on_retry_hooks([seen.append])
    try:
        runtime.complete(make_model(server, max_retries=2), "hello")
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert [type(details.caused_by) for details in seen] == [RateLimitError, InternalServerError]
    assert [details.wait_for for details in seen] == [0.001, 0.001]
