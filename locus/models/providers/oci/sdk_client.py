"""The ``oci`` package's own client, both ways: ``model.client``, and ``sdk_client=``.

The client is a blocking one. Its ``chat`` takes the body as it is; a stream it hands over as the
service sent it, and a whole answer as model classes, which it writes as JSON again itself.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx
import msgspec

from locus.core.error_factory import silent, unreachable
from locus.core.errors import APIError, ConfigurationError
from locus.transport.custom_client import Brought
from locus.transport.http_call import Call, HttpRequest, Signer

CONNECT_SECONDS: Final = 10.0


def inference_client(
    signer: Signer,
    service_endpoint: str,
    timeout: float | None,
    max_retries: int,
    headers: Mapping[str, str],
) -> Any:
    """A ``GenerativeAiInferenceClient`` whose requests ``signer`` signs.

    :param headers: what each request has besides the client's own, before it is signed.
    :raises ConfigurationError: the package is not installed.
    """
    try:
        import oci
        from oci.generative_ai_inference import GenerativeAiInferenceClient
    except ImportError:
        raise ConfigurationError(
            'model.client is the oci package\'s: pip install "locus-llm[oci]"'
        ) from None

    # Of all kinds of signer, the package has those of principals refreshed after a 401.
    class Bridge(oci.auth.signers.InstancePrincipalsSecurityTokenSigner):  # type: ignore[misc]
        def __init__(self) -> None:
            self.signed = threading.local()  # with which credentials, in each thread

        def __call__(self, request: Any, enforce_content_headers: bool = True) -> Any:
            if not signer.ready():
                signer.prepare()
            self.signed.version = signer.version
            body = request.body or b""
            signed = signer.sign(
                HttpRequest(
                    request.url,
                    {**headers, **request.headers},
                    body.encode() if isinstance(body, str) else body,
                    method=request.method,
                )
            )
            request.headers.update(signed.headers)
            return request

        do_request_sign = __call__

        def refresh_security_token(self) -> None:
            signer.renew(self.signed.version)

    class InferenceClient(GenerativeAiInferenceClient):  # type: ignore[misc]
        def close(self) -> None:
            """Release the connections; the client may be used again."""
            self.base_client.session.close()

    strategy: Any = oci.retry.NoneRetryStrategy()
    if max_retries:
        strategy = oci.retry.RetryStrategyBuilder(
            max_attempts_check=True, max_attempts=1 + max_retries
        ).get_retry_strategy()
    return InferenceClient(
        config={},
        signer=Bridge(),
        service_endpoint=service_endpoint,
        timeout=(CONNECT_SECONDS, timeout),
        retry_strategy=strategy,
    )


def brought(sdk_client: Any) -> Brought:
    """The sender for ``sdk_client=``.

    :raises TypeError: it is no ``GenerativeAiInferenceClient``.
    """
    for kind in type(sdk_client).__mro__:
        if kind.__module__.startswith("oci.") and "InferenceClient" in kind.__name__:
            return Brought(blocking=InferenceSender(sdk_client))
    raise TypeError(
        "sdk_client= takes a GenerativeAiInferenceClient of the package oci, "
        f"not {type(sdk_client).__name__}"
    )


def tenancy_of(sdk_client: Any) -> str | None:
    """The tenancy that an ``oci`` client was configured with, if it was."""
    config = getattr(getattr(sdk_client, "base_client", None), "config", None) or {}
    tenancy: str | None = config.get("tenancy")
    return tenancy


class InferenceSender:
    """Sends through a ``GenerativeAiInferenceClient``."""

    __slots__ = ("client",)

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What asking, and reading an answer, may raise."""
        package = sys.modules["oci"]
        requests = package._vendor.requests.exceptions.RequestException
        # The breaker opens after many failures, and then the client does not even try.
        broken = sys.modules["circuitbreaker"].CircuitBreakerError
        return (
            *(requests, package.exceptions.RequestException, broken),
            *(httpx.HTTPError, httpx.StreamError),
        )

    def failure(self, error: Exception, *, answer_begun: bool) -> APIError:
        """Locus's word for one of ``errors``."""
        if "Timeout" in type(error).__name__ or "timed out" in str(error):
            return silent(error, answer_begun=answer_begun)
        return unreachable(error)

    def open(self, call: Call, *, stream: bool) -> httpx.Response:
        """The answer, as a response whose body is read like any other's."""
        if call.request.timeout is not None:
            raise ConfigurationError(
                "the oci client takes no timeout for a call: give it to the client"
            )
        if call.request.headers:
            names = ", ".join(sorted(call.request.headers))
            raise ConfigurationError(f"the oci client takes no headers for a call ({names})")
        refused = sys.modules["oci"].exceptions.ServiceError
        try:
            answer = self.client.chat(msgspec.json.decode(call.request.content))
        except refused as error:
            body = json.dumps({"code": error.code, "message": error.message})
            raise call.refusal(error.status, error.headers or {}, body.encode()) from error
        except self.errors as error:
            raise self.failure(error, answer_begun=False) from error
        # The raw answer, in a reader of events; or bare, where its type is none that it knows.
        raw = getattr(answer.data, "_event_source", answer.data)
        if hasattr(raw, "iter_content"):
            return httpx.Response(200, stream=_Pieces(raw))
        plain = self.client.base_client.sanitize_for_serialization(answer.data)
        return httpx.Response(200, content=msgspec.json.encode(plain))


class _Pieces(httpx.SyncByteStream):
    """The body of a streamed answer, as ``requests`` reads it."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_content(chunk_size=None)

    def close(self) -> None:
        self._response.close()
