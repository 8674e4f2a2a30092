"""What both drivers use of httpx and httpx2: requests, timeouts, TLS, limits, and error types.

``httpx2`` is the successor of ``httpx`` and has the same API; users may pass a client of either.
Locus's own clients come from httpx.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import AsyncIterator
from functools import cache
from types import ModuleType
from typing import Any, Final
from urllib.request import getproxies

from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError, APITimeoutError, ConfigurationError
from locus.core.make_connection_error import make_connection_error, make_timeout_error
from locus.transport.http_request import HttpRequest
from locus.transport.prepared_http_call import HttpCall
from locus.transport.signer import Signer

MAX_ERROR_BODY_BYTES: Final = 1_000_000
"""How much of the body of an error response is read."""
MAX_DRAIN_SECONDS: Final = 0.25
"""Seconds to wait for the end of a body after its stream is complete, to reuse the connection."""


def find_httpx_module(client: Any) -> ModuleType | None:
    """Return the module that a client belongs to, ``httpx`` or ``httpx2``, or None."""
    for cls in type(client).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in ("httpx", "httpx2") and cls.__name__ in ("Client", "AsyncClient"):
            return sys.modules[package]
    return None


@cache
def get_shared_tls_context() -> ssl.SSLContext:
    """Return the one TLS context of the process: reading its certificates takes long."""
    import httpx

    return httpx.create_ssl_context()


_LOOPBACK_URL: Final = re.compile(r"https?://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/|$)", re.I)


def can_connect_directly(url: str) -> bool:
    """Return whether no proxy is used: the environment names none, or ``url`` is loopback.

    Then Locus uses httpx's transport without httpx's client: the client's cookies, redirects,
    authentication and hooks take a quarter of the time of a response, and Locus needs none of them.
    """
    return not getproxies() or _LOOPBACK_URL.match(url) is not None


def build_transport_options(url: str) -> dict[str, Any]:
    """Build the arguments of Locus's own httpx transports and clients."""
    import httpx

    return {
        "limits": httpx.Limits(
            max_connections=1000, max_keepalive_connections=100, keepalive_expiry=30.0
        ),
        # Plain HTTP never uses its TLS context, so it gets one that is cheap to make.
        "verify": get_shared_tls_context()
        if url.startswith("https:") or not can_connect_directly(url)
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }


class RequestFactory:
    """Builds httpx requests for a transport that has no client, with a client's default headers."""

    __slots__ = ("_library", "_url")

    def __init__(self, library: Any) -> None:
        self._library = library
        self._url: Any = None

    def build_request(self, request: HttpRequest) -> Any:
        """Build the httpx request for ``request``.

        :raises ConfigurationError: if the URL is not valid.
        """
        url = self._url
        if url is None or url[0] != request.url:  # parsing it is a tenth of making the request
            try:
                url = self._url = (request.url, self._library.URL(request.url))
            except self._library.InvalidURL as exc:
                raise ConfigurationError(f"base_url is not a valid URL: {exc}") from exc
        return self._library.Request(
            "POST",
            url[1],
            content=request.content,
            headers={**_DEFAULT_HEADERS, **request.headers},
            extensions={"timeout": build_httpx_timeout(request, self._library).as_dict()},
        )


def build_request_and_send_options(
    client: Any, http_call: HttpCall, library: Any
) -> tuple[Any, dict[str, Any]]:
    """Build the httpx request for a call through ``client``, and the options of ``client.send``.

    If the call has a signer, the signer signs this request and not the call's, because the client
    may have added query parameters. The client's own credentials, its ``auth=`` included, would
    contradict the signature and are removed.
    """
    request = http_call.request
    httpx_request = client.build_request(
        "POST",
        request.url,
        content=request.content,
        headers={**build_encoding_header(client.headers), **request.headers},
        timeout=build_httpx_timeout(request, library),
    )
    if http_call.signer is None:
        return httpx_request, {}
    sign_httpx_request(http_call.signer, httpx_request, request.content)
    return httpx_request, {"auth": None}


_UNREADABLE_ENCODING: Final = "zstd"
"""Of zstd, httpx reads only the first frame (encode/httpx, issue 3697). RFC 8878, section 3.1,
permits several, and servers that stream send one for each event."""


