"""Sends an API key of the Generative AI service as a bearer token, in the form of a signer.

It is a ``locus.transport.http_call.Signer``, although it signs nothing, so that the key is handled
as a signature is: other credentials, such as those of the caller's own client, are removed, and the
key is sent in their place.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from locus.models.providers.oci._credentials import select_redactable_secrets
from locus.transport.http_call import HttpRequest
from locus.transport.httpx_compat import CREDENTIAL_HEADERS


@attrs.frozen(eq=False)
class BearerSigner:
    """Sends one API key.

    :param api_key: in ASCII, without white space.
    """

    api_key: str = attrs.field(repr=False)
    credentials_version: int = 0

    def is_ready(self) -> bool:
        """Always true."""
        return True

    def ensure_ready(self) -> None:
        """Does nothing: the key is known from the start."""

    def sign(self, request: HttpRequest) -> HttpRequest:
        """A copy of the request with the key, and without other credentials."""
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() not in CREDENTIAL_HEADERS
        }
        return attrs.evolve(request, headers={**headers, "authorization": f"Bearer {self.api_key}"})

    def refresh_credentials(self, version: int) -> bool:
        """Always false: there is no other key."""
        return False

    def secrets(self) -> Iterable[str]:
        """The key."""
        return select_redactable_secrets((self.api_key,))
