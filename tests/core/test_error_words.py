"""The words of one provider for its errors, beside those that many providers share."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from locus.core.error_context import ErrorContext
from locus.core.error_words import COMMON_ERROR_WORDS, ErrorWords
from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ConflictError,
    ContentFilterError,
    ContextWindowExceededError,
    InternalServerError,
    RateLimitError,
    UnprocessableEntityError,
)
from locus.core.make_status_error import make_status_error
from locus.wire.oci_chat.error_words import ORACLE_ERROR_WORDS

TOY_WORDS = ErrorWords(
    statuses={"E-Busy": 429, "E-Mixed": 500},
    context_window_codes={"E-Long"},
    context_window_phrases={"Too many WORDS"},
    content_filter_codes={"E-Naughty"},
    content_filter_phrases={"not nice"},
)


class OwnError(BadRequestError):
    """A class of a provider's own."""


def make_error(http_status: int, words: ErrorWords = TOY_WORDS, /, **error: Any) -> APIStatusError:
    return make_status_error(json.dumps({"error": error}), http_status, error_words=words)


@pytest.mark.parametrize(
    ("status", "error", "cls", "expected_status"),
    [
        (200, {"code": "e-busy"}, RateLimitError, 429),
        (200, {"type": "E-BUSY", "code": "E-Mixed"}, InternalServerError, 500),
        (200, {"code": "unknown"}, APIStatusError, 200),
        (200, {"code": "E-Busy", "status": 409}, ConflictError, 409),  # the body's own status
        (200, {"code": "rate_limit_error"}, RateLimitError, 429),  # a common word
        (503, {"code": "E-Busy"}, InternalServerError, 503),  # the response's own status
        (400, {"code": "E-Long"}, ContextWindowExceededError, 400),
        (200, {"code": "E-Long"}, ContextWindowExceededError, 200),
        (400, {"message": "far too many words, sorry"}, ContextWindowExceededError, 400),
        (422, {"message": "That was not nice."}, ContentFilterError, 422),
        (429, {"message": "too many words in a minute"}, RateLimitError, 429),
        (400, {"type": "e-naughty"}, ContentFilterError, 400),
        (400, {"code": "context_length_exceeded"}, ContextWindowExceededError, 400),
        # Inside a successful response, where nothing says what status the error stands for.
        (200, {"message": "far too many words, sorry"}, ContextWindowExceededError, 200),
        (200, {"message": "far too many words", "code": 500}, InternalServerError, 500),
        # What a gateway passes on as the words of a client library.
        (200, {"message": "Error code: 429 - {'error': 'slow'}"}, RateLimitError, 429),
        (
            200,
            {"message": "Error code: 400 - {'e': 'too many words'}"},
            ContextWindowExceededError,
            400,
        ),
        (200, {"message": "Error code: 200"}, APIStatusError, 200),
        (
            400,
            {"message": "Input tokens exceed the configured limit of 272000 tokens."},
            ContextWindowExceededError,
            400,
        ),
        (
            400,
            {"message": "The total length of all messages is too long."},
            ContextWindowExceededError,
            400,
        ),
    ],
)
def test_own_words_decide_beside_the_common_ones(
    status: int, error: dict[str, Any], cls: type, expected_status: int
) -> None:
    made = make_error(status, **error)
    assert (type(made), made.status_code) == (cls, expected_status)
    assert type(pickle.loads(pickle.dumps(made))) is cls


def test_other_providers_do_not_know_them() -> None:
    assert type(make_error(200, COMMON_ERROR_WORDS, code="E-Busy")) is APIStatusError
    assert type(make_error(400, COMMON_ERROR_WORDS, code="E-Long")) is BadRequestError
    assert type(make_error(422, COMMON_ERROR_WORDS, message="not nice")) is (
        UnprocessableEntityError
    )


def test_the_codes_and_the_explanation_are_on_the_error() -> None:
    error = make_error(400, code="E-Long", type="Toy", message=" so long " + "x" * 500)
    assert error.codes == {"E-Long", "Toy"}
    assert error.explanation == "so long " + "x" * 500
    assert len(str(error)) < 400


def test_an_error_context_with_such_words_changes_the_class_and_the_hint() -> None:
    error = make_error(400, COMMON_ERROR_WORDS, code="E-Long")
    same = ErrorContext("toy", "m", "https://x", error_words=TOY_WORDS).add_context(error)
    assert same is error
    assert type(error) is ContextWindowExceededError
    assert "send a shorter conversation" in str(error)


def test_a_class_that_means_more_than_its_status_stays() -> None:
    for own in (
        OwnError("no", status_code=400, codes=["E-Long"]),
        ContextWindowExceededError("no", status_code=400, codes=["E-Naughty"]),
    ):
        cls = type(own)
        assert type(ErrorContext("toy", "m", error_words=TOY_WORDS).add_context(own)) is cls


def test_secrets_are_removed_from_the_codes_and_the_explanation() -> None:
    secret = "sk-Very-Secret-123"
    error = make_error(400, code=secret, message=f"no such key: {secret}")
    ErrorContext("toy", "m", secrets=(secret,)).add_context(error)
    assert secret.lower() not in repr(vars(error)).lower()


@pytest.mark.parametrize("code", ["TooManyRequests", "toomanyrequests"])
def test_oracles_words_are_oracles(code: str) -> None:
    assert type(make_error(200, ORACLE_ERROR_WORDS, code=code)) is RateLimitError
    assert type(make_error(200, COMMON_ERROR_WORDS, code=code)) is APIStatusError


@pytest.mark.parametrize(
    ("message", "cls"),
    [
        ("Inappropriate content detected!!!", ContentFilterError),
        (
            "The input token count (1500000) exceeds the maximum number of tokens allowed "
            "(1048576).",
            ContextWindowExceededError,
        ),
        (
            "too many tokens: size limit exceeded by 11326 tokens. Try using shorter inputs.",
            ContextWindowExceededError,
        ),
        ("inappropriate model name", BadRequestError),
    ],
)
def test_what_the_models_behind_oracles_service_say(message: str, cls: type) -> None:
    assert type(make_error(400, ORACLE_ERROR_WORDS, message=message)) is cls
    assert type(make_error(429, ORACLE_ERROR_WORDS, message=message)) is RateLimitError
