"""The API key of the Generative AI service, sent as a bearer token: a signer that signs nothing.

It is a ``locus.transport.http_call.Signer`` so that the key is treated as a signature is:
credentials from elsewhere, a brought client's say, are left out, and the key goes instead.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from locus.models.providers.oci._credentials import hidden
from locus.transport.http_call import HttpRequest
from locus.transport.httpx_compat import CREDENTIAL_HEADERS


@attrs.frozen(eq=False)
class Bearer:
    """Sends one key.

    :param api_key: in ASCII, without white space.
    """

    api_key: str = attrs.field(repr=False)
    version: int = 0

    def ready(self) -> bool:
        """Always."""
        return True

    def prepare(self) -> None:
        """There is nothing to get ready."""

    def sign(self, request: HttpRequest) -> HttpRequest:
        """The request with the key, and without other credentials."""
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() not in CREDENTIAL_HEADERS
        }
        return attrs.evolve(request, headers={**headers, "authorization": f"Bearer {self.api_key}"})

    def renew(self, version: int) -> bool:
        """There is no other key."""
        return False

    def secrets(self) -> Iterable[str]:
        """The key."""
        return hidden((self.api_key,))
