"""A model call as a value: what to send, and pure functions that read what comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import attrs

from locus.core.decoder_protocol import Decoder
from locus.core.error_factory import Asked
from locus.core.errors import APIError, APIStatusError, ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110, 5.5, without obs-text


CONNECT_SECONDS: Final = 10.0
"""The longest that making a connection may take."""
_FOR_EVER: Final = 2_000_000.0
"""Seconds: 23 days. What polls a socket counts milliseconds in 32 bits, and fails beyond."""


def check_headers(headers: Mapping[str, Any]) -> None:
    """Refuse what cannot travel in a header, without showing a value: it may be a secret.

    :raises ConfigurationError: names the header.
    """
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not the name of an HTTP header")
        if not isinstance(value, str):
            raise ConfigurationError(
                f"the header {name} is {type(value).__name__}; it must be a string"
            )
        if not _VALUE.fullmatch(value) or value != value.strip():
            raise ConfigurationError(
                f"the header {name} holds a line break, outer white space, or a character beyond "
                "ASCII; if it is made from a key, look at the key's ends"
            )


@attrs.frozen
class HttpRequest:
    """One request; Locus's own are all POSTs.

    :param timeout: the longest silence while sending or receiving, in seconds; ``math.inf`` is
        for ever, None leaves it to the client. Connecting may take 10 seconds of it at the most.
    """

    url: str
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: str(sorted(headers)))
    content: bytes = attrs.field(repr=lambda content: f"<{len(content)} bytes>")
    timeout: float | None = None
    method: str = "POST"

    def timeouts(self) -> dict[str, float | None]:
        """The arguments of an httpx ``Timeout``; empty where the client's own is to be used."""
        if self.timeout is None:
            return {}
        connect = min(self.timeout, CONNECT_SECONDS)
        return {"timeout": None if self.timeout > _FOR_EVER else self.timeout, "connect": connect}


class Signer(Protocol):
    """Puts credentials on requests as they are sent: a signature, or a token that expires.

    A driver makes it ready before each try. After a 401 it has the credentials renewed and sends
    the request once more. What may block is called in a worker thread where there is an event
    loop. One signer serves any number of threads, tasks and loops.
    """

    @property
    def version(self) -> int:
        """Counts the credentials: another number, other credentials."""
        ...

    def ready(self) -> bool:
        """Whether :meth:`sign` can be called. Never blocks; may begin to renew behind the scenes.

        What is about to expire still serves, so that nobody waits while it is renewed.
        """
        ...

    def prepare(self) -> None:
        """Get ready. May block; at most one caller does the work, the others wait for it.

        :raises ConfigurationError: there are no credentials, or they cannot be read.
        :raises APIError: the service that issues them failed.
        """
        ...

    def sign(self, request: HttpRequest) -> HttpRequest:
        """The request with the headers that vouch for it. Computes only."""
        ...

    def renew(self, version: int) -> bool:
        """Get other credentials than those of ``version``, which were refused. May block.

        Whether there are any now. A failure keeps the old ones, and is not raised.
        """
        ...

    def secrets(self) -> Iterable[str]:
        """What must not show in an error."""
        ...


@attrs.frozen
class Call:
    """A request, and how to read its answer.

    :param read: reads a whole answer's body.
    :param decoder: makes the reader of a streamed one.
    :param refused: the error for an answer with a status of 300 and up: body, status, headers.
    :param fallback: another way to ask, should the provider refuse this one; or None.
    :param signer: signs the request as it is sent, or None.
    :param pauses: after an answer with neither text nor calls, how many seconds to wait before
        asking again: one number for each further time.
    """

    request: HttpRequest
    asked: Asked
    read: Callable[[bytes], ModelResponse]
    decoder: Callable[[], Decoder]
    refused: Callable[[str, int, Mapping[str, str]], APIStatusError]
    max_retries: int = 2
    fallback: Callable[[APIStatusError], Call | None] | None = None
    signer: Signer | None = None
    pauses: tuple[float, ...] = ()

    def signed(self) -> HttpRequest:
        """What to send."""
        return self.request if self.signer is None else self.signer.sign(self.request)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> APIStatusError:
        """The error for an answer that is a refusal."""
        return self.refused(body.decode(errors="replace"), status, headers)

    def otherwise(self, error: APIError) -> Call | None:
        """The other way to ask, if there is one for this error."""
        if self.fallback is None or not isinstance(error, APIStatusError):
            return None
        return self.fallback(error)


def says_nothing(answer: ModelResponse) -> bool:
    """Whether an answer has neither text nor calls, nor anything else that the model made."""
    if answer.content or answer.tool_calls or answer.refusal:
        return False
    messages = (answer.message, *(candidate.message for candidate in answer.candidates))
    return not any(
        message.text or message.tool_calls or message.metadata.get("attachments")
        for message in messages
    )


def says_nothing_at_all(events: list[ModelChunkEvent]) -> bool:
    """Whether the first events of a stream are its end, with neither text nor calls."""
    whole = events[0].response if events else None
    return whole is not None and says_nothing(whole)
