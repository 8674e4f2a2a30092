"""The connections of async calls, and what sends through them. Mirrors ``blocking_pool``.

Each event loop has connections of its own, which are closed with it; see ``loop_state``.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import suppress

import anyio

from locus.core.errors import APIError
from locus.transport.address import Address, parse_url
from locus.transport.async_connection import AsyncConnection
from locus.transport.environment_proxies import find_proxy
from locus.transport.http1 import ResponseHead
from locus.transport.http_request import HttpRequest, encode_request
from locus.transport.idle_connections import IdleConnections
from locus.transport.loop_state import LoopResource, get_loop_state
from locus.transport.prepared_http_call import HttpCall
from locus.transport.read_watch import ReadWatch
from locus.transport.senders import MAX_DRAIN_SECONDS, AsyncSender
from locus.transport.transport_errors import TransportError, make_api_error


class AsyncPool:
    """The connections of one model, in each event loop that uses it, opened when first needed."""

    __slots__ = ("__weakref__",)

    async def get_or_open_sender(self, request: HttpRequest) -> AsyncSender:
        """Return what sends to the URL of a request: directly, or through a proxy.

        :raises ConfigurationError: if the URL, or what the environment says of proxies, is invalid.
        """
        loop_state = await get_loop_state()
        senders = loop_state.resources.get(weakref.ref(self))
        if senders is None:
            senders = LoopSenders(loop_state.read_watch)
            loop_state.resources[weakref.ref(self, loop_state.release_soon)] = senders
        assert isinstance(senders, LoopSenders)
        return senders.get_or_open(parse_url(request.url).address)

    async def aclose(self) -> None:
        """Release the running loop's connections. The next call opens new ones."""
        loop_state = await get_loop_state()
        senders = loop_state.resources.pop(weakref.ref(self), None)
        if senders is not None:
            await senders.aclose()


class LoopSenders(LoopResource):
    """What sends the calls of one model in one event loop."""

    def __init__(self, watch: ReadWatch) -> None:
        self._direct_sender = AsyncDirectSender(watch)
        self._senders: dict[Address, AsyncSender] = {}
        self._proxy_resources: list[LoopResource] = []

    def get_or_open(self, address: Address) -> AsyncSender:
        """Return the sender to an address."""
        sender = self._senders.get(address)
        if sender is None:
            proxy = find_proxy(address)
            if proxy is None:
                sender = self._direct_sender
            else:
                from locus.transport.httpx_senders import AsyncProxySender

                sender = AsyncProxySender(proxy)
                self._proxy_resources.append(sender)
            self._senders[address] = sender
        return sender

    def close_nowait(self) -> bool:
        """Close the connections; the proxies' have to be awaited."""
        self._direct_sender.close()
        return not self._proxy_resources

    async def aclose(self) -> None:
        """Close the connections; calls that use one end with an error."""
        self._direct_sender.interrupt()
        while self._proxy_resources:
            await self._proxy_resources.pop().aclose()


class AsyncDirectSender:
    """Sends through Locus's own connections."""

    __slots__ = ("_connections", "_watch")

    def __init__(self, watch: ReadWatch) -> None:
        self._watch = watch
        self._connections: IdleConnections[AsyncConnection] = IdleConnections()

    async def send(self, http_call: HttpCall, *, stream: bool) -> AsyncDirectResponse:
        """Send the request, and return the response with its body unread, streamed or not."""
        request = http_call.build_request_to_send()
        timeout = request.finite_timeout
        try:
            encoded = encode_request(request)
            connection = self._connections.take(encoded.address)
            if connection is not None:
                try:
                    head = await connection.exchange(encoded, timeout)
                except TransportError as exc:
                    if not connection.has_died_silently(exc):
                        raise
                    connection = None
            if connection is None:
                connection = await AsyncConnection.open(encoded.address, timeout, self._watch)
                self._connections.remember(connection)
                head = await connection.exchange(encoded, timeout)
        except TransportError as exc:
            raise make_api_error(exc, response_started=False) from exc
        return AsyncDirectResponse(self._connections, connection, head, request)

    def interrupt(self) -> None:
        """Close the connections in their own event loop; calls that use one end with an error."""
        self._connections.close_idle()
        for connection in self._connections.list_open():
            connection.interrupt()

    def close(self) -> None:
        """Close the connections, none of which is waited for; in any thread."""
        self._connections.close_idle()
        for connection in self._connections.list_open():
            connection.close()


class AsyncDirectResponse:
    """A response that one of Locus's own connections brings."""

    __slots__ = ("_connection", "_connections", "_head", "_request", "_timeout")

    def __init__(
        self,
        connections: IdleConnections[AsyncConnection],
        connection: AsyncConnection,
        head: ResponseHead,
        request: HttpRequest,
    ) -> None:
        self._connections = connections
        self._connection: AsyncConnection | None = connection
        self._head = head
        self._request = request
        self._timeout = request.finite_timeout

    @property
    def status_code(self) -> int:
        """The status."""
        return self._head.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, with lower-case names."""
        return self._head.headers

    @property
    def sent_headers(self) -> Mapping[str, str]:
        """The headers of the request."""
        return self._request.headers

    async def read_chunk(self) -> bytes:
        """Return the next bytes of the body; empty at its end."""
        connection = self._connection
        if connection is None:
            return b""
        try:
            piece = await connection.read_piece(self._timeout)
        except TransportError as exc:
            self.close_nowait()
            raise make_api_error(exc, response_started=True) from exc
        except BaseException:  # the caller has been cancelled
            self.close_nowait()
            raise
        if not piece:
            self._connection = None
            if connection.reader.is_reusable:
                self._connections.put(connection)
            else:
                connection.close()
        return piece

    async def drain(self) -> None:
        """Read a body whose content is complete to its end; give up after a short time."""
        with anyio.move_on_after(MAX_DRAIN_SECONDS), suppress(APIError):
            while await self.read_chunk():
                pass

    async def aclose(self) -> None:
        """Let go of the response, and of the connection if the body was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.interrupt()

    def close_nowait(self) -> None:
        """Let go of the response, and of the connection if the body was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
