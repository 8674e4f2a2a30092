"""Whole answers of Ollama: read equal to what they say, or refused with the body quoted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.conversation import conversation
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
from locus.wire.json import dumps, loads
from locus.wire.ollama_chat import OllamaChatParser
from tests.support.strategies import Answered, halves
from tests.support.wire_json.ollama_json import CREATED, end, expected, sayable, whole

PARSER = OllamaChatParser()
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}


def parse(message: dict[str, Any], **more: Any) -> ModelResponse:
    return PARSER.parse(end(message=message, **more))


@given(st.data())
def test_an_answer_is_read_as_what_it_says(data: st.DataObject) -> None:
    answered = data.draw(sayable(legible=False))
    body = whole(answered, as_text=data.draw(st.booleans()))
    text = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    read = PARSER.parse(text)
    assert read == expected(answered)
    assert PARSER.parse(text.encode()) == read
    assert PARSER.parse(body) == read


@given(sayable(legible=False))
def test_reading_changes_nothing_and_is_the_same_again(answered: Answered) -> None:
    body = whole(answered, ids=False)
    before = json.dumps(body)
    assert PARSER.parse(body) == PARSER.parse(body) == PARSER.parse(before)
    assert json.dumps(body) == before


@given(sayable(legible=False))
def test_an_answer_can_be_kept_and_put_back_into_the_conversation(answered: Answered) -> None:
    answer = PARSER.parse(whole(answered, ids=False))
    assert loads(dumps(answer), ModelResponse) == answer
    if answer.message.says_something or answer.message.tool_calls:
        assert conversation([Message.user("x"), answer.message])[1] is answer.message


@given(halves())
def test_half_a_surrogate_pair_is_read(text: str) -> None:
    assert PARSER.parse(json.dumps(end(message={"content": text}))).content == json.loads(
        json.dumps(text)
    )


def test_an_answer_with_no_more_than_a_message_is_enough() -> None:
    assert PARSER.parse('{"message": {"content": "x"}}') == ModelResponse(Message.assistant("x"))


def test_an_answer_that_says_nothing_is_empty() -> None:
    assert parse({"content": ""}).message == Message.assistant("")
    assert parse({}).message == Message.assistant("")


def test_thinking_is_reasoning_and_stays_in_the_message() -> None:
    answer = parse({"content": "so", "thinking": "hm"})
    assert (answer.reasoning, answer.content) == ("hm", "so")
    assert answer.message == Message.assistant([ThinkingPart("hm"), TextPart("so")])
    answer = parse({"content": "", "thinking": "hm", "tool_calls": [CALL | {"id": "1"}]})
    call = ToolCall("1", "f", {"a": 1})
    assert answer.message == Message.assistant([ThinkingPart("hm")], [call])
    assert answer.message.text == ""


# Tool calls.


@pytest.mark.parametrize("arguments", ["", " ", "null", "[1]", "{", "{'a': 1}", '{"a": NaN}'])
def test_arguments_that_are_no_object_are_kept_to_the_letter(arguments: str) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    (read,) = parse({"tool_calls": [call]}).tool_calls
    assert (read.malformed_arguments, read.arguments) == (arguments, {})


@pytest.mark.parametrize("arguments", [[1, "é"], 3, True, False, [], 0])
def test_arguments_of_another_kind_are_kept_as_json(arguments: Any) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    (read,) = parse({"tool_calls": [call]}).tool_calls
    assert read.malformed_arguments is not None
    assert json.loads(read.malformed_arguments) == arguments
    assert read.arguments == {}


@pytest.mark.parametrize("function", [{"name": "f"}, {"name": "f", "arguments": None}])
def test_a_call_without_arguments_has_none(function: dict[str, Any]) -> None:
    (read,) = parse({"tool_calls": [{"function": function}]}).tool_calls
    assert (read.malformed_arguments, read.arguments) == (None, {})


def test_arguments_as_json_text_are_read() -> None:
    call = {"function": {"name": "f", "arguments": '{"a": [1]}'}}
    assert parse({"tool_calls": [call]}).tool_calls[0].arguments == {"a": [1]}


def test_ids_of_the_server_are_kept_and_told_apart() -> None:
    calls = [CALL | {"id": identity} for identity in ("a", "a", "a_1", "b", "")]
    read = [call.id for call in parse({"tool_calls": calls}).tool_calls]
    assert read[:2] == ["a", "a_1"]
    assert read[3] == "b"
    assert len(set(read)) == 5


def test_calls_without_ids_get_ids_of_their_own_that_stay() -> None:
    first, second = parse({"tool_calls": [CALL, CALL]}).tool_calls
    assert first.id != second.id
    assert parse({"tool_calls": [CALL, CALL]}).tool_calls == (first, second)


@pytest.mark.parametrize(
    "other",
    [{"created_at": "2025-10-01T12:00:09Z"}, {"created_at": None, "total_duration": 1}],
)
def test_the_same_call_in_another_answer_has_another_id(other: dict[str, Any]) -> None:
    (one,) = parse({"tool_calls": [CALL]}).tool_calls
    (two,) = parse({"tool_calls": [CALL]}, **other).tool_calls
    assert one.id != two.id


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5))
def test_ids_within_a_conversation_never_meet(counts: list[int]) -> None:
    found = [
        call.id
        for at, count in enumerate(counts)
        for call in parse({"tool_calls": [CALL] * count}, created_at=f"{CREATED}{at}").tool_calls
    ]
    assert len(set(found)) == len(found)


# The rest.


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
def test_token_counts_are_told_where_they_are_known(
    counts: dict[str, Any], usage: dict[str, int]
) -> None:
    response = parse({"content": "x"}, **counts)
    assert response.usage == usage
    assert all(type(count) is int for count in response.usage.values())


def test_a_count_that_is_no_number_is_left_out() -> None:
    body = '{"message": {"content": "x"}, "prompt_eval_count": NaN, "eval_count": 2.0}'
    assert PARSER.parse(body).usage == {"completion_tokens": 2}


def test_token_probabilities_are_under_the_name_that_others_use() -> None:
    one = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
    assert parse({"content": "a"}, logprobs=[one]).logprobs == {"content": [one]}
    assert parse({"content": "a"}, logprobs=[]).logprobs == {"content": []}
    assert parse({"content": "a"}, logprobs=None).logprobs is None


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [("stop", "stop"), ("length", "length"), ("load", "other"), ("", "other"), (None, "other")],
)
def test_the_reason_to_stop_is_told_in_both_vocabularies(reason: Any, meaning: str) -> None:
    response = parse({"content": "x"}, done_reason=reason)
    assert (response.stop_reason, response.finish_reason) == (reason or None, meaning)
    called = parse({"tool_calls": [CALL]}, done_reason="stop")
    assert (called.stop_reason, called.finish_reason) == ("stop", "tool_calls")


def test_images_of_an_answer_are_kept_in_its_metadata() -> None:
    assert parse({"content": "x", "images": ["AAAA"]}).message == Message.assistant(
        "x", metadata={"images": ["AAAA"]}
    )


# What is no answer.


@pytest.mark.parametrize(
    ("body", "kind", "status"),
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
def test_an_error_in_a_good_answer_is_an_error(
    body: dict[str, Any], kind: type[APIStatusError], status: int
) -> None:
    for form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(kind, match="boom") as caught:
            PARSER.parse(form)
        assert caught.value.status_code == status
        assert json.loads(caught.value.body) == body


@pytest.mark.parametrize("error", [None, {}, "", False])
def test_an_error_that_says_nothing_is_none(error: Any) -> None:
    assert PARSER.parse(end(message={"content": "x"}, error=error)).content == "x"


def test_an_answer_that_says_itself_that_it_is_not_done_is_not_believed() -> None:
    call = {"function": {"arguments": {}}}
    message = {"content": "x", "tool_calls": [call, CALL]}
    with pytest.raises(StreamInterruptedError, match="before it was complete") as caught:
        PARSER.parse(end(message=message, done=False))
    assert caught.value.partial is not None
    assert caught.value.partial.content == "x"
    assert [call.name for call in caught.value.partial.tool_calls] == ["f"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("<html>", "cannot be read"),
        ("[]", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("{}", "no message"),
        ('{"message": null, "done": true}', "no message"),
        # What other endpoints answer.
        ('{"choices": [{"message": {"content": "x"}}]}', "no message"),
        ('{"model": "m", "response": "x", "done": true}', "no message"),
        ('{"message": {"content": 5}}', r"\$\.message\.content"),
        ('{"message": {"tool_calls": [{}]}}', "tool call 0 has no name"),
        ('{"message": {"tool_calls": [{"function": {"name": ""}}]}}', "tool call 0 has no name"),
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
