"""Drives HTTP calls in the thread that makes them. Mirrors ``async_driver``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Self, TypeVar

from locus.core.closeable import Closeable
from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError, APITimeoutError, make_answer_too_large_error
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport.deadline import Deadline, has_time_for
from locus.transport.interruption import (
    Interrupted,
    Interruption,
    allow_interruption,
    current_interruption,
    sleep_interruptibly,
)
from locus.transport.prepared_http_call import (
    HttpCall,
    add_headers_to_final_event,
    is_empty_response,
    starts_with_empty_response,
)
from locus.transport.retries import is_retryable, iter_attempts, pause_with
from locus.transport.senders import (
    MAX_ERROR_BODY_BYTES,
    BlockingResponse,
    BlockingSender,
    make_stream_error,
)

T = TypeVar("T")


class BlockingStream(Closeable, Iterator[ModelChunkEvent]):
    """The events of one streamed response: an iterator and a context manager.

    The request is sent when the first event is requested. The connection is closed at once when
    the context is left, or when the stream is dropped before its end.

    :param closing: ends what the events wait for, in another thread.
    """

    __slots__ = ("_closing", "_events")

    def __init__(
        self,
        events: Generator[ModelChunkEvent, None, None],
        closing: Interruption | None = None,
    ) -> None:
        self._events = events
        self._closing = Interruption() if closing is None else closing

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ModelChunkEvent:
        return next(self._events)

    def close(self) -> None:
        """Release the connection and end the stream. It may be called twice, and by any thread.

        The stream also ends for a thread that waits for its next event.
        """
        try:
            self._events.close()
        except ValueError:  # the generator is running: that thread
            self._closing.request()


def fetch_response(sender: BlockingSender, http_call: HttpCall) -> ModelResponse:
    """Send the call, with retries, and parse its response."""
    deadline = Deadline.start(http_call.deadline)
    if deadline is None:
        return _fetch_response(sender, http_call, None)
    with _keep_deadline(http_call, deadline):
        return _fetch_response(sender, http_call, deadline)


def _fetch_response(
    sender: BlockingSender, http_call: HttpCall, deadline: Deadline | None
) -> ModelResponse:
    def send_once(http_call: HttpCall) -> ModelResponse:
        """Send the request one time, and parse the body of its response."""
        http_response = _open_successful_response(sender, http_call, deadline, stream=False)
        try:
            body = _read_body(http_response, http_call.max_answer_bytes)
        finally:
            http_response.close()
        try:
            return http_call.parse_response(body, http_response.headers)
        except APIError:
            http_call.error_context.add_sent_headers(http_response.sent_headers)
            raise

    response = _send_with_retries(http_call, send_once, deadline)
    for delay in http_call.empty_response_delays:
        if not is_empty_response(response) or not has_time_for(deadline, delay):
            break
        sleep_interruptibly(delay)
        response = _send_with_retries(http_call, send_once, deadline)
    return response


def _read_body(http_response: BlockingResponse, max_bytes: int) -> bytes:
    """Read a body to its end.

    :raises AnswerTooLargeError: if it is larger than ``max_bytes``.
    """
    chunks, size = [], 0
    while chunk := http_response.read_chunk():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            error = make_answer_too_large_error("the response", max_bytes)
            error.add_response_headers(http_response.headers)
            raise error
    return b"".join(chunks)


@contextmanager
def _keep_deadline(http_call: HttpCall, deadline: Deadline) -> Iterator[None]:
    """Make the error of the deadline of a timeout that ends the block after it.

    :raises APITimeoutError: that error.
    """
    try:
        yield
    except APITimeoutError as exc:
        if not deadline.is_over or exc.deadline_exceeded:
            raise
        error = deadline.make_error()
        error.partial = exc.partial
        raise http_call.error_context.add_context(error) from exc


def stream_response(
    get_sender: Callable[[HttpCall], BlockingSender], http_call: HttpCall
) -> BlockingStream:
    """Return the events of the response. Nothing is sent before the first one is requested."""
    closing = Interruption()
    return BlockingStream(_iter_events(get_sender, http_call, closing), closing)


def _iter_events(
    get_sender: Callable[[HttpCall], BlockingSender], http_call: HttpCall, closing: Interruption
) -> Generator[ModelChunkEvent, None, None]:
    """Send the call, with retries, and yield the events of its response.

    :param closing: ends this, whatever it waits for.
    """
    sender = get_sender(http_call)
    deadline = Deadline.start(http_call.deadline)

    def open_stream_once(http_call: HttpCall) -> tuple[_OpenStream, list[ModelChunkEvent]]:
        """Send the request one time, and read the first events of its response."""
        http_response = _open_successful_response(sender, http_call, deadline, stream=True)
        stream = _OpenStream(http_response, http_call.make_decoder(), closing)
        try:
            return stream, stream.read_next_events()
        except BaseException:
            stream.close()
            raise

    def open_stream() -> tuple[_OpenStream, list[ModelChunkEvent]]:
        """Open the stream, and again where it is empty; return it with its first events."""
        stream, events = _send_with_retries(http_call, open_stream_once, deadline)
        for delay in http_call.empty_response_delays:
            if not starts_with_empty_response(events) or not has_time_for(deadline, delay):
                break
            stream.close()
            sleep_interruptibly(delay)
            stream, events = _send_with_retries(http_call, open_stream_once, deadline)
        return stream, events

    closing.outer = current_interruption.get()
    try:
        with allow_interruption(closing):
            if deadline is None:
                stream, events = open_stream()
            else:
                with _keep_deadline(http_call, deadline):
                    stream, events = open_stream()
    except Interrupted:
        if closing.is_requested:
            return
        raise
    try:
        while events:
            yield from events
            if deadline is None:
                events = stream.read_next_events()
            else:
                with _keep_deadline(http_call, deadline):
                    events = stream.read_next_events()
    except APIError as exc:
        if closing.is_requested:
            return
        http_call.error_context.add_context(exc)
        raise
    finally:
        stream.close()


class _OpenStream:
    """A response that is being streamed, and the decoder of its body.

    :param closing: ends the reading.
    """

    __slots__ = ("_closing", "_decoder", "_response")

    def __init__(self, response: BlockingResponse, decoder: Decoder, closing: Interruption) -> None:
        self._response = response
        self._decoder = decoder
        self._closing = closing
        closing.attach(response.interrupt)

    def read_next_events(self) -> list[ModelChunkEvent]:
        """Return the next events: at least one, or an empty list at the end of the stream.

        :raises APIError: if the connection failed, or the stream is incomplete or holds an error.
        """
        decoder, response = self._decoder, self._response
        events: list[ModelChunkEvent] = []
        if decoder.failure is None and not decoder.done:
            try:
                while not events and decoder.failure is None:
                    chunk = response.read_chunk()
                    events = decoder.feed(chunk) if chunk else decoder.close()
                    if not chunk:
                        break
            except APIError as exc:
                stream_error = make_stream_error(exc, decoder)
                stream_error.add_response_headers(response.headers)
                raise stream_error from exc.__cause__
            if decoder.done:
                add_headers_to_final_event(events, response.headers)
                self._closing.detach()  # the connection is another call's soon
                response.drain()
        if decoder.failure is not None and not events:
            decoder.failure.add_response_headers(response.headers)
            raise decoder.failure
        return events

    def close(self) -> None:
        """Release the connection."""
        self._closing.detach()
        self._response.close()


def _send_with_credential_refresh(
    sender: BlockingSender, http_call: HttpCall, deadline: Deadline | None, *, stream: bool
) -> BlockingResponse:
    """Send the request. If it is signed and gets a 401, send it again with new credentials."""
    signer = http_call.signer
    if signer is None:
        return sender.send(http_call, stream=stream, deadline=deadline)
    if not signer.is_ready():
        signer.ensure_ready()
    version = signer.credentials_version
    response = sender.send(http_call, stream=stream, deadline=deadline)
    if response.status_code != 401 or not signer.refresh_credentials(version):
        return response
    response.close()
    return sender.send(http_call, stream=stream, deadline=deadline)


def _open_successful_response(
    sender: BlockingSender, http_call: HttpCall, deadline: Deadline | None, *, stream: bool
) -> BlockingResponse:
    """Send the request, and return a response with a success status, its body unread.

    :raises APIStatusError: if the status is 300 or more. The error holds what could be read of the
        body, up to ``MAX_ERROR_BODY_BYTES``.
    """
    response = _send_with_credential_refresh(sender, http_call, deadline, stream=stream)
    if response.status_code < 300:
        return response
    body = bytearray()
    try:
        with suppress(APIError):  # an incomplete body is enough beside the status
            while len(body) < MAX_ERROR_BODY_BYTES and (chunk := response.read_chunk()):
                body += chunk
    finally:
        response.close()
    http_call.error_context.add_sent_headers(response.sent_headers)
    raise http_call.make_status_error(
        response.status_code, response.headers, bytes(body[:MAX_ERROR_BODY_BYTES])
    )


def _send_with_retries(
    http_call: HttpCall, send_once: Callable[[HttpCall], T], deadline: Deadline | None
) -> T:
    """Call ``send_once`` until it succeeds, or the retry policy ends the attempts."""
    try:
        return _send_with_fallback(http_call, send_once, deadline)
    except APIError as exc:
        if not http_call.max_retries or not is_retryable(exc):
            raise
        first_error: APIError | None = exc
    for attempt in iter_attempts(http_call.max_retries, deadline):
        pause_with(attempt, sleep_interruptibly)
        with attempt:
            if first_error is not None:
                try:
                    raise first_error
                finally:
                    first_error = None
            return _send_with_fallback(http_call, send_once, deadline)
    raise AssertionError("stamina ends by returning or raising")


def _send_with_fallback(
    http_call: HttpCall, send_once: Callable[[HttpCall], T], deadline: Deadline | None
) -> T:
    """Call ``send_once``; after an error that has a fallback, call it with the fallback."""
    try:
        if deadline is None:
            return send_once(http_call)
        if deadline.is_over:
            raise deadline.make_error()
        return send_once(http_call.limit_timeout(deadline.remaining))
    except APIError as exc:
        http_call.error_context.add_context(exc)
        fallback = http_call.find_fallback_call(exc)
        if fallback is None:
            raise
    return _send_with_fallback(fallback, send_once, deadline)
