"""What error bodies say, in the forms of all providers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.error_body import ErrorBody
from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ContentFilterError,
    ContextWindowExceededError,
    RateLimitError,
)
from locus.core.make_status_error import find_error_in_response, make_status_error


@pytest.mark.parametrize(
    ("body", "message", "codes", "status"),
    [
        (None, "", (), None),
        ("plain text", "plain text", (), None),
        ({"error": {"message": "a", "type": "t", "code": "c"}}, "a", ("c", "t"), None),
        ({"error": {"message": "a", "type": "t", "code": None}}, "a", ("t",), None),
        ({"error": {"message": "a", "code": 502}}, "a", (), 502),
        ({"error": {"message": "a", "code": "1302"}}, "a", ("1302",), None),
        ({"code": "The caller may not", "error": "a"}, "a", ("The caller may not",), None),
        ({"error": "a", "error_type": "validation"}, "a", ("validation",), None),
        ({"type": "error", "error": {"type": "t", "message": "a"}}, "a", ("t",), None),
        ({"error_code": 336003, "error_msg": "a"}, "a", ("336003",), 400),
        ({"base_resp": {"status_code": 1008, "status_msg": "a"}}, "a", ("1008",), 402),
        ({"__type": "ThrottlingException", "message": "a"}, "a", ("ThrottlingException",), None),
        ({"error": {"message": "", "type": "", "code": None}}, "", (), None),
        ({"error": {}}, "", (), None),
    ],
)
def test_the_message_the_codes_and_the_status(
    body: Any, message: str, codes: tuple[str, ...], status: int | None
) -> None:
    error_body = ErrorBody.parse(body)
    assert (error_body.message, error_body.codes, error_body.status_code) == (
        message,
        codes,
        status,
    )


@pytest.mark.parametrize(
    "raw",
    [
        '{"error": {"message": "at most 1 image"}}',
        {"error": {"message": "at most 1 image"}},
        "at most 1 image",
        [{"error": {"message": "at most 1 image"}}],
    ],
)
def test_the_words_of_the_provider_behind_a_gateway_are_shown(raw: Any) -> None:
    error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}
    assert ErrorBody.parse({"error": error}).message == "Provider returned error: at most 1 image"


def test_what_the_model_wrote_and_its_server_could_not_read_is_shown() -> None:
    error = {"message": "Failed to call a function.", "code": "tool_use_failed"}
    error_body = ErrorBody.parse({"error": error | {"failed_generation": 'search{"q": 1}'}})
    assert error_body.message == 'Failed to call a function.: search{"q": 1}'
    assert error_body.codes == ("tool_use_failed",)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": "x", "choices": []},
        {"error": None},
        {"error": {"message": "", "type": "", "param": "", "code": None}},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"success": True, "code": 200},
        [],
        "not JSON",
    ],
)
def test_no_error_is_found_where_none_is_said(body: Any) -> None:
    assert find_error_in_response(body) is None
    assert find_error_in_response(json.dumps(body)) is None


def make_error(status: int, message: str, **members: Any) -> APIStatusError:
    return make_status_error(json.dumps({"error": {"message": message, **members}}), status)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (9)."),
        (400, "This model's maximum prompt length is 131072 but the request contains 178000"),
        (400, "Range of input length should be [1, 129024]"),
        (400, "The prompt (tokens: 9000) exceeds max_model_len 8192"),
        (400, "litellm.BadRequestError: litellm.ContextWindowExceededError: the provider said no"),
        (400, "Invalid request: Your request exceeded model token limit: 262144"),
        (400, "Input is too long for requested model."),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."),
        (400, "Please reduce the length of the messages or completion."),
        (400, "input length and `max_tokens` exceed context limit: 190000 + 64000 > 200000"),
    ],
)
def test_words_for_a_conversation_that_is_too_long(status: int, message: str) -> None:
    error = make_error(status, message)
    assert type(error) is ContextWindowExceededError
    assert error.status_code == status


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "Input data may contain inappropriate content.", "data_inspection_failed"),
        (400, "Content Exists Risk", "invalid_request_error"),
        (400, "Your request was rejected as a result of our safety system.", "x"),
        (400, "Error code: 400 - {'error': {'message': 'no', 'code': 'content_filter'}}", "x"),
        (400, "litellm.ContentPolicyViolationError: AzureException - filtered", "x"),
        (403, "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO", None),
        (
            400,
            "Your prompt is potentially violating our usage policy.",
            "invalid_prompt",
        ),
        (400, "The request was rejected because it was considered high risk", "x"),
    ],
)
def test_words_of_content_filters(status: int, message: str, code: str | None) -> None:
    error = make_error(status, message, code=code)
    assert type(error) is ContentFilterError
    assert error.status_code == status


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
        "Invalid prompt: the messages are empty",
        "the content of the message is missing",
    ],
)
def test_other_refusals_are_neither(message: str) -> None:
    assert type(make_error(400, message, code="invalid_prompt")) is BadRequestError


def test_a_limit_of_tokens_per_minute_with_413_is_a_rate_limit() -> None:
    error = make_error(413, "Request too large on tokens per minute", code="rate_limit_exceeded")
    assert type(error) is RateLimitError
    assert error.status_code == 413
    assert type(make_error(413, "Request Entity Too Large")) is APIStatusError


def test_a_redirect_says_where_the_server_has_moved() -> None:
    error = make_status_error("", 308, {"Location": "https://new.example/v1?token=1"})
    assert "https://new.example/v1" in str(error)
    assert "token" not in str(error)
