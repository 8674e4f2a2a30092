"""Drives calls in the thread that makes them. The mirror image of ``nonblocking``.

A pool of connections belongs to the model that opened it. It may be used by any number of
threads; a forked child opens its own.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from locus.core.errors import APIError, ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport.call import Call, Decoder, HttpRequest
from locus.transport.http import (
    DRAIN_SECONDS,
    REFUSAL_BYTES,
    Requests,
    build,
    check_open,
    connection_options,
    cut_short,
    errors_of,
    failure,
    goes_direct,
)
from locus.transport.retries import attempts, worth_retrying

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


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


class HttpxSender:
    """Sends through an httpx or httpx2 client."""

    __slots__ = ("client", "errors", "library")

    def __init__(self, client: Any, library: ModuleType) -> None:
        self.client = client
        self.library: Any = library
        self.errors = errors_of(library)

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

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for what httpx raised."""
        return failure(error, self.library, answer_begun=answer_begun)

    def close(self) -> None:
        """Close the client, if it is Locus's own."""
        self.client.close()


class TransportSender:
    """Sends through a bare httpx transport: Locus's own connections."""

    __slots__ = ("_requests", "errors", "library", "transport")

    def __init__(self, transport: httpx.HTTPTransport, library: ModuleType) -> None:
        self.transport = transport
        self.library: Any = library
        self.errors = errors_of(library)
        self._requests = Requests(library)

    def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread, streamed or not."""
        try:
            return self.transport.handle_request(self._requests.make(call.signed()))
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for what httpx raised."""
        return failure(error, self.library, answer_begun=answer_begun)

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


class BlockingStream(Iterator[ModelChunkEvent]):
    """The events of one streamed answer: an iterator, and a context manager that closes it.

    The request is sent when the first event is asked for. Leaving the loop and dropping the
    stream, or leaving the context, closes the connection at once.
    """

    __slots__ = ("_events",)

    def __init__(self, events: Generator[ModelChunkEvent, None, None]) -> None:
        self._events = events

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ModelChunkEvent:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connection; the stream is over. Calling it twice is fine."""
        self._events.close()


def complete(sender: Sender, call: Call) -> ModelResponse:
    """One whole answer."""

    def once(call: Call) -> ModelResponse:
        response = _open(sender, call, stream=False)
        try:
            body = response.read()
        except sender.errors as error:
            raise sender.failure(error, answer_begun=True) from error
        finally:
            response.close()
        return call.read(body)

    return _persist(call, once)


def stream(sender: Callable[[Call], Sender], call: Call) -> BlockingStream:
    """One answer as it arrives."""
    return BlockingStream(_events(sender, call))


def _events(
    get_sender: Callable[[Call], Sender], call: Call
) -> Generator[ModelChunkEvent, None, None]:
    sender = get_sender(call)

    def once(call: Call) -> tuple[_Reading, list[ModelChunkEvent]]:
        reading = _Reading(sender, _open(sender, call, stream=True), call.decoder())
        try:
            return reading, reading.more()
        except BaseException:
            reading.close()
            raise

    reading, events = _persist(call, once)
    try:
        while events:
            yield from events
            events = reading.more()
    except APIError as error:
        call.asked.tell(error)
        raise
    finally:
        reading.close()


class _Reading:
    """An open stream: the answer, and the decoder that reads it."""

    __slots__ = ("_chunks", "_decoder", "_response", "_sender")

    def __init__(self, sender: Sender, response: httpx.Response, decoder: Decoder) -> None:
        self._sender = sender
        self._response = response
        self._decoder = decoder
        # Two generators fewer for each read; a test transport's answer may have been read already.
        plain = "content-encoding" not in response.headers and not response.is_stream_consumed
        self._chunks = response.iter_raw() if plain else response.iter_bytes()

    def more(self) -> list[ModelChunkEvent]:
        """The next events, at least one; none at the end. Raises an ``APIError``."""
        decoder = self._decoder
        events: list[ModelChunkEvent] = []
        if decoder.failure is None and not decoder.done:
            try:
                for chunk in self._chunks:
                    events = decoder.feed(chunk)
                    if events or decoder.failure is not None:
                        break
                else:
                    events = decoder.close()
            except self._sender.errors as error:
                raise cut_short(self._sender.failure(error, answer_begun=True), decoder) from error
            if decoder.done:
                self._drain()
        if decoder.failure is not None and not events:
            raise decoder.failure
        return events

    def _drain(self) -> None:
        """Read on to the end of the body, so that the connection can be used again.

        Nearly always the body ends with the answer. A server that is silent instead is cut off.
        """
        network = self._response.extensions.get("network_stream")
        connection = network and network.get_extra_info("socket")
        if connection is None:
            return
        watch = threading.Timer(DRAIN_SECONDS, _shut_down, (connection,))
        watch.daemon = True
        watch.start()
        try:
            with suppress(*self._sender.errors):  # the answer is whole; only its connection is lost
                for _ in self._chunks:
                    pass
        finally:
            watch.cancel()

    def close(self) -> None:
        """Release the connection."""
        self._response.close()


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)


def _send(sender: Sender, call: Call, *, stream: bool) -> httpx.Response:
    """The answer; of a signed request that got a 401, the answer to it with new credentials."""
    signer = call.signer
    if signer is None:
        return sender.open(call, stream=stream)
    if not signer.ready():
        signer.prepare()
    version = signer.version
    response = sender.open(call, stream=stream)
    if response.status_code != 401 or not signer.renew(version):
        return response
    response.close()
    return sender.open(call, stream=stream)


def _open(sender: Sender, call: Call, *, stream: bool) -> httpx.Response:
    """An answer that is no refusal; of one, as much of the body as can be had goes in the error."""
    response = _send(sender, call, stream=stream)
    if response.status_code < 300:
        return response
    body = bytearray()
    try:
        with suppress(*sender.errors):  # the status says enough
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) >= REFUSAL_BYTES:
                    break
    finally:
        response.close()
    raise call.refusal(response.status_code, response.headers, bytes(body))


def _persist(call: Call, once: Callable[[Call], T]) -> T:
    """``once``, as often as the call's patience and the failures allow."""
    try:
        return _attempt(call, once)
    except APIError as error:
        if not call.max_retries or not worth_retrying(error):
            raise
        first: APIError | None = error
    for attempt in attempts(call.max_retries):
        with attempt:
            if first is not None:
                try:
                    raise first
                finally:
                    first = None
            return _attempt(call, once)
    raise AssertionError("stamina ends by returning or raising")


def _attempt(call: Call, once: Callable[[Call], T]) -> T:
    try:
        return once(call)
    except APIError as error:
        call.asked.tell(error)
        other = call.otherwise(error)
        if other is None:
            raise
    return _attempt(other, once)
