"""The connections of blocking calls, and what sends. The mirror image of ``nonblocking_pool``.

A pool of connections belongs to the model that opened it. It may be used by any number of
threads; a forked child opens its own.
"""

from __future__ import annotations

import os
import threading
import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from locus.core.errors import APIError, ConfigurationError
from locus.transport.http_call import Call, HttpRequest
from locus.transport.httpx_compat import (
    Requests,
    ThroughHttpx,
    build,
    check_open,
    connection_options,
    goes_direct,
)

if TYPE_CHECKING:
    import httpx


class Sender(Protocol):
    """Opens an answer: through an httpx client, or a provider's SDK."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What reading the body of an answer may raise."""
        ...

    def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread. Raises an ``APIError``."""
        ...

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for one of ``errors``."""
        ...


class HttpxSender(ThroughHttpx):
    """Sends through an httpx or httpx2 client."""

    __slots__ = ("client",)

    def __init__(self, client: Any, library: ModuleType) -> None:
        super().__init__(library)
        self.client = client

    def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread, streamed or not."""
        check_open(self.client)
        try:
            built, options = build(self.client, call, self.library)
            response: httpx.Response = self.client.send(built, stream=True, **options)
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error
        except self.library.InvalidURL as error:
            raise ConfigurationError(f"base_url makes no valid address: {error}") from error
        return response

    def close(self) -> None:
        """Close the client, if it is Locus's own."""
        self.client.close()


class TransportSender(ThroughHttpx):
    """Sends through a bare httpx transport: Locus's own connections."""

    __slots__ = ("_requests", "transport")

    def __init__(self, transport: httpx.HTTPTransport, library: ModuleType) -> None:
        super().__init__(library)
        self.transport = transport
        self._requests = Requests(library)

    def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread, streamed or not."""
        try:
            return self.transport.handle_request(self._requests.make(call.signed()))
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


class BlockingPool:
    """The connections of one model in this process, opened when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[TransportSender | HttpxSender] = []  # one, or none
        # Not __del__: of a model that is part of a reference cycle, the sockets may go first.
        weakref.finalize(self, _close_all, self._open)
        _pools.add(self)

    def sender(self, request: HttpRequest) -> Sender:
        """What sends ``request``."""
        for sender in self._open:
            return sender
        import httpx

        with self._lock:
            if not self._open:
                options = connection_options(request.url)
                if goes_direct(request.url):
                    self._open.append(TransportSender(httpx.HTTPTransport(**options), httpx))
                else:
                    self._open.append(HttpxSender(httpx.Client(**options), httpx))
            return self._open[0]

    def close(self) -> None:
        """Release the connections. The next call opens new ones."""
        with self._lock:
            _close_all(self._open)

    def forget(self) -> None:
        """In a forked child: the connections are the parent's, and perhaps the lock is taken."""
        _inherited.extend(self._open)  # not closed and not collected: either would disturb them
        self._open.clear()
        self._lock = threading.Lock()


def _close_all(senders: list[TransportSender | HttpxSender]) -> None:
    while senders:
        senders.pop().close()


_pools: weakref.WeakSet[BlockingPool] = weakref.WeakSet()
_inherited: list[Sender] = []


def _after_fork() -> None:
    for pool in list(_pools):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
