"""Sends through httpx and httpx2: clients that the caller brings, and proxies of the environment.

Neither library is imported before a client of it, or a proxy, is used. Locus takes from httpx the
bytes of a response as they came, and reads them as it reads those of its own connections: with the
same content codings and limits. Redirects are not followed, whatever a client would do, and no
cookies are kept.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
from anyio.lowlevel import current_token

from locus.core.errors import APIError, ConfigurationError
from locus.core.make_connection_error import make_connection_error, make_timeout_error
from locus.transport.content_coding import ContentDecoder, make_content_decoder
from locus.transport.deadline import Deadline
from locus.transport.environment_proxies import EnvironmentProxy
from locus.transport.httpx_common import (
    ClientCookies,
    build_proxied_request,
    build_request_and_send_options,
    build_transport_options,
    check_client_open,
    get_async_body_class,
    get_sent_headers,
    get_transport_error_classes,
)
from locus.transport.loop_state import (
    MAX_CLOSE_SECONDS,
    LoopResource,
    LoopState,
    get_running_loop_state,
)
from locus.transport.prepared_http_call import HttpCall
from locus.transport.senders import MAX_DRAIN_SECONDS
from locus.transport.transport_errors import DecodingError, LocalProtocolError, make_api_error

if TYPE_CHECKING:
    import httpx


class ErrorConverter(Protocol):
    """Knows the exceptions of a library, and makes Locus's errors of them."""

    @property
    def transport_errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that reading a response body may raise."""
        ...

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for one of ``transport_errors``."""
        ...


class _HttpxErrors:
    """Knows the exceptions of one library.

    :ivar library: the module, ``httpx`` or ``httpx2``.
    :ivar transport_errors: the exceptions that sending and reading may raise.
    """

    __slots__ = ("library", "transport_errors")

    def __init__(self, library: ModuleType) -> None:
        self.library: Any = library
        self.transport_errors = get_transport_error_classes(library)

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for an exception that httpx raised."""
        if isinstance(exc, self.library.TimeoutException):
            return make_timeout_error(exc, response_started=response_started)
        if isinstance(exc, self.library.LocalProtocolError):  # would fail again: not retried
            return APIError(f"the request cannot be sent: {type(exc).__name__}: {exc}")
        return make_connection_error(exc)


# -- responses ---------------------------------------------------------------------------------


class _HttpxResponse:
    """A response of httpx: what blocking and async ones have in common."""

    def __init__(self, response: httpx.Response, errors: ErrorConverter) -> None:
        self._response = response
        self._errors = errors
        # Its content coding is taken off here, unless somebody has read the body already: then
        # httpx has done it.
        self._is_raw = not response.is_stream_consumed
        self._decoder: ContentDecoder | None = None
        self._decoding_error: DecodingError | None = None
        if self._is_raw and "content-encoding" in response.headers:
            try:
                self._decoder = make_content_decoder(response.headers["content-encoding"])
            except DecodingError as exc:
                self._decoding_error = exc

    @property
    def status_code(self) -> int:
        """The status."""
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, with lower-case names."""
        return self._response.headers

    @property
    def sent_headers(self) -> Mapping[str, str]:
        """The headers of the request, as far as they are known."""
        headers: Mapping[str, str] = get_sent_headers(self._response)
        return headers

    def _decode(self, chunk: bytes | None) -> bytes:
        """Return the next bytes of the body without its coding.

        :param chunk: what has arrived; empty to read on from what had arrived before, None at the
            end.
        """
        if self._decoding_error is not None:
            raise self._decoding_error
        decoder = self._decoder
        if decoder is None:
            return chunk or b""
        if chunk:
            decoder.feed(chunk)
        piece = decoder.read_piece()
        if not piece and chunk is None and not decoder.is_complete:
            raise DecodingError("the body ends within its content coding")
        return piece

    def _find_socket(self) -> socket.socket | None:
        """Return the socket of a connection that is this response's alone, or None."""
        if self._response.http_version == "HTTP/2":  # others share it
            return None
        network_stream = self._response.extensions.get("network_stream")
        found: socket.socket | None = network_stream and network_stream.get_extra_info("socket")
        return found


