"""Drives calls under asyncio and trio. The mirror image of ``blocking``.

No event is handed to the caller from inside an async generator, a task group or a cancel scope
(PEP 789): a stream is an object that is asked for its next event.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import anyio

from locus.core.closeable import AsyncCloseable
from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport import single_flight
from locus.transport.async_pool import CLOSE_SECONDS, AsyncSender, Loop, current_loop
from locus.transport.http_call import Call, Signer, says_nothing, says_nothing_at_all
from locus.transport.httpx_compat import DRAIN_SECONDS, REFUSAL_BYTES, cut_short
from locus.transport.retries import attempts, worth_retrying

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class Source(Protocol):
    """Where an :class:`AsyncStream` gets its events."""

    async def more(self) -> list[ModelChunkEvent]:
        """The next events, at least one; none at the end."""
        ...

    async def close(self) -> None:
        """Release what is held, also in a task that has been cancelled."""
        ...

    def abandon(self) -> None:
        """Release what can be released without awaiting; may be called in any thread."""
        ...


class AsyncStream(AsyncCloseable, AsyncIterator[ModelChunkEvent]):
    """The events of one streamed answer: an async iterator, and a context manager that closes it.

    The request is sent when the first event is asked for. Leaving the loop and dropping the
    stream, or leaving the context, closes the connection at once; so does cancelling.
    """

    __slots__ = ("_events", "_source", "_waiting")

    def __init__(self, source: Source) -> None:
        self._source: Source | None = source
        self._waiting = False
        self._events: Iterator[ModelChunkEvent] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelChunkEvent:
        for event in self._events:
            return event
        if self._source is None:
            raise StopAsyncIteration
        if self._waiting:  # the first event asked for twice would send the request twice
            raise RuntimeError("another task is waiting for the next event of this stream")
        self._waiting = True
        try:
            self._events = iter(await self._source.more())
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._waiting = False
        first = next(self._events, None)
        if first is not None:
            # The traceback of an error that was overcome on the way here, by another try say, may
            # keep this frame until the garbage is collected. It must not keep the stream.
            del self
            return first
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Release the connection; the stream is over. Calling it twice is fine."""
        self._events = iter(())
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    def __del__(self) -> None:
        if self._source is not None:
            self._source.abandon()


async def complete(sender: AsyncSender, call: Call) -> ModelResponse:
    """One whole answer."""

    async def once(call: Call) -> ModelResponse:
        response = await _open(sender, call, stream=False)
        try:
            body = await response.aread()
        except sender.errors as error:
            raise sender.failure(error, answer_begun=True) from error
        finally:
            if not response.is_closed:
                with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                    await response.aclose()
        return call.read(body)

    answer = await _persist(call, once)
    for pause in call.pauses:
        if not says_nothing(answer):
            break
        await anyio.sleep(pause)
        answer = await _persist(call, once)
    return answer


def stream(sender: Callable[[Call], Awaitable[AsyncSender]], call: Call) -> AsyncStream:
    """One answer as it arrives."""
    return AsyncStream(_CallSource(sender, call))


class _CallSource:
    """The events of a call."""

    __slots__ = ("_call", "_reading", "_sender")

    def __init__(self, sender: Callable[[Call], Awaitable[AsyncSender]], call: Call) -> None:
        self._sender = sender
        self._call = call
        self._reading: _Reading | None = None

    async def more(self) -> list[ModelChunkEvent]:
        if self._reading is not None:
            try:
                return await self._reading.more()
            except APIError as error:
                self._call.asked.tell(error)
                raise
        sender, loop = await self._sender(self._call), await current_loop()

        async def once(call: Call) -> tuple[_Reading, list[ModelChunkEvent]]:
            response = await _open(sender, call, stream=True)
            reading = _Reading(loop, sender, response, call.decoder())
            try:
                return reading, await reading.more()
            except BaseException:
                await reading.close()
                raise

        reading, events = await _persist(self._call, once)
        for pause in self._call.pauses:
            if not says_nothing_at_all(events):
                break
            await reading.close()
            await anyio.sleep(pause)
            reading, events = await _persist(self._call, once)
        self._reading = reading
        return events

    async def close(self) -> None:
        if self._reading is not None:
            await self._reading.close()

    def abandon(self) -> None:
        if self._reading is not None:
            self._reading.abandon()


