"""Closing a blocking stream in one thread while another waits for its next event."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from locus import OpenAIModel
from locus.testing.server import LoopbackServer, Pause, Reply
from tests.support.chat_replies import TEXT, build_reply, build_stream_reply
from tests.support.timing import FOREVER, HANG_SECONDS, wait_until

pytestmark = pytest.mark.usefixtures("no_leaks")

EVENT = {"choices": [{"index": 0, "delta": {"content": "x"}}]}
STALLED = Reply.stream(
    [f"data: {json.dumps(EVENT)}\n\n".encode(), Pause(FOREVER)],
    headers={"content-type": "text/event-stream"},
)


@pytest.fixture(params=["own connections", "httpx"])
def model(request: pytest.FixtureRequest, server: LoopbackServer) -> Iterator[OpenAIModel]:
    options: dict[str, Any] = {"timeout": FOREVER, "max_retries": 0}
    with ExitStack() as stack:
        if request.param == "httpx":
            options["http_client"] = stack.enter_context(httpx.Client())
        yield stack.enter_context(OpenAIModel("m", "key", server.url, **options))


def read_in_thread(stream: Any) -> tuple[threading.Thread, list[Any]]:
    came: list[Any] = []

    def read() -> None:
        try:
            came.extend(event.content for event in stream)
        except BaseException as error:  # noqa: BLE001
            came.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, came


def test_the_stream_ends_for_the_thread_that_waits(
    server: LoopbackServer, model: OpenAIModel
) -> None:
    server.enqueue(STALLED)
    server.always(build_reply())
    stream = model.stream_sync("hello")
    assert next(stream).content == "x"
    thread, came = read_in_thread(stream)
    wait_until(lambda: stream._events.gi_running)
    stream.close()
    stream.close()
    thread.join(HANG_SECONDS)
    assert not thread.is_alive()
    assert (came, list(stream)) == ([], [])
    server.wait_closed(HANG_SECONDS)
    assert model.complete_sync("again").content == TEXT


def test_it_ends_before_its_first_event_too(server: LoopbackServer) -> None:
    server.always(build_stream_reply().stall(0, "head"))
    with OpenAIModel("m", "key", server.url, timeout=FOREVER, max_retries=3) as model:
        stream = model.stream_sync("hello")
        thread, came = read_in_thread(stream)
        server.wait_requests(1, HANG_SECONDS)
        stream.close()
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()
        assert (came, len(server.requests)) == ([], 1)


def test_it_ends_the_pause_before_another_attempt(server: LoopbackServer) -> None:
    server.always(Reply.error(503, retry_after=50))
    with OpenAIModel("m", "key", server.url, timeout=FOREVER, max_retries=3) as model:
        stream = model.stream_sync("hello")
        thread, came = read_in_thread(stream)
        server.wait_requests(1, HANG_SECONDS)
        stream.close()
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()
        assert (came, len(server.requests)) == ([], 1)
