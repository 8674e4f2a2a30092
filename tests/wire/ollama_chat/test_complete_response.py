"""Tests of complete responses of Ollama: parsed, or rejected with an error."""

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
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.ollama_chat import OllamaChatParser
from locus.wire.response_parts import UNNAMED_TOOL_NAME
from tests.support.lone_surrogates import replace_lone_surrogates
from tests.support.native_state import make_state
from tests.support.strategies import texts_with_lone_surrogates
from tests.support.wire_json.ollama_json import (
    CREATED,
    build_body,
    build_expected_response,
    expressible_responses,
    make_last_chunk,
)

PARSER = OllamaChatParser()
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}


def parse_message(message: dict[str, Any], **members: Any) -> ModelResponse:
    return PARSER.parse(make_last_chunk(message=message, **members))


@given(st.data())
def test_response_is_parsed_as_expected(data: st.DataObject) -> None:
    sample = data.draw(expressible_responses(valid_arguments=False))
    body = build_body(sample, arguments_as_text=data.draw(st.booleans()))
    text = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    response = PARSER.parse(text)
    assert response == build_expected_response(sample)
    assert PARSER.parse(text.encode()) == response
    assert PARSER.parse(body) == response


@given(texts_with_lone_surrogates())
def test_half_a_surrogate_pair_is_parsed(text: str) -> None:
    assert PARSER.parse(
        json.dumps(make_last_chunk(message={"content": text}))
    ).content == replace_lone_surrogates(text)


def test_response_with_only_a_message_is_valid() -> None:
    assert PARSER.parse('{"message": {"content": "x"}}') == ModelResponse(Message.assistant("x"))


def test_empty_response_has_empty_text() -> None:
    assert parse_message({"content": ""}).message == Message.assistant("")
    assert parse_message({}).message == Message.assistant("")


def test_thinking_is_reasoning_and_stays_in_the_message() -> None:
    response = parse_message({"content": "so", "thinking": "hm"})
    assert (response.reasoning, response.content) == ("hm", "so")
    assert response.message == Message.assistant(
        [ThinkingPart("hm"), TextPart("so")], native_state=make_state("ollama_chat")
    )
    response = parse_message({"content": "", "thinking": "hm", "tool_calls": [CALL | {"id": "1"}]})
    call = ToolCall("1", "f", {"a": 1})
    assert response.message == Message.assistant(
        [ThinkingPart("hm")], [call], native_state=make_state("ollama_chat")
    )
    assert response.message.text == ""


# Tool calls.


@pytest.mark.parametrize("arguments", ["[1]", "{", "{'a': 1}", '{"a": NaN}'])
def test_invalid_arguments_text_is_stored_unchanged(arguments: str) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    (tool_call,) = parse_message({"tool_calls": [call]}).tool_calls
    assert (tool_call.malformed_arguments, tool_call.arguments) == (arguments, {})


@pytest.mark.parametrize("arguments", [[1, "é"], 3, True, False, 0])
def test_arguments_of_other_types_are_stored_as_json(arguments: Any) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    (tool_call,) = parse_message({"tool_calls": [call]}).tool_calls
    assert tool_call.malformed_arguments is not None
    assert json.loads(tool_call.malformed_arguments) == arguments
    assert tool_call.arguments == {}


@pytest.mark.parametrize(
    "function",
    [
        {"name": "f"},
        *({"name": "f", "arguments": nothing} for nothing in (None, "", " ", "null", [])),
    ],
)
def test_call_without_arguments(function: dict[str, Any]) -> None:
    (tool_call,) = parse_message({"tool_calls": [{"function": function}]}).tool_calls
    assert (tool_call.malformed_arguments, tool_call.arguments) == (None, {})


def test_arguments_as_json_text_are_parsed() -> None:
    call = {"function": {"name": "f", "arguments": '{"a": [1]}'}}
    assert parse_message({"tool_calls": [call]}).tool_calls[0].arguments == {"a": [1]}


def test_ids_of_the_server_are_made_unique() -> None:
    calls = [CALL | {"id": call_id} for call_id in ("a", "a", "a_1", "b", "")]
    call_ids = [call.id for call in parse_message({"tool_calls": calls}).tool_calls]
    assert call_ids[:2] == ["a", "a_1"]
    assert call_ids[3] == "b"
    assert len(set(call_ids)) == 5


def test_calls_without_ids_get_unique_and_stable_ids() -> None:
    first, second = parse_message({"tool_calls": [CALL, CALL]}).tool_calls
    assert first.id != second.id
    assert parse_message({"tool_calls": [CALL, CALL]}).tool_calls == (first, second)


@pytest.mark.parametrize(
    "other_members",
    [{"created_at": "2025-10-01T12:00:09Z"}, {"created_at": None, "total_duration": 1}],
)
def test_same_call_in_another_response_gets_another_id(other_members: dict[str, Any]) -> None:
    (first,) = parse_message({"tool_calls": [CALL]}).tool_calls
    (second,) = parse_message({"tool_calls": [CALL]}, **other_members).tool_calls
    assert first.id != second.id


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5))
def test_generated_ids_are_unique_within_a_conversation(counts: list[int]) -> None:
    call_ids = [
        call.id
        for index, count in enumerate(counts)
        for call in parse_message(
            {"tool_calls": [CALL] * count}, created_at=f"{CREATED}{index}"
        ).tool_calls
    ]
    assert len(set(call_ids)) == len(call_ids)


