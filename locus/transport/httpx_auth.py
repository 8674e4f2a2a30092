"""Makes a signer usable as the ``auth=`` of an httpx client, for the providers' own SDK clients.

The drivers sign the requests that Locus sends itself. An SDK client sends its own requests through
an httpx or httpx2 client, with its own credentials: those are removed, and the request is signed
just before it is sent. After a 401 the credentials are refreshed and the request is signed again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from functools import cache
from types import ModuleType
from typing import Any

from locus.transport import single_flight
from locus.transport.http_call import Signer
from locus.transport.httpx_compat import sign_httpx_request


def build_signing_auth(signer: Signer, library: ModuleType) -> Any:
    """An ``httpx.Auth`` that signs requests; any number of clients and threads can share it.

    :param library: the module of the client, ``httpx`` or ``httpx2``.
    """
    return _get_auth_class(library)(signer)


@cache
def _get_auth_class(library: Any) -> Any:
    class SignedAuth(library.Auth):  # type: ignore[misc]
        """Signs each request; after a 401, refreshes the credentials and signs it once more."""

        requires_request_body = True

        def __init__(self, signer: Signer) -> None:
            self.signer = signer

        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            """Yield the signed requests that a blocking client sends for ``request``."""
            request.read()
            signer = self.signer
            if not signer.is_ready():
                signer.ensure_ready()
            version = signer.credentials_version
            response = yield _sign_request(signer, request)
            if response.status_code == 401 and signer.refresh_credentials(version):
                yield _sign_request(signer, request)

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            """Yield the signed requests that an async client sends for ``request``."""
            await request.aread()
            signer = self.signer
            await single_flight.ensure_ready(signer)
            version = signer.credentials_version
            response = yield _sign_request(signer, request)
            if response.status_code == 401 and await single_flight.refresh_credentials(
                signer, version
            ):
                yield _sign_request(signer, request)

    return SignedAuth


def _sign_request(signer: Signer, request: Any) -> Any:
    sign_httpx_request(signer, request, request.content)
    return request
