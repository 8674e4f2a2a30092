"""Drives calls in the thread that makes them. The mirror image of ``nonblocking``."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Self, TypeVar

from locus.core.closeable import Closeable
from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport.blocking_pool import Sender
from locus.transport.http_call import Call, says_nothing, says_nothing_at_all
from locus.transport.httpx_compat import DRAIN_SECONDS, REFUSAL_BYTES, cut_short
from locus.transport.retries import attempts, worth_retrying

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class BlockingStream(Closeable, Iterator[ModelChunkEvent]):
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

    answer = _persist(call, once)
    for pause in call.pauses:
        if not says_nothing(answer):
            break
        time.sleep(pause)
        answer = _persist(call, once)
    return answer


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
    for pause in call.pauses:
        if not says_nothing_at_all(events):
            break
        reading.close()
        time.sleep(pause)
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
