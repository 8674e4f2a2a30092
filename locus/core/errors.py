"""Everything that Locus raises on purpose: one tree, in the words of the provider SDKs.

    LocusError
    ├─ ConfigurationError (a ValueError)
    ├─ StructuredOutputError (a ValueError)
    └─ APIError (a RuntimeError)
       ├─ APIConnectionError
       │  ├─ APITimeoutError
       │  └─ StreamInterruptedError
       ├─ ResponseParseError
       └─ APIStatusError
          ├─ BadRequestError 400        ├─ NotFoundError 404
          │  ├─ ContextWindowExceededError
          │  └─ ContentFilterError      ├─ ConflictError 409
          ├─ AuthenticationError 401    ├─ UnprocessableEntityError 422
          ├─ PermissionDeniedError 403  ├─ RateLimitError 429
          └─ InternalServerError 5xx
             └─ OverloadedError 529

Each can be pickled, and none holds a credential: whoever builds one strikes them out first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from locus.core.frozendict import EMPTY, FrozenDict

if TYPE_CHECKING:
    from locus.core.response import ModelResponse


def _rebuild(cls: type[LocusError], args: tuple[Any, ...], state: dict[str, Any]) -> LocusError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class LocusError(Exception):
    """The root of the tree."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class ConfigurationError(LocusError, ValueError):
    """The caller asked for something that cannot work; nothing was sent."""


class StructuredOutputError(LocusError, ValueError):
    """The answer is not of the type that was asked for.

    :ivar content: the answer's text.
    """

    def __init__(self, message: str, *, content: str | None = None) -> None:
        super().__init__(message)
        self.content = content


class APIError(LocusError, RuntimeError):
    """A request was made, and no good answer came of it.

    :ivar provider: the provider's prefix, such as ``"openai"``.
    :ivar model: the model that was asked.
    :ivar partial: what had arrived of a streamed answer, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        partial: ModelResponse | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.partial = partial


class APIConnectionError(APIError):
    """The server could not be reached, or went away before its answer was complete."""


class APITimeoutError(APIConnectionError):
    """The server was silent for longer than ``timeout`` allows.

    :ivar answer_begun: whether the answer had begun to arrive; such a request is not tried again.
    """

    answer_begun: bool = False


class StreamInterruptedError(APIConnectionError):
    """A stream ended before the provider's own end marker; ``partial`` is what had arrived."""


class ResponseParseError(APIError):
    """The answer is not what the provider's wire format promises.

    :ivar body: the first 2,000 characters of what came.
    """

    def __init__(self, message: str, *, body: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.body = body[:2000]


class APIStatusError(APIError):
    """The provider refused: by its status code, or by an error object inside its answer.

    :ivar status_code: the HTTP status, or the one that an error object inside a 200 stands for.
    :ivar body: what the provider said, as text.
    :ivar headers: the answer's headers, with lower-case names.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        body: str = "",
        headers: Mapping[str, str] = EMPTY,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.status_code = status_code
        self.body = body
        self.headers: Mapping[str, str] = FrozenDict(
            {name.lower(): value for name, value in headers.items()}
        )

    @property
    def request_id(self) -> str | None:
        """The provider's name for the request; quote it when asking for help."""
        for name in ("x-request-id", "request-id", "opc-request-id"):
            if name in self.headers:
                return self.headers[name]
        return None

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before another try, where the provider said so.

        Of ``retry-after-ms`` (milliseconds, OpenAI) and ``Retry-After`` (RFC 9110, 10.2.3) the
        finer one counts. Where the latter is a date it is taken from the answer's own ``Date``,
        so that no two clocks have to agree; without that header it says nothing.
        """
        for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
            try:
                seconds = float(self.headers[name]) / unit
            except (KeyError, ValueError):
                continue
            if 0 <= seconds < float("inf"):
                return seconds
        if "retry-after" in self.headers and "date" in self.headers:
            return _seconds_between(self.headers["date"], self.headers["retry-after"])
        return None


def _seconds_between(earlier: str, later: str) -> float | None:
    """How much later an HTTP date is than another; 0 where it is not, None where one is no date."""
    from datetime import UTC  # seldom needed, and slow to import
    from email.utils import parsedate_to_datetime

    try:
        # An HTTP date is in GMT (RFC 9110, 5.6.7), which its oldest form leaves unsaid.
        start, end = (
            date if date.tzinfo else date.replace(tzinfo=UTC)
            for date in map(parsedate_to_datetime, (earlier, later))
        )
        return max(0.0, (end - start).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


class BadRequestError(APIStatusError):
    """400: the provider does not accept the request."""


class ContextWindowExceededError(BadRequestError):
    """The conversation is longer than the model can read."""


class ContentFilterError(BadRequestError):
    """The provider's content filter refused the request."""


class AuthenticationError(APIStatusError):
    """401: the credentials are missing or wrong."""


class PermissionDeniedError(APIStatusError):
    """403: these credentials may not do that."""


class NotFoundError(APIStatusError):
    """404: no such model or address."""


class ConflictError(APIStatusError):
    """409: the request conflicts with another."""


class UnprocessableEntityError(APIStatusError):
    """422: the request is well-formed but makes no sense to the provider."""


class RateLimitError(APIStatusError):
    """429: too many requests or tokens, or the quota is used up."""


class InternalServerError(APIStatusError):
    """5xx: the provider's fault."""


class OverloadedError(InternalServerError):
    """529, or an ``overloaded_error`` in a stream: the provider has no room now."""


_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    529: OverloadedError,
}


def error_class(status: int) -> type[APIStatusError]:
    """The class of the tree that stands for an HTTP status."""
    return _BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
