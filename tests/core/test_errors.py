"""The error tree: classes, messages, pickling, and redaction of secrets."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core import errors
from locus.core.error_context import ErrorContext
from locus.core.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    ContentFilterError,
    ContextWindowExceededError,
    InternalServerError,
    LocusError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ResponseParseError,
    StateFormatError,
    StreamInterruptedError,
    StructuredOutputError,
    UnprocessableEntityError,
    get_status_error_class,
)
from locus.core.make_connection_error import make_connection_error, make_timeout_error
from locus.core.make_status_error import MAX_SHOWN_CHARACTERS, make_status_error
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from tests.support.strategies import json_objects, responses, texts, texts_with_lone_surrogates

REQUEST_INFO = ErrorContext("openai", "gpt-4o", "https://api.example/v1/chat/completions")


# The tree.


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (ConfigurationError, (LocusError, ValueError)),
        (StructuredOutputError, (LocusError, ValueError)),
        (StateFormatError, (LocusError, ValueError)),
        (APIError, (LocusError, RuntimeError)),
        (APIConnectionError, (APIError,)),
        (APITimeoutError, (APIConnectionError,)),
        (StreamInterruptedError, (APIError,)),
        (ResponseParseError, (APIError,)),
        (APIStatusError, (APIError,)),
        (BadRequestError, (APIStatusError,)),
        (ContextWindowExceededError, (BadRequestError,)),
        (ContentFilterError, (BadRequestError,)),
        (AuthenticationError, (APIStatusError,)),
        (PermissionDeniedError, (APIStatusError,)),
        (NotFoundError, (APIStatusError,)),
        (ConflictError, (APIStatusError,)),
        (UnprocessableEntityError, (APIStatusError,)),
        (RateLimitError, (APIStatusError,)),
        (InternalServerError, (APIStatusError,)),
        (OverloadedError, (InternalServerError,)),
    ],
)
def test_each_error_has_its_base_classes(error: type, parents: tuple[type, ...]) -> None:
    assert issubclass(error, parents[0])
    assert all(issubclass(error, parent) for parent in parents)
    assert issubclass(error, LocusError)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, UnprocessableEntityError),
        (429, RateLimitError),
        (500, InternalServerError),
        (502, InternalServerError),
        (529, OverloadedError),
        (599, InternalServerError),
        (402, APIStatusError),
        (418, APIStatusError),
        (302, APIStatusError),
    ],
)
def test_each_status_has_its_class(status: int, cls: type) -> None:
    assert get_status_error_class(status) is cls
    assert type(make_status_error("", status)) is cls


# Pickling.


def make_examples() -> list[LocusError]:
    partial = ModelResponse(Message.assistant("so far", [ToolCall("1", "f", {"a": [1]})]))
    context: dict[str, Any] = {"provider": "openai", "model": "m", "partial": partial}
    timeout = APITimeoutError("slow", **context)
    timeout.response_started = True
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type)]
    api_status_errors = [
        cls("no", status_code=418, body="b", headers={"X-Request-Id": "r"}, **context)
        for cls in classes
        if issubclass(cls, APIStatusError)
    ]
    return [
        *api_status_errors,
        LocusError("x", 1),
        ConfigurationError("x"),
        StructuredOutputError("x", content="y"),
        StateFormatError("x", newer=True),
        APIError("x", **context),
        APIConnectionError("x", **context),
        timeout,
        StreamInterruptedError("x", **context),
        ResponseParseError("x", body="b", **context),
        errors.make_answer_too_large_error("the response", 5),
    ]


@pytest.mark.parametrize("error", make_examples(), ids=lambda error: type(error).__name__)
def test_errors_are_pickled_with_their_attributes(error: LocusError) -> None:
    error.add_note("a note")
    for copied in (
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, 6)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(copied) is type(error)
        assert copied.args == error.args
        assert str(copied) == str(error)
        assert vars(copied) == vars(error)


def test_there_is_an_example_of_every_error() -> None:
    classes = {
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, LocusError)
    }
    assert {type(error) for error in make_examples()} == classes


@given(responses())
def test_the_partial_response_is_pickled_with_the_error(partial: ModelResponse) -> None:
    error = StreamInterruptedError("cut", partial=partial)
    assert pickle.loads(pickle.dumps(error)).partial == partial


# Error messages.


@pytest.mark.parametrize("error", make_examples(), ids=lambda error: type(error).__name__)
def test_an_api_error_names_provider_model_and_url(error: LocusError) -> None:
    if not isinstance(error, APIError):
        return
    error.provider = None
    with_context = REQUEST_INFO.add_context(error)
    assert with_context is error
    for text in ("openai", "gpt-4o", "https://api.example/v1/chat/completions"):
        assert text in str(with_context)
    first_message = str(with_context)
    assert str(REQUEST_INFO.add_context(with_context)) == first_message
    assert (with_context.provider, with_context.model) == ("openai", "gpt-4o")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (make_status_error("", 401), "set OPENAI_API_KEY"),
        (make_status_error("", 403), "credentials"),
        (make_status_error("", 404), "base_url"),
        (make_status_error("", 429), "max_retries"),
        (make_status_error("", 307), "base_url"),
        (make_status_error('{"error": {"code": "context_length_exceeded"}}', 400), "shorter"),
        (make_timeout_error(TimeoutError(), response_started=False), "timeout="),
        (make_connection_error(ConnectionRefusedError("refused")), "server is running"),
        (StreamInterruptedError("cut"), "error.partial"),
        (ResponseParseError("no JSON"), "base_url"),
    ],
)
def test_errors_have_a_hint(error: APIError, hint: str) -> None:
    info = ErrorContext("openai", "gpt-4o", "https://x", key_hint="set OPENAI_API_KEY")
    assert hint in str(info.add_context(error))


def test_a_connection_error_contains_the_original_message() -> None:
    assert "ConnectionRefusedError: nobody there" in str(
        make_connection_error(ConnectionRefusedError("nobody there"))
    )
    error = make_timeout_error(TimeoutError(), response_started=True)
    assert "TimeoutError" in str(error)
    assert error.response_started
    assert not make_timeout_error(TimeoutError(), response_started=False).response_started


def test_the_message_shows_the_beginning_of_a_long_body() -> None:
    body = "x" * 5000
    error = make_status_error(body, 500)
    assert "x" * MAX_SHOWN_CHARACTERS + "…" in str(error)
    assert "x" * (MAX_SHOWN_CHARACTERS + 1) not in str(error)
    assert error.body == body
    assert ResponseParseError("no", body=body).body == body[:2000]


# Secrets.

SECRETS = st.from_regex(r"\A[A-Za-z0-9_-]{12,60}\Z")


def collect_logged_text(error: APIError) -> str:
    """All texts of an error that a log could contain."""
    return "\n".join([str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))])


# Offsets of a secret at which a message or a body is cut in the middle of it.
OFFSETS = st.sampled_from([0, MAX_SHOWN_CHARACTERS, 2000]).flatmap(
    lambda cut: st.integers(max(0, cut - 90), cut)
)


@given(SECRETS, OFFSETS, st.sampled_from([200, 401, 500]))
def test_a_secret_in_a_response_is_redacted(secret: str, offset: int, status: int) -> None:
    message = "x" * offset + secret + " is not a valid key"
    body = json.dumps({"error": {"message": message}})
    headers = {"x-debug": f"Bearer {secret}", "x-request-id": "r1"}
    info = ErrorContext("openai", "m", "https://x", secrets=(secret, ""))
    for error in (
        make_status_error(body, status, headers),
        make_status_error(message, status, headers),
        ResponseParseError(message[:MAX_SHOWN_CHARACTERS], body=body),
        APIConnectionError(message),
    ):
        text = collect_logged_text(info.add_context(error))
        assert secret[:8] not in text
        if isinstance(error, APIStatusError):
            assert error.request_id == "r1"


@given(SECRETS)
def test_the_repr_of_the_error_context_has_no_secrets(secret: str) -> None:
    assert secret not in repr(ErrorContext("openai", "m", "https://x", secrets=(secret,)))


def test_a_secret_that_contains_another_is_redacted_completely() -> None:
    info = ErrorContext("p", "m", secrets=("sk-abc", "sk-abcdef"))
    assert info.redact("key sk-abcdef, key sk-abc") == "key ***, key ***"


@given(texts())
def test_without_secrets_nothing_is_redacted(text: str) -> None:
    assert ErrorContext("p", "m", secrets=("",)).redact(text) == text


# Retry-After.

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "soon"}, 7.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 07:27:30 GMT"}, 30.0),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 09:27:00 +0200"}, 60.0),
        ({"retry-after": DATE, "date": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0.0),
        ({"retry-after": DATE, "date": "Wednesday, 21-Oct-15 07:27:59 GMT"}, 1.0),
        ({"retry-after": DATE, "date": "Wed Oct 21 07:27:58 2015"}, 2.0),
        ({"retry-after": DATE}, None),
        ({"retry-after": DATE, "date": "yesterday"}, None),
        ({"retry-after": "tomorrow", "date": DATE}, None),
    ],
)
def test_retry_after_is_parsed_from_the_headers(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert APIStatusError("no", status_code=429, headers=headers).retry_after == seconds


@given(texts() | st.sampled_from([DATE, "1", "1e999", "9" * 400]), texts() | st.just(DATE))
def test_no_header_makes_retry_after_raise(retry_after: str, date: str) -> None:
    headers = {"retry-after": retry_after, "date": date}
    seconds = APIStatusError("no", status_code=429, headers=headers).retry_after
    assert seconds is None or 0 <= seconds < float("inf")


def test_the_request_id_is_read_from_every_providers_header() -> None:
    for name in ("x-request-id", "Request-Id", "opc-request-id"):
        error = APIStatusError("no", status_code=500, headers={name: "r"})
        assert error.request_id == "r"
    assert APIStatusError("no", status_code=500).request_id is None


# The error bodies of the providers.

LONG = "This model's maximum context length is 8192 tokens, you asked for 9000"


@pytest.mark.parametrize(
    ("status", "body", "cls", "message"),
    [
        # OpenAI
        (
            401,
            {"error": {"message": "Incorrect key", "type": "x", "code": "invalid_api_key"}},
            AuthenticationError,
            "Incorrect key",
        ),
        (
            400,
            {"error": {"message": LONG, "code": "context_length_exceeded"}},
            ContextWindowExceededError,
            LONG,
        ),
        (429, {"error": {"message": "slow", "code": "insufficient_quota"}}, RateLimitError, "slow"),
        (
            400,
            {"error": {"message": "no", "code": "content_policy_violation"}},
            ContentFilterError,
            "no",
        ),
        # Azure
        (
            400,
            {"error": {"message": "filtered", "code": "content_filter", "innererror": {"a": 1}}},
            ContentFilterError,
            "filtered",
        ),
        # Anthropic
        (
            529,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            OverloadedError,
            "Overloaded",
        ),
        (
            400,
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": "prompt is too long: 9"},
            },
            ContextWindowExceededError,
            "prompt is too long: 9",
        ),
        # Ollama
        (404, {"error": "model 'x' not found"}, NotFoundError, "model 'x' not found"),
        # OCI
        (
            404,
            {"code": "404", "message": "Entity with key x not found"},
            NotFoundError,
            "Entity with key x not found",
        ),
        # llama.cpp
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size",
                    "type": "exceed_context_size_error",
                }
            },
            ContextWindowExceededError,
            "available context size",
        ),
        # vLLM
        (
            400,
            {"object": "error", "message": LONG, "type": "BadRequestError", "code": 400},
            ContextWindowExceededError,
            LONG,
        ),
        # FastAPI
        (422, {"detail": [{"loc": ["body"], "msg": "gone"}]}, UnprocessableEntityError, "gone"),
        (403, {"detail": "Forbidden here"}, PermissionDeniedError, "Forbidden here"),
        # Mistral
        (
            422,
            {"object": "error", "message": {"detail": [{"msg": "bad field"}]}},
            UnprocessableEntityError,
            "bad field",
        ),
        # Google
        (
            400,
            [{"error": {"code": 400, "message": "API key not valid", "status": "INVALID"}}],
            BadRequestError,
            "API key not valid",
        ),
        # Cohere
        (400, {"message": "invalid request"}, BadRequestError, "invalid request"),
        # Others
        (409, {"error": {"message": "busy"}}, ConflictError, "busy"),
        (400, {"error": None, "message": "really this"}, BadRequestError, "really this"),
        (400, {"error": {}, "message": "really this"}, BadRequestError, "really this"),
        (400, {"error": ["a", "b"]}, BadRequestError, '["a", "b"]'),
        (500, {"errors": [{"reason": "unknown"}]}, InternalServerError, "unknown"),
        (500, "upstream connect error", InternalServerError, "upstream connect error"),
        (502, "<html><h1>Bad Gateway</h1></html>", InternalServerError, "Bad Gateway"),
        (500, "", InternalServerError, "no explanation"),
        (500, None, InternalServerError, "no explanation"),
        (307, "", APIStatusError, "no explanation"),
        # inside a successful response
        (200, {"error": {"message": "x", "code": 429}}, RateLimitError, "x"),
        (200, {"error": {"message": "x", "code": "503"}}, InternalServerError, "x"),
        (200, {"error": {"message": "x", "type": "overloaded_error"}}, OverloadedError, "x"),
        (200, {"error": {"message": "x", "type": "rate_limit_error"}}, RateLimitError, "x"),
        (200, {"error": {"message": "x", "type": "server_error"}}, InternalServerError, "x"),
        (200, {"error": {"message": LONG, "code": 400}}, ContextWindowExceededError, LONG),
        (200, {"error": "x"}, APIStatusError, "x"),
        (200, {"error": {"message": "x", "code": "9" * 5000}}, APIStatusError, "x"),
        (200, {"error": {"message": "x", "code": True}}, APIStatusError, "x"),
        (200, {"error": {"message": "x", "code": 7}}, APIStatusError, "x"),
    ],
)
def test_the_error_body_of_every_provider_is_parsed(
    status: int, body: Any, cls: type, message: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    error = make_status_error(text, status, {"X-A": "b"})
    assert type(error) is cls
    assert message in str(error)
    assert error.body == text
    assert error.headers["x-a"] == "b"
    if status >= 300:
        assert error.status_code == status
        assert str(status) in str(error)


@given(
    st.text()
    | texts()
    | json_objects().map(json.dumps)
    | texts_with_lone_surrogates().map(json.dumps),
    st.integers(200, 599),
)
def test_the_error_of_any_body_can_be_printed_and_pickled(body: str, status: int) -> None:
    error = make_status_error(body, status)
    assert pickle.loads(pickle.dumps(error)).body == body
    str(error).encode()


@given(json_objects(), st.sampled_from(["message", "code", "type", "status", "detail", "error"]))
def test_any_error_object_makes_an_error(message: dict[str, Any], name: str) -> None:
    for error in (
        message,
        {name: message},
        {"error": {name: message}},
        {"message": "x", name: 1e300},
    ):
        assert isinstance(make_status_error(json.dumps(error)), APIStatusError)
        assert isinstance(make_status_error("", error_object=error), APIStatusError)
