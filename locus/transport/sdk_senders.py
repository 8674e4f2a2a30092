"""Senders for the caller's own client of a provider's SDK (``sdk_client=``).

Locus never changes or closes the caller's client. It sends through the public method that the SDK
has for the same request, so that the SDK's credentials, retries and instrumentation work as in any
other call. Locus only takes the raw HTTP response from it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

import attrs
import msgspec

from locus.core.errors import APIError, ConfigurationError
from locus.core.make_connection_error import make_connection_error, make_timeout_error
from locus.transport.custom_client import CustomClient
from locus.transport.deadline import Deadline
from locus.transport.httpx_common import (
    build_encoding_header,
    get_sent_headers,
    get_transport_error_classes,
)
from locus.transport.httpx_senders import AsyncHttpxResponse, BlockingHttpxResponse
from locus.transport.prepared_http_call import HttpCall


class SdkAdapter(Protocol):
    """Makes senders for the clients of one provider's SDK."""

    @property
    def retries_requests(self) -> bool:
        """Whether the SDK retries requests itself; then Locus does not."""
        ...

    def make_custom_client(self, sdk_client: Any) -> CustomClient:
        """Make the sender for ``sdk_client=``.

        :raises TypeError: if it is not a client of this SDK.
        """
        ...


@attrs.frozen
class RawResponseAdapter:
    """The adapter for an SDK whose client can return raw HTTP responses, such as openai's.

    :param package: the SDK's import name.
    :param error_class_name: the name of the base class of the SDK's errors.
    :param get_request_method: returns the client's method that sends a request and returns the raw
        response.
    :param retries_requests: whether the SDK retries requests itself.
    :param checks_duration: whether the SDK rejects a call without a stream that may take long,
        unless the call has a timeout of its own. It is then passed the client's.
    """

    package: str
    error_class_name: str
    get_request_method: Callable[[Any], Callable[..., Any]]
    retries_requests: bool = True
    checks_duration: bool = False

    def make_custom_client(self, sdk_client: Any) -> CustomClient:
        """Make the sender for ``sdk_client=``.

        :raises TypeError: if it is not a client of this SDK.
        """
        class_names = {
            cls.__name__
            for cls in type(sdk_client).__mro__
            if cls.__module__.partition(".")[0] == self.package
        }
        if "AsyncAPIClient" in class_names:
            return CustomClient(async_sender=AsyncSdkSender(self, sdk_client))
        if "SyncAPIClient" in class_names:
            return CustomClient(blocking_sender=BlockingSdkSender(self, sdk_client))
        raise TypeError(
            f"sdk_client= takes a client of the package {self.package}, "
            f"not {type(sdk_client).__name__}"
        )


class _SdkSenderBase:
    """The base of the blocking and the async SDK sender."""

    __slots__ = ("_method", "_sdk", "client")

    def __init__(self, method: RawResponseAdapter, client: Any) -> None:
        self.client = client
        self._method = method
        self._sdk: Any = sys.modules[method.package]

    @property
    def transport_errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that reading a body may raise, whichever httpx library the SDK uses."""
        return tuple(
            cls
            for library in _get_imported_httpx_modules()
            for cls in get_transport_error_classes(library)
        )

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for one of ``transport_errors``."""
        timeouts = tuple(library.TimeoutException for library in _get_imported_httpx_modules())
        if isinstance(exc, timeouts):
            return make_timeout_error(exc, response_started=response_started)
        return make_connection_error(exc)

    @property
    def sdk_error_class(self) -> type[Exception]:
        """The base class of the SDK's errors."""
        base: type[Exception] = getattr(self._sdk, self._method.error_class_name)
        return base

    @property
    def rejection_classes(self) -> tuple[type[Exception], ...]:
        """What the SDK's method raises for a call that it does not accept, or that fails.

        Besides its own errors it raises Python's: a ``ValueError`` for a response that may take
        too long without a stream, a ``TypeError`` if the client has no credentials.
        """
        return self.sdk_error_class, TypeError, ValueError

    def convert_sdk_error(self, exc: Any, http_call: HttpCall) -> Exception:
        """Make Locus's error for an exception that the SDK's method raised."""
        sdk = self._sdk
        if isinstance(exc, sdk.APIStatusError):
            # The SDK may have asked a function of the caller for these credentials.
            http_call.error_context.add_sent_headers(get_sent_headers(exc.response))
            return http_call.make_status_error(
                exc.status_code, exc.response.headers, exc.response.content
            )
        if isinstance(exc, sdk.APITimeoutError):
            return make_timeout_error(exc.__cause__ or exc, response_started=False)
        if isinstance(exc, sdk.APIConnectionError):
            return make_connection_error(exc.__cause__ or exc)
        text = http_call.error_context.redact(str(exc))
        return ConfigurationError(f"the {self._method.package} client rejects the call: {text}")

    def build_keyword_arguments(self, http_call: HttpCall) -> dict[str, Any]:
        """Build the SDK method's arguments; ``extra_body`` gets what it does not know.

        ``timeout`` and ``extra_headers`` are the SDK's own keywords for a single call.
        """
        request = http_call.request
        body = msgspec.json.decode(request.content)
        parameters = inspect.signature(self._method.get_request_method(self.client)).parameters
        # Instrumentation may wrap the method and hide its parameters: then pass every member.
        arguments = {
            name: body.pop(name)
            for name in list(body)
            if name in parameters or "model" not in parameters
        }
        if request.timeout is not None:
            arguments["timeout"] = request.build_timeout_options()["timeout"]
        elif self._method.checks_duration:
            arguments["timeout"] = self.client.timeout
        http_client = getattr(self.client, "_client", None)  # as all SDKs of Stainless name it
        client_headers = getattr(http_client, "headers", {})
        headers = {**build_encoding_header(client_headers), **request.headers}
        if headers:
            arguments["extra_headers"] = headers
        return {**arguments, "extra_body": body} if body else arguments


class BlockingSdkSender(_SdkSenderBase):
    """Sends through a blocking SDK client."""

    __slots__ = ()

    def send(
        self, http_call: HttpCall, *, stream: bool, deadline: Deadline | None = None
    ) -> BlockingHttpxResponse:
        """Send the request, and return the raw response of the SDK's method."""
        try:
            raw = self._method.get_request_method(self.client)(
                **self.build_keyword_arguments(http_call)
            )
        except self.rejection_classes as exc:
            raise self.convert_sdk_error(exc, http_call) from exc
        return BlockingHttpxResponse(raw.http_response, self, deadline)


class AsyncSdkSender(_SdkSenderBase):
    """Sends through an async SDK client."""

    __slots__ = ()

    async def send(self, http_call: HttpCall, *, stream: bool) -> AsyncHttpxResponse:
        """Send the request, and return the raw response of the SDK's method."""
        try:
            raw = await self._method.get_request_method(self.client)(
                **self.build_keyword_arguments(http_call)
            )
        except self.rejection_classes as exc:
            raise self.convert_sdk_error(exc, http_call) from exc
        return AsyncHttpxResponse.hold(raw.http_response, self)


def _get_imported_httpx_modules() -> list[ModuleType]:
    """Return the modules ``httpx`` and ``httpx2``, as far as they are imported."""
    return [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
