"""When a request is sent again, how often, and after which pause; on each runtime."""

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
    error_class,
)
from locus.testing.loopback_server import LoopbackServer, Reply
from locus.transport.retries import LONGEST_OBEYED, Backoff, worth_retrying
from tests.support import runtimes
from tests.support.runtimes import TEXT, AtMost, Runtime, chunks, model_of, streamed, text, whole

no_leaks, runtime, server = runtimes.no_leaks, runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("no_leaks")

RETRIED = (408, 409, 429, 500, 502, 503, 504, 529)
FINAL = (400, 401, 403, 404, 413, 422, 451)


def error(status: int, **headers: str) -> Reply:
    """A refusal. Where a client tries again, it waits no longer than it has to."""
    said = {"retry_after_ms": "1", **headers}
    return Reply.error(
        status, headers={name.replace("_", "-"): value for name, value in said.items()}
    )


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, float]]]:
    """Random pauses take no time; here stand the limits that each was drawn between."""
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 0.0

    monkeypatch.setattr("locus.transport.retries.random.uniform", uniform)
    return drawn


@pytest.mark.parametrize("status", RETRIED)
def test_a_passing_failure_is_tried_again(
    server: LoopbackServer, runtime: Runtime, status: int
) -> None:
    server.always(error(status), whole(), error(status), streamed())
    model = model_of(server, max_retries=1)
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", FINAL)
def test_a_failure_that_stays_is_not(server: LoopbackServer, runtime: Runtime, status: int) -> None:
    server.always(error(status))
    model = model_of(server, max_retries=2)
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(error_class(status)):
            ask(model, "hello")
    assert len(server.requests) == 2


