"""``HttpRequest``: one HTTP request as a value; and the check of its headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.transport.address import Address, ParsedUrl, parse_url
from locus.transport.content_coding import ACCEPTED_CODINGS
from locus.transport.http1 import build_request_head
from locus.transport.transport_errors import LocalProtocolError

DEFAULT_HEADERS: Final = {
    "accept": "*/*",
    "accept-encoding": ", ".join(ACCEPTED_CODINGS),
    "connection": "keep-alive",
}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")  # RFC 9110, 5.5, without obs-text
_CONNECTION_HEADERS: Final = frozenset(
    {
        *("connection", "content-encoding", "content-length", "expect", "http2-settings"),
        *("keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)

MAX_CONNECT_SECONDS: Final = 10.0
"""The longest that connecting to a server may take."""
_MAX_TIMEOUT_SECONDS: Final = 2_000_000.0
"""23 days. Longer timeouts fail: sockets are polled with milliseconds in a 32-bit integer."""


def check_headers(headers: Mapping[str, Any]) -> None:
    """Check that the headers can be sent. Errors never show a value: it may be a secret.

    :raises ConfigurationError: if a header cannot be sent; the message names it.
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
                "ASCII; if it contains a key, check both ends of the key"
            )


def check_extra_headers(headers: Mapping[str, Any]) -> None:
    """Check the headers that a caller adds: they must not concern the connection or the framing.

    A wrong ``content-length``, or a second framing, makes a server read a part of the body as
    another request (RFC 9112, 6.3); the others belong to one connection, which Locus and the HTTP
    library manage (RFC 9110, 7.6.1).

    :raises ConfigurationError: if one does, or if it cannot be sent; the message names it.
    """
    check_headers(headers)
    for name in headers:
        if name.lower() in _CONNECTION_HEADERS:
            raise ConfigurationError(
                f"extra_headers: {name} belongs to the connection, or to the framing of the body; "
                "leave it out"
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

    @property
    def finite_timeout(self) -> float | None:
        """The timeout in a form that sockets and event loops take: None is no limit."""
        timeout = self.timeout
        return None if timeout is None or timeout > _MAX_TIMEOUT_SECONDS else timeout

    def build_timeout_options(self) -> dict[str, float | None]:
        """Build the arguments of an httpx ``Timeout``; empty to use the client's own timeout."""
        if self.timeout is None:
            return {}
        connect = min(self.timeout, MAX_CONNECT_SECONDS)
        return {
            "timeout": None if self.timeout > _MAX_TIMEOUT_SECONDS else self.timeout,
            "connect": connect,
        }


def build_request_headers(request: HttpRequest) -> tuple[ParsedUrl, dict[str, str]]:
    """Build all headers of a request, on whichever path it is sent, but for ``content-length``.

    :raises ConfigurationError: if the URL is not valid.
    :raises LocalProtocolError: if a header, such as one of a signer's, cannot be sent.
    """
    url = parse_url(request.url)
    headers = {"host": url.authority, **DEFAULT_HEADERS}
    for name, value in request.headers.items():
        headers[name.lower()] = value
    headers.pop("content-length", None)  # a signer sets it, to what is sent anyway
    try:
        check_headers(headers)
    except ConfigurationError as exc:
        headers.clear()  # no traceback shows them
        raise LocalProtocolError(str(exc)) from None
    return url, headers


@attrs.frozen(eq=False)
class EncodedRequest:
    """A request as the bytes that are sent. Its repr shows none of them: a key is among them."""

    address: Address
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")


def encode_request(request: HttpRequest) -> EncodedRequest:
    """Build the bytes of a request as they are sent.

    :raises ConfigurationError: if the URL is not valid.
    :raises LocalProtocolError: if a header cannot be sent.
    """
    url, headers = build_request_headers(request)
    head = build_request_head(request.method, url.target, headers, len(request.content))
    return EncodedRequest(url.address, head + request.content)
