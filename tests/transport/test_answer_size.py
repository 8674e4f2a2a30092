"""``max_answer_bytes=``: how much of a response is read, whole or streamed."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

from locus import AnswerTooLargeError, BadRequestError, OpenAIModel
from locus.core.errors import ConfigurationError
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Reply
from locus.transport.senders import MAX_ERROR_BODY_BYTES
from tests.support.chat_replies import TEXT, build_reply
from tests.support.timing import FOREVER

pytestmark = pytest.mark.usefixtures("no_leaks")


def make_model(server: LoopbackServer, **kw: Any) -> OpenAIModel:
    options = {"timeout": FOREVER, "max_retries": 2, "max_answer_bytes": 10_000, **kw}
    return OpenAIModel("m", "key", server.url, **options)


def make_long_reply(*, packed: bool) -> Reply:
    body = {"choices": [{"finish_reason": "stop", "message": {"content": "x" * 20_000}}]}
    content = json.dumps(body).encode()
    if not packed:
        return Reply(200, {"content-type": "application/json"}, content)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    return Reply(200, headers, gzip.compress(content))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_response_that_is_too_large_is_an_error_and_no_reason_to_ask_again(
    server: LoopbackServer, runtime: Runtime, packed: bool
) -> None:
    server.enqueue(build_reply(), make_long_reply(packed=packed))
    model = make_model(server)
    assert runtime.complete(model, "hello").content == TEXT
    with pytest.raises(AnswerTooLargeError, match=r"max_answer_bytes=10000 .*raise max_") as info:
        runtime.complete(model, "hello")
    assert (info.value.max_bytes, info.value.provider) == (10_000, "openai")
    assert info.value.headers["content-type"] == "application/json"
    assert len(server.requests) == 2
    runtime.close(model)


def test_an_event_that_never_ends_is_an_error(server: LoopbackServer, runtime: Runtime) -> None:
    pieces = [b"data: ", *[b"x" * 1000] * 30]
    server.always(Reply.stream(pieces, headers={"content-type": "text/event-stream"}))
    model = make_model(server)
    with pytest.raises(AnswerTooLargeError, match="an event of the stream"):
        runtime.collect_events(model, "hello")
    assert len(server.requests) == 1
    runtime.close(model)


def test_the_responses_of_a_callers_own_client_are_limited_too(server: LoopbackServer) -> None:
    server.always(make_long_reply(packed=True))
    with httpx.Client() as client, pytest.raises(AnswerTooLargeError):
        make_model(server, http_client=client).complete_sync("hello")


def test_a_megabyte_of_an_error_is_kept(server: LoopbackServer, runtime: Runtime) -> None:
    body = b'{"error": {"message": "' + b"x" * (2 * MAX_ERROR_BODY_BYTES)
    server.always(Reply(400, {"content-encoding": "gzip"}, gzip.compress(body)))
    model = make_model(server)
    with pytest.raises(BadRequestError) as info:
        runtime.complete(model, "hello")
    assert len(info.value.body) == MAX_ERROR_BODY_BYTES
    runtime.close(model)


@pytest.mark.parametrize("value", [0, -1, 1.5, None, "1", True])
def test_the_limit_is_a_number_of_bytes(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_answer_bytes must be an integer"):
        OpenAIModel("m", "key", max_answer_bytes=value)
