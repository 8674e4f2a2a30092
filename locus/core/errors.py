"""The exception classes of Locus: one tree, with the names that the OpenAI and Anthropic SDKs use.

    LocusError
    ├─ ConfigurationError (a ValueError)
    ├─ StructuredOutputError (a ValueError)
    ├─ StateFormatError (a ValueError)
    └─ APIError (a RuntimeError)
       ├─ APIConnectionError
       │  ├─ APITimeoutError
       │  └─ StreamInterruptedError
       ├─ ResponseParseError
       ├─ AnswerTooLargeError
       └─ APIStatusError
          ├─ BadRequestError 400        ├─ NotFoundError 404
          │  ├─ ContextWindowExceededError
          │  └─ ContentFilterError      ├─ ConflictError 409
          ├─ AuthenticationError 401    ├─ UnprocessableEntityError 422
          ├─ PermissionDeniedError 403  ├─ RateLimitError 429
          └─ InternalServerError 5xx
             └─ OverloadedError 529

Each can be pickled. None contains a credential: the code that makes an error removes them first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from locus.core.frozendict import EMPTY
from locus.core.raw_response import find_request_id, to_frozen_headers
from locus.core.retry_after import find_retry_delay

if TYPE_CHECKING:
    from locus.core.response import ModelResponse


def _rebuild_error(
    cls: type[LocusError], args: tuple[Any, ...], state: dict[str, Any]
) -> LocusError:
    """Rebuild a pickled error without calling its ``__init__``."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class LocusError(Exception):
    """The base class of every error of Locus."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_error, (type(self), self.args, self.__dict__)


class ConfigurationError(LocusError, ValueError):
    """The caller's arguments or settings cannot work; nothing was sent."""


class StructuredOutputError(LocusError, ValueError):
    """The response does not match the requested type.

    :ivar content: the response's text.
    """

    def __init__(self, message: str, *, content: str | None = None) -> None:
        super().__init__(message)
        self.content = content


class StateFormatError(LocusError, ValueError):
    """The data is not a complete state that this or an older version of Locus saved.

    :ivar newer: a newer version saved it, in a format that this version does not know.
    """

    def __init__(self, message: str, *, newer: bool = False) -> None:
        super().__init__(message)
        self.newer = newer


class APIError(LocusError, RuntimeError):
    """A request to a provider failed.

    :ivar provider: the provider's prefix, such as ``"openai"``.
    :ivar model: the name of the model.
    :ivar partial: the part of a streamed response that had arrived, or None.
    :ivar headers: the headers of the HTTP response, with lower-case names; empty if none came.
    """

    body_request_id: str | None = None
    """The id of the request that the body of the response names."""

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        partial: ModelResponse | None = None,
        headers: Mapping[str, str] = EMPTY,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.partial = partial
        self.headers: Mapping[str, str] = to_frozen_headers(headers)

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request; its support asks for it."""
        return find_request_id(self.headers) or self.body_request_id

    def add_response_headers(self, headers: Mapping[str, str]) -> None:
        """Add the headers of the HTTP response, also to the partial response; keep earlier ones."""
        if not self.headers:
            self.headers = to_frozen_headers(headers)
        if self.partial is not None and not self.partial.headers:
            self.partial = self.partial.with_headers(headers)


class APIConnectionError(APIError):
    """The server could not be reached, or closed the connection before the end of its response."""


class APITimeoutError(APIConnectionError):
    """The server sent nothing for longer than ``timeout``, or the call exceeded its ``deadline``.

    :ivar response_started: whether some of the response had arrived; such a request is not retried.
    :ivar deadline_exceeded: whether it was the ``deadline`` of the whole call.
    """

    response_started: bool = False
    deadline_exceeded: bool = False


class StreamInterruptedError(APIConnectionError):
    """A stream ended before the provider's end marker; ``partial`` is the part that had arrived."""


class ResponseParseError(APIError):
    """The response does not follow the provider's wire format.

    :ivar body: the first 2,000 characters of the response.
    """

    def __init__(self, message: str, *, body: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.body = body[:2000]


DEFAULT_MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""How large a response, or an event of a streamed one, may be: 64 MiB."""


class AnswerTooLargeError(APIError):
    """The response, or an event or a line of a streamed one, exceeds ``max_answer_bytes``.

    It was not read any further, and is not requested again.

    :ivar max_bytes: the limit, in bytes without the content coding.
    """

    max_bytes: int = DEFAULT_MAX_ANSWER_BYTES


def make_answer_too_large_error(what: str, max_bytes: int) -> AnswerTooLargeError:
    """Make the error for what exceeds ``max_bytes``.

    :param what: what it is: ``"the response"`` for example.
    """
    error = AnswerTooLargeError(f"{what} is larger than max_answer_bytes={max_bytes} allows")
    error.max_bytes = max_bytes
    return error


class APIStatusError(APIError):
    """The provider reported an error: by the HTTP status, or by an error object in its response.

    :ivar status_code: the HTTP status, or the one that an error object inside a 200 stands for.
    :ivar body: the response's body, as text.
    :ivar code: the provider's own word for the error, such as ``"rate_limit_exceeded"``, or None.
    :ivar codes: all of its words for the error.
    :ivar explanation: the provider's explanation, in full.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        body: str = "",
        code: str | None = None,
        codes: Iterable[str] = (),
        explanation: str = "",
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.status_code = status_code
        self.code = code
        self.codes = frozenset(codes)
        self.explanation = explanation
        self.body = body

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before a retry; None if the provider names no time.

        :func:`~locus.core.retry_after.find_retry_delay` says where the time is looked for.
        """
        return find_retry_delay(self.headers, self.body, self.status_code)


class BadRequestError(APIStatusError):
    """400: the provider does not accept the request."""


class ContextWindowExceededError(BadRequestError):
    """The conversation is longer than the model can read."""


class ContentFilterError(BadRequestError):
    """The provider's content filter blocked the request."""


class AuthenticationError(APIStatusError):
    """401: the credentials are missing or wrong."""


class PermissionDeniedError(APIStatusError):
    """403: the credentials do not permit the request."""


class NotFoundError(APIStatusError):
    """404: there is no such model or URL."""


class ConflictError(APIStatusError):
    """409: the request conflicts with another."""


class UnprocessableEntityError(APIStatusError):
    """422: the request is well-formed, but the provider cannot process its content."""


class RateLimitError(APIStatusError):
    """429: too many requests or tokens, or the quota is exhausted."""


class InternalServerError(APIStatusError):
    """5xx: the provider had an internal error."""


class OverloadedError(InternalServerError):
    """529, or an ``overloaded_error`` in a stream: the provider is overloaded."""


_CLASS_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    529: OverloadedError,
}


def get_status_error_class(status_code: int) -> type[APIStatusError]:
    """Return the exception class for an HTTP error status."""
    return _CLASS_BY_STATUS.get(
        status_code, InternalServerError if status_code >= 500 else APIStatusError
    )
