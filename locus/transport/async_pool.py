"""The connection pool of async calls, and what sends through it. Mirrors ``blocking_pool``.

A connection belongs to the event loop that opened it, so each loop has connections of its own; see
``loop_state``.
"""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from locus.core.errors import APIError, ConfigurationError
from locus.transport.http_request import HttpRequest
from locus.transport.httpx_common import (
    HttpxSenderBase,
    RequestFactory,
    build_request_and_send_options,
    build_transport_options,
    can_connect_directly,
    check_client_open,
    get_async_body_class,
)
from locus.transport.loop_state import get_loop_state
from locus.transport.prepared_http_call import HttpCall

if TYPE_CHECKING:
    import httpx


class AsyncSender(Protocol):
    """Sends requests: through an httpx client or transport, or through a provider's SDK."""

    @property
    def transport_errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that reading a response body may raise."""
        ...

    async def send(self, http_call: HttpCall, *, stream: bool) -> httpx.Response:
        """Send the request, and return the response with its body unread.

        :raises APIError: if there is no response.
        """
        ...

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for one of ``transport_errors``."""
        ...


class AsyncHttpxSender(HttpxSenderBase):
    """Sends through an httpx or httpx2 client."""

    __slots__ = ("client",)

    def __init__(self, client: Any, library: ModuleType) -> None:
        super().__init__(library)
        self.client = client

    async def send(self, http_call: HttpCall, *, stream: bool) -> httpx.Response:
        """Send the request, and return the response with its body unread, streamed or not."""
        check_client_open(self.client)
        try:
            request, options = build_request_and_send_options(self.client, http_call, self.library)
            request.stream = get_async_body_class(self.library)(http_call.request.content)
            response: httpx.Response = await self.client.send(request, stream=True, **options)
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc
        except self.library.InvalidURL as exc:
            raise ConfigurationError(f"base_url is not a valid URL: {exc}") from exc
        return response

    async def close(self) -> None:
        """Close the client; called only if it is Locus's own."""
        await self.client.aclose()


class AsyncTransportSender(HttpxSenderBase):
    """Sends through an httpx transport without a client: Locus's own connections."""

    __slots__ = ("_request_factory", "transport")

    def __init__(self, transport: httpx.AsyncHTTPTransport, library: ModuleType) -> None:
        super().__init__(library)
        self.transport = transport
        self._request_factory = RequestFactory(library)

    async def send(self, http_call: HttpCall, *, stream: bool) -> httpx.Response:
        """Send the request, and return the response with its body unread, streamed or not."""
        request = self._request_factory.build_request(http_call.build_request_to_send())
        request.stream = get_async_body_class(self.library)(http_call.request.content)
        try:
            return await self.transport.handle_async_request(request)
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.aclose()


class AsyncPool:
    """The connections of one model, in each event loop that uses it, opened when first needed."""

    __slots__ = ("__weakref__",)

    async def get_or_open_sender(self, request: HttpRequest) -> AsyncSender:
        """Return the running loop's sender; if there is none, open one that fits ``request``."""
        loop_state = await get_loop_state()
        sender: AsyncSender | None = loop_state.senders.get(weakref.ref(self))
        if sender is None:
            import httpx

            options = build_transport_options(request.url)
            if can_connect_directly(request.url):
                sender = AsyncTransportSender(httpx.AsyncHTTPTransport(**options), httpx)
            else:
                sender = AsyncHttpxSender(httpx.AsyncClient(**options), httpx)
            loop_state.senders[weakref.ref(self, loop_state.schedule_pool_close)] = sender
        return sender

    async def aclose(self) -> None:
        """Release the running loop's connections. The next call opens new ones."""
        loop_state = await get_loop_state()
        sender = loop_state.senders.pop(weakref.ref(self), None)
        if sender is not None:
            await sender.close()
