"""What the drivers send through: a sender takes an HTTP call and gives the response to it.

There are senders for Locus's own connections (``blocking_pool``, ``async_pool``), for clients and
proxies of httpx and httpx2 (``httpx_senders``) and for the SDKs of providers (``sdk_senders`` and
others beside their models). They all raise Locus's own errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from locus.core.decoder_protocol import Decoder
from locus.core.errors import APIError, APITimeoutError
from locus.transport.deadline import Deadline
from locus.transport.prepared_http_call import HttpCall

MAX_ERROR_BODY_BYTES: Final = 1_000_000
"""How much of the body of an error response is read."""
MAX_DRAIN_SECONDS: Final = 0.25
"""Seconds to wait for the end of a body after its stream is complete, to reuse the connection."""


class ResponseInfo(Protocol):
    """What blocking and async responses have in common."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, with lower-case names."""
        ...

    @property
    def sent_headers(self) -> Mapping[str, str]:
        """The headers of the request, as far as they are known."""
        ...


class BlockingResponse(ResponseInfo, Protocol):
    """A response whose body has not been read."""

    def read_chunk(self) -> bytes:
        """Return the next bytes of the body without its content coding; empty at its end.

        :raises APIError: if the rest of the body cannot be read.
        """
        ...

    def drain(self) -> None:
        """Read a body whose content is complete to its end, so that its connection can be reused.

        If the server leaves it open, this gives up after ``MAX_DRAIN_SECONDS``. No error is raised.
        """
        ...

    def interrupt(self) -> None:
        """End what another thread reads of the body, if its connection can be shut down."""
        ...

    def close(self) -> None:
        """Let go of the response. Calling this twice is fine."""
        ...


class BlockingSender(Protocol):
    """Sends calls, and waits for their responses in the thread that calls it."""

    def send(
        self, http_call: HttpCall, *, stream: bool, deadline: Deadline | None = None
    ) -> BlockingResponse:
        """Send the request, and return the response with its body unread.

        :param stream: whether the response will be read piece by piece.
        :param deadline: when the whole call has to be over.
        :raises APIError: if there is no response.
        """
        ...


class AsyncResponse(ResponseInfo, Protocol):
    """A response whose body has not been read."""

    async def read_chunk(self) -> bytes:
        """Return the next bytes of the body without its content coding; empty at its end.

        :raises APIError: if the rest of the body cannot be read.
        """
        ...

    async def drain(self) -> None:
        """Read a body whose content is complete to its end, so that its connection can be reused.

        If the server leaves it open, this gives up after ``MAX_DRAIN_SECONDS``. No error is raised.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the response, also in a task that has been cancelled. Twice is fine."""
        ...

    def close_nowait(self) -> None:
        """Let go of the response where nobody can await it, and nobody reads it; in any thread."""
        ...


class AsyncSender(Protocol):
    """Sends calls, under asyncio and trio."""

    async def send(self, http_call: HttpCall, *, stream: bool) -> AsyncResponse:
        """Send the request, and return the response with its body unread.

        :param stream: whether the response will be read piece by piece.
        :raises APIError: if there is no response.
        """
        ...


def make_stream_error(error: APIError, decoder: Decoder) -> APIError:
    """Make the error for a stream whose connection failed; it holds the partial response."""
    interrupted = decoder.make_interruption_error(f"early: {error}")
    if isinstance(error, APITimeoutError):
        error.partial = interrupted.partial
        return error
    return interrupted
