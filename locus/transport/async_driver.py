"""Drives HTTP calls under asyncio and trio. Mirrors ``blocking_driver``.

No event is yielded from inside an async generator, a task group or a cancel scope (PEP 789): a
stream is an object with an ``__anext__`` method, and holds no scope open between two events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Protocol, Self, TypeVar

import anyio

from locus.core.closeable import AsyncCloseable
from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError, make_answer_too_large_error
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport import single_flight
from locus.transport.deadline import Deadline, has_time_for
from locus.transport.prepared_http_call import (
    HttpCall,
    add_headers_to_final_event,
    is_empty_response,
    starts_with_empty_response,
)
from locus.transport.retries import is_retryable, iter_attempts
from locus.transport.senders import (
    MAX_ERROR_BODY_BYTES,
    AsyncResponse,
    AsyncSender,
    make_stream_error,
)
from locus.transport.signer import Signer

T = TypeVar("T")


class EventSource(Protocol):
    """The source of the events of an :class:`AsyncStream`."""

    async def read_next_events(self) -> list[ModelChunkEvent]:
        """Return the next events: at least one, or an empty list at the end of the stream."""
        ...

    async def close(self) -> None:
        """Release everything, also in a task that has been cancelled."""
        ...

    def close_nowait(self) -> None:
        """Release what can be released without awaiting; may be called in any thread."""
        ...


class AsyncStream(AsyncCloseable, AsyncIterator[ModelChunkEvent]):
    """The events of one streamed response: an async iterator and an async context manager.

    The request is sent when the first event is requested. The connection is closed at once when
    the context is left, when the task is cancelled, or when the stream is dropped before its end.
    """

    __slots__ = ("_events", "_source", "_waiting")

    def __init__(self, source: EventSource) -> None:
        self._source: EventSource | None = source
        self._waiting = False
        self._events: Iterator[ModelChunkEvent] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelChunkEvent:
        for event in self._events:
            return event
        if self._source is None:
            raise StopAsyncIteration
        if self._waiting:  # two tasks that wait for the first event would send two requests
            raise RuntimeError("another task is waiting for the next event of this stream")
        self._waiting = True
        try:
            self._events = iter(await self._source.read_next_events())
        except BaseException:
            await self.aclose()
            raise
        finally:
            self._waiting = False
        first = next(self._events, None)
        if first is not None:
            # An error that a retry has overcome keeps this frame by its traceback until it is
            # collected. The frame must not keep the stream.
            del self
            return first
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Release the connection and end the stream. It may be called twice."""
        self._events = iter(())
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    def __del__(self) -> None:
        if self._source is not None:
            self._source.close_nowait()


async def fetch_response(sender: AsyncSender, http_call: HttpCall) -> ModelResponse:
    """Send the call, with retries, and parse its response."""
    deadline = Deadline.start(http_call.deadline)
    if deadline is None:
        return await _fetch_response(sender, http_call, None)
    with anyio.move_on_after(deadline.remaining):
        return await _fetch_response(sender, http_call, deadline)
    raise http_call.error_context.add_context(deadline.make_error())


async def _fetch_response(
    sender: AsyncSender, http_call: HttpCall, deadline: Deadline | None
) -> ModelResponse:
    async def send_once(http_call: HttpCall) -> ModelResponse:
        """Send the request one time, and parse the body of its response."""
        http_response = await _open_successful_response(sender, http_call, stream=False)
        try:
            body = await _read_body(http_response, http_call.max_answer_bytes)
        finally:
            await http_response.aclose()
        try:
            return http_call.parse_response(body, http_response.headers)
        except APIError:
            http_call.error_context.add_sent_headers(http_response.sent_headers)
            raise

    response = await _send_with_retries(http_call, send_once, deadline)
    for delay in http_call.empty_response_delays:
        if not is_empty_response(response) or not has_time_for(deadline, delay):
            break
        await anyio.sleep(delay)
        response = await _send_with_retries(http_call, send_once, deadline)
    return response


