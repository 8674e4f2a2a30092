"""Whole answers in OCI's generic format: read equal to what they say, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.conversation import conversation
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
from tests.support.oci.sdk_classes import check_accepted
from tests.support.strategies import Answered, halves
from tests.support.wire_json.oci_generic_json import expected, sayable, text, whole

PARSER = GenericChatParser()


def parse(message: dict[str, Any], **choice: Any) -> ModelResponse:
    return PARSER.parse({"chatResponse": {"choices": [{"index": 0, "message": message, **choice}]}})


@given(st.data())
def test_an_answer_is_read_as_what_it_says(data: st.DataObject) -> None:
    answered = data.draw(sayable(max_candidates=3, whole=True))
    body = whole(answered)
    written = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    read = PARSER.parse(written)
    assert read == expected(answered)
    assert PARSER.parse(written.encode()) == read
    assert PARSER.parse(body) == read
    assert json.dumps(body) == json.dumps(whole(answered))


@pytest.mark.sdk
@given(sayable(max_candidates=3, whole=True))
def test_what_the_classes_of_oci_can_say_is_read_equal(answered: Answered) -> None:
    body = whole(answered)
    check_accepted(body, "ChatResult")
    assert PARSER.parse(body) == expected(answered)


@given(sayable())
def test_an_answer_can_be_put_back_into_the_conversation(answered: Answered) -> None:
    message = PARSER.parse(whole(answered)).message
    if message.says_something or message.tool_calls:
        assert conversation([Message.user("x"), message])[1] is message
        built = GenericChatBuilder().build([Message.user("x"), message], model="xai.grok-4")
        again = built["chatRequest"]["messages"][1]
        said = answered.first
        assert again.get("reasoningContent") == said.reasoning
        assert again.get("refusal") == said.refusal
        assert again.get("content", [text("")]) == [text(said.text or "")]
        sent = [(call["id"], call["name"]) for call in again.get("toolCalls", ())]
        assert sent == [(call.id, call.name) for call in said.calls]


def test_text_in_several_parts_is_one_text() -> None:
    assert parse({"content": [text("a"), text(""), text("b")]}).content == "ab"
    assert parse({"content": "ab"}).content == "ab"


def test_thinking_and_refusals_stand_in_the_message_beside_text() -> None:
    answer = parse(
        {"content": [text("so")], "reasoningContent": "hm", "refusal": "no"}, finishReason="stop"
    )
    parts = [ThinkingPart("hm"), TextPart("so"), RefusalPart("no")]
    assert answer.message == Message.assistant(parts)
    assert (answer.content, answer.reasoning, answer.refusal) == ("so", "hm", "no")


def test_what_is_no_text_is_kept_in_the_metadata() -> None:
    image = {"type": "IMAGE", "imageUrl": {"url": "data:image/png;base64,AA=="}}
    sources = {"webSearchQueries": ["x"]}
    answer = parse({"content": [text("a"), image]}, groundingMetadata=sources)
    assert answer.message.metadata == {"attachments": [image], "grounding_metadata": sources}
    assert answer.content == "a"


@pytest.mark.parametrize("arguments", ["", " ", "null", "[1]", "{", "{'a': 1}", '{"a": NaN}'])
def test_arguments_that_are_no_object_are_kept_to_the_letter(arguments: str) -> None:
    call = {"id": "1", "type": "FUNCTION", "name": "f", "arguments": arguments}
    (read,) = parse({"toolCalls": [call]}).tool_calls
    assert (read.malformed_arguments, read.arguments) == (arguments, {})


def test_arguments_sent_as_an_object_are_read() -> None:
    call = {"id": "1", "name": "f", "arguments": {"a": [1]}}
    assert parse({"toolCalls": [call]}).tool_calls == (ToolCall("1", "f", {"a": [1]}),)


@pytest.mark.parametrize("missing", [{}, {"id": None}, {"id": ""}])
def test_calls_without_ids_get_ids_that_no_other_call_has(missing: dict[str, Any]) -> None:
    call = {"name": "f", "arguments": "{}"} | missing
    turns = [parse({"toolCalls": [call, call, call | {"id": "own"}]}) for _ in range(2)]
    ids = [call.id for turn in turns for call in turn.tool_calls]
    assert ids[2] == ids[5] == "own"
    assert len(set(ids)) == 5


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (None, {}),
        ({}, {}),
        (
            {"completionTokens": 4, "promptTokens": 18, "totalTokens": 22},
            {"prompt_tokens": 18, "completion_tokens": 4},
        ),
        (  # Gemini, where all tokens went to thinking
            {
                "promptTokens": 7,
                "totalTokens": 24,
                "completionTokensDetails": {"reasoningTokens": 17},
            },
            {"prompt_tokens": 7, "reasoning_tokens": 17},
        ),
        ({"promptTokensDetails": {"cachedTokens": 0}}, {"cached_tokens": 0}),
        ({"promptTokens": 3.0, "promptTokensDetails": None}, {"prompt_tokens": 3}),
    ],
)
def test_token_counts_are_told_where_they_are_known(counts: Any, usage: dict[str, int]) -> None:
    choice = {"message": {"content": [text("x")]}}
    answer = PARSER.parse({"chatResponse": {"choices": [choice], "usage": counts}})
    assert answer.usage == usage
    assert all(type(count) is int for count in answer.usage.values())
    assert parse({"content": [text("x")]}, usage=counts).usage == usage


@pytest.mark.parametrize(
    ("word", "meaning"),
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
def test_the_finish_reason_is_told_in_both_words(word: str | None, meaning: str) -> None:
    answer = parse({"content": [text("x")]}, finishReason=word)
    assert (answer.stop_reason, answer.finish_reason) == (word or None, meaning)


def test_choices_come_in_the_order_of_their_indexes() -> None:
    choices = [
        {"index": 1, "message": {"content": [text("b")]}, "finishReason": "length"},
        {"index": 0, "message": {"content": [text("a")]}, "finishReason": "stop"},
    ]
    answer = PARSER.parse({"chatResponse": {"choices": choices}})
    assert (answer.content, answer.stop_reason) == ("a", "stop")
    assert [candidate.message.text for candidate in answer.candidates] == ["a", "b"]


@given(halves())
def test_half_a_surrogate_pair_is_read(said: str) -> None:
    body = json.dumps({"chatResponse": {"choices": [{"message": {"content": [text(said)]}}]}})
    assert PARSER.parse(body).content == json.loads(json.dumps(said))


@pytest.mark.parametrize(
    ("body", "kind"),
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
def test_an_error_in_a_good_answer_is_an_error(body: dict[str, Any], kind: type) -> None:
    for form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(APIStatusError, match="boom") as caught:
            PARSER.parse(form)
        assert type(caught.value) is kind
        assert json.loads(caught.value.body) == body


@pytest.mark.parametrize(
    ("body", "why"),
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
        ('{"chatResponse": {"choices": [{"message": {"content": 5}}]}}', "content"),
        (
            '{"chatResponse": {"choices": [{"message": {"toolCalls": [{"id": "1"}]}}]}}',
            "tool call 0 has no name",
        ),
    ],
)
def test_what_the_format_does_not_promise_is_a_parse_error(body: str, why: str) -> None:
    with pytest.raises(ResponseParseError, match=why) as caught:
        PARSER.parse(body)
    if "tool call" not in why:
        assert caught.value.body == body
