"""A provider outside of Locus that has its own words for errors, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from locus.core.error_words import ErrorWords
from locus.core.errors import (
    APIStatusError,
    ContentFilterError,
    ContextWindowExceededError,
    RateLimitError,
)
from locus.models import KeyedChatCompletionsModel, OpenAIModel
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT, build_chunk, build_reply
from tests.support.timing import FOREVER

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")


class ToyModel(KeyedChatCompletionsModel):
    prefix = "toy"
    default_base_url = "http://toy.invalid"
    error_words = ErrorWords(
        statuses={"E-Busy": 429},
        context_window_phrases={"too many words"},
        content_filter_codes={"E-Naughty"},
    )


def make_model(server: LoopbackServer, cls: Any = ToyModel, **kw: Any) -> Any:
    return cls("m", "sk-0123456789", server.url, **{"timeout": FOREVER, "max_retries": 0, **kw})


def build_error(**error: Any) -> dict[str, Any]:
    return {"error": {"message": "no", **error}}


CASES = {
    "an error status": (
        Reply.json(build_error(message="Too many words."), status=400),
        ContextWindowExceededError,
        400,
    ),
    "an error status with a code": (
        Reply.json(build_error(code="E-Naughty"), status=403),
        ContentFilterError,
        403,
    ),
    "an error in a successful response": (
        Reply.json(build_error(code="E-Busy")),
        RateLimitError,
        429,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_own_words_choose_the_class(server: LoopbackServer, runtime: Runtime, name: str) -> None:
    reply, cls, status = CASES[name]
    server.always(reply)
    calls: tuple[Callable[..., Any], ...] = (runtime.complete, runtime.collect_events)
    for call in calls:
        model = make_model(server)
        with pytest.raises(cls) as exc_info:
            call(model, "hello")
        assert type(exc_info.value) is cls
        assert exc_info.value.status_code == status
        other = make_model(server, OpenAIModel)  # the words are the toy's alone
        with pytest.raises(APIStatusError) as exc_info:
            call(other, "hello")
        assert type(exc_info.value) is not cls
        runtime.close(model)
        runtime.close(other)


def test_own_words_hold_in_a_stream(server: LoopbackServer, runtime: Runtime) -> None:
    server.enqueue(Reply.sse([build_chunk({"content": "so far"}), build_error(code="E-Busy")]))
    model = make_model(server)
    with pytest.raises(RateLimitError) as exc_info:
        runtime.collect_events(model, "hello")
    runtime.close(model)
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "so far"
    assert (exc_info.value.provider, exc_info.value.codes) == ("toy", {"E-Busy"})


def test_an_error_that_own_words_call_temporary_is_retried(
    server: LoopbackServer, runtime: Runtime
) -> None:
    busy = Reply.json(build_error(code="E-Busy"), headers={"retry-after": "0"})
    server.enqueue(busy, build_reply())
    model = make_model(server, max_retries=1)
    assert runtime.complete(model, "hello").content == TEXT
    runtime.close(model)
    assert len(server.requests) == 2
