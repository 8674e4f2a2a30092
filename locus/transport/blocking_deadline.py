"""Ends blocking reads and writes at a deadline, however often a byte arrives.

A timeout of httpx limits one read of a socket. A server that sends a byte from time to time would
never exceed it. So the sockets of Locus's own blocking connections know the deadline of the call
that uses them, and wait no longer than that. What they read can be interrupted, too
(:mod:`locus.transport.interruption`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from locus.transport.deadline import Deadline
from locus.transport.interruption import current_interruption

if TYPE_CHECKING:
    import httpx

_current_deadline: ContextVar[Deadline | None] = ContextVar("locus_deadline", default=None)


@contextmanager
def limit_blocking_calls(deadline: Deadline | None) -> Iterator[None]:
    """Limit what sockets do in this block to the deadline; None does nothing."""
    if deadline is None:
        yield
        return
    token = _current_deadline.set(deadline)
    try:
        yield
    finally:
        _current_deadline.reset(token)


def install_deadlines(transport: httpx.HTTPTransport) -> None:
    """Make the future connections of a transport of Locus's own keep to deadlines."""
    pool: Any = transport._pool
    backend = getattr(pool, "_network_backend", None)
    if backend is not None:  # else a newer httpcore: timeouts still limit each read
        pool._network_backend = _get_backend_class()(backend)


def _limit_timeout(timeout: float | None, error_class: type[Exception]) -> float | None:
    """Return the timeout of one operation, no longer than the time that is left.

    :raises Exception: the error of ``error_class`` if no time is left.
    """
    deadline = _current_deadline.get()
    if deadline is None:
        return timeout
    remaining = deadline.remaining
    if remaining <= 0:
        raise error_class("the deadline of the call is over")
    return remaining if timeout is None else min(timeout, remaining)


@cache
def _get_backend_class() -> Any:
    """Return the class of the network backend; httpcore is imported here, not with Locus."""
    import httpcore

    class LimitedStream(httpcore.NetworkStream):
        """A connection whose operations end at the deadline of the call."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def close(self) -> None:
            self._stream.close()

        def get_extra_info(self, info: str) -> Any:
            return self._stream.get_extra_info(info)

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            timeout = _limit_timeout(timeout, httpcore.ReadTimeout)
            interruption = current_interruption.get()
            data: bytes
            if interruption is None:
                data = self._stream.read(max_bytes, timeout)
            else:
                data = interruption.run(
                    partial(self._stream.read, max_bytes, timeout), self._shut_down
                )
            return data

        def _shut_down(self) -> None:
            """End what another thread reads."""
            connection = self._stream.get_extra_info("socket")
            if connection is not None:
                with suppress(OSError):  # closed already
                    connection.shutdown(socket.SHUT_RDWR)

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._stream.write(buffer, _limit_timeout(timeout, httpcore.WriteTimeout))

        def start_tls(
            self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
        ) -> Any:
            timeout = _limit_timeout(timeout, httpcore.ConnectTimeout)
            stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
            return LimitedStream(stream)

    class LimitedBackend(httpcore.NetworkBackend):
        """Opens connections whose operations end at the deadline of the call."""

        def __init__(self, backend: Any) -> None:
            self._backend = backend

        def sleep(self, seconds: float) -> None:
            self._backend.sleep(seconds)

        def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Any = None,
        ) -> Any:
            timeout = _limit_timeout(timeout, httpcore.ConnectTimeout)
            stream = self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
            return LimitedStream(stream)

    return LimitedBackend
