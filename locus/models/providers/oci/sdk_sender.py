"""Sends calls through the caller's own ``oci`` client (``sdk_client=``).

The client is a blocking one. Its ``chat`` takes the JSON body unchanged. It returns a streamed
response as the service sent it, and a complete response as model classes, which it can turn into
JSON again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from locus.core.errors import APIError, ConfigurationError
from locus.core.make_connection_error import make_connection_error, make_timeout_error
from locus.transport.custom_client import CustomClient
from locus.transport.deadline import Deadline
from locus.transport.httpx_senders import BlockingHttpxResponse
from locus.transport.prepared_http_call import HttpCall


def wrap_sdk_client(sdk_client: Any) -> CustomClient:
    """Make the sender for ``sdk_client=``.

    :raises TypeError: if it is not a ``GenerativeAiInferenceClient``.
    """
    for cls in type(sdk_client).__mro__:
        if cls.__module__.startswith("oci.") and "InferenceClient" in cls.__name__:
            return CustomClient(blocking_sender=InferenceClientSender(sdk_client))
    raise TypeError(
        "sdk_client= takes a GenerativeAiInferenceClient of the package oci, "
        f"not {type(sdk_client).__name__}"
    )


def find_tenancy(sdk_client: Any) -> str | None:
    """Return the tenancy in the configuration of an ``oci`` client, or None."""
    config = getattr(getattr(sdk_client, "base_client", None), "config", None) or {}
    tenancy: str | None = config.get("tenancy")
    return tenancy


class InferenceClientSender:
    """Sends calls through a ``GenerativeAiInferenceClient``."""

    __slots__ = ("client",)

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def transport_errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that sending a request and reading its response may raise."""
        oci = sys.modules["oci"]
        requests_error = oci._vendor.requests.exceptions.RequestException
        # The circuit breaker opens after many failures; then the client does not send at all.
        circuit_breaker_error = sys.modules["circuitbreaker"].CircuitBreakerError
        return (
            *(requests_error, oci.exceptions.RequestException, circuit_breaker_error),
            *(httpx.HTTPError, httpx.StreamError),
        )

    def make_api_error(self, exc: Exception, *, response_started: bool) -> APIError:
        """Make Locus's error for one of ``transport_errors``."""
        if "Timeout" in type(exc).__name__ or "timed out" in str(exc):
            return make_timeout_error(exc, response_started=response_started)
        return make_connection_error(exc)

    def send(
        self, http_call: HttpCall, *, stream: bool, deadline: Deadline | None = None
    ) -> BlockingHttpxResponse:
        """Send the call; the result is an httpx response, read like any other.

        :raises ConfigurationError: if the call has a timeout or headers, which the client cannot
            send.
        :raises APIError: if the service sent an error, or could not be reached.
        """
        if http_call.request.timeout is not None:
            raise ConfigurationError(
                "the oci client accepts no timeout for a call: set it on the client"
            )
        if http_call.request.headers:
            names = ", ".join(sorted(http_call.request.headers))
            raise ConfigurationError(f"the oci client accepts no headers for a call ({names})")
        service_error = sys.modules["oci"].exceptions.ServiceError
        try:
            response = self.client.chat(msgspec.json.decode(http_call.request.content))
        except service_error as exc:
            body = json.dumps({"code": exc.code, "message": exc.message}).encode()
            raise http_call.make_status_error(exc.status, exc.headers or {}, body) from exc
        except self.transport_errors as exc:
            raise self.make_api_error(exc, response_started=False) from exc
        # A stream is a raw response inside an event reader, or, for unknown types, without one.
        raw_response = getattr(response.data, "_event_source", response.data)
        if hasattr(raw_response, "iter_content"):
            headers = _remove_framing_headers(raw_response.headers)
            streamed = _StreamedBody(raw_response)
            return BlockingHttpxResponse(
                httpx.Response(200, headers=headers, stream=streamed), self, deadline
            )
        builtins = self.client.base_client.sanitize_for_serialization(response.data)
        headers = _remove_framing_headers(response.headers)
        content = msgspec.json.encode(builtins)
        return BlockingHttpxResponse(
            httpx.Response(200, headers=headers, content=content), self, deadline
        )


def _remove_framing_headers(headers: Any) -> dict[str, str]:
    """Return the headers of a response without those about its bytes, which are decoded here."""
    framing = ("content-encoding", "content-length", "transfer-encoding")
    return {name: str(headers[name]) for name in headers or () if name.lower() not in framing}


class _StreamedBody(httpx.SyncByteStream):
    """The body of a streamed response, read through ``requests``."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_content(chunk_size=None)

    def close(self) -> None:
        self._response.close()