# Other members.


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, {}),
        ({"prompt_eval_count": None, "eval_count": 3}, {"completion_tokens": 3}),
        ({"prompt_eval_count": 3.0}, {"prompt_tokens": 3}),
        (
            {"prompt_eval_count": 0, "eval_count": 0},
            {"prompt_tokens": 0, "completion_tokens": 0},
        ),
        ({"total_duration": 7, "eval_duration": 1}, {}),
    ],
)
def test_token_counts_are_parsed(counts: dict[str, Any], usage: dict[str, int]) -> None:
    response = parse_message({"content": "x"}, **counts)
    assert response.usage == usage
    assert all(type(count) is int for count in response.usage.values())


def test_token_count_that_is_not_a_number_is_left_out() -> None:
    body = '{"message": {"content": "x"}, "prompt_eval_count": NaN, "eval_count": 2.0}'
    assert PARSER.parse(body).usage == {"completion_tokens": 2}


def test_token_probabilities_are_logprobs_content() -> None:
    token = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
    assert parse_message({"content": "a"}, logprobs=[token]).logprobs == {"content": [token]}
    assert parse_message({"content": "a"}, logprobs=[]).logprobs == {"content": []}
    assert parse_message({"content": "a"}, logprobs=None).logprobs is None


@pytest.mark.parametrize(
    ("done_reason", "finish_reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("load", "other"),
        ("", "other"),
        (None, "other"),
    ],
)
def test_stop_reason_and_finish_reason(done_reason: Any, finish_reason: str) -> None:
    response = parse_message({"content": "x"}, done_reason=done_reason)
    assert (response.stop_reason, response.finish_reason) == (done_reason or None, finish_reason)
    response_with_calls = parse_message({"tool_calls": [CALL]}, done_reason="stop")
    assert (response_with_calls.stop_reason, response_with_calls.finish_reason) == (
        "stop",
        "tool_calls",
    )


def test_images_of_a_response_are_stored_in_the_metadata() -> None:
    assert parse_message({"content": "x", "images": ["AAAA"]}).message == Message.assistant(
        "x", metadata={"images": ["AAAA"]}
    )


# Errors.


@pytest.mark.parametrize(
    ("body", "error_type", "status"),
    [
        ({"error": "boom"}, InternalServerError, 500),
        ({"error": "boom", "status": 400}, BadRequestError, 400),
        ({"error": "boom", "status": "400"}, InternalServerError, 500),
        ({"error": "boom", "status": 200}, InternalServerError, 500),
        (
            {"error": "boom: the input length exceeds the context length", "status": 400},
            ContextWindowExceededError,
            400,
        ),
        ({"error": {"message": "boom", "code": 429}}, APIStatusError, 429),
        ({"error": ["boom"]}, InternalServerError, 500),
        ({"error": "boom", "message": {"content": ""}, "done": True}, InternalServerError, 500),
    ],
)
def test_error_object_with_status_200_is_raised(
    body: dict[str, Any], error_type: type[APIStatusError], status: int
) -> None:
    for body_form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(error_type, match="boom") as exc_info:
            PARSER.parse(body_form)
        assert exc_info.value.status_code == status
        assert json.loads(exc_info.value.body) == body


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_empty_error_member_is_ignored(error: Any) -> None:
    assert PARSER.parse(make_last_chunk(message={"content": "x"}, error=error)).content == "x"


def test_complete_body_with_done_false_is_an_interrupted_stream() -> None:
    unnamed_call = {"function": {"arguments": {}}}
    message = {"content": "x", "tool_calls": [unnamed_call, CALL]}
    with pytest.raises(StreamInterruptedError, match="before it was complete") as exc_info:
        PARSER.parse(make_last_chunk(message=message, done=False))
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "x"
    assert [unnamed_call.name for unnamed_call in exc_info.value.partial.tool_calls] == ["f"]


@pytest.mark.parametrize(
    ("body", "pattern"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("<html>", "cannot be read"),
        ("[]", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("{}", "no message"),
        ('{"message": null, "done": true}', "no message"),
        # Responses of other endpoints.
        ('{"choices": [{"message": {"content": "x"}}]}', "no message"),
        ('{"model": "m", "response": "x", "done": true}', "no message"),
        ('{"message": {"content": {"a": 1}}}', r"\$\.message\.content"),
    ],
)
def test_invalid_body_is_a_parse_error_that_quotes_it(body: str | bytes, pattern: str) -> None:
    with pytest.raises(ResponseParseError, match=pattern) as exc_info:
        PARSER.parse(body)
    text = body if isinstance(body, str) else body.decode(errors="replace")
    assert exc_info.value.body == text


@pytest.mark.parametrize("call", [{}, {"function": {"name": ""}}, {"function": None}])
def test_call_without_a_name_has_one_that_no_tool_has(call: Any) -> None:
    response = PARSER.parse({"message": {"content": "", "tool_calls": [call]}, "done": True})
    assert [call.name for call in response.tool_calls] == [UNNAMED_TOOL_NAME]


@pytest.mark.parametrize("error", ["invalid character 'c'", {"message": "invalid character 'c'"}])
def test_error_under_another_name_is_an_error(error: Any) -> None:
    with pytest.raises(InternalServerError, match="error parsing tool call: invalid character 'c'"):
        PARSER.parse({"error parsing tool call": error})
