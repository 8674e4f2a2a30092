"""A complete response of ``POST /responses``: its contents, and its errors."""

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
    SampleResponse,
    build_body,
    build_expected_response,
    make_message_item,
    remove_native_items,
    sample_responses,
)

PARSER = ResponsesParser()


def parse_output_items(*items: dict[str, Any], **more: Any) -> Any:
    return PARSER.parse({**build_body(SampleResponse(items)), **more})


@given(sample_responses(valid_arguments=False))
def test_a_response_is_read_from_bytes_text_and_mappings(sample: SampleResponse) -> None:
    body = build_body(sample)
    for body_form in (body, json.dumps(body), json.dumps(body, ensure_ascii=False).encode()):
        assert remove_native_items(PARSER.parse(body_form)) == build_expected_response(sample)
        assert remove_native_items(
            ResponsesParser(False).parse(body_form)
        ) == build_expected_response(sample, store=False)


@pytest.mark.parametrize(
    ("status", "reason", "stop_reason", "finish_reason"),
    [
        ("completed", None, "completed", "stop"),
        ("incomplete", "max_output_tokens", "max_output_tokens", "length"),
        ("incomplete", "content_filter", "content_filter", "content_filter"),
        ("incomplete", "max_messages", "max_messages", "other"),
        ("incomplete", None, "incomplete", "other"),
        ("cancelled", None, "cancelled", "other"),
        (None, None, None, "other"),
    ],
)
def test_the_finish_reason(status: Any, reason: Any, stop_reason: Any, finish_reason: str) -> None:
    response = parse_output_items(
        make_message_item("x"), status=status, incomplete_details=reason and {"reason": reason}
    )
    assert (response.stop_reason, response.finish_reason) == (stop_reason, finish_reason)


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_goes_on_in_the_background_is_an_error(status: str) -> None:
    with pytest.raises(ResponseParseError, match=status):
        parse_output_items(status=status)


def test_tool_calls_are_the_finish_reason() -> None:
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    response = parse_output_items(make_message_item("x"), call, call)
    assert (response.stop_reason, response.finish_reason) == ("completed", "tool_calls")
    assert [tool_call.id for tool_call in response.tool_calls] == ["call_1", "call_1_1"]
    truncated = parse_output_items(
        call, status="incomplete", incomplete_details={"reason": "max_output_tokens"}
    )
    assert truncated.finish_reason == "length"


@pytest.mark.parametrize(
    ("more", "call"),
    [
        ({"arguments": '{"a": 1}'}, ToolCall("call_1", "look", {"a": 1})),
        ({"arguments": {"a": 1}}, ToolCall("call_1", "look", {"a": 1})),
        ({"arguments": '{"a": '}, ToolCall("call_1", "look", malformed_arguments='{"a": ')),
        ({"arguments": None}, ToolCall("call_1", "look")),
        ({"arguments": ""}, ToolCall("call_1", "look")),
        ({"call_id": None, "id": "fc_1", "arguments": "{}"}, ToolCall("fc_1", "look")),
    ],
)
def test_a_call(more: dict[str, Any], call: ToolCall) -> None:
    item = {"type": "function_call", "call_id": "call_1", "name": "look", **more}
    assert parse_output_items(item).tool_calls == (call,)


def test_a_call_without_any_id_gets_the_same_one_each_time() -> None:
    item = {"type": "function_call", "name": "look", "arguments": "{}"}
    first, second = parse_output_items(item, item).tool_calls
    assert first.id != second.id
    assert parse_output_items(item, item).tool_calls == (first, second)


def test_text_has_its_annotations_and_probabilities() -> None:
    annotation = {"type": "url_citation", "url": "https://x", "title": "t"}
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    part = {"type": "output_text", "text": "x", "annotations": [annotation], "logprobs": [token]}
    response = parse_output_items({**make_message_item(), "content": [part, {**part, "text": "y"}]})
    assert response.content == "xy"
    assert response.message.metadata["annotations"] == [annotation, annotation]
    assert response.logprobs == {"content": [token, token]}


