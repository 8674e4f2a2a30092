"""Makes a signer usable as the ``auth=`` of an httpx client, for the providers' own SDK clients.

The drivers sign the requests that Locus sends itself. An SDK client sends its own requests through
an httpx or httpx2 client, with its own credentials: those are removed, and the request is signed
just before it is sent. After a 401 the credentials are refreshed and the request is signed again.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from functools import cache
from types import ModuleType
from typing import Any

from locus.transport import single_flight
from locus.transport.httpx_common import sign_httpx_request
from locus.transport.signer import Signer


def find_httpx_library(client_class: type) -> ModuleType:
    """Return the module that an SDK uses: ``httpx`` or ``httpx2``.

    :param client_class: a class that derives from the async client of one of them.
    """
    package = next(
        base.__module__.partition(".")[0]
        for base in client_class.__mro__
        if base.__module__.partition(".")[0] in ("httpx", "httpx2")
    )
    return sys.modules[package]


def build_signing_auth(signer: Signer, library: ModuleType) -> Any:
    """Build an ``httpx.Auth`` that signs requests; clients and threads can share it.

    :param library: the module of the client, ``httpx`` or ``httpx2``.
    """
    return _get_signing_auth_class(library)(signer)


@cache
def _get_signing_auth_class(library: Any) -> Any:
    """Return the class of these ``auth=`` objects, a subclass of ``library.Auth``."""

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
            sign_httpx_request(signer, request, request.content)
            response = yield request
            if response.status_code == 401 and signer.refresh_credentials(version):
                sign_httpx_request(signer, request, request.content)
                yield request

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            """Yield the signed requests that an async client sends for ``request``."""
            await request.aread()
            signer = self.signer
            await single_flight.ensure_signer_ready(signer)
            version = signer.credentials_version
            sign_httpx_request(signer, request, request.content)
            response = yield request
            if response.status_code == 401 and await single_flight.refresh_credentials(
                signer, version
            ):
                sign_httpx_request(signer, request, request.content)
                yield request

    return SignedAuth
