"""The connection pool of blocking calls, and what sends through it. Mirrors ``async_pool``.

A pool belongs to the model that opened it. Any number of threads may use it; a forked child opens
its own connections.
"""

from __future__ import annotations

import os
import threading
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from locus.core.errors import APIError, ConfigurationError
from locus.transport.blocking_deadline import install_deadlines
from locus.transport.http_request import HttpRequest
from locus.transport.httpx_common import (
    HttpxSenderBase,
    RequestFactory,
    build_request_and_send_options,
    build_transport_options,
    can_connect_directly,
    check_client_open,
)
from locus.transport.prepared_http_call import HttpCall

if TYPE_CHECKING:
    import httpx


class BlockingSender(Protocol):
    """Sends requests: through an httpx client or transport, or through a provider's SDK."""

    @property
    def transport_errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that reading a response body may raise."""
        ...

    def send(self, http_call: HttpCall, *, stream: bool) -> httpx.Response:
        """Send the request, and return the response with its body unread.

        :raises APIError: if there is no response.
        """
        ...

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for one of ``transport_errors``."""
        ...


class BlockingHttpxSender(HttpxSenderBase):
    """Sends through an httpx or httpx2 client."""

    __slots__ = ("client",)

    def __init__(self, client: Any, library: ModuleType) -> None:
        super().__init__(library)
        self.client = client

    def send(self, http_call: HttpCall, *, stream: bool) -> httpx.Response:
        """Send the request, and return the response with its body unread, streamed or not."""
        check_client_open(self.client)
        try:
            request, options = build_request_and_send_options(self.client, http_call, self.library)
            response: httpx.Response = self.client.send(request, stream=True, **options)
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc
        except self.library.InvalidURL as exc:
            raise ConfigurationError(f"base_url is not a valid URL: {exc}") from exc
        return response

    def close(self) -> None:
        """Close the client; called only if it is Locus's own."""
        self.client.close()


class BlockingTransportSender(HttpxSenderBase):
    """Sends through an httpx transport without a client: Locus's own connections."""

    __slots__ = ("_request_factory", "transport")

    def __init__(self, transport: httpx.HTTPTransport, library: ModuleType) -> None:
        super().__init__(library)
        self.transport = transport
        self._request_factory = RequestFactory(library)

    def send(self, http_call: HttpCall, *, stream: bool) -> httpx.Response:
        """Send the request, and return the response with its body unread, streamed or not."""
        try:
            request = self._request_factory.build_request(http_call.build_request_to_send())
            return self.transport.handle_request(request)
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


class BlockingPool:
    """The connections of one model in this process, opened when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._senders: list[BlockingTransportSender | BlockingHttpxSender] = []  # one, or none
        # Not __del__: in a reference cycle the sockets may be finalized before the pool.
        weakref.finalize(self, _close_senders, self._senders)
        _pools.add(self)

    def get_or_open_sender(self, request: HttpRequest) -> BlockingSender:
        """Return the pool's sender; if there is none, open one that fits ``request``."""
        for sender in self._senders:
            return sender
        import httpx

        with self._lock:
            if not self._senders:
                options = build_transport_options(request.url)
                if can_connect_directly(request.url):
                    transport = httpx.HTTPTransport(**options)
                    install_deadlines(transport)
                    self._senders.append(BlockingTransportSender(transport, httpx))
                else:
                    self._senders.append(BlockingHttpxSender(httpx.Client(**options), httpx))
            return self._senders[0]

    def close(self) -> None:
        """Release the connections. The next call opens new ones."""
        with self._lock:
            _close_senders(self._senders)

    def drop_connections_after_fork(self) -> None:
        """In a forked child, drop the parent's connections and the lock, which may be locked."""
        # Neither closed nor collected: both would disturb the parent's connections.
        _inherited_senders.extend(self._senders)
        self._senders.clear()
        self._lock = threading.Lock()


def _close_senders(senders: list[BlockingTransportSender | BlockingHttpxSender]) -> None:
    while senders:
        senders.pop().close()


_pools: weakref.WeakSet[BlockingPool] = weakref.WeakSet()
_inherited_senders: list[BlockingSender] = []


def _reset_pools_after_fork() -> None:
    """In a forked child, drop the parent's connections of every pool."""
    for pool in list(_pools):
        pool.drop_connections_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_pools_after_fork)
