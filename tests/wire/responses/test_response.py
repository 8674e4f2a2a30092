"""A whole answer of ``POST /responses``: all it says, and an error where it is one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ContextWindowExceededError,
    InternalServerError,
    RateLimitError,
    ResponseParseError,
)
from locus.core.messages import RefusalPart, TextPart, ToolCall
from locus.wire.responses import ResponsesParser
from tests.support.wire_json.responses_json import (
    Answer,
    essence,
    expected,
    message,
    response_answers,
    whole,
)

PARSER = ResponsesParser()


def parse(*items: dict[str, Any], **more: Any) -> Any:
    return PARSER.parse({**whole(Answer(items)), **more})


@given(response_answers(legible=False))
def test_an_answer_is_read_from_bytes_text_and_mappings(answer: Answer) -> None:
    body = whole(answer)
    for given_ in (body, json.dumps(body), json.dumps(body, ensure_ascii=False).encode()):
        assert essence(PARSER.parse(given_)) == expected(answer)
        assert essence(ResponsesParser(False).parse(given_)) == expected(answer, store=False)


@pytest.mark.parametrize(
    ("status", "reason", "word", "meaning"),
    [
        ("completed", None, "completed", "stop"),
        ("incomplete", "max_output_tokens", "max_output_tokens", "length"),
        ("incomplete", "content_filter", "content_filter", "content_filter"),
        ("incomplete", "max_messages", "max_messages", "other"),
        ("incomplete", None, "incomplete", "other"),
        ("cancelled", None, "cancelled", "other"),
        ("queued", None, "queued", "other"),
        (None, None, None, "other"),
    ],
)
def test_why_it_ended(status: Any, reason: Any, word: Any, meaning: str) -> None:
    answer = parse(message("x"), status=status, incomplete_details=reason and {"reason": reason})
    assert (answer.stop_reason, answer.finish_reason) == (word, meaning)


def test_calls_are_why_it_ended() -> None:
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    answer = parse(message("x"), call, call)
    assert (answer.stop_reason, answer.finish_reason) == ("completed", "tool_calls")
    assert [made.id for made in answer.tool_calls] == ["call_1", "call_1_1"]
    cut = parse(call, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert cut.finish_reason == "length"


@pytest.mark.parametrize(
    ("more", "call"),
    [
        ({"arguments": '{"a": 1}'}, ToolCall("call_1", "look", {"a": 1})),
        ({"arguments": {"a": 1}}, ToolCall("call_1", "look", {"a": 1})),
        ({"arguments": '{"a": '}, ToolCall("call_1", "look", malformed_arguments='{"a": ')),
        ({"arguments": None}, ToolCall("call_1", "look", malformed_arguments="")),
        ({"call_id": None, "id": "fc_1", "arguments": "{}"}, ToolCall("fc_1", "look")),
    ],
)
def test_a_call(more: dict[str, Any], call: ToolCall) -> None:
    item = {"type": "function_call", "call_id": "call_1", "name": "look", **more}
    assert parse(item).tool_calls == (call,)


def test_a_call_without_any_id_gets_the_same_one_each_time() -> None:
    item = {"type": "function_call", "name": "look", "arguments": "{}"}
    first, second = parse(item, item).tool_calls
    assert first.id != second.id
    assert parse(item, item).tool_calls == (first, second)


def test_text_comes_with_its_notes_and_probabilities() -> None:
    note = {"type": "url_citation", "url": "https://x", "title": "t"}
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    part = {"type": "output_text", "text": "x", "annotations": [note], "logprobs": [token]}
    answer = parse({**message(), "content": [part, {**part, "text": "y"}]})
    assert answer.content == "xy"
    assert answer.message.metadata["annotations"] == [note, note]
    assert answer.logprobs == {"content": [token, token]}


def test_a_refusal_stands_beside_the_text() -> None:
    refusal = {"type": "refusal", "refusal": "no"}
    answer = parse({**message(), "content": [*message("so")["content"], refusal]})
    assert answer.message.content == (TextPart("so"), RefusalPart("no"))
    assert parse({**message(), "content": [refusal]}).message.content == (RefusalPart("no"),)


def test_text_in_other_forms_is_not_lost() -> None:
    plain = {"type": "message", "content": "so"}
    odd = {"type": "message", "content": [{"type": "text_of_next_year", "text": "so"}]}
    for item in (plain, odd, {"type": "message", "content": [{"text": "so"}]}):
        assert parse(item, {"type": "call_of_next_year", "content": 5}).content == "so"
    assert parse({"type": "message", "content": None}, {"type": "message"}).content == ""
    assert parse({"type": 5}, {}).content == ""


def test_summary_and_open_reasoning_are_reasoning() -> None:
    parts = [{"text": "a"}, {"text": ""}, {"text": "b"}]
    item = {"type": "reasoning", "summary": parts, "content": [{"text": "c"}]}
    answer = parse(item, message("x"))
    assert (answer.reasoning, answer.content) == ("a\n\nb\n\nc", "x")
    assert parse({"type": "reasoning"}, message("x")).reasoning is None


def test_the_state_is_of_answers_that_the_server_keeps() -> None:
    state = {"previous_response_id": "resp_1"}
    assert parse(message("x")).provider_state == state
    assert parse(message("x"), store=True).provider_state == state
    assert parse(message("x"), store=False).provider_state is None
    assert parse(message("x"), id=None).provider_state is None
    body = whole(Answer((message("x"),)))
    assert ResponsesParser(store=False).parse(body).provider_state is None


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, {}),
        ({}, {}),
        ({"input_tokens": 1, "output_tokens": 2}, {"prompt_tokens": 1, "completion_tokens": 2}),
        (
            {"input_tokens": 1.0, "input_tokens_details": None, "output_tokens_details": {}},
            {"prompt_tokens": 1},
        ),
        ({"input_tokens_details": {"cached_tokens": 3}}, {"cached_tokens": 3}),
        ({"output_tokens_details": {"reasoning_tokens": 0}}, {"reasoning_tokens": 0}),
    ],
)
def test_token_counts(usage: Any, counts: dict[str, int]) -> None:
    assert parse(message("x"), usage=usage).usage == counts


def failed(code: str | None, text: str = "boom") -> dict[str, Any]:
    return {"status": "failed", "error": {"code": code, "message": text}}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (failed("server_error"), InternalServerError),
        (failed("rate_limit_exceeded"), RateLimitError),
        (failed("invalid_prompt"), BadRequestError),
        (failed("invalid_image_url"), BadRequestError),
        (failed("image_too_large"), BadRequestError),
        (failed("context_length_exceeded"), ContextWindowExceededError),
        (failed("bio_policy"), APIStatusError),
        (failed(None), APIStatusError),
        ({"error": "boom"}, APIStatusError),
        ({"error": {"message": "boom", "type": "server_error"}}, InternalServerError),
        ({"code": "429", "message": "boom"}, RateLimitError),
        ({"status": "failed", "output": [], "error": None, "instructions": "boom"}, APIStatusError),
    ],
)
def test_a_failure_is_its_error(body: dict[str, Any], kind: type[APIStatusError]) -> None:
    with pytest.raises(kind) as caught:
        PARSER.parse(json.dumps(body))
    assert type(caught.value) is kind
    assert "boom" in str(caught.value) + caught.value.body


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        "hello",
        '{"output": null}',
        '{"output": 5}',
        '{"output": [5]}',
        '{"output": [{"type": "message", "content": 5}]}',
        '{"output": [{"type": "function_call", "arguments": "{}"}]}',
        '{"output": [{"type": "reasoning", "summary": "x"}]}',
    ],
)
def test_what_is_not_of_the_format_is_a_parse_error_that_quotes_it(body: str) -> None:
    with pytest.raises(ResponseParseError) as caught:
        PARSER.parse(body)
    assert caught.value.body == body
