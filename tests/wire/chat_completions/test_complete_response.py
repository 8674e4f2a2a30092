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
from tests.support.lone_surrogates import replace_lone_surrogates
from tests.support.strategies import response_contents, texts_with_lone_surrogates
from tests.support.wire_json.chat_json import build_body, build_expected_response

PARSER = ChatCompletionsParser()


def parse_message(message: dict[str, Any], **choice: Any) -> ModelResponse:
    return PARSER.parse({"id": "1", "choices": [{"message": message, **choice}]})


@given(st.data())
def test_a_response_is_parsed_completely(data: st.DataObject) -> None:
    sample = data.draw(response_contents(max_candidates=3, custom=True, valid_arguments=False))
    body = build_body(sample)
    text = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    parsed = PARSER.parse(text)
    assert parsed == build_expected_response(sample)
    assert PARSER.parse(text.encode()) == parsed
    assert PARSER.parse(body) == parsed


@given(texts_with_lone_surrogates())
def test_half_a_surrogate_pair_is_read(text: str) -> None:
    body = json.dumps({"choices": [{"message": {"content": text}}]})
    assert PARSER.parse(body).content == replace_lone_surrogates(text)


def test_a_response_with_no_more_than_a_message_is_enough() -> None:
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


@pytest.mark.parametrize("arguments", ["[1]", "{", "{'a': 1}", '{"a": NaN}'])
def test_arguments_that_are_no_object_are_kept_unchanged(arguments: str) -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
    (parsed,) = parse_message({"tool_calls": [call]}).tool_calls
    assert (parsed.malformed_arguments, parsed.arguments) == (arguments, {})


def test_arguments_sent_as_an_object_are_read() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": {"a": [1]}}}
    assert parse_message({"tool_calls": [call]}).tool_calls[0].arguments == {"a": [1]}


def test_a_free_text_call_keeps_its_input() -> None:
    call = {"id": "1", "type": "custom", "custom": {"name": "sh", "input": '{"looks": "like"}'}}
    (parsed,) = parse_message({"tool_calls": [call]}).tool_calls
    assert (parsed.name, parsed.malformed_arguments) == ("sh", '{"looks": "like"}')


def test_calls_without_ids_get_ids_that_are_always_the_same() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    first, second = parse_message({"tool_calls": [call, call]}).tool_calls
    assert first.id != second.id
    assert parse_message({"tool_calls": [call, call]}).tool_calls == (first, second)
    other = PARSER.parse({"id": "2", "choices": [{"message": {"tool_calls": [call]}}]})
    assert other.tool_calls[0].id not in (first.id, second.id)


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (None, {}),
        ({}, {}),
        ({"prompt_tokens": None, "completion_tokens": 3}, {"completion_tokens": 3}),
        ({"prompt_tokens": 3.0, "prompt_tokens_details": None}, {"prompt_tokens": 3}),
        (
            {"prompt_tokens_details": {"cached_tokens": 0}},
            {"cached_tokens": 0, "cache_read_input_tokens": 0},
        ),
        ({"completion_tokens_details": {"reasoning_tokens": 5}}, {"reasoning_tokens": 5}),
        ({"total_tokens": 7, "cost": 0.1}, {"total_tokens": 7}),
    ],
)
def test_known_token_counts_are_in_the_usage(counts: Any, usage: dict[str, int]) -> None:
    response = PARSER.parse({"choices": [{"message": {"content": "x"}}], "usage": counts})
    assert response.usage == usage
    assert all(type(count) is int for count in response.usage.values())


def test_empty_token_probabilities_stay_empty() -> None:
    logprobs = {"content": [], "refusal": None}
    assert parse_message({"content": "x"}, logprobs=logprobs).logprobs == logprobs


@pytest.mark.parametrize("reason", ["", None])
def test_no_finish_reason_is_none(reason: str | None) -> None:
    assert parse_message({"content": "x"}, finish_reason=reason).stop_reason is None


@pytest.mark.parametrize(
    ("members", "stop_reason", "finish_reason"),
    [
        ({"finish_reason": None, "finishReason": "MAX_TOKENS"}, "MAX_TOKENS", "length"),
        ({"finish_reason": "stop", "finishReason": 7}, "stop", "stop"),
    ],
)
def test_a_finish_reason_in_camel_case_is_read(
    members: dict[str, Any], stop_reason: str, finish_reason: str
) -> None:
    response = parse_message({"content": "x"}, **members)
    assert (response.stop_reason, response.finish_reason) == (stop_reason, finish_reason)


def test_a_response_that_the_provider_behind_openrouter_broke_off_has_not_stopped() -> None:
    broken_off = parse_message(
        {"content": "half"}, finish_reason="stop", native_finish_reason="network_error"
    )
    assert (broken_off.stop_reason, broken_off.content) == ("network_error", "half")
    assert broken_off.finish_reason != "stop"
    usual = parse_message({"content": "x"}, finish_reason="stop", native_finish_reason="STOP")
    assert usual.stop_reason == "stop"
    with pytest.raises(InternalServerError):
        parse_message({"content": ""}, finish_reason="stop", native_finish_reason="error")


@pytest.mark.parametrize(
    ("body", "error_type"),
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
def test_an_error_in_a_good_response_is_an_error(body: dict[str, Any], error_type: type) -> None:
    for form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(APIStatusError, match="boom") as caught:
            PARSER.parse(form)
        assert type(caught.value) is error_type
        assert json.loads(caught.value.body) == body


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_empty_error_is_no_error(error: Any) -> None:
    body = {"error": error, "choices": [{"message": {"content": "x"}}]}
    assert PARSER.parse(body).content == "x"


@pytest.mark.parametrize(
    ("body", "match"),
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
        (
            '{"choices": [{"message": {"content": {"a": 1}}}]}',
            r"\$\.choices\[0\]\.message\.content",
        ),
    ],
)
def test_what_does_not_follow_the_format_is_a_parse_error_that_quotes_it(
    body: str | bytes, match: str
) -> None:
    with pytest.raises(ResponseParseError, match=match) as caught:
        PARSER.parse(body)
    if "tool call" not in match:
        text = body if isinstance(body, str) else body.decode(errors="replace")
        assert caught.value.body == text


def test_the_id_of_a_response_may_be_a_number() -> None:
    body = {"id": 7, "choices": [{"message": {"role": "assistant", "content": "hi"}}]}
    assert ChatCompletionsParser().parse(body).response_id == "7"
