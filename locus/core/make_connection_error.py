"""Makes the errors for requests that got no response: a failed connection, a timeout."""

from __future__ import annotations

from locus.core.errors import APIConnectionError, APITimeoutError


def make_connection_error(exc: BaseException) -> APIConnectionError:
    """Make the error for a connection that failed with ``exc``."""
    return APIConnectionError(f"the connection failed: {_describe_exception(exc)}")


def make_timeout_error(exc: BaseException, *, response_started: bool) -> APITimeoutError:
    """Make the error for a server that sent nothing for longer than ``timeout`` allows.

    :param response_started: whether some of the response had arrived.
    """
    error = APITimeoutError(f"timed out: {_describe_exception(exc)}")
    error.response_started = response_started
    return error


def _describe_exception(exc: BaseException) -> str:
    """Describe an exception by its class and its message."""
    name = type(exc).__name__
    return f"{name}: {exc}" if str(exc) else name
