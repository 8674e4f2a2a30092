"""Tests of streamed responses of Cohere's first format: repeated text, repeated calls, the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.errors import (
    APIStatusError,
    ContentFilterError,
    ContextWindowExceededError,
    StreamInterruptedError,
)
from locus.testing.formats.stream_reader import check_streaming_law
from locus.wire.oci_chat import CohereV1ChatParser
from tests.support.wire_json.chat_json import encode_sse
from tests.support.wire_json.oci_cohere_json import (
    USER_ENTRY,
    make_v1_chunk,
    make_v1_last_chunk,
    v1_reader,
)

PARSER = CohereV1ChatParser()
CALL = {"name": "f", "parameters": {"a": 1}}


# -- the end of a stream -------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [None, ""])
def test_only_a_finish_reason_or_done_ends_a_response(reason: str | None) -> None:
    stream = encode_sse(make_v1_chunk("x"), make_v1_last_chunk() | {"finishReason": reason})
    assert isinstance(v1_reader.decode_failure(stream), StreamInterruptedError)
    assert v1_reader.decode_response(stream + encode_sse("[DONE]")).content == "x"


# -- what the service sends ----------------------------------------------------------------------


def test_response_as_observed_on_the_service() -> None:
    text = "I will look."
    history = [USER_ENTRY, {"role": "CHATBOT", "message": text, "toolCalls": [CALL]}]
    stream = encode_sse(
        make_v1_chunk("I will") | {"pad": "aaaa"},
        make_v1_chunk(" look.") | {"pad": "aa"},
        {"apiFormat": "COHERE", "text": text, "toolCalls": [CALL]},
        make_v1_last_chunk(
            text,
            chatHistory=history,
            toolCalls=[CALL],
            usage={"completionTokens": 2, "promptTokens": 6, "totalTokens": 8},
        ),
        "[DONE]",
    )
    events, _ = v1_reader.read_stream([stream])
    assert [event.content for event in events] == ["I will", " look.", None]
    response = check_streaming_law(events)
    assert response.content == text
    assert [(call.name, call.arguments) for call in response.tool_calls] == [("f", {"a": 1})]
    assert response.usage == {"prompt_tokens": 6, "completion_tokens": 2, "total_tokens": 8}
    assert (response.stop_reason, response.finish_reason) == ("COMPLETE", "tool_calls")


@pytest.mark.parametrize(
    ("deltas", "last_text", "response"),
    [
        (("a", "b"), "ab", "ab"),
        (("a", "b"), "", "ab"),
        (("a", "b"), None, "ab"),
        ((), "ab", "ab"),
        (("a",), "abc", "abc"),  # a chunk was lost
        (("a ", "b "), "a b", "a b "),  # the service has stripped the text
        (("a", "b"), "other", "ab"),
        (("ha",), "ha", "ha"),
    ],
)
def test_last_chunk_adds_only_text_that_is_new(
    deltas: tuple[str, ...], last_text: str | None, response: str
) -> None:
    stream = encode_sse(*map(make_v1_chunk, deltas), make_v1_last_chunk() | {"text": last_text})
    events, _ = v1_reader.read_stream([stream])
    assert check_streaming_law(events).content == response
    assert [event.content for event in events[: len(deltas)]] == list(deltas)


def test_equal_chunks_are_all_used() -> None:
    assert (
        v1_reader.decode_response(
            encode_sse(*[make_v1_chunk("ha")] * 3, make_v1_last_chunk("hahaha"))
        ).content
        == "hahaha"
    )


OTHER_CALL = {"name": "g", "parameters": {}}


@pytest.mark.parametrize(
    ("chunks_of_calls", "last_calls", "names"),
    [
        ([], [CALL, CALL], "ff"),
        ([[CALL, OTHER_CALL]], None, "fg"),
        ([[CALL, OTHER_CALL]], [], "fg"),
        ([[CALL, OTHER_CALL]], [CALL, OTHER_CALL], "fg"),
        ([[CALL], [OTHER_CALL]], None, "fg"),
        ([[CALL], [CALL]], None, "ff"),
        ([[CALL], [CALL, OTHER_CALL]], None, "fg"),
        ([[CALL], [OTHER_CALL]], [CALL, OTHER_CALL], "fg"),
        ([[CALL]], [CALL, CALL], "ff"),
    ],
)
def test_repeated_calls_are_used_once(
    chunks_of_calls: list[Any], last_calls: list[Any] | None, names: str
) -> None:
    stream = encode_sse(
        make_v1_chunk("x"), *({"text": "x", "toolCalls": calls} for calls in chunks_of_calls)
    )
    response = v1_reader.decode_response(
        stream + encode_sse(make_v1_last_chunk("x") | {"toolCalls": last_calls})
    )
    assert "".join(call.name for call in response.tool_calls) == names
    assert len({call.id for call in response.tool_calls}) == len(names)
    assert response.content == "x"


def test_token_counts_after_the_last_chunk() -> None:
    usage_chunk = {"usage": {"promptTokens": 3, "completionTokens": 1}}
    for stream in (
        encode_sse(make_v1_chunk("x"), make_v1_last_chunk("x"), usage_chunk, "[DONE]"),
        encode_sse(make_v1_last_chunk("x") | usage_chunk),
    ):
        assert v1_reader.decode_response(stream).usage == {
            "prompt_tokens": 3,
            "completion_tokens": 1,
        }


def test_wrapped_chunks_are_parsed() -> None:
    stream = encode_sse(
        {"chatResponse": make_v1_chunk("x")},
        {"modelId": "m", "chatResponse": make_v1_last_chunk("x")},
    )
    response = v1_reader.decode_response(stream)
    assert (response.content, response.model) == ("x", "m")


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "error_type"),
    [("ERROR_LIMIT", ContextWindowExceededError), ("ERROR_TOXIC", ContentFilterError)],
)
def test_empty_response_with_an_error_message_is_an_error(
    reason: str, error_type: type[APIStatusError]
) -> None:
    last_chunk = make_v1_last_chunk() | {"finishReason": reason, "errorMessage": "boom"}
    failure = v1_reader.decode_failure(encode_sse(last_chunk, "[DONE]"))
    assert type(failure) is error_type
    assert "boom" in str(failure)
    response = v1_reader.decode_response(encode_sse(make_v1_chunk("so far"), last_chunk))
    assert (response.content, response.stop_reason) == ("so far", reason)


@pytest.mark.parametrize(
    "body", [{"code": "400", "message": "slow\u2028down"}, {"message": "slow\u2028down"}]
)
def test_error_body_instead_of_a_stream_is_parsed(body: dict[str, str]) -> None:
    for indent in (None, 2):
        failure = v1_reader.decode_failure(
            json.dumps(body, indent=indent, ensure_ascii=False).encode()
        )
        assert isinstance(failure, APIStatusError)
        assert "slow\u2028down" in str(failure)
