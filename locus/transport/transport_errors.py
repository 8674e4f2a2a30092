"""What may go wrong between the first byte of a request and the last one of its response.

These errors stay inside the transport. A response raises Locus's own (:func:`make_api_error`),
which show the names of these classes. No message holds anything that a server has sent: it may
repeat a key.
"""

from __future__ import annotations

from locus.core.errors import APIError
from locus.core.make_connection_error import make_connection_error, make_timeout_error


class TransportError(Exception):
    """The base of these errors."""


class LocalProtocolError(TransportError):
    """The request cannot be sent in HTTP/1.1."""


class ConnectError(TransportError):
    """No connection could be opened."""


class ReadError(TransportError):
    """The connection failed while the response was read."""


class WriteError(TransportError):
    """The connection failed while the request was sent."""


class RemoteProtocolError(TransportError):
    """The server has sent something else than a complete HTTP/1.1 response."""


class DecodingError(TransportError):
    """The content coding of a body cannot be taken off."""


class TransportTimeout(TransportError):
    """The base of the errors for a server that lets Locus wait for too long."""


class ConnectTimeout(TransportTimeout):
    """No connection was opened in time."""


class ReadTimeout(TransportTimeout):
    """The server sent nothing for too long."""


class WriteTimeout(TransportTimeout):
    """The server received nothing for too long."""


def make_api_error(exc: TransportError, *, response_started: bool) -> APIError:
    """Make Locus's error for one of these.

    :param response_started: whether the head of the response had arrived.
    """
    if isinstance(exc, LocalProtocolError):  # it would fail again, and is not retried
        return APIError(f"the request cannot be sent: {type(exc).__name__}: {exc}")
    if isinstance(exc, TransportTimeout):
        return make_timeout_error(exc, response_started=response_started)
    return make_connection_error(exc)
