"""The connections of blocking calls, and what sends through them. Mirrors ``async_pool``.

A pool belongs to the model that opened it. Any number of threads may use it; a forked child opens
its own connections.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from locus.core.errors import APIError
from locus.transport.address import Address, parse_url
from locus.transport.blocking_connection import BlockingConnection, WaitLimit
from locus.transport.deadline import Deadline
from locus.transport.environment_proxies import find_proxy
from locus.transport.http1 import ResponseHead
from locus.transport.http_request import HttpRequest, encode_request
from locus.transport.idle_connections import IdleConnections
from locus.transport.prepared_http_call import HttpCall
from locus.transport.senders import MAX_DRAIN_SECONDS, BlockingSender
from locus.transport.transport_errors import TransportError, make_api_error

if TYPE_CHECKING:
    from locus.transport.httpx_senders import BlockingProxySender


class BlockingPool:
    """The connections of one model in this process, opened when first needed."""

    __slots__ = ("__weakref__", "_direct_sender", "_senders")

    def __init__(self) -> None:
        self._direct_sender = BlockingDirectSender()
        self._senders: dict[Address, BlockingDirectSender | BlockingProxySender] = {}

    def get_or_open_sender(self, request: HttpRequest) -> BlockingSender:
        """Return what sends to the URL of a request: directly, or through a proxy.

        :raises ConfigurationError: if the URL, or what the environment says of proxies, is invalid.
        """
        address = parse_url(request.url).address
        sender = self._senders.get(address)
        if sender is None:
            proxy = find_proxy(address)
            if proxy is None:
                sender = self._direct_sender
            else:
                from locus.transport.httpx_senders import BlockingProxySender

                sender = BlockingProxySender(proxy)
            sender = self._senders.setdefault(address, sender)
        return sender

    def close(self) -> None:
        """Release the connections. The next call opens new ones."""
        senders = [self._direct_sender, *self._senders.values()]
        self._senders.clear()
        for sender in senders:
            sender.close()


class BlockingDirectSender:
    """Sends through Locus's own connections."""

    __slots__ = ("_connections",)

    def __init__(self) -> None:
        self._connections: IdleConnections[BlockingConnection] = IdleConnections()

    def send(
        self, http_call: HttpCall, *, stream: bool, deadline: Deadline | None = None
    ) -> BlockingDirectResponse:
        """Send the request, and return the response with its body unread, streamed or not."""
        request = http_call.build_request_to_send()
        limit = WaitLimit(request.timeout, deadline)
        try:
            encoded = encode_request(request)
            connection = self._connections.take(encoded.address)
            if connection is not None:
                try:
                    head = connection.exchange(encoded, limit)
                except TransportError as exc:
                    if not connection.has_died_silently(exc):
                        raise
                    connection = None
            if connection is None:
                connection = BlockingConnection.open(encoded.address, limit)
                self._connections.remember(connection)
                head = connection.exchange(encoded, limit)
        except TransportError as exc:
            raise make_api_error(exc, response_started=False) from exc
        return BlockingDirectResponse(self._connections, connection, head, request, limit)

    def close(self) -> None:
        """Close the connections; calls that use one end with an error."""
        self._connections.close_idle()
        for connection in self._connections.list_open():
            connection.interrupt()


class BlockingDirectResponse:
    """A response that one of Locus's own connections brings."""

    __slots__ = ("_connection", "_connections", "_head", "_limit", "_request")

    def __init__(
        self,
        connections: IdleConnections[BlockingConnection],
        connection: BlockingConnection,
        head: ResponseHead,
        request: HttpRequest,
        limit: WaitLimit,
    ) -> None:
        self._connections = connections
        self._connection: BlockingConnection | None = connection
        self._head = head
        self._request = request
        self._limit = limit

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

    def read_chunk(self) -> bytes:
        """Return the next bytes of the body; empty at its end."""
        connection = self._connection
        if connection is None:
            return b""
        try:
            piece = connection.read_piece(self._limit)
        except TransportError as exc:
            self.close()
            raise make_api_error(exc, response_started=True) from exc
        except BaseException:
            self.close()
            raise
        if not piece:
            self._connection = None
            if connection.reader.is_reusable:
                self._connections.put(connection)
            else:
                connection.close()
        return piece

    def drain(self) -> None:
        """Read a body whose content is complete to its end; give up after a short time."""
        deadline = Deadline(MAX_DRAIN_SECONDS, time.monotonic() + MAX_DRAIN_SECONDS)
        self._limit = WaitLimit(MAX_DRAIN_SECONDS, deadline)
        with suppress(APIError):  # the content is complete: an error only loses the connection
            while self.read_chunk():
                pass

    def interrupt(self) -> None:
        """End what another thread reads of the body."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def close(self) -> None:
        """Let go of the response, and of the connection if the body was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
