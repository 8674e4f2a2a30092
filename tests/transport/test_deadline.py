"""``deadline=`` limits a whole call: its attempts, the pauses between them, and its response."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from locus import OpenAIModel
from locus.core.errors import APITimeoutError, ConfigurationError, InternalServerError
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Pause, Reply
from locus.transport.deadline import Deadline, has_time_for
from locus.transport.retries import RetryPolicy
from tests.support.chat_replies import TEXT, build_reply, build_stream_reply, join_text
from tests.support.timing import FOREVER

pytestmark = pytest.mark.usefixtures("no_leaks")

SHORT = 0.2
"""Seconds. Far shorter than what the servers of these tests take, and no test measures it."""


def make_model(server: LoopbackServer, **kw: Any) -> OpenAIModel:
    return OpenAIModel("m", "key", server.url, **{"timeout": FOREVER, "max_retries": 0, **kw})


def test_a_deadline_that_is_kept_changes_nothing(server: LoopbackServer, runtime: Runtime) -> None:
    server.enqueue(build_reply(), build_stream_reply())
    model = make_model(server, deadline=FOREVER)
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello", deadline=FOREVER)) == TEXT
    runtime.close(model)


def test_a_response_that_trickles_ends_at_the_deadline(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply().dribble(1, 0.05))  # each byte comes long before the timeout
    model = make_model(server)
    with pytest.raises(APITimeoutError, match=r"deadline=0\.2 .*raise deadline=") as exc_info:
        runtime.complete(model, "hello", deadline=SHORT)
    assert exc_info.value.deadline_exceeded
    runtime.close(model)


def test_a_stream_that_trickles_ends_with_its_part(
    server: LoopbackServer, runtime: Runtime
) -> None:
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
    pieces = [piece for _ in range(2000) for piece in (event, Pause(0.02))]
    server.always(Reply.stream(pieces, headers={"content-type": "text/event-stream"}))
    model = make_model(server).bind_tools([], deadline=SHORT)
    with pytest.raises(APITimeoutError, match="deadline") as exc_info:
        runtime.collect_events(model, "hello")
    partial = exc_info.value.partial
    assert partial is not None
    assert partial.content is not None
    assert set(partial.content) == {"x"}
    runtime.close(model)


def test_comments_do_not_extend_a_stream(server: LoopbackServer, runtime: Runtime) -> None:
    pieces = [piece for _ in range(2000) for piece in (b": wait\n\n", Pause(0.02))]
    server.always(Reply.stream(pieces, headers={"content-type": "text/event-stream"}))
    model = make_model(server)
    with pytest.raises(APITimeoutError, match="deadline"):
        runtime.collect_events(model, "hello", deadline=SHORT)
    runtime.close(model)


def test_a_callers_own_client_ends_a_stream_too(server: LoopbackServer) -> None:
    pieces = [piece for _ in range(2000) for piece in (b": wait\n\n", Pause(0.02))]
    server.always(Reply.stream(pieces, headers={"content-type": "text/event-stream"}))
    with httpx.Client() as client:
        model = OpenAIModel("m", "key", server.url, http_client=client, max_retries=0)
        with pytest.raises(APITimeoutError, match="deadline"):
            list(model.stream_sync("hello", deadline=SHORT))


def test_no_attempt_begins_after_the_deadline(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(Reply.error(503, retry_after=3600))
    model = make_model(server, max_retries=9)
    with pytest.raises(InternalServerError):
        runtime.complete(model, "hello", deadline=60)
    assert len(server.requests) == 1
    runtime.close(model)


def test_pauses_leave_time_for_the_attempt() -> None:
    error = InternalServerError("x", status_code=500)
    for seconds in (0.01, 1.0, 1e9):
        deadline = Deadline.start(seconds)
        assert deadline is not None
        delay = RetryPolicy(deadline)(error)
        assert delay is not False
        assert delay <= seconds / 2
    over = Deadline(1.0, 0.0)
    assert (over.is_over, over.remaining, RetryPolicy(over)(error)) == (True, 0.0, False)
    assert has_time_for(None, 1e9)
    assert Deadline.start(None) is None


@pytest.mark.parametrize("deadline", [0, -1, "5", True, float("nan")])
def test_an_invalid_deadline_is_an_error(deadline: Any) -> None:
    model = OpenAIModel("m", "key", "http://127.0.0.1:9")
    for call in (
        lambda: model.request("x", deadline=deadline),
        lambda: OpenAIModel("m", deadline=deadline),
    ):
        with pytest.raises(ConfigurationError, match="deadline must be more than 0"):
            call()
