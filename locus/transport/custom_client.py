"""Connections that the caller brings: httpx and httpx2 clients, and the providers' own SDKs.

The caller's client is used as it is and never closed. An SDK is used through the public method
that it offers for the same request, so that its credentials, its retries, and whatever
instruments it see an ordinary call; Locus only takes the raw answer from it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import msgspec

from locus.core.error_factory import silent, unreachable
from locus.core.errors import APIError, ConfigurationError
from locus.transport.async_pool import AsyncHttpxSender, AsyncSender
from locus.transport.blocking_pool import HttpxSender, Sender
from locus.transport.http_call import Call
from locus.transport.httpx_compat import errors_of, library_of

if TYPE_CHECKING:
    import httpx


@attrs.frozen
class Brought:
    """What the caller brought, for each way of calling; None where they brought nothing."""

    blocking: Sender | None = None
    nonblocking: AsyncSender | None = None

    def for_blocking(self) -> Sender:
        """The sender for blocking calls.

        :raises ConfigurationError: only an async client was given.
        """
        if self.blocking is None:
            raise ConfigurationError(
                "this model was given an async client only, so it cannot be called blocking: "
                "use complete() and stream(), or bring a blocking client (http_client= takes both "
                "as a pair)"
            )
        return self.blocking

    def for_nonblocking(self) -> AsyncSender:
        """The sender for async calls.

        :raises ConfigurationError: only a blocking client was given.
        """
        if self.nonblocking is None:
            raise ConfigurationError(
                "this model was given a blocking client only, so it cannot be awaited: use "
                "complete_sync() and stream_sync(), or bring an async client (http_client= takes "
                "both as a pair)"
            )
        return self.nonblocking


def http_clients(http_client: Any) -> Brought:
    """The senders for ``http_client=``: a client of httpx or httpx2, or a pair of both kinds.

    :raises TypeError: it is something else.
    """
    clients = http_client if isinstance(http_client, (tuple, list)) else (http_client,)
    blocking: Sender | None = None
    nonblocking: AsyncSender | None = None
    for client in clients:
        library = library_of(client)
        if library is not None and isinstance(client, library.Client) and blocking is None:
            blocking = HttpxSender(client, library)
        elif library is not None and not isinstance(client, library.Client) and nonblocking is None:
            nonblocking = AsyncHttpxSender(client, library)
        else:
            break
    else:
        if clients:
            return Brought(blocking, nonblocking)
    got = ", ".join(type(client).__name__ for client in clients) or "nothing"
    raise TypeError(
        f"http_client= takes an httpx or httpx2 Client or AsyncClient, or a pair of both, not {got}"
    )


class Sdk(Protocol):
    """How a provider's SDK is sent through."""

    @property
    def retries(self) -> bool:
        """Whether it tries again by itself; then Locus does not."""
        ...

    def brought(self, sdk_client: Any) -> Brought:
        """The senders for ``sdk_client=``. Raises ``TypeError`` where it is not of this SDK."""
        ...


@attrs.frozen
class SdkMethod:
    """Where a provider's SDK sends the request that Locus builds, where it gives raw answers.

    :param package: the SDK's import name.
    :param error: the name of the root of its errors.
    :param create: the method that makes the request and gives the raw answer, of a client.
    :param retries: whether the SDK tries again by itself.
    """

    package: str
    error: str
    create: Callable[[Any], Callable[..., Any]]
    retries: bool = True

    def brought(self, sdk_client: Any) -> Brought:
        """The senders for ``sdk_client=``.

        :raises TypeError: it is not a client of this SDK.
        """
        kinds = {
            kind.__name__
            for kind in type(sdk_client).__mro__
            if kind.__module__.partition(".")[0] == self.package
        }
        if "AsyncAPIClient" in kinds:
            return Brought(nonblocking=AsyncSdkSender(self, sdk_client))
        if "SyncAPIClient" in kinds:
            return Brought(blocking=SdkSender(self, sdk_client))
        raise TypeError(
            f"sdk_client= takes a client of the package {self.package}, "
            f"not {type(sdk_client).__name__}"
        )


class _Sdk:
    """What both kinds of SDK sender share."""

    __slots__ = ("_method", "_sdk", "client")

    def __init__(self, method: SdkMethod, client: Any) -> None:
        self.client = client
        self._method = method
        self._sdk: Any = sys.modules[method.package]

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What reading the body of an answer may raise: the SDK uses one httpx or the other."""
        return tuple(error for library in _libraries() for error in errors_of(library))

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for one of ``errors``."""
        timeouts = tuple(library.TimeoutException for library in _libraries())
        if isinstance(error, timeouts):
            return silent(error, answer_begun=answer_begun)
        return unreachable(error)

    @property
    def refusals(self) -> type[Exception]:
        """The root of what the SDK's methods raise."""
        root: type[Exception] = getattr(self._sdk, self._method.error)
        return root

    def refusal(self, error: Any, call: Call) -> Exception:
        """Locus's word for what an SDK's method raised."""
        sdk = self._sdk
        if isinstance(error, sdk.APIStatusError):
            return call.refusal(error.status_code, error.response.headers, error.response.content)
        if isinstance(error, sdk.APITimeoutError):
            return silent(error.__cause__ or error, answer_begun=False)
        if isinstance(error, sdk.APIConnectionError):
            return unreachable(error.__cause__ or error)
        return ConfigurationError(f"the {self._method.package} client refuses: {error}")

    def arguments(self, call: Call, *, stream: bool) -> dict[str, Any]:
        """The method's keywords: the body's members that it knows, the others as extras."""
        body = msgspec.json.decode(call.request.content)
        parameters = inspect.signature(self._method.create(self.client)).parameters
        # An instrument may have wrapped the method and not say what it takes: everything, then.
        known = {
            name: body.pop(name)
            for name in list(body)
            if name in parameters or "model" not in parameters
        }
        request = call.request
        if request.timeout is not None:
            known["timeout"] = request.timeouts()["timeout"]
        if request.headers:
            known["extra_headers"] = dict(request.headers)
        return {**known, "extra_body": body} if body else known


class SdkSender(_Sdk):
    """Sends through a blocking SDK client."""

    __slots__ = ()

    def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The raw answer of the SDK's method."""
        try:
            raw = self._method.create(self.client)(**self.arguments(call, stream=stream))
        except self.refusals as error:
            raise self.refusal(error, call) from error
        response: httpx.Response = raw.http_response
        return response


class AsyncSdkSender(_Sdk):
    """Sends through an async SDK client."""

    __slots__ = ()

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The raw answer of the SDK's method."""
        try:
            raw = await self._method.create(self.client)(**self.arguments(call, stream=stream))
        except self.refusals as error:
            raise self.refusal(error, call) from error
        response: httpx.Response = raw.http_response
        return response


def _libraries() -> list[ModuleType]:
    return [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
