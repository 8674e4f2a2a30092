"""What both drivers know of httpx: its two generations, TLS, limits, and its failures.

``httpx2`` is the successor of ``httpx`` with the same interface; a caller may bring a client of
either. Locus's own clients are httpx ones.
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
from locus.core.error_factory import silent, unreachable
from locus.core.errors import APIError, APITimeoutError, ConfigurationError
from locus.transport.http_call import Call, HttpRequest, Signer

REFUSAL_BYTES: Final = 1_000_000
"""How much of a refusal's body is read."""
DRAIN_SECONDS: Final = 0.25
"""How long a finished stream may take to end its body, for its connection to be kept."""


def library_of(client: Any) -> ModuleType | None:
    """``httpx`` or ``httpx2``, whichever a client belongs to; None for anything else."""
    for kind in type(client).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in ("httpx", "httpx2") and kind.__name__ in ("Client", "AsyncClient"):
            return sys.modules[root]
    return None


@cache
def tls_context() -> ssl.SSLContext:
    """One for the process: reading the certificates is most of a cold client's cost."""
    import httpx

    return httpx.create_ssl_context()


_THIS_MACHINE: Final = re.compile(r"https?://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/|$)", re.I)


def goes_direct(url: str) -> bool:
    """Whether no proxy of the environment concerns ``url``; none can reach into this machine.

    Then Locus's own connections use httpx's transport and leave out its client, whose cookies,
    redirects, authentication and hooks Locus has no use for: a quarter of the time of an answer.
    """
    return not getproxies() or _THIS_MACHINE.match(url) is not None


def connection_options(url: str) -> dict[str, Any]:
    """The arguments of Locus's own transports and clients."""
    import httpx

    return {
        "limits": httpx.Limits(
            max_connections=1000, max_keepalive_connections=100, keepalive_expiry=30.0
        ),
        # To talk plain HTTP, a context that trusts nobody: it is never asked, and free to make.
        "verify": tls_context()
        if url.startswith("https:") or not goes_direct(url)
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }


class Requests:
    """Makes the requests for a bare transport, which has no client to fill them in."""

    __slots__ = ("_library", "_url")

    def __init__(self, library: Any) -> None:
        self._library = library
        self._url: Any = None

    def make(self, request: HttpRequest) -> Any:
        """The library's own request.

        :raises ConfigurationError: the address is none.
        """
        url = self._url
        if url is None or url[0] != request.url:  # parsing it is a tenth of making the request
            try:
                url = self._url = (request.url, self._library.URL(request.url))
            except self._library.InvalidURL as error:
                raise ConfigurationError(f"base_url makes no valid address: {error}") from error
        return self._library.Request(
            "POST",
            url[1],
            content=request.content,
            headers={**_STANDING_HEADERS, **request.headers},
            extensions={"timeout": timeout_of(request, self._library).as_dict()},
        )


def build(client: Any, call: Call, library: Any) -> tuple[Any, dict[str, Any]]:
    """The request that a client makes of a call, and the options to send it with.

    Where the call is signed, it is this request that is: the client may have put parameters into
    its address. Credentials of the client's own would contradict the signature, and are left out,
    its ``auth=`` among them.
    """
    request = call.request
    built = client.build_request(
        "POST",
        request.url,
        content=request.content,
        headers=request.headers,
        timeout=timeout_of(request, library),
    )
    if call.signer is None:
        return built, {}
    sign_anew(call.signer, built, request.content)
    return built, {"auth": None}


def sign_anew(signer: Signer, request: Any, content: bytes) -> None:
    """Give a library's request the signer's headers, and none that the signer leaves out."""
    signed = signer.sign(
        HttpRequest(str(request.url), dict(request.headers), content, method=request.method)
    )
    for name in [name for name in request.headers if name.lower() not in signed.headers]:
        del request.headers[name]
    request.headers.update(signed.headers)


CREDENTIAL_HEADERS: Final = frozenset(
    {
        *("authorization", "api-key", "x-api-key"),
        *("opc-obo-token", "x-date"),  # Oracle's: for whom, and a date that is signed instead
    }
)
"""By which a request says who sends it. A signer leaves out those that it does not set itself."""
_STANDING_HEADERS: Final = {
    "accept": "*/*",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
}


@cache
def body_class(library: Any) -> Any:
    """The class of the bodies that async requests send, for one generation of httpx.

    httpx's own is read by an async generator. A connection that breaks while it is sent leaves
    that generator unfinished, and trio complains when it is collected. This one is no generator.
    """

    class Body(library.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, content: bytes) -> None:
            self._content = content

        def __aiter__(self) -> AsyncIterator[bytes]:
            return _Once(self._content)

    return Body


class _Once:
    """An async iterator over one piece."""

    def __init__(self, piece: bytes) -> None:
        self._pieces = iter((piece,))

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


def check_open(client: Any) -> None:
    """Refuse a client that its owner has closed.

    :raises ConfigurationError: it is closed.
    """
    if client.is_closed:
        raise ConfigurationError("the client that this model was given has been closed")


def timeout_of(request: HttpRequest, library: Any) -> Any:
    """The ``timeout`` argument of a request."""
    timeouts = request.timeouts()
    return library.Timeout(**timeouts) if timeouts else library.USE_CLIENT_DEFAULT


class ThroughHttpx:
    """What every sender knows that sends through httpx or httpx2.

    :ivar library: whichever of the two.
    :ivar errors: what reading the body of an answer may raise.
    """

    __slots__ = ("errors", "library")

    def __init__(self, library: ModuleType) -> None:
        self.library: Any = library
        self.errors = errors_of(library)

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for what httpx raised."""
        if isinstance(error, self.library.TimeoutException):
            return silent(error, answer_begun=answer_begun)
        if isinstance(error, self.library.LocalProtocolError):  # never will be: no other try
            return APIError(f"the request cannot be sent: {type(error).__name__}: {error}")
        return unreachable(error)


def errors_of(library: Any) -> tuple[type[Exception], ...]:
    """What sending a request and reading its answer may raise."""
    return (library.HTTPError, library.StreamError)


def cut_short(error: APIError, decoder: Decoder) -> APIError:
    """The error for a stream whose connection failed, with the part that had arrived."""
    interrupted = decoder.interrupted(f"early: {error}")
    if isinstance(error, APITimeoutError):
        error.partial = interrupted.partial
        return error
    return interrupted
