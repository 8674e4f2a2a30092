"""Tests of complete responses of OCI's generic format: parsed, or rejected with an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.conversation import validate_messages
from locus.core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitError,
    ResponseParseError,
)
from locus.core.messages import Message, RefusalPart, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.oci_chat import GenericChatBuilder, GenericChatParser
from tests.support.lone_surrogates import replace_lone_surrogates
from tests.support.native_state import make_state
from tests.support.oci.sdk_classes import check_round_trip
from tests.support.strategies import ResponseContent, texts_with_lone_surrogates
from tests.support.wire_json.oci_generic_json import (
    build_body,
    build_expected_response,
    expressible_responses,
    make_text_content,
)

PARSER = GenericChatParser()


def parse_message(message: dict[str, Any], **choice: Any) -> ModelResponse:
    return PARSER.parse({"chatResponse": {"choices": [{"index": 0, "message": message, **choice}]}})


@given(st.data())
def test_response_is_parsed_as_expected(data: st.DataObject) -> None:
    sample = data.draw(expressible_responses(max_candidates=3, with_model=True))
    body = build_body(sample)
    text = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    response = PARSER.parse(text)
    assert response == build_expected_response(sample)
    assert PARSER.parse(text.encode()) == response
    assert PARSER.parse(body) == response
    assert json.dumps(body) == json.dumps(build_body(sample))


@pytest.mark.sdk
@given(expressible_responses(max_candidates=3, with_model=True))
def test_responses_that_the_oci_package_accepts_are_parsed_as_expected(
    sample: ResponseContent,
) -> None:
    body = build_body(sample)
    check_round_trip(body, "ChatResult")
    assert PARSER.parse(body) == build_expected_response(sample)


@given(expressible_responses())
def test_response_message_is_valid_in_a_conversation_and_sent_back(sample: ResponseContent) -> None:
    message = PARSER.parse(build_body(sample)).message
    if message.has_content or message.tool_calls:
        assert validate_messages([Message.user("x"), message], accepted_parts=None)[1] is message
        request_body = GenericChatBuilder().build([Message.user("x"), message], model="xai.grok-4")
        request_message = request_body["chatRequest"]["messages"][1]
        candidate = sample.first
        assert request_message.get("reasoningContent") == candidate.reasoning
        assert request_message.get("refusal") == candidate.refusal
        assert request_message.get("content", [make_text_content("")]) == [
            make_text_content(candidate.text or "")
        ]
        sent_calls = [(call["id"], call["name"]) for call in request_message.get("toolCalls", ())]
        assert sent_calls == [(call.id, call.name) for call in candidate.calls]


def test_text_contents_are_joined() -> None:
    assert (
        parse_message(
            {"content": [make_text_content("a"), make_text_content(""), make_text_content("b")]}
        ).content
        == "ab"
    )
    assert parse_message({"content": "ab"}).content == "ab"


def test_thinking_and_refusal_are_parts_of_the_message() -> None:
    response = parse_message(
        {"content": [make_text_content("so")], "reasoningContent": "hm", "refusal": "no"},
        finishReason="stop",
    )
    parts = [ThinkingPart("hm"), TextPart("so"), RefusalPart("no")]
    state = make_state("oci_generic")
    assert response.message == Message.assistant(parts, native_state=state)
    assert (response.content, response.reasoning, response.refusal) == ("so", "hm", "no")


def test_attachments_are_stored_in_the_metadata() -> None:
    image = {"type": "IMAGE", "imageUrl": {"url": "data:image/png;base64,AA=="}}
    sources = {"webSearchQueries": ["x"]}
    response = parse_message(
        {"content": [make_text_content("a"), image]}, groundingMetadata=sources
    )
    assert response.message.metadata == {"attachments": [image], "grounding_metadata": sources}
    assert response.content == "a"


@pytest.mark.parametrize("arguments", ["[1]", "{", "{'a': 1}", '{"a": NaN}'])
def test_invalid_arguments_text_is_stored_unchanged(arguments: str) -> None:
    call = {"id": "1", "type": "FUNCTION", "name": "f", "arguments": arguments}
    (tool_call,) = parse_message({"toolCalls": [call]}).tool_calls
    assert (tool_call.malformed_arguments, tool_call.arguments) == (arguments, {})


def test_arguments_as_an_object_are_parsed() -> None:
    call = {"id": "1", "name": "f", "arguments": {"a": [1]}}
    assert parse_message({"toolCalls": [call]}).tool_calls == (ToolCall("1", "f", {"a": [1]}),)


@pytest.mark.parametrize("missing", [{}, {"id": None}, {"id": ""}])
def test_calls_without_ids_get_unique_ids(missing: dict[str, Any]) -> None:
    call = {"name": "f", "arguments": "{}"} | missing
    responses = [parse_message({"toolCalls": [call, call, call | {"id": "own"}]}) for _ in range(2)]
    ids = [call.id for response in responses for call in response.tool_calls]
    assert ids[2] == ids[5] == "own"
    assert len(set(ids)) == 5


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (None, {}),
        ({}, {}),
        (
            {"completionTokens": 4, "promptTokens": 18, "totalTokens": 22},
            {"prompt_tokens": 18, "completion_tokens": 4, "total_tokens": 22},
        ),
        (  # Gemini, if all tokens were used for thinking
            {
                "promptTokens": 7,
                "totalTokens": 24,
                "completionTokensDetails": {"reasoningTokens": 17},
            },
            {
                "prompt_tokens": 7,
                "completion_tokens": 17,
                "total_tokens": 24,
                "reasoning_tokens": 17,
            },
        ),
        (
            {"promptTokensDetails": {"cachedTokens": 0}},
            {"cached_tokens": 0, "cache_read_input_tokens": 0},
        ),
        ({"promptTokens": 3.0, "promptTokensDetails": None}, {"prompt_tokens": 3}),
    ],
)
def test_token_counts_are_parsed(counts: Any, usage: dict[str, int]) -> None:
    choice = {"message": {"content": [make_text_content("x")]}}
    response = PARSER.parse({"chatResponse": {"choices": [choice], "usage": counts}})
    assert response.usage == usage
    assert all(type(count) is int for count in response.usage.values())
    assert parse_message({"content": [make_text_content("x")]}, usage=counts).usage == usage


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("stop", "stop"),
        ("COMPLETE", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("prohibited_content", "content_filter"),
        ("USER_CANCEL", "other"),
        (None, "other"),
        ("", "other"),
    ],
)
def test_stop_reason_and_finish_reason(reason: str | None, finish_reason: str) -> None:
    response = parse_message({"content": [make_text_content("x")]}, finishReason=reason)
    assert (response.stop_reason, response.finish_reason) == (reason or None, finish_reason)


def test_choices_are_sorted_by_index() -> None:
    choices = [
        {"index": 1, "message": {"content": [make_text_content("b")]}, "finishReason": "length"},
        {"index": 0, "message": {"content": [make_text_content("a")]}, "finishReason": "stop"},
    ]
    response = PARSER.parse({"chatResponse": {"choices": choices}})
    assert (response.content, response.stop_reason) == ("a", "stop")
    assert [candidate.message.text for candidate in response.candidates] == ["a", "b"]


@given(texts_with_lone_surrogates())
def test_half_a_surrogate_pair_is_parsed(text: str) -> None:
    body = json.dumps(
        {"chatResponse": {"choices": [{"message": {"content": [make_text_content(text)]}}]}}
    )
    assert PARSER.parse(body).content == replace_lone_surrogates(text)


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        ({"code": "NotAuthenticated", "message": "boom"}, AuthenticationError),
        ({"code": "NotAuthorizedOrNotFound", "message": "boom"}, NotFoundError),
        ({"code": "TooManyRequests", "message": "boom"}, RateLimitError),
        ({"code": "400", "message": "boom"}, BadRequestError),
        ({"code": 429, "message": "boom"}, RateLimitError),
        ({"message": "boom"}, APIStatusError),
        ({"error": {"message": "boom", "code": 429}}, RateLimitError),
        ({"error": "boom"}, APIStatusError),
    ],
)
def test_error_object_with_status_200_is_raised(body: dict[str, Any], error_type: type) -> None:
    for body_form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(APIStatusError, match="boom") as exc_info:
            PARSER.parse(body_form)
        assert type(exc_info.value) is error_type
        assert json.loads(exc_info.value.body) == body


@pytest.mark.parametrize(
    ("body", "pattern"),
    [
        ("", "cannot be read"),
        ("<html>", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "no chatResponse"),
        ('{"modelId": "m"}', "no chatResponse"),
        ('{"choices": [{"message": {"content": "x"}}]}', "no chatResponse"),
        ('{"chatResponse": {}}', "no choices"),
        ('{"chatResponse": {"apiFormat": "COHERE", "text": "x"}}', "no choices"),
        ('{"chatResponse": {"choices": [{}]}}', "no message"),
        ('{"chatResponse": {"choices": [{"message": {"content": {"a": 1}}}]}}', "content"),
    ],
)
def test_invalid_body_is_a_parse_error(body: str, pattern: str) -> None:
    with pytest.raises(ResponseParseError, match=pattern) as exc_info:
        PARSER.parse(body)
    if "tool call" not in pattern:
        assert exc_info.value.body == body