async def _read_body(http_response: AsyncResponse, max_bytes: int) -> bytes:
    """Read a body to its end.

    :raises AnswerTooLargeError: if it is larger than ``max_bytes``.
    """
    chunks, size = [], 0
    while chunk := await http_response.read_chunk():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            error = make_answer_too_large_error("the response", max_bytes)
            error.add_response_headers(http_response.headers)
            raise error
    return b"".join(chunks)


def stream_response(
    get_sender: Callable[[HttpCall], Awaitable[AsyncSender]], http_call: HttpCall
) -> AsyncStream:
    """Return the events of the response. Nothing is sent before the first one is requested."""
    return AsyncStream(_HttpCallEventSource(get_sender, http_call))


class _HttpCallEventSource:
    """Sends a call, with retries, and returns the events of its response."""

    __slots__ = ("_deadline", "_get_sender", "_http_call", "_stream")

    def __init__(
        self, get_sender: Callable[[HttpCall], Awaitable[AsyncSender]], http_call: HttpCall
    ) -> None:
        self._get_sender = get_sender
        self._http_call = http_call
        self._stream: _OpenStream | None = None
        self._deadline: Deadline | None = None

    async def read_next_events(self) -> list[ModelChunkEvent]:
        """Return the next events; the first call sends the request."""
        if self._http_call.deadline is None:
            return await self._read_next_events()
        if self._deadline is None:
            self._deadline = Deadline.start(self._http_call.deadline)
            assert self._deadline is not None
        deadline = self._deadline
        with anyio.move_on_after(deadline.remaining):
            return await self._read_next_events()
        error: APIError = deadline.make_error()
        if self._stream is not None:
            error = self._stream.add_partial_response(error)
        raise self._http_call.error_context.add_context(error)

    async def _read_next_events(self) -> list[ModelChunkEvent]:
        http_call, deadline = self._http_call, self._deadline
        if self._stream is not None:
            try:
                return await self._stream.read_next_events()
            except APIError as exc:
                http_call.error_context.add_context(exc)
                raise
        sender = await self._get_sender(http_call)

        async def open_stream_once(
            http_call: HttpCall,
        ) -> tuple[_OpenStream, list[ModelChunkEvent]]:
            """Send the request one time, and read the first events of its response."""
            http_response = await _open_successful_response(sender, http_call, stream=True)
            stream = _OpenStream(http_response, http_call.make_decoder())
            try:
                return stream, await stream.read_next_events()
            except BaseException:
                await stream.close()
                raise

        stream, events = await _send_with_retries(http_call, open_stream_once, deadline)
        for delay in http_call.empty_response_delays:
            if not starts_with_empty_response(events) or not has_time_for(deadline, delay):
                break
            await stream.close()
            await anyio.sleep(delay)
            stream, events = await _send_with_retries(http_call, open_stream_once, deadline)
        self._stream = stream
        return events

    async def close(self) -> None:
        if self._stream is not None:
            await self._stream.close()

    def close_nowait(self) -> None:
        if self._stream is not None:
            self._stream.close_nowait()