def test_a_refusal_is_a_part_beside_the_text() -> None:
    refusal = {"type": "refusal", "refusal": "no"}
    response = parse_output_items(
        {**make_message_item(), "content": [*make_message_item("so")["content"], refusal]}
    )
    assert response.message.content == (TextPart("so"), RefusalPart("no"))
    assert parse_output_items(
        {**make_message_item(), "content": [refusal]}
    ).message.all_content == (RefusalPart("no"),)


def test_text_in_other_forms_is_not_lost() -> None:
    text_only = {"type": "message", "content": "so"}
    odd = {"type": "message", "content": [{"type": "text_of_next_year", "text": "so"}]}
    for item in (text_only, odd, {"type": "message", "content": [{"text": "so"}]}):
        assert parse_output_items(item, {"type": "call_of_next_year", "content": 5}).content == "so"
    assert (
        parse_output_items({"type": "message", "content": None}, {"type": "message"}).content == ""
    )
    assert parse_output_items({"type": 5}, {}).content == ""


def test_summary_and_open_reasoning_are_reasoning() -> None:
    parts = [{"text": "a"}, {"text": ""}, {"text": "b"}]
    item = {"type": "reasoning", "summary": parts, "content": [{"text": "c"}]}
    response = parse_output_items(item, make_message_item("x"))
    assert (response.reasoning, response.content) == ("a\n\nb\n\nc", "x")
    assert parse_output_items({"type": "reasoning"}, make_message_item("x")).reasoning is None


def test_only_stored_responses_have_a_state() -> None:
    state = {"previous_response_id": "resp_1"}
    assert parse_output_items(make_message_item("x")).provider_state == state
    assert parse_output_items(make_message_item("x"), store=True).provider_state == state
    assert parse_output_items(make_message_item("x"), store=False).provider_state is None
    assert parse_output_items(make_message_item("x"), id=None).provider_state is None
    body = build_body(SampleResponse((make_message_item("x"),)))
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
        (
            {"input_tokens_details": {"cached_tokens": 3}},
            {"cached_tokens": 3, "cache_read_input_tokens": 3},
        ),
        ({"output_tokens_details": {"reasoning_tokens": 0}}, {"reasoning_tokens": 0}),
    ],
)
def test_token_counts(usage: Any, counts: dict[str, int]) -> None:
    assert parse_output_items(make_message_item("x"), usage=usage).usage == counts


def make_failure(code: str | None, text: str = "boom") -> dict[str, Any]:
    return {"status": "failed", "error": {"code": code, "message": text}}


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (make_failure("server_error"), InternalServerError),
        (make_failure("rate_limit_exceeded"), RateLimitError),
        (make_failure("invalid_prompt"), BadRequestError),
        (make_failure("invalid_image_url"), BadRequestError),
        (make_failure("image_too_large"), BadRequestError),
        (make_failure("context_length_exceeded"), ContextWindowExceededError),
        (make_failure("bio_policy"), APIStatusError),
        (make_failure(None), APIStatusError),
        ({"error": "boom"}, APIStatusError),
        ({"error": {"message": "boom", "type": "server_error"}}, InternalServerError),
        ({"code": "429", "message": "boom"}, RateLimitError),
        ({"status": "failed", "output": [], "error": None, "instructions": "boom"}, APIStatusError),
    ],
)
def test_a_failure_is_its_error(body: dict[str, Any], error_type: type[APIStatusError]) -> None:
    with pytest.raises(error_type) as caught:
        PARSER.parse(json.dumps(body))
    assert type(caught.value) is error_type
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
        '{"output": [{"type": "message", "content": {"a": 1}}]}',
    ],
)
def test_what_is_not_of_the_format_is_a_parse_error_that_quotes_it(body: str) -> None:
    with pytest.raises(ResponseParseError) as caught:
        PARSER.parse(body)
    assert caught.value.body == body