def test_two_retries_are_the_default(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(error(429))
    model = runtimes.OpenAIModel("m", api_key="k", base_url=server.url)
    assert model.config.max_retries == 2
    for number, ask in enumerate((runtime.ask, runtime.stream), 1):
        with pytest.raises(RateLimitError, match="raise max_retries"):
            ask(model, "hello")
        assert len(server.requests) == 3 * number


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_so_many_retries_are_so_many_more_requests(
    server: LoopbackServer, runtime: Runtime, retries: int
) -> None:
    server.always(error(503))
    with pytest.raises(InternalServerError):
        runtime.ask(model_of(server, max_retries=retries), "hello")
    assert len(server.requests) == 1 + retries


def test_each_try_sends_the_same(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(error(500), error(500), whole())
    runtime.ask(model_of(server, max_retries=2), "hello", seed=3, extra_headers={"x-mine": "1"})
    first, *others = server.requests
    for other in others:
        assert (other.body, dict(other.headers)) == (first.body, dict(first.headers))


def test_the_first_failure_that_stays_ends_it(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(error(429), error(400), whole())
    with pytest.raises(BadRequestError):
        runtime.ask(model_of(server, max_retries=5), "hello")
    assert len(server.requests) == 2


def test_the_last_failure_is_the_one_that_is_raised(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(error(500), error(503), error(429))
    with pytest.raises(RateLimitError) as caught:
        runtime.ask(model_of(server, max_retries=2), "hello")
    assert str(caught.value).count("openai loop-1: POST") == 1


@pytest.mark.parametrize("fault", ["accept", "head"])
def test_a_failed_connection_is_tried_again(
    server: LoopbackServer, runtime: Runtime, fault: str, pauses: list[tuple[float, float]]
) -> None:
    server.always(whole().reset(0, fault), whole())  # type: ignore[arg-type]
    model = model_of(server, max_retries=1)
    assert runtime.ask(model, "hello").content == TEXT
    server.always(streamed().reset(0, "head"), streamed())
    assert text(runtime.stream(model, "hello")) == TEXT
    assert pauses[-1] == (0, 0.5)


def test_an_answer_that_breaks_off_is_asked_for_again(
    server: LoopbackServer, runtime: Runtime, pauses: list[tuple[float, float]]
) -> None:
    server.always(whole().truncate(), whole())
    assert runtime.ask(model_of(server, max_retries=1), "hello").content == TEXT


def test_silence_before_the_first_byte_is_tried_again(
    server: LoopbackServer, runtime: Runtime, pauses: list[tuple[float, float]]
) -> None:
    server.always(whole().stall(0, "head"), whole(), whole().stall(0, "head"), streamed())
    model = model_of(server, max_retries=1, timeout=0.2)
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    assert len(server.requests) == 4


def test_silence_after_the_first_byte_is_not(
    server: LoopbackServer, runtime: Runtime, pauses: list[tuple[float, float]]
) -> None:
    model = model_of(server, max_retries=2, timeout=0.2)
    for reply, ask in ((whole(), runtime.ask), (streamed(), runtime.stream)):
        server.always(reply.stall(20))
        with pytest.raises(APITimeoutError):
            ask(model, "hello")
    assert len(server.requests) == 2
    assert pauses == []


def test_an_answer_that_is_no_answer_is_not_asked_for_again(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.html(status=200))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ResponseParseError):
            ask(model_of(server, max_retries=2), "hello")
    assert len(server.requests) == 2


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_stream_that_broke_off_before_its_first_event_is_asked_for_again(
    server: LoopbackServer, runtime: Runtime, pauses: list[tuple[float, float]], pieces: int
) -> None:
    """The first piece says who speaks; it makes no event, so nobody has seen it."""
    server.always(streamed().reset(sum(map(len, streamed().body[:pieces]))), streamed())
    assert text(runtime.stream(model_of(server, max_retries=1), "hello")) == TEXT
    assert len(server.requests) == 2


def test_a_stream_that_is_an_error_from_the_start_is_asked_for_again(
    server: LoopbackServer, runtime: Runtime, pauses: list[tuple[float, float]]
) -> None:
    busy = Reply.sse([{"error": {"message": "no room", "type": "overloaded_error"}}])
    server.always(busy, streamed())
    assert text(runtime.stream(model_of(server, max_retries=1), "hello")) == TEXT


BROKEN = {
    "cut": streamed().truncate(sum(map(len, streamed().body[:3]))),
    "reset": streamed().reset(sum(map(len, streamed().body[:3]))),
    "error": Reply.sse([*chunks()[:3], {"error": {"message": "no", "type": "overloaded_error"}}]),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_stream_whose_first_event_was_handed_out_is_not(
    server: LoopbackServer, runtime: Runtime, how: str, pauses: list[tuple[float, float]]
) -> None:
    server.always(BROKEN[how], streamed())
    events = runtime.open(model_of(server, max_retries=5), "hello")
    assert next(events).content == "Zürich"
    with pytest.raises((StreamInterruptedError, InternalServerError)):
        list(events)
    assert len(server.requests) == 1
    assert pauses == []


# -- pauses ------------------------------------------------------------------------------------


def gaps(server: LoopbackServer) -> list[float]:
    return [after.at - before.at for before, after in pairwise(server.requests)]


def test_retry_after_is_obeyed(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(
        error(429, retry_after_ms="150"),
        Reply.error(429, retry_after=0.2),
        error(429, retry_after_ms="1", retry_after="30"),  # the finer one counts
        whole(),
    )
    with AtMost(3):  # a machine that has others to serve takes its time
        runtime.ask(model_of(server, max_retries=3), "hello")
    first, second, third = gaps(server)
    assert 0.15 <= first < 1
    assert 0.2 <= second < 1
    assert third < 1


def test_retry_after_is_obeyed_by_streams(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(error(503, retry_after_ms="150"), streamed())
    runtime.stream(model_of(server, max_retries=1), "hello")
    assert 0.15 <= gaps(server)[0] < 1


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2015 07:28:00 GMT", "-1", "soon", "nan", "inf"])
def test_a_retry_after_that_is_no_number_of_seconds_is_passed_over(
    server: LoopbackServer, runtime: Runtime, value: str, pauses: list[tuple[float, float]]
) -> None:
    server.always(Reply.error(429, retry_after=value), whole())
    with AtMost(2):
        runtime.ask(model_of(server, max_retries=1), "hello")
    assert pauses == [(0, 0.5)]


def test_the_server_may_ask_for_another_try(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(error(400, x_should_retry="true"), whole())
    assert runtime.ask(model_of(server, max_retries=1), "hello").content == TEXT


def test_the_server_may_ask_for_none(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(error(429, x_should_retry="false"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(RateLimitError):
            ask(model_of(server, max_retries=2), "hello")
    assert len(server.requests) == 2


def test_pauses_grow_and_are_drawn_between_nothing_and_all(
    server: LoopbackServer, runtime: Runtime, pauses: list[tuple[float, float]]
) -> None:
    server.always(Reply.error(500))
    with pytest.raises(InternalServerError):
        runtime.ask(model_of(server, max_retries=6), "hello")
    assert pauses[:6] == [(0, 0.5), (0, 1.0), (0, 2.0), (0, 4.0), (0, 8.0), (0, 8.0)]


def refusal(status: int, **headers: str) -> APIStatusError:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_class(status)("no", status_code=status, headers=said)


def test_backoff_draws_full_jitter() -> None:
    drawn = [[(backoff := Backoff())(refusal(500)), backoff(refusal(500))] for _ in range(200)]
    for column, high in ((0, 0.5), (1, 1.0)):
        values = [float(pair[column]) for pair in drawn]
        assert 0 <= min(values) < 0.2 * high
        assert 0.8 * high < max(values) <= high


def test_backoff_obeys_up_to_a_limit() -> None:
    assert Backoff()(refusal(429, retry_after="7")) == 7.0
    assert Backoff()(refusal(429, retry_after_ms="20")) == 0.02
    assert Backoff()(refusal(429, retry_after="86400")) == LONGEST_OBEYED == 60.0


def test_backoff_says_no() -> None:
    assert Backoff()(refusal(400)) is False
    assert Backoff()(ValueError("not ours")) is False
    assert Backoff()(refusal(500, x_should_retry="false")) is False


@pytest.mark.parametrize(
    ("failure", "worth"),
    [
        *((refusal(status), True) for status in RETRIED),
        *((refusal(status), False) for status in FINAL),
        (refusal(599), True),
        (refusal(301), False),
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
def test_what_is_worth_a_retry(failure: BaseException, worth: bool) -> None:
    assert worth_retrying(failure) is worth


def test_a_timeout_is_worth_a_retry_until_the_answer_has_begun() -> None:
    failure = APITimeoutError("no")
    failure.answer_begun = True
    assert not worth_retrying(failure)


# -- in users' tests ---------------------------------------------------------------------------


def test_retries_can_be_switched_off_for_a_whole_program(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(error(500))
    stamina.set_active(False)
    try:
        with pytest.raises(InternalServerError):
            runtime.ask(model_of(server, max_retries=5), "hello")
    finally:
        stamina.set_active(True)
    assert len(server.requests) == 1


def test_pauses_can_be_switched_off_for_a_whole_program(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.error(429, retry_after=30), Reply.error(429, retry_after=30), whole())
    with AtMost(2), stamina.set_testing(True, attempts=3):
        assert runtime.ask(model_of(server, max_retries=2), "hello").content == TEXT


def test_a_users_instruments_see_each_retry(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(error(429), error(503), whole())
    seen: list[stamina.instrumentation.RetryDetails] = []
    stamina.instrumentation.set_on_retry_hooks([seen.append])
    try:
        runtime.ask(model_of(server, max_retries=2), "hello")
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert [type(details.caused_by) for details in seen] == [RateLimitError, InternalServerError]
    assert [details.wait_for for details in seen] == [0.001, 0.001]
