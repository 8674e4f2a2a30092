"""Signs one HTTP request with ``oci``'s own signers. Computes only: no I/O."""

from __future__ import annotations

from typing import Final

import attrs

from locus.models.providers.oci._credentials_snapshot import Credentials
from locus.transport.address import parse_url
from locus.transport.http_request import HttpRequest
from locus.transport.httpx_common import CREDENTIAL_HEADERS

_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_REPLACED_HEADERS: Final = frozenset(
    {
        # Credentials from elsewhere would contradict the signature.
        *CREDENTIAL_HEADERS,
        # The signature sets these itself.
        *("date", "x-content-sha256", "content-length", "transfer-encoding"),
    }
)


def make_signed_copy(request: HttpRequest, credentials: Credentials) -> HttpRequest:
    """Return a copy of ``request`` with a signature over its headers and its body."""
    headers = {
        name.lower(): value
        for name, value in request.headers.items()
        if name.lower() not in _REPLACED_HEADERS
    }
    headers.update(credentials.headers)
    url = parse_url(request.url)  # the host and the target as they are sent
    host, target = headers.setdefault("host", url.authority), url.target
    if request.method in _METHODS_WITH_BODY:
        headers["content-length"] = str(len(request.content))
    signable = _SignableRequest(request.method, host, target, headers, request.content)
    credentials.signer.do_request_sign(signable)
    return attrs.evolve(request, headers=headers)


class _SignableRequest:
    """Has the attributes of ``requests.PreparedRequest`` that ``oci`` reads when it signs."""

    __slots__ = ("body", "headers", "method", "path_url", "url")

    def __init__(
        self, method: str, host: str, target: str, headers: dict[str, str], body: bytes
    ) -> None:
        self.method = method
        self.url = f"https://{host}{target}"
        self.path_url = target
        self.headers = headers
        self.body = body
