"""A signer as httpx's ``auth=``, for the clients of the providers' own SDKs.

Locus's own requests are signed by the drivers. An SDK sends its requests itself, with an httpx or
httpx2 client, and with whatever credentials it thinks it has: those are dropped, and the request
is signed as it goes out, once more after a 401.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from functools import cache
from types import ModuleType
from typing import Any

from locus.transport import single_flight
from locus.transport.http_call import Signer
from locus.transport.httpx_compat import sign_anew


def signed_auth(signer: Signer, library: ModuleType) -> Any:
    """An ``httpx.Auth`` that signs; one object serves any number of clients, threads and loops.

    :param library: the module ``httpx`` or ``httpx2``, whichever the client is of.
    """
    return _auth_class(library)(signer)


@cache
def _auth_class(library: Any) -> Any:
    class SignedAuth(library.Auth):  # type: ignore[misc]
        """Signs each request, and once more after a 401."""

        requires_request_body = True

        def __init__(self, signer: Signer) -> None:
            self.signer = signer

        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            """What a blocking client sends for ``request``."""
            request.read()
            signer = self.signer
            if not signer.ready():
                signer.prepare()
            version = signer.version
            response = yield _signed(signer, request)
            if response.status_code == 401 and signer.renew(version):
                yield _signed(signer, request)

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            """What an async client sends for ``request``."""
            await request.aread()
            signer = self.signer
            await single_flight.prepare(signer)
            version = signer.version
            response = yield _signed(signer, request)
            if response.status_code == 401 and await single_flight.renew(signer, version):
                yield _signed(signer, request)

    return SignedAuth


def _signed(signer: Signer, request: Any) -> Any:
    sign_anew(signer, request, request.content)
    return request
