"""The error tree: its classes, what they say, that they travel, and that they keep secrets."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core import errors
from locus.core.error_factory import SHOWN, Asked, make_status_error, silent, unreachable
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
    StreamInterruptedError,
    StructuredOutputError,
    UnprocessableEntityError,
    error_class,
)
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from tests.support.strategies import halves, json_objects, responses, texts

ASKED = Asked("openai", "gpt-4o", "https://api.example/v1/chat/completions")


# The tree.


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (ConfigurationError, (LocusError, ValueError)),
        (StructuredOutputError, (LocusError, ValueError)),
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
def test_each_error_is_what_callers_catch(error: type, parents: tuple[type, ...]) -> None:
    assert issubclass(error, parents[0])
    assert all(issubclass(error, parent) for parent in parents)
    assert issubclass(error, LocusError)


@pytest.mark.parametrize(
    ("status", "kind"),
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
def test_each_status_has_its_class(status: int, kind: type) -> None:
    assert error_class(status) is kind
    assert type(make_status_error("", status)) is kind


# Travelling.


def examples() -> list[LocusError]:
    partial = ModelResponse(Message.assistant("so far", [ToolCall("1", "f", {"a": [1]})]))
    known: dict[str, Any] = {"provider": "openai", "model": "m", "partial": partial}
    timeout = APITimeoutError("slow", **known)
    timeout.answer_begun = True
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    statuses = [
        kind("no", status_code=418, body="b", headers={"X-Request-Id": "r"}, **known)
        for kind in kinds
        if issubclass(kind, APIStatusError)
    ]
    return [
        *statuses,
        LocusError("x", 1),
        ConfigurationError("x"),
        StructuredOutputError("x", content="y"),
        APIError("x", **known),
        APIConnectionError("x", **known),
        timeout,
        StreamInterruptedError("x", **known),
        ResponseParseError("x", body="b", **known),
    ]


@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
def test_errors_travel_with_their_attributes(error: LocusError) -> None:
    error.add_note("a note")
    for twin in (
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, 6)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(twin) is type(error)
        assert twin.args == error.args
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_every_error_of_the_tree_is_tried() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, LocusError)
    }
    assert {type(error) for error in examples()} == kinds


@given(responses())
def test_what_had_arrived_travels_with_the_error(partial: ModelResponse) -> None:
    error = StreamInterruptedError("cut", partial=partial)
    assert pickle.loads(pickle.dumps(error)).partial == partial


# What errors say.


@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
def test_an_api_error_tells_who_was_asked(error: LocusError) -> None:
    if not isinstance(error, APIError):
        return
    error.provider = None
    told = ASKED.tell(error)
    assert told is error
    for word in ("openai", "gpt-4o", "https://api.example/v1/chat/completions"):
        assert word in str(told)
    once = str(told)
    assert str(ASKED.tell(told)) == once
    assert (told.provider, told.model) == ("openai", "gpt-4o")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (make_status_error("", 401), "set OPENAI_API_KEY"),
        (make_status_error("", 403), "credentials"),
        (make_status_error("", 404), "base_url"),
        (make_status_error("", 429), "max_retries"),
        (make_status_error("", 307), "base_url"),
        (make_status_error('{"error": {"code": "context_length_exceeded"}}', 400), "shorter"),
        (silent(TimeoutError(), answer_begun=False), "timeout="),
        (unreachable(ConnectionRefusedError("refused")), "server is running"),
        (StreamInterruptedError("cut"), "error.partial"),
        (ResponseParseError("no JSON"), "base_url"),
    ],
)
def test_errors_say_what_to_do_next(error: APIError, advice: str) -> None:
    asked = Asked("openai", "gpt-4o", "https://x", key_hint="set OPENAI_API_KEY")
    assert advice in str(asked.tell(error))


def test_a_failed_connection_is_told_in_its_own_words() -> None:
    assert "ConnectionRefusedError: nobody there" in str(
        unreachable(ConnectionRefusedError("nobody there"))
    )
    error = silent(TimeoutError(), answer_begun=True)
    assert "TimeoutError" in str(error)
    assert error.answer_begun
    assert not silent(TimeoutError(), answer_begun=False).answer_begun


def test_a_long_body_is_shown_in_part_and_kept_whole() -> None:
    body = "x" * 5000
    error = make_status_error(body, 500)
    assert "x" * SHOWN + "…" in str(error)
    assert "x" * (SHOWN + 1) not in str(error)
    assert error.body == body
    assert ResponseParseError("no", body=body).body == body[:2000]


# Secrets.

SECRETS = st.from_regex(r"\A[A-Za-z0-9_-]{12,60}\Z")


def shown(error: APIError) -> str:
    """Everything of an error that could end in a log."""
    return "\n".join([str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))])


# Places of a secret at which a message or a body is cut in the middle of it.
CUTS = st.sampled_from([0, SHOWN, 2000]).flatmap(lambda cut: st.integers(max(0, cut - 90), cut))


@given(SECRETS, CUTS, st.sampled_from([200, 401, 500]))
def test_a_secret_that_the_server_sends_back_is_never_shown(
    secret: str, before: int, status: int
) -> None:
    said = "x" * before + secret + " is not a valid key"
    body = json.dumps({"error": {"message": said}})
    headers = {"x-debug": f"Bearer {secret}", "x-request-id": "r1"}
    asked = Asked("openai", "m", "https://x", secrets=(secret, ""))
    for error in (
        make_status_error(body, status, headers),
        make_status_error(said, status, headers),
        ResponseParseError(said[:SHOWN], body=body),
        APIConnectionError(said),
    ):
        text = shown(asked.tell(error))
        assert secret[:8] not in text
        if isinstance(error, APIStatusError):
            assert error.request_id == "r1"


@given(SECRETS)
def test_who_was_asked_can_be_shown_without_the_secrets(secret: str) -> None:
    assert secret not in repr(Asked("openai", "m", "https://x", secrets=(secret,)))


def test_a_secret_that_begins_another_leaves_no_rest_of_it() -> None:
    asked = Asked("p", "m", secrets=("sk-abc", "sk-abcdef"))
    assert asked.redact("key sk-abcdef, key sk-abc") == "key ***, key ***"


@given(texts())
def test_without_secrets_nothing_is_struck_out(text: str) -> None:
    assert Asked("p", "m", secrets=("",)).redact(text) == text


# How long to wait.

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
def test_the_wait_is_read_from_the_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert APIStatusError("no", status_code=429, headers=headers).retry_after == seconds


@given(texts() | st.sampled_from([DATE, "1", "1e999", "9" * 400]), texts() | st.just(DATE))
def test_no_header_makes_the_wait_crash(wait: str, date: str) -> None:
    headers = {"retry-after": wait, "date": date}
    seconds = APIStatusError("no", status_code=429, headers=headers).retry_after
    assert seconds is None or 0 <= seconds < float("inf")


def test_the_request_id_is_found_under_every_providers_name() -> None:
    for name in ("x-request-id", "Request-Id", "opc-request-id"):
        error = APIStatusError("no", status_code=500, headers={name: "r"})
        assert error.request_id == "r"
    assert APIStatusError("no", status_code=500).request_id is None


# What providers say when they refuse.

LONG = "This model's maximum context length is 8192 tokens, you asked for 9000"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
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
        # others
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
        # inside an answer that looked fine
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
def test_every_providers_words_are_understood(
    status: int, body: Any, kind: type, said: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    error = make_status_error(text, status, {"X-A": "b"})
    assert type(error) is kind
    assert said in str(error)
    assert error.body == text
    assert error.headers["x-a"] == "b"
    if status >= 300:
        assert error.status_code == status
        assert str(status) in str(error)


@given(
    st.text() | texts() | json_objects().map(json.dumps) | halves().map(json.dumps),
    st.integers(200, 599),
)
def test_any_body_makes_an_error_that_can_be_printed_and_sent(body: str, status: int) -> None:
    error = make_status_error(body, status)
    assert pickle.loads(pickle.dumps(error)).body == body
    str(error).encode()


@given(json_objects(), st.sampled_from(["message", "code", "type", "status", "detail", "error"]))
def test_any_error_object_makes_an_error(said: dict[str, Any], name: str) -> None:
    for error in (said, {name: said}, {"error": {name: said}}, {"message": "x", name: 1e300}):
        assert isinstance(make_status_error(json.dumps(error)), APIStatusError)
        assert isinstance(make_status_error("", error=error), APIStatusError)
