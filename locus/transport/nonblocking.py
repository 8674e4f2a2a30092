"""Drives calls under asyncio and trio. The mirror image of ``blocking``.

A connection belongs to the event loop it was opened in, so each loop has clients of its own, held
by an async generator: both runtimes close those at the end of a run, and with it the connections.

No event is handed to the caller from inside an async generator, a task group or a cancel scope
(PEP 789): a stream is an object that is asked for its next event.
"""

from __future__ import annotations

import socket
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar

from locus.core.errors import APIError, ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport.call import Call, Decoder, HttpRequest, Signer
from locus.transport.http import (
    DRAIN_SECONDS,
    REFUSAL_BYTES,
    Requests,
    body_class,
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
CLOSE_SECONDS = 2.0
"""How long closing may take when the caller has been cancelled."""


class AsyncSender(Protocol):
    """Opens an answer: through an httpx client, or a provider's SDK."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What reading the body of an answer may raise."""
        ...

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread. Raises an ``APIError``."""
        ...

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for one of ``errors``."""
        ...


class AsyncHttpxSender:
    """Sends through an httpx or httpx2 client."""

    __slots__ = ("client", "errors", "library")

    def __init__(self, client: Any, library: ModuleType) -> None:
        self.client = client
        self.library: Any = library
        self.errors = errors_of(library)

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread, streamed or not."""
        check_open(self.client)
        try:
            built, options = build(self.client, call, self.library)
            built.stream = body_class(self.library)(call.request.content)
            response: httpx.Response = await self.client.send(built, stream=True, **options)
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error
        except self.library.InvalidURL as error:
            raise ConfigurationError(f"base_url makes no valid address: {error}") from error
        return response

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for what httpx raised."""
        return failure(error, self.library, answer_begun=answer_begun)

    async def close(self) -> None:
        """Close the client, if it is Locus's own."""
        await self.client.aclose()


class AsyncTransportSender:
    """Sends through a bare httpx transport: Locus's own connections."""

    __slots__ = ("_requests", "errors", "library", "transport")

    def __init__(self, transport: httpx.AsyncHTTPTransport, library: ModuleType) -> None:
        self.transport = transport
        self.library: Any = library
        self.errors = errors_of(library)
        self._requests = Requests(library)

    async def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, its body unread, streamed or not."""
        request = self._requests.make(call.signed())
        request.stream = body_class(self.library)(call.request.content)
        try:
            return await self.transport.handle_async_request(request)
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for what httpx raised."""
        return failure(error, self.library, answer_begun=answer_begun)

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.aclose()


class AsyncPool:
    """A model's claim to connections, in whichever loop it is used."""

    __slots__ = ("__weakref__",)

    async def sender(self, request: HttpRequest) -> AsyncSender:
        """What sends ``request`` from the current loop."""
        loop = await _current_loop()
        sender = loop.senders.get(weakref.ref(self))
        if sender is None:
            import httpx

            options = connection_options(request.url)
            if goes_direct(request.url):
                sender = AsyncTransportSender(httpx.AsyncHTTPTransport(**options), httpx)
            else:
                sender = AsyncHttpxSender(httpx.AsyncClient(**options), httpx)
            loop.senders[weakref.ref(self, loop.let_go)] = sender
        return sender

    async def aclose(self) -> None:
        """Release the current loop's connections. The next call opens new ones."""
        loop = await _current_loop()
        sender = loop.senders.pop(weakref.ref(self), None)
        if sender is not None:
            await sender.close()


class _Loop:
    """What Locus keeps for one event loop."""

    def __init__(self) -> None:
        self.senders: dict[weakref.ref[AsyncPool], AsyncTransportSender | AsyncHttpxSender] = {}
        # Open streams stand here, so that one which dies in a reference cycle does not take httpx's
        # generators with it: trio would complain of them.
        self.readings: set[_Reading] = set()
        self.abandoned: deque[Callable[[], Awaitable[None]]] = deque()
        self.at_end: list[Callable[[], Awaitable[None]]] = []
        self.turns: weakref.WeakKeyDictionary[Signer, anyio.Lock] = weakref.WeakKeyDictionary()
        self.holder: AsyncGenerator[None, None] | None = None
        self.forget: Callable[[], None] | None = None

    def turn(self, signer: Signer) -> anyio.Lock:
        """For what is done for a signer in a worker thread: one task of the loop at a time.

        The others wait here rather than each in a thread, and find the work done.
        """
        return self.turns.setdefault(signer, anyio.Lock())

    def let_go(self, pool: weakref.ref[AsyncPool]) -> None:
        """A model is gone; this may run in any thread, so closing has to wait."""
        sender = self.senders.pop(pool, None)
        if sender is not None:
            self.abandoned.append(sender.close)

    async def clean_up(self) -> None:
        """Close what was dropped where nobody could await."""
        while self.abandoned:
            await self.abandoned.popleft()()

    async def hold(self) -> AsyncGenerator[None, None]:
        """Held open by the loop, and closed with it."""
        try:
            yield
        finally:
            # The generator knows the loop, and a loop that is known here would live for ever.
            self.holder = None
            if self.forget is not None:
                self.forget()
            self.readings.clear()  # the loop closes httpx's generators, and with them the answers
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self.clean_up()
                while self.senders:
                    _, sender = self.senders.popitem()
                    await sender.close()
                while self.at_end:
                    await self.at_end.pop()()


_loop_state: RunVar[_Loop] = RunVar("locus.transport")


async def _current_loop() -> _Loop:
    loop = _loop_here()
    if loop.abandoned:
        await loop.clean_up()
    return loop


def _loop_here() -> _Loop:
    loop = _loop_state.get(None)
    if loop is None:
        loop = _Loop()
        loop.forget = partial(_loop_state.reset, _loop_state.set(loop))
        loop.holder = loop.hold()
        with suppress(StopIteration):  # it has got to its yield, and awaited nothing on the way
            loop.holder.__anext__().send(None)
    return loop


def at_loop_end(close: Callable[[], Awaitable[None]]) -> None:
    """Have ``close`` called before the current loop ends, to release what belongs to it."""
    _loop_here().at_end.append(close)


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


class AsyncStream(AsyncIterator[ModelChunkEvent]):
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

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

    return await _persist(call, once)


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
        sender, loop = await self._sender(self._call), await _current_loop()

        async def once(call: Call) -> tuple[_Reading, list[ModelChunkEvent]]:
            response = await _open(sender, call, stream=True)
            reading = _Reading(loop, sender, response, call.decoder())
            try:
                return reading, await reading.more()
            except BaseException:
                await reading.close()
                raise

        self._reading, events = await _persist(self._call, once)
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
        self, loop: _Loop, sender: AsyncSender, response: httpx.Response, decoder: Decoder
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
    if not signer.ready():
        async with (await _current_loop()).turn(signer):
            if not signer.ready():
                await to_thread.run_sync(signer.prepare, abandon_on_cancel=True)
    version = signer.version
    response = await sender.open(call, stream=stream)
    if response.status_code != 401 or not await _renew(signer, version, response):
        return response
    await _close(response, response.aiter_bytes(), sender.errors)
    return await sender.open(call, stream=stream)


async def _renew(signer: Signer, version: int, response: httpx.Response) -> bool:
    try:
        async with (await _current_loop()).turn(signer):
            return await to_thread.run_sync(signer.renew, version, abandon_on_cancel=True)
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