class _Reading:
    """An open stream: the answer, and the decoder that reads it."""

    __slots__ = ("_chunks", "_decoder", "_loop", "_response", "_sender")

    def __init__(
        self, loop: Loop, sender: AsyncSender, response: httpx.Response, decoder: Decoder
    ) -> None:
        self._loop = loop
        self._sender = sender
        self._response = response
        self._decoder = decoder
        # Two generators fewer for each read; a test transport's answer may have been read already.
        plain = "content-encoding" not in response.headers and not response.is_stream_consumed
        self._chunks = response.aiter_raw() if plain else response.aiter_bytes()
        loop.readings.add(self)

    async def more(self) -> list[ModelChunkEvent]:
        """The next events, at least one; none at the end. Raises an ``APIError``."""
        decoder = self._decoder
        events: list[ModelChunkEvent] = []
        if decoder.failure is None and not decoder.done:
            try:
                async for chunk in self._chunks:
                    events = decoder.feed(chunk)
                    if events or decoder.failure is not None:
                        break
                else:
                    events = decoder.close()
            except self._sender.errors as error:
                raise cut_short(self._sender.failure(error, answer_begun=True), decoder) from error
            if decoder.done:
                await self._drain()
        if decoder.failure is not None and not events:
            raise decoder.failure
        return events

    async def _drain(self) -> None:
        """Read on to the end of the body, so that the connection can be used again.

        Nearly always the body ends with the answer. A server that is silent instead is cut off.
        """
        with anyio.move_on_after(DRAIN_SECONDS), suppress(*self._sender.errors):
            async for _ in self._chunks:
                pass

    async def close(self) -> None:
        """Release the connection."""
        if self in self._loop.readings:
            self._loop.readings.discard(self)
            await _close(self._response, self._chunks, self._sender.errors)

    def abandon(self) -> None:
        """Close the connection where nobody can await; the rest is done at the next occasion."""
        if self not in self._loop.readings:
            return  # closed, or its loop has ended
        network = self._response.extensions.get("network_stream")
        connection = network and network.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)
        self._loop.abandoned.append(self.close)


async def _send(sender: AsyncSender, call: Call, *, stream: bool) -> httpx.Response:
    """The answer; of a signed request that got a 401, the answer to it with new credentials."""
    signer = call.signer
    if signer is None:
        return await sender.open(call, stream=stream)
    await single_flight.prepare(signer)
    version = signer.version
    response = await sender.open(call, stream=stream)
    if response.status_code != 401 or not await _renew(signer, version, response):
        return response
    await _close(response, response.aiter_bytes(), sender.errors)
    return await sender.open(call, stream=stream)


async def _renew(signer: Signer, version: int, response: httpx.Response) -> bool:
    try:
        return await single_flight.renew(signer, version)
    except BaseException:  # the caller has been cancelled
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await response.aclose()
        raise


async def _open(sender: AsyncSender, call: Call, *, stream: bool) -> httpx.Response:
    """An answer that is no refusal; of one, as much of the body as can be had goes in the error."""
    response = await _send(sender, call, stream=stream)
    if response.status_code < 300:
        return response
    body = bytearray()
    chunks = response.aiter_bytes()
    try:
        with suppress(*sender.errors):  # the status says enough
            async for chunk in chunks:
                body += chunk
                if len(body) >= REFUSAL_BYTES:
                    break
    finally:
        await _close(response, chunks, sender.errors)
    raise call.refusal(response.status_code, response.headers, bytes(body))


async def _close(
    response: httpx.Response, chunks: AsyncIterator[bytes], errors: tuple[type[Exception], ...]
) -> None:
    """Release the connection, also in a task that has been cancelled.

    httpx reads through a chain of async generators, and closing the outer one only drops the
    inner ones, which trio complains of. Reading on fails in the innermost instead, now that the
    connection is closed, and all of them end in order.
    """
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        await response.aclose()
        # A RuntimeError says that another task reads; its reading fails, and ends them likewise.
        with suppress(StopAsyncIteration, RuntimeError, *errors):
            for _ in range(1000):  # a test transport may have more to say; not for ever
                await anext(chunks)


async def _persist(call: Call, once: Callable[[Call], Awaitable[T]]) -> T:
    """``once``, as often as the call's patience and the failures allow."""
    try:
        return await _attempt(call, once)
    except APIError as error:
        if not call.max_retries or not worth_retrying(error):
            raise
        first: APIError | None = error
    async for attempt in attempts(call.max_retries):
        with attempt:
            if first is not None:
                try:
                    raise first
                finally:
                    first = None
            return await _attempt(call, once)
    raise AssertionError("stamina ends by returning or raising")


async def _attempt(call: Call, once: Callable[[Call], Awaitable[T]]) -> T:
    try:
        return await once(call)
    except APIError as error:
        call.asked.tell(error)
        other = call.otherwise(error)
        if other is None:
            raise
    return await _attempt(other, once)
