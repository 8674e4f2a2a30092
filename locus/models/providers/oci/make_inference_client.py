"""Makes the ``oci`` package's own client for ``model.client``, signed by Locus's signer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from locus.core.errors import ConfigurationError
from locus.transport.http_request import HttpRequest
from locus.transport.signer import Signer

CONNECT_SECONDS: Final = 10.0


def make_inference_client(
    signer: Signer,
    service_endpoint: str,
    timeout: float | None,
    max_retries: int,
    headers: Mapping[str, str],
) -> Any:
    """Make a ``GenerativeAiInferenceClient`` whose requests ``signer`` signs.

    :param headers: headers that each request gets before it is signed, beside the client's own.
    :raises ConfigurationError: if the package is not installed.
    """
    try:
        import oci
        from oci.generative_ai_inference import GenerativeAiInferenceClient
    except ImportError:
        raise ConfigurationError(
            'model.client is the oci package\'s: pip install "locus-llm[oci]"'
        ) from None

    # The base class: after a 401, the package refreshes only the signers of principals.
    class SignerAdapter(oci.auth.signers.InstancePrincipalsSecurityTokenSigner):  # type: ignore[misc]
        def __init__(self) -> None:
            self.last_used = threading.local()  # the version of the credentials, in each thread

        def __call__(self, request: Any, enforce_content_headers: bool = True) -> Any:
            if not signer.is_ready():
                signer.ensure_ready()
            self.last_used.version = signer.credentials_version
            body = request.body or b""
            signed = signer.make_signed_copy(
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
            signer.refresh_credentials(self.last_used.version)

    class InferenceClient(GenerativeAiInferenceClient):  # type: ignore[misc]
        def close(self) -> None:
            """Release the connections; the client may be used again."""
            self.base_client.session.close()

    retry_strategy: Any = oci.retry.NoneRetryStrategy()
    if max_retries:
        retry_strategy = oci.retry.RetryStrategyBuilder(
            max_attempts_check=True, max_attempts=1 + max_retries
        ).get_retry_strategy()
    return InferenceClient(
        config={},
        signer=SignerAdapter(),
        service_endpoint=service_endpoint,
        timeout=(CONNECT_SECONDS, timeout),
        retry_strategy=retry_strategy,
    )
