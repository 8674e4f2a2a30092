"""Whole chat completions: read equal to what they say, or refused with the body quoted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ContextWindowExceededError,
    InternalServerError,
    RateLimitError,
    ResponseParseError,
)
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.wire.chat_completions import ChatCompletionsParser
from tests.support.strategies import answers, halves
from tests.support.wire_json.chat_json import expected, whole

PARSER = ChatCompletionsParser()


def parse(message: dict[str, Any], **choice: Any) -> ModelResponse:
    return PARSER.parse({"id": "1", "choices": [{"message": message, **choice}]})


@given(st.data())
def test_an_answer_is_read_as_what_it_says(data: st.DataObject) -> None:
    answered = data.draw(answers(max_candidates=3, custom=True, legible=False))
    body = whole(answered)
    text = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    read = PARSER.parse(text)
    assert read == expected(answered)
    assert PARSER.parse(text.encode()) == read
    assert PARSER.parse(body) == read


@given(answers(max_candidates=2, custom=True, legible=False))
def test_reading_changes_nothing_and_shares_nothing(answered: Any) -> None:
    body = whole(answered)
    before = json.dumps(body)
    first = PARSER.parse(body)
    assert PARSER.parse(body) == first
    assert json.dumps(body) == before


@given(answers())
def test_an_answer_can_be_put_back_into_the_conversation(answered: Any) -> None:
    from locus.core.conversation import conversation

    message = PARSER.parse(whole(answered)).message
    if message.says_something or message.tool_calls:
        assert conversation([Message.user("x"), message])[1] is message


@given(halves())
def test_half_a_surrogate_pair_is_read(text: str) -> None:
    body = json.dumps({"choices": [{"message": {"content": text}}]})
    assert PARSER.parse(body).content == json.loads(json.dumps(text))


def test_an_answer_with_no_more_than_a_message_is_enough() -> None:
    assert PARSER.parse('{"choices": [{"message": {"content": "x"}}]}') == ModelResponse(
        Message.assistant("x")
    )


def test_several_candidates_come_in_the_order_of_their_indexes() -> None:
    choices = [
        {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
        {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
    ]
    response = PARSER.parse({"choices": choices})
    assert (response.content, response.stop_reason) == ("a", "stop")
    assert [candidate.message.text for candidate in response.candidates] == ["a", "b"]
    assert response.candidates[0].message == response.message


@pytest.mark.parametrize("arguments", ["", " ", "null", "[1]", "{", "{'a': 1}", '{"a": NaN}'])
def test_arguments_that_are_no_object_are_kept_to_the_letter(arguments: str) -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
    (read,) = parse({"tool_calls": [call]}).tool_calls
    assert (read.malformed_arguments, read.arguments) == (arguments, {})


def test_arguments_sent_as_an_object_are_read() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": {"a": [1]}}}
    assert parse({"tool_calls": [call]}).tool_calls[0].arguments == {"a": [1]}


def test_a_free_text_call_keeps_its_input() -> None:
    call = {"id": "1", "type": "custom", "custom": {"name": "sh", "input": '{"looks": "like"}'}}
    (read,) = parse({"tool_calls": [call]}).tool_calls
    assert (read.name, read.malformed_arguments) == ("sh", '{"looks": "like"}')


def test_calls_without_ids_get_ids_of_their_own_that_stay() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    first, second = parse({"tool_calls": [call, call]}).tool_calls
    assert first.id != second.id
    assert parse({"tool_calls": [call, call]}).tool_calls == (first, second)
    other = PARSER.parse({"id": "2", "choices": [{"message": {"tool_calls": [call]}}]})
    assert other.tool_calls[0].id not in (first.id, second.id)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (None, {}),
        ({}, {}),
        ({"prompt_tokens": None, "completion_tokens": 3}, {"completion_tokens": 3}),
        ({"prompt_tokens": 3.0, "prompt_tokens_details": None}, {"prompt_tokens": 3}),
        ({"prompt_tokens_details": {"cached_tokens": 0}}, {"cached_tokens": 0}),
        ({"completion_tokens_details": {"reasoning_tokens": 5}}, {"reasoning_tokens": 5}),
        ({"total_tokens": 7, "cost": 0.1}, {}),
    ],
)
def test_token_counts_are_told_where_they_are_known(counts: Any, usage: dict[str, int]) -> None:
    response = PARSER.parse({"choices": [{"message": {"content": "x"}}], "usage": counts})
    assert response.usage == usage
    assert all(type(count) is int for count in response.usage.values())


def test_empty_token_probabilities_stay_empty() -> None:
    logprobs = {"content": [], "refusal": None}
    assert parse({"content": "x"}, logprobs=logprobs).logprobs == logprobs


@pytest.mark.parametrize("reason", ["", None])
def test_no_finish_reason_is_none(reason: str | None) -> None:
    assert parse({"content": "x"}, finish_reason=reason).stop_reason is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "boom", "code": 429}}, RateLimitError),
        (
            {"error": {"message": "boom", "type": "server_error"}, "choices": []},
            InternalServerError,
        ),
        ({"error": "boom"}, APIStatusError),
        ({"object": "error", "message": "boom", "code": 400}, BadRequestError),
        (
            {"error": {"message": "boom: maximum context length", "code": 400}},
            ContextWindowExceededError,
        ),
        ({"error": {"message": "boom"}, "choices": [{"message": {"content": ""}}]}, APIStatusError),
    ],
)
def test_an_error_in_a_good_answer_is_an_error(body: dict[str, Any], kind: type) -> None:
    for form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(APIStatusError, match="boom") as caught:
            PARSER.parse(form)
        assert type(caught.value) is kind
        assert json.loads(caught.value.body) == body


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_error_that_says_nothing_is_none(error: Any) -> None:
    body = {"error": error, "choices": [{"message": {"content": "x"}}]}
    assert PARSER.parse(body).content == "x"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("<html>", "cannot be read"),
        ("[]", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("{}", "no choices"),
        ('{"choices": []}', "no choices"),
        ('{"choices": null, "id": "x"}', "no choices"),
        # Ollama's own format, at the wrong address
        ('{"model": "m", "message": {"role": "assistant", "content": "x"}}', "no choices"),
        ('{"choices": [{}]}', r"choices\[0\] has no message"),
        ('{"choices": [{"message": null}]}', r"choices\[0\] has no message"),
        ('{"choices": [{"message": {"content": 5}}]}', r"\$\.choices\[0\]\.message\.content"),
        ('{"choices": [{"message": {"tool_calls": [{"id": "1"}]}}]}', "tool call 0 has no name"),
    ],
)
def test_what_the_format_does_not_promise_is_a_parse_error_that_quotes_it(
    body: str | bytes, why: str
) -> None:
    with pytest.raises(ResponseParseError, match=why) as caught:
        PARSER.parse(body)
    if "tool call" not in why:
        text = body if isinstance(body, str) else body.decode(errors="replace")
        assert caught.value.body == text


def test_an_answer_may_be_numbered() -> None:
    body = {"id": 7, "choices": [{"message": {"role": "assistant", "content": "hi"}}]}
    assert ChatCompletionsParser().parse(body).response_id == "7"
