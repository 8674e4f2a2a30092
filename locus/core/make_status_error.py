"""Makes the error for an HTTP error status, or for an error object inside a response.

One parser reads the error bodies of all providers: OpenAI's
``{"error": {"message", "type", "code"}}``, Anthropic's ``{"type": "error", "error": {…}}``,
Ollama's ``{"error": "text"}``, OCI's and FastAPI's ``{"code", "message"}`` and ``{"detail"}``.
The error codes are the providers' own (OpenAI: "Error codes"; Anthropic: "Errors"; llama.cpp:
``server_error`` types).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.core.errors import (
    APIStatusError,
    ContentFilterError,
    ContextWindowExceededError,
    get_status_error_class,
)
from locus.core.frozendict import EMPTY

_STATUS_BY_ERROR_CODE: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "previous_response_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "too_many_requests": 429,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "internal_error": 500,
    "unavailable_error": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
    # Oracle's codes, which are CamelCase, in lower case.
    "cannotparserequest": 400,
    "invalidparameter": 400,
    "limitexceeded": 400,
    "missingparameter": 400,
    "notauthenticated": 401,
    "notauthorizedornotfound": 404,
    "incorrectstate": 409,
    "toomanyrequests": 429,
    "internalservererror": 500,
    "serviceunavailable": 503,
}
_CONTEXT_WINDOW_CODES: Final = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded"}
)
_CONTEXT_WINDOW_PHRASES: Final = (
    "maximum context length",
    "context window",
    "context length",
    "prompt is too long",
)
_CONTENT_FILTER_CODES: Final = frozenset(
    {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
)
MAX_SHOWN_CHARACTERS: Final = 300
"""How many characters of a provider's response an error message shows."""


@attrs.frozen
class _ErrorBody:
    """The content of a provider's error body.

    :param codes: the provider's names for the error, in lower case.
    :param status_code: the HTTP status that the body itself names.
    """

    message: str
    codes: frozenset[str] = frozenset()
    status_code: int | None = None

    @classmethod
    def parse(cls, body: Any) -> _ErrorBody:
        """Read an error body that was decoded from JSON, or is text."""
        if isinstance(body, list) and len(body) == 1:  # Google's compatible endpoint
            body = body[0]
        if not isinstance(body, Mapping):
            return cls("" if body is None else _to_loggable_text(body))
        error = body.get("error") or body
        if not isinstance(error, Mapping):
            return cls(_to_loggable_text(error))
        message = error.get("message") or error.get("detail")
        codes, status_code = set(), None
        for key in ("code", "type", "status"):
            value = error.get(key)
            if isinstance(value, str) and not (len(value) == 3 and value.isdecimal()):
                codes.add(value.lower())
            elif isinstance(value, (int, str)) and 400 <= int(value) < 600:
                status_code = int(value)
        return cls(_to_loggable_text(message or error), frozenset(codes), status_code)


def _to_loggable_text(value: Any) -> str:
    """Convert a JSON value to text that every encoding can represent."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode(errors="replace").decode()  # half a surrogate pair could not be logged


def make_status_error(
    body: str, status_code: int = 200, headers: Mapping[str, str] = EMPTY, error_object: Any = None
) -> APIStatusError:
    """Make the error for a response that reports one.

    :param body: the response's text.
    :param status_code: its HTTP status. Below 300 the error is inside a response that looked
        successful; the status that it stands for is then taken from its error codes, where they
        are known.
    :param error_object: the error object, where the caller has decoded the body already.
    """
    if error_object is None:
        try:
            error_object = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            error_object = body
    error_body = _ErrorBody.parse(error_object)
    in_success_response = status_code < 300
    if in_success_response:
        known = [
            _STATUS_BY_ERROR_CODE[code]
            for code in error_body.codes
            if code in _STATUS_BY_ERROR_CODE
        ]
        status_code = error_body.status_code or max(known, default=status_code)
    cls = get_status_error_class(status_code)
    lowered = error_body.message.lower()
    if error_body.codes & _CONTEXT_WINDOW_CODES or (
        status_code in (400, 413, 422)
        and any(phrase in lowered for phrase in _CONTEXT_WINDOW_PHRASES)
    ):
        cls = ContextWindowExceededError
    elif error_body.codes & _CONTENT_FILTER_CODES:
        cls = ContentFilterError
    message = error_body.message.strip()
    shown = message[:MAX_SHOWN_CHARACTERS] + ("…" if len(message) > MAX_SHOWN_CHARACTERS else "")
    source = "an error inside its answer" if in_success_response else str(status_code)
    return cls(
        f"{source}: {shown or 'no explanation'}",
        status_code=status_code,
        body=body,
        headers=headers,
    )