def build_encoding_header(client_headers: Any) -> dict[str, str]:
    """Build the header ``accept-encoding``, without what httpx cannot read from a stream.

    :param client_headers: the headers of the client that sends the request: it offers all encodings
        for which a package is installed.
    """
    offered = client_headers.get("accept-encoding", "")
    encodings = [encoding.strip() for encoding in offered.split(",")]
    readable = [
        encoding
        for encoding in encodings
        if encoding.partition(";")[0].strip().lower() != _UNREADABLE_ENCODING
    ]
    if readable == encodings:
        return {}
    return {"accept-encoding": ", ".join(readable) or "identity"}


def sign_httpx_request(signer: Signer, request: Any, content: bytes) -> None:
    """Replace the headers of an httpx request by those that the signer returns."""
    signed = signer.make_signed_copy(
        HttpRequest(str(request.url), dict(request.headers), content, method=request.method)
    )
    for name in [name for name in request.headers if name.lower() not in signed.headers]:
        del request.headers[name]
    request.headers.update(signed.headers)


CREDENTIAL_HEADERS: Final = frozenset(
    {
        *("authorization", "api-key", "x-api-key"),
        *("opc-obo-token", "x-date"),  # Oracle's: a delegation token, and a signed date
    }
)
"""Headers that hold credentials. A signer removes those of them that it does not set itself."""
_DEFAULT_HEADERS: Final = {
    "accept": "*/*",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
}


@cache
def get_async_body_class(library: Any) -> Any:
    """Return the class for the bodies of async requests, a ``library.AsyncByteStream``.

    httpx reads its own body class by an async generator. If the connection breaks while the body
    is sent, that generator stays unfinished, and trio warns when it is collected. This class does
    not use a generator.
    """

    class Body(library.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, content: bytes) -> None:
            self._content = content

        def __aiter__(self) -> AsyncIterator[bytes]:
            return _SingleChunkIterator(self._content)

    return Body


class _SingleChunkIterator:
    """An async iterator over one chunk of bytes."""

    def __init__(self, chunk: bytes) -> None:
        self._chunks = iter((chunk,))

    def __aiter__(self) -> _SingleChunkIterator:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def check_client_open(client: Any) -> None:
    """Check that the caller has not closed their client.

    :raises ConfigurationError: if it is closed.
    """
    if client.is_closed:
        raise ConfigurationError("the client that was passed to this model has been closed")


def build_httpx_timeout(request: HttpRequest, library: Any) -> Any:
    """Build the ``timeout=`` argument of an httpx request."""
    options = request.build_timeout_options()
    return library.Timeout(**options) if options else library.USE_CLIENT_DEFAULT


class HttpxSenderBase:
    """The base of the senders that use httpx or httpx2 directly.

    :ivar library: the module, ``httpx`` or ``httpx2``.
    :ivar transport_errors: the exceptions that reading a response body may raise.
    """

    __slots__ = ("library", "transport_errors")

    def __init__(self, library: ModuleType) -> None:
        self.library: Any = library
        self.transport_errors = get_transport_error_classes(library)

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for an exception that httpx raised."""
        if isinstance(exc, self.library.TimeoutException):
            return make_timeout_error(exc, response_started=response_started)
        if isinstance(exc, self.library.LocalProtocolError):  # would fail again: not retried
            return APIError(f"the request cannot be sent: {type(exc).__name__}: {exc}")
        return make_connection_error(exc)


def get_transport_error_classes(library: Any) -> tuple[type[Exception], ...]:
    """Return the exception classes that sending and reading may raise."""
    return (library.HTTPError, library.StreamError)


def get_sent_headers(response: Any) -> Any:
    """Return the headers of the request that a response answers; none if it does not know them."""
    try:
        return response.request.headers
    except (AttributeError, RuntimeError):  # made without a request
        return {}


def make_stream_error(error: APIError, decoder: Decoder) -> APIError:
    """Make the error for a stream whose connection failed; it holds the partial response."""
    interrupted = decoder.make_interruption_error(f"early: {error}")
    if isinstance(error, APITimeoutError):
        error.partial = interrupted.partial
        return error
    return interrupted
