"""Streamed answers of Cohere's first format: no text is told twice, and no cut is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.errors import (
    APIStatusError,
    ContentFilterError,
    ContextWindowExceededError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import ToolCall
from locus.wire.oci_chat.cohere_formats import CohereChatParser
from tests.support.decoding import check_law
from tests.support.wire_json.chat_json import sse
from tests.support.wire_json.oci_cohere_json import (
    USER,
    end,
    essence,
    piece,
    reading,
)

PARSER = CohereChatParser()
CALL = {"name": "f", "parameters": {"a": 1}}


# -- the streaming law ---------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [None, ""])
def test_nothing_but_a_finish_reason_or_done_ends_an_answer(reason: str | None) -> None:
    stream = sse(piece("x"), end() | {"finishReason": reason})
    assert isinstance(reading.failure_of(stream), StreamInterruptedError)
    assert reading.answer_of(stream + sse("[DONE]")).content == "x"


# -- what the service sends ----------------------------------------------------------------------


def test_an_answer_as_it_was_seen_on_the_service() -> None:
    said = "I will look."
    history = [USER, {"role": "CHATBOT", "message": said, "toolCalls": [CALL]}]
    stream = sse(
        piece("I will") | {"pad": "aaaa"},
        piece(" look.") | {"pad": "aa"},
        {"apiFormat": "COHERE", "text": said, "toolCalls": [CALL]},
        end(
            said,
            chatHistory=history,
            toolCalls=[CALL],
            usage={"completionTokens": 2, "promptTokens": 6, "totalTokens": 8},
        ),
        "[DONE]",
    )
    found, _ = reading.read([stream])
    assert [event.content for event in found] == ["I will", " look.", None]
    answer = check_law(found)
    assert answer.content == said
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", {"a": 1})]
    assert answer.usage == {"prompt_tokens": 6, "completion_tokens": 2}
    assert (answer.stop_reason, answer.finish_reason) == ("COMPLETE", "tool_calls")


@pytest.mark.parametrize(
    ("told", "again", "answer"),
    [
        (("a", "b"), "ab", "ab"),
        (("a", "b"), "", "ab"),
        (("a", "b"), None, "ab"),
        ((), "ab", "ab"),
        (("a",), "abc", "abc"),  # a piece was lost on the way
        (("a ", "b "), "a b", "a b "),  # the service has trimmed it
        (("a", "b"), "other", "ab"),
        (("ha",), "ha", "ha"),
    ],
)
def test_the_last_event_adds_what_it_has_beyond_the_pieces(
    told: tuple[str, ...], again: str | None, answer: str
) -> None:
    stream = sse(*map(piece, told), end() | {"text": again})
    found, _ = reading.read([stream])
    assert check_law(found).content == answer
    assert [event.content for event in found[: len(told)]] == list(told)


def test_equal_pieces_are_pieces() -> None:
    assert reading.answer_of(sse(*[piece("ha")] * 3, end("hahaha"))).content == "hahaha"


OTHER = {"name": "g", "parameters": {}}


@pytest.mark.parametrize(
    ("told", "last", "names"),
    [
        ([], [CALL, CALL], "ff"),
        ([[CALL, OTHER]], None, "fg"),
        ([[CALL, OTHER]], [], "fg"),
        ([[CALL, OTHER]], [CALL, OTHER], "fg"),
        ([[CALL], [OTHER]], None, "fg"),
        ([[CALL], [CALL]], None, "ff"),
        ([[CALL], [CALL, OTHER]], None, "fg"),
        ([[CALL], [OTHER]], [CALL, OTHER], "fg"),
        ([[CALL]], [CALL, CALL], "ff"),
    ],
)
def test_calls_are_told_once_however_often_the_service_tells_them(
    told: list[Any], last: list[Any] | None, names: str
) -> None:
    stream = sse(piece("x"), *({"text": "x", "toolCalls": calls} for calls in told))
    answer = reading.answer_of(stream + sse(end("x") | {"toolCalls": last}))
    assert "".join(call.name for call in answer.tool_calls) == names
    assert len({call.id for call in answer.tool_calls}) == len(names)
    assert answer.content == "x"


def test_token_counts_may_come_after_the_end() -> None:
    counts = {"usage": {"promptTokens": 3, "completionTokens": 1}}
    for stream in (sse(piece("x"), end("x"), counts, "[DONE]"), sse(end("x") | counts)):
        assert reading.answer_of(stream).usage == {"prompt_tokens": 3, "completion_tokens": 1}


def test_events_that_are_wrapped_are_read() -> None:
    stream = sse({"chatResponse": piece("x")}, {"modelId": "m", "chatResponse": end("x")})
    answer = reading.answer_of(stream)
    assert (answer.content, answer.model) == ("x", "m")


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("ERROR_LIMIT", ContextWindowExceededError), ("ERROR_TOXIC", ContentFilterError)],
)
def test_an_answer_that_never_began_is_an_error_that_says_why(
    reason: str, kind: type[APIStatusError]
) -> None:
    last = end() | {"finishReason": reason, "errorMessage": "boom"}
    failure = reading.failure_of(sse(last, "[DONE]"))
    assert type(failure) is kind
    assert "boom" in str(failure)
    answer = reading.answer_of(sse(piece("so far"), last))
    assert (answer.content, answer.stop_reason) == ("so far", reason)


@pytest.mark.parametrize(
    "body", [{"code": "400", "message": "slow\u2028down"}, {"message": "slow\u2028down"}]
)
def test_an_error_that_is_no_stream_is_read_all_the_same(body: dict[str, str]) -> None:
    for indent in (None, 2):
        failure = reading.failure_of(json.dumps(body, indent=indent, ensure_ascii=False).encode())
        assert isinstance(failure, APIStatusError)
        assert "slow\u2028down" in str(failure)


def test_a_call_without_a_name_is_a_parse_error() -> None:
    stream = sse(piece("x"), end("x", toolCalls=[{"parameters": {}}, CALL]), "[DONE]")
    error = reading.failure_of(stream)
    assert isinstance(error, ResponseParseError)
    assert "tool call 0 has no name" in str(error)
    assert error.partial is not None
    assert essence(error.partial).tool_calls == (ToolCall("call_0", "f", {"a": 1}),)