class BlockingHttpxResponse(_HttpxResponse):
    """A blocking response of httpx.

    :param deadline: when the whole call has to be over.
    """

    def __init__(
        self, response: httpx.Response, errors: ErrorConverter, deadline: Deadline | None = None
    ) -> None:
        super().__init__(response, errors)
        self._deadline = deadline
        self._chunks: Iterator[bytes] = (
            response.iter_raw() if self._is_raw else response.iter_bytes()
        )

    def read_chunk(self) -> bytes:
        """Return the next bytes of the body; empty at its end."""
        try:
            piece, chunk = self._decode(b""), None
            while not piece and (chunk := next(self._chunks, None)) is not None:
                if self._deadline is not None and self._deadline.is_over:
                    raise self._deadline.make_error()
                piece = self._decode(chunk)
            return piece or (self._decode(None) if chunk is None else b"")
        except DecodingError as exc:
            raise make_connection_error(exc) from exc
        except self._errors.transport_errors as exc:
            raise self._errors.make_api_error(exc, response_started=True) from exc

    def drain(self) -> None:
        """Read a body whose content is complete to its end; give up after a short time."""
        connection = self._find_socket()
        if connection is None:
            return
        timer = threading.Timer(MAX_DRAIN_SECONDS, _shut_down_socket, (connection,))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # the system has no more threads: the connection is closed instead
            return
        try:
            # The content is complete: an error here only loses the connection.
            with suppress(*self._errors.transport_errors):
                for _ in self._chunks:
                    pass
        finally:
            timer.cancel()

    def interrupt(self) -> None:
        """End what another thread reads of the body, unless the connection is not its alone."""
        connection = self._find_socket()
        if connection is not None:
            _shut_down_socket(connection)

    def close(self) -> None:
        """Let go of the response."""
        self._response.close()


class AsyncHttpxResponse(_HttpxResponse):
    """An async response of httpx."""

    def __init__(self, response: httpx.Response, errors: ErrorConverter) -> None:
        super().__init__(response, errors)
        self._chunks: AsyncIterator[bytes] = (
            response.aiter_raw() if self._is_raw else response.aiter_bytes()
        )
        self._pid = os.getpid()
        self._loop_state: LoopState | None = None

    @classmethod
    def hold(cls, response: httpx.Response, errors: ErrorConverter) -> AsyncHttpxResponse:
        """Make the response, and hold it in the state of the running loop until it is closed."""
        held = cls(response, errors)
        held._loop_state = get_running_loop_state()
        held._loop_state.open_responses.add(held)
        return held

    async def read_chunk(self) -> bytes:
        """Return the next bytes of the body; empty at its end."""
        try:
            piece, chunk = self._decode(b""), None
            while not piece and (chunk := await anext(self._chunks, None)) is not None:
                piece = self._decode(chunk)
            return piece or (self._decode(None) if chunk is None else b"")
        except DecodingError as exc:
            raise make_connection_error(exc) from exc
        except self._errors.transport_errors as exc:
            raise self._errors.make_api_error(exc, response_started=True) from exc

    async def drain(self) -> None:
        """Read a body whose content is complete to its end; give up after a short time."""
        # The content is complete: an error here only loses the connection.
        with anyio.move_on_after(MAX_DRAIN_SECONDS), suppress(*self._errors.transport_errors):
            async for _ in self._chunks:
                pass

    async def aclose(self) -> None:
        """Let go of the response, also in a task that has been cancelled.

        httpx reads through a chain of async generators. Closing the outermost one only drops the
        inner ones, and trio warns when those are collected. So this closes the response and then
        reads once more: the innermost generator fails, and all of them end in order.
        """
        if self._loop_state is not None:
            if self not in self._loop_state.open_responses:
                return  # closed, or its loop has ended
            self._loop_state.open_responses.discard(self)
        with anyio.move_on_after(MAX_CLOSE_SECONDS, shield=True) as scope:
            await self._response.aclose()
            if self._response.http_version == "HTTP/2":
                scope.cancel()  # else it would wait for what others on the connection are sent
            # A RuntimeError means that another task is reading; its read fails and ends them too.
            with suppress(StopAsyncIteration, RuntimeError, *self._errors.transport_errors):
                for _ in range(1000):  # a test transport may go on sending; this loop must end
                    await anext(self._chunks)

    def close_nowait(self) -> None:
        """Shut down the connection without awaiting; the next call in this loop closes the rest."""
        loop_state = self._loop_state
        if loop_state is None or self not in loop_state.open_responses:
            return  # closed, or its loop has ended
        if os.getpid() != self._pid:
            return  # a copy in a forked child: the connection is the parent's
        connection = self._find_socket()
        if connection is not None:
            _shut_down_socket(connection)
        loop_state.pending_closes.append(self.aclose)


def _shut_down_socket(connection: socket.socket) -> None:
    with suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)


# -- clients that the caller brings ------------------------------------------------------------


