"""What Locus needs to know of httpx and httpx2: requests, timeouts, cookies, and error types.

``httpx2`` is the successor of ``httpx`` and has the same API; users may pass a client of either.
Proxies of the environment are reached through httpx.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cache
from types import ModuleType
from typing import Any, Final

from locus.core.errors import ConfigurationError
from locus.transport.content_coding import ACCEPTED_CODINGS
from locus.transport.environment_proxies import EnvironmentProxy
from locus.transport.http_request import HttpRequest, build_request_headers
from locus.transport.prepared_http_call import HttpCall
from locus.transport.signer import Signer


def find_httpx_module(client: Any) -> ModuleType | None:
    """Return the module that a client belongs to, ``httpx`` or ``httpx2``, or None."""
    for cls in type(client).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in ("httpx", "httpx2") and cls.__name__ in ("Client", "AsyncClient"):
            return sys.modules[package]
    return None


def build_transport_options(proxy: EnvironmentProxy) -> dict[str, Any]:
    """Build the arguments of an httpx transport for a proxy."""
    import httpx

    from locus.transport.tls_session import get_tls_context

    limits = httpx.Limits(
        max_connections=1000, max_keepalive_connections=100, keepalive_expiry=30.0
    )
    try:
        proxy_options = httpx.Proxy(proxy.url)
    except (ValueError, httpx.InvalidURL):  # neither is shown: a password may be in it
        raise ConfigurationError(f"{proxy.variable} is not the address of a proxy") from None
    return {"limits": limits, "verify": get_tls_context(), "proxy": proxy_options}


def build_proxied_request(request: HttpRequest) -> Any:
    """Build the httpx request that a transport without a client sends: as Locus itself would.

    :raises ConfigurationError: if the URL or a header is not valid.
    """
    import httpx

    url, headers = build_request_headers(request)
    scheme = "https" if url.address.is_tls else "http"
    return httpx.Request(
        request.method,
        f"{scheme}://{url.authority}{url.target}",
        content=request.content,
        headers=headers,
        extensions={"timeout": build_httpx_timeout(request, httpx).as_dict()},
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
    options: dict[str, Any] = {"follow_redirects": False}  # the key would travel with them
    if http_call.signer is not None:
        sign_httpx_request(http_call.signer, httpx_request, request.content)
        options["auth"] = None
    return httpx_request, options


def build_encoding_header(client_headers: Any) -> dict[str, str]:
    """Build the header ``accept-encoding``, without what Locus does not take off itself.

    :param client_headers: the headers of the client that sends the request: it offers all encodings
        for which a package is installed.
    """
    offered = client_headers.get("accept-encoding", "")
    encodings = [encoding.strip() for encoding in offered.split(",")]
    readable = [
        encoding
        for encoding in encodings
        if encoding.partition(";")[0].strip().lower() in _READABLE_ENCODINGS
    ]
    if readable == encodings or not offered:
        return {}
    return {"accept-encoding": ", ".join(readable) or "identity"}


_READABLE_ENCODINGS: Final = {*ACCEPTED_CODINGS, "x-gzip", "identity"}


class ClientCookies:
    """The cookies that a client had when it was passed to a model: the only ones that are sent.

    What a server sets belongs to one key, and the next call may have another one.
    """

    def __init__(self, client: Any, library: Any) -> None:
        self._client = client
        self._cookies = library.Cookies()
        for cookie in client.cookies.jar:
            self._cookies.jar.set_cookie(cookie)

    def replace_in(self, httpx_request: Any, request: HttpRequest) -> None:
        """Replace the cookies of a request that the client has built."""
        if any(name.lower() == "cookie" for name in request.headers):
            return
        httpx_request.headers.pop("cookie", None)
        self._cookies.set_cookie_header(httpx_request)

    def forget_those_of(self, response: Any) -> None:
        """Remove from the client what a response has set in it."""
        if "set-cookie" not in response.headers:
            return
        jar, kept = self._client.cookies.jar, list(self._cookies.jar)
        for cookie in list(response.cookies.jar):
            with suppress(KeyError):
                jar.clear(cookie.domain, cookie.path, cookie.name)
        for cookie in kept:
            jar.set_cookie(cookie)


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


def get_transport_error_classes(library: Any) -> tuple[type[Exception], ...]:
    """Return the exception classes that sending and reading may raise."""
    return (library.HTTPError, library.StreamError)


def get_sent_headers(response: Any) -> Any:
    """Return the headers of the request that a response answers; none if it does not know them."""
    try:
        return response.request.headers
    except (AttributeError, RuntimeError):  # made without a request
        return {}