class _OpenStream:
    """A response that is being streamed, and the decoder of its body."""

    __slots__ = ("_decoder", "_response")

    def __init__(self, response: AsyncResponse, decoder: Decoder) -> None:
        self._response = response
        self._decoder = decoder

    async def read_next_events(self) -> list[ModelChunkEvent]:
        """Return the next events: at least one, or an empty list at the end of the stream.

        :raises APIError: if the connection failed, or the stream is incomplete or holds an error.
        """
        decoder, response = self._decoder, self._response
        events: list[ModelChunkEvent] = []
        if decoder.failure is None and not decoder.done:
            try:
                while not events and decoder.failure is None:
                    chunk = await response.read_chunk()
                    events = decoder.feed(chunk) if chunk else decoder.close()
                    if not chunk:
                        break
            except APIError as exc:
                stream_error = make_stream_error(exc, decoder)
                stream_error.add_response_headers(response.headers)
                raise stream_error from exc.__cause__
            if decoder.done:
                add_headers_to_final_event(events, response.headers)
                await response.drain()
        if decoder.failure is not None and not events:
            decoder.failure.add_response_headers(response.headers)
            raise decoder.failure
        return events

    def add_partial_response(self, error: APIError) -> APIError:
        """Add what has arrived so far to an error that ends the stream."""
        return make_stream_error(error, self._decoder)

    async def close(self) -> None:
        """Release the connection."""
        await self._response.aclose()

    def close_nowait(self) -> None:
        """Release the connection where nobody can await it; in any thread."""
        self._response.close_nowait()


async def _send_with_credential_refresh(
    sender: AsyncSender, http_call: HttpCall, *, stream: bool
) -> AsyncResponse:
    """Send the request. If it is signed and gets a 401, send it again with new credentials."""
    signer = http_call.signer
    if signer is None:
        return await sender.send(http_call, stream=stream)
    await single_flight.ensure_signer_ready(signer)
    version = signer.credentials_version
    response = await sender.send(http_call, stream=stream)
    if response.status_code != 401 or not await _refresh_credentials_or_close(
        signer, version, response
    ):
        return response
    await response.aclose()
    return await sender.send(http_call, stream=stream)


async def _refresh_credentials_or_close(
    signer: Signer, version: int, response: AsyncResponse
) -> bool:
    """Refresh the signer's credentials; close the response if the caller is cancelled meanwhile."""
    try:
        return await single_flight.refresh_credentials(signer, version)
    except BaseException:  # the caller has been cancelled
        await response.aclose()
        raise


async def _open_successful_response(
    sender: AsyncSender, http_call: HttpCall, *, stream: bool
) -> AsyncResponse:
    """Send the request, and return a response with a success status, its body unread.

    :raises APIStatusError: if the status is 300 or more. The error holds what could be read of the
        body, up to ``MAX_ERROR_BODY_BYTES``.
    """
    response = await _send_with_credential_refresh(sender, http_call, stream=stream)
    if response.status_code < 300:
        return response
    body = bytearray()
    try:
        with suppress(APIError):  # an incomplete body is enough beside the status
            while len(body) < MAX_ERROR_BODY_BYTES and (chunk := await response.read_chunk()):
                body += chunk
    finally:
        await response.aclose()
    http_call.error_context.add_sent_headers(response.sent_headers)
    raise http_call.make_status_error(
        response.status_code, response.headers, bytes(body[:MAX_ERROR_BODY_BYTES])
    )


async def _send_with_retries(
    http_call: HttpCall,
    send_once: Callable[[HttpCall], Awaitable[T]],
    deadline: Deadline | None,
) -> T:
    """Call ``send_once`` until it succeeds, or the retry policy ends the attempts."""
    try:
        return await _send_with_fallback(http_call, send_once)
    except APIError as exc:
        if not http_call.max_retries or not is_retryable(exc):
            raise
        first_error: APIError | None = exc
    async for attempt in iter_attempts(http_call.max_retries, deadline):
        with attempt:
            if first_error is not None:
                try:
                    raise first_error
                finally:
                    first_error = None
            return await _send_with_fallback(http_call, send_once)
    raise AssertionError("stamina ends by returning or raising")


async def _send_with_fallback(
    http_call: HttpCall, send_once: Callable[[HttpCall], Awaitable[T]]
) -> T:
    """Call ``send_once``; after an error that has a fallback, call it with the fallback."""
    try:
        return await send_once(http_call)
    except APIError as exc:
        http_call.error_context.add_context(exc)
        fallback = http_call.find_fallback_call(exc)
        if fallback is None:
            raise
    return await _send_with_fallback(fallback, send_once)