class BlockingHttpxSender(_HttpxErrors):
    """Sends through a caller's httpx or httpx2 client."""

    __slots__ = ("_cookies", "client")

    def __init__(self, client: Any, library: ModuleType) -> None:
        super().__init__(library)
        self.client = client
        self._cookies = ClientCookies(client, library)

    def send(
        self, http_call: HttpCall, *, stream: bool, deadline: Deadline | None = None
    ) -> BlockingHttpxResponse:
        """Send the request, and return the response with its body unread, streamed or not."""
        check_client_open(self.client)
        try:
            request, options = build_request_and_send_options(self.client, http_call, self.library)
            self._cookies.replace_in(request, http_call.request)
            response: httpx.Response = self.client.send(request, stream=True, **options)
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc
        except self.library.InvalidURL as exc:
            raise ConfigurationError(f"base_url is not a valid URL: {exc}") from exc
        self._cookies.forget_those_of(response)
        return BlockingHttpxResponse(response, self, deadline)


class AsyncHttpxSender(_HttpxErrors):
    """Sends through a caller's httpx or httpx2 client."""

    __slots__ = ("_cookies", "_first_loop", "client")

    def __init__(self, client: Any, library: ModuleType) -> None:
        super().__init__(library)
        self.client = client
        self._cookies = ClientCookies(client, library)
        self._first_loop: weakref.ref[Any] | None = None

    async def send(self, http_call: HttpCall, *, stream: bool) -> AsyncHttpxResponse:
        """Send the request, and return the response with its body unread, streamed or not.

        :raises ConfigurationError: if the client was closed, or belongs to another event loop.
        """
        check_client_open(self.client)
        loop = current_token().native_token
        if self._first_loop is None:
            self._first_loop = weakref.ref(loop)
        try:
            request, options = build_request_and_send_options(self.client, http_call, self.library)
            self._cookies.replace_in(request, http_call.request)
            request.stream = get_async_body_class(self.library)(http_call.request.content)
            response: httpx.Response = await self.client.send(request, stream=True, **options)
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc
        except self.library.InvalidURL as exc:
            raise ConfigurationError(f"base_url is not a valid URL: {exc}") from exc
        except RuntimeError as exc:
            if self._first_loop() is loop:
                raise
            raise ConfigurationError(
                "the client that was passed to this model was first used in another event loop, "
                f"and an async client belongs to one: make a client in each ({exc})"
            ) from exc
        self._cookies.forget_those_of(response)
        return AsyncHttpxResponse.hold(response, self)


# -- proxies of the environment ----------------------------------------------------------------


class BlockingProxySender(_HttpxErrors):
    """Sends through a proxy, on connections of httpx."""

    __slots__ = ("__weakref__", "_close_transport", "_pid", "_proxy", "_transport")

    def __init__(self, proxy: EnvironmentProxy) -> None:
        import httpx

        super().__init__(httpx)
        self._proxy = proxy
        self._open()

    def _open(self) -> None:
        self._transport = self.library.HTTPTransport(**build_transport_options(self._proxy))
        self._pid = os.getpid()
        # Not __del__: in a reference cycle the sockets may be finalized before their owner.
        self._close_transport = weakref.finalize(self, self._transport.close)
        self._close_transport.atexit = False

    def send(
        self, http_call: HttpCall, *, stream: bool, deadline: Deadline | None = None
    ) -> BlockingHttpxResponse:
        """Send the request, and return the response with its body unread, streamed or not."""
        if self._pid != os.getpid():  # in a forked child
            _inherited_transports.append(self._close_transport.detach())
            self._open()
        request_to_send = http_call.build_request_to_send()
        try:
            request = build_proxied_request(request_to_send)
            response = self._transport.handle_request(request)
        except LocalProtocolError as exc:
            raise make_api_error(exc, response_started=False) from exc
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc
        return BlockingHttpxResponse(response, self, deadline)

    def close(self) -> None:
        """Close the connections."""
        if self._pid == os.getpid():
            self._close_transport()


class AsyncProxySender(_HttpxErrors, LoopResource):
    """Sends through a proxy, on connections of httpx, in one event loop."""

    def __init__(self, proxy: EnvironmentProxy) -> None:
        import httpx

        super().__init__(httpx)
        self._transport = httpx.AsyncHTTPTransport(**build_transport_options(proxy))

    async def send(self, http_call: HttpCall, *, stream: bool) -> AsyncHttpxResponse:
        """Send the request, and return the response with its body unread, streamed or not."""
        request_to_send = http_call.build_request_to_send()
        try:
            request = build_proxied_request(request_to_send)
            request.stream = get_async_body_class(self.library)(request_to_send.content)
            response = await self._transport.handle_async_request(request)
        except LocalProtocolError as exc:
            raise make_api_error(exc, response_started=False) from exc
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc
        return AsyncHttpxResponse.hold(response, self)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


_inherited_transports: Final[list[object]] = []
"""In a forked child, those of the parent: closing or collecting them would disturb its own."""
