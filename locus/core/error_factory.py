"""How a failed request is told: which error, in which words, and with every secret struck out.

Providers agree on little here, so one reader takes all their shapes: OpenAI's
``{"error": {"message", "type", "code"}}``, Anthropic's ``{"type": "error", "error": {…}}``,
Ollama's ``{"error": "text"}``, OCI's and FastAPI's ``{"code", "message"}`` and ``{"detail"}``.
The words that name a kind of error are the providers' own (OpenAI: "Error codes"; Anthropic:
"Errors"; llama.cpp: ``server_error`` types).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import attrs
import msgspec

from locus.core.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ContentFilterError,
    ContextWindowExceededError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
    error_class,
)
from locus.core.frozendict import EMPTY, FrozenDict

E = TypeVar("E", bound=APIError)

_STATUS_OF_WORD: Final[Mapping[str, int]] = {
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
    # Oracle's, written as one word.
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
_CONTEXT_WORDS: Final = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded"}
)
_CONTEXT_PHRASES: Final = (
    "maximum context length",
    "context window",
    "context length",
    "prompt is too long",
)
_FILTER_WORDS: Final = frozenset(
    {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
)
SHOWN: Final = 300
"""How many characters of a provider's answer an error message shows."""


@attrs.frozen
class _Said:
    """What a provider's error body says."""

    message: str
    words: frozenset[str] = frozenset()
    status: int | None = None

    @classmethod
    def of(cls, body: Any) -> _Said:
        if isinstance(body, list) and len(body) == 1:  # Google's compatible endpoint
            body = body[0]
        if not isinstance(body, Mapping):
            return cls("" if body is None else _as_text(body))
        error = body.get("error") or body
        if not isinstance(error, Mapping):
            return cls(_as_text(error))
        message = error.get("message") or error.get("detail")
        words, status = set(), None
        for key in ("code", "type", "status"):
            value = error.get(key)
            if isinstance(value, str) and not (len(value) == 3 and value.isdecimal()):
                words.add(value.lower())
            elif isinstance(value, (int, str)) and 400 <= int(value) < 600:
                status = int(value)
        return cls(_as_text(message or error), frozenset(words), status)


def _as_text(said: Any) -> str:
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False, default=str)
    return text.encode(errors="replace").decode()  # half a surrogate pair could not be logged


def make_status_error(
    body: str, status: int = 200, headers: Mapping[str, str] = EMPTY, error: Any = None
) -> APIStatusError:
    """The error that an answer of the provider stands for.

    :param body: the answer's text.
    :param status: its HTTP status. Below 300 the error is inside an answer that looked fine, and
        the status that it stands for is taken from its own words where they are known.
    :param error: the error object, where the caller has decoded the body already.
    """
    if error is None:
        try:
            error = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            error = body
    said = _Said.of(error)
    inside = status < 300
    if inside:
        known = [_STATUS_OF_WORD[word] for word in said.words if word in _STATUS_OF_WORD]
        status = said.status or max(known, default=status)
    kind = error_class(status)
    lowered = said.message.lower()
    if said.words & _CONTEXT_WORDS or (
        status in (400, 413, 422) and any(phrase in lowered for phrase in _CONTEXT_PHRASES)
    ):
        kind = ContextWindowExceededError
    elif said.words & _FILTER_WORDS:
        kind = ContentFilterError
    said_text = said.message.strip()
    shown = said_text[:SHOWN] + ("…" if len(said_text) > SHOWN else "")
    where = "an error inside its answer" if inside else str(status)
    return kind(
        f"{where}: {shown or 'no explanation'}", status_code=status, body=body, headers=headers
    )


@attrs.frozen
class Asked:
    """Who was asked for what: the half of an error message that the answer does not tell.

    :param provider: the provider's prefix.
    :param model: the model.
    :param target: the address, without credentials and query.
    :param key_hint: how a user gives this provider's credentials.
    :param hints: what to do next after an error of exactly this class, where the provider knows
        better than :meth:`_hint`.
    :param secrets: what must never show, in any error.
    :param more_secrets: likewise, known only once the request has been signed.
    """

    provider: str
    model: str
    target: str = ""
    key_hint: str = "check the API key"
    hints: Mapping[type[APIError], str] = EMPTY
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    more_secrets: Callable[[], Iterable[str]] = attrs.field(default=tuple, repr=False)

    def redact(self, text: str) -> str:
        """``text`` without the secrets, and without the first half of one where it was cut."""
        known = {*self.secrets, *self.more_secrets()}
        # And as a library quotes one that cannot be sent: the repr() of a text, or of its bytes.
        quoted = {repr(secret)[1:-1] for secret in known}
        quoted |= {repr(secret.encode(errors="replace"))[2:-1] for secret in known}
        secrets = known | quoted
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
            for length in range(len(secret) - 1, 3, -1):
                half = secret[:length]
                text = text.replace(f"{half}…", "***…")
                if text.endswith(half):
                    text = text[:-length] + "***"
        return text

    def tell(self, error: E) -> E:
        """The same error, saying who was asked and what to do next. Telling twice is fine."""
        if error.provider is not None:
            return error
        error.provider, error.model = self.provider, self.model
        hint = self.hints.get(type(error)) or self._hint(error)
        error.args = (
            self.redact(
                f"{self.provider} {self.model}: POST {self.target}: {self.redact(str(error))}"
                + (f" ({hint})" if hint else "")
            ),
        )
        if isinstance(error, (APIStatusError, ResponseParseError)):
            error.body = self.redact(error.body)
        if isinstance(error, APIStatusError):
            error.headers = FrozenDict(
                {name: self.redact(value) for name, value in error.headers.items()}
            )
        return error

    def _hint(self, error: APIError) -> str:
        match error:
            case AuthenticationError():
                return self.key_hint
            case PermissionDeniedError():
                return "these credentials may not use this model or address"
            case NotFoundError():
                return "check the model's name and base_url"
            case ContextWindowExceededError():
                return "send a shorter conversation, or ask for fewer tokens"
            case RateLimitError():
                return "wait and try again, raise max_retries, or check the quota"
            case APITimeoutError():
                return "raise timeout= if answers take that long"
            case StreamInterruptedError():
                return "error.partial holds what had arrived"
            case APIConnectionError():
                return "check base_url, the network, and that the server is running"
            case ResponseParseError():
                return "check that base_url is the API's root"
            case APIStatusError(status_code=status) if 300 <= status < 400:
                return "redirects are not followed: set base_url to the address it moved to"
        return ""


def unreachable(why: BaseException) -> APIConnectionError:
    """The error for a connection that failed."""
    return APIConnectionError(f"the connection failed: {_words(why)}")


def silent(why: BaseException, *, answer_begun: bool) -> APITimeoutError:
    """The error for a server that took too long."""
    error = APITimeoutError(f"timed out: {_words(why)}")
    error.answer_begun = answer_begun
    return error


def _words(why: BaseException) -> str:
    name = type(why).__name__
    return f"{name}: {why}" if str(why) else name
