"""A model call as a value: the HTTP request, and the functions that read its response."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import attrs

from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError, APIStatusError, ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.core.request_info import RequestInfo
from locus.core.response import ModelResponse

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110, 5.5, without obs-text


MAX_CONNECT_SECONDS: Final = 10.0
"""The longest that connecting to a server may take."""
_MAX_TIMEOUT_SECONDS: Final = 2_000_000.0
"""23 days. Longer timeouts fail: sockets are polled with milliseconds in a 32-bit integer."""


def check_headers(headers: Mapping[str, Any]) -> None:
    """Check that the headers can be sent, without showing a value: it may be a secret.

    :raises ConfigurationError: a header cannot be sent; the message names it.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not the name of an HTTP header")
        if not isinstance(value, str):
            raise ConfigurationError(
                f"the header {name} is {type(value).__name__}; it must be a string"
            )
        if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            raise ConfigurationError(
                f"the header {name} holds a line break, outer white space, or a character beyond "
                "ASCII; if it is made from a key, look at the key's ends"
            )


@attrs.frozen
class HttpRequest:
    """One HTTP request; Locus's own are all POSTs.

    :param timeout: how long the server may send or receive nothing, in seconds; ``math.inf`` is no
        limit, None uses the client's own timeout. Connecting may take at most 10 seconds of it.
    """

    url: str
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: str(sorted(headers)))
    content: bytes = attrs.field(repr=lambda content: f"<{len(content)} bytes>")
    timeout: float | None = None
    method: str = "POST"

    def timeout_options(self) -> dict[str, float | None]:
        """The arguments of an httpx ``Timeout``; empty where the client's own timeout is used."""
        if self.timeout is None:
            return {}
        connect = min(self.timeout, MAX_CONNECT_SECONDS)
        return {
            "timeout": None if self.timeout > _MAX_TIMEOUT_SECONDS else self.timeout,
            "connect": connect,
        }


class Signer(Protocol):
    """Adds credentials to requests just before they are sent: a signature, or a token.

    A driver calls :meth:`ensure_ready` before each attempt. After a 401 it calls
    :meth:`refresh_credentials` and sends the request once more. Async drivers call the methods
    that may block in a worker thread. One signer can be used by any number of threads, tasks and
    event loops at the same time.
    """

    @property
    def credentials_version(self) -> int:
        """A number that changes when the credentials change."""
        ...

    def is_ready(self) -> bool:
        """Whether :meth:`sign` can be called. Never blocks; may start a refresh in the background.

        Credentials that are about to expire still sign, so that no request waits for the refresh.
        """
        ...

    def ensure_ready(self) -> None:
        """Fetch the credentials if :meth:`sign` needs them. May block.

        One caller fetches them; other callers wait for that one.

        :raises ConfigurationError: there are no credentials, or they cannot be read.
        :raises APIError: the service that issues them failed.
        """
        ...

    def sign(self, request: HttpRequest) -> HttpRequest:
        """A copy of the request with the headers that authenticate it. No I/O."""
        ...

    def refresh_credentials(self, version: int) -> bool:
        """Replace the credentials of ``version``, which the server has rejected. May block.

        Returns whether there are other credentials now. If the refresh fails, the old ones stay
        and no error is raised.
        """
        ...

    def secrets(self) -> Iterable[str]:
        """The texts that must not appear in any error message."""
        ...


@attrs.frozen
class HttpCall:
    """An HTTP request, and how to read its response.

    :param request_info: adds the provider, the model and a hint to error messages.
    :param parse_body: parses the body of a response that is not streamed.
    :param make_decoder: makes the decoder of a streamed response.
    :param error_factory: makes the error for a status of 300 or more, from body, status, headers.
    :param max_retries: how many further attempts are made after an error that may pass.
    :param fallback: makes another call to try after a status error, or returns None; or None.
    :param signer: signs the request just before it is sent, or None.
    :param empty_response_delays: how many seconds to wait before the request is sent again, after
        a response with neither text nor tool calls: one number for each repetition.
    """

    request: HttpRequest
    request_info: RequestInfo
    parse_body: Callable[[bytes], ModelResponse]
    make_decoder: Callable[[], Decoder]
    error_factory: Callable[[str, int, Mapping[str, str]], APIStatusError]
    max_retries: int = 2
    fallback: Callable[[APIStatusError], HttpCall | None] | None = None
    signer: Signer | None = None
    empty_response_delays: tuple[float, ...] = ()

    def sign_request(self) -> HttpRequest:
        """The request to send: signed if there is a signer."""
        return self.request if self.signer is None else self.signer.sign(self.request)

    def make_status_error(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> APIStatusError:
        """Make the error for a response with a status of 300 or more."""
        return self.error_factory(body.decode(errors="replace"), status, headers)

    def get_fallback(self, error: APIError) -> HttpCall | None:
        """The call to try instead after this error, or None."""
        if self.fallback is None or not isinstance(error, APIStatusError):
            return None
        return self.fallback(error)


def is_empty_response(response: ModelResponse) -> bool:
    """Whether a response has no text, no tool calls, and nothing else that the model made."""
    if response.content or response.tool_calls or response.refusal:
        return False
    messages = (response.message, *(candidate.message for candidate in response.candidates))
    return not any(
        message.text or message.tool_calls or message.metadata.get("attachments")
        for message in messages
    )


def is_empty_stream(events: list[ModelChunkEvent]) -> bool:
    """Whether a stream ends with its first event, with neither text nor tool calls."""
    response = events[0].response if events else None
    return response is not None and is_empty_response(response)
