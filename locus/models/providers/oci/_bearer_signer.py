"""Sends an API key of the Generative AI service as a bearer token, in the form of a signer.

It is a ``locus.transport.signer.Signer``, although it signs nothing, so that the key is handled
as a signature is: other credentials, such as those of the caller's own client, are removed, and the
key is sent in their place.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from locus.models.providers.oci._credentials_snapshot import select_redactable_secrets
from locus.transport.http_request import HttpRequest
from locus.transport.httpx_common import CREDENTIAL_HEADERS


@attrs.frozen(eq=False)
class BearerSigner:
    """Sends one API key.

    :param api_key: in ASCII, without white space.
    """

    api_key: str = attrs.field(repr=False)
    credentials_version: int = 0

    def is_ready(self) -> bool:
        """Return True: the key never changes."""
        return True

    def ensure_ready(self) -> None:
        """Do nothing: the key is known from the start."""

    def make_signed_copy(self, request: HttpRequest) -> HttpRequest:
        """Return a copy of the request with the key, and without other credentials."""
        headers = {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower() not in CREDENTIAL_HEADERS
        }
        return attrs.evolve(request, headers={**headers, "authorization": f"Bearer {self.api_key}"})

    def refresh_credentials(self, version: int) -> bool:
        """Return False: there is no other key."""
        return False

    def get_secrets(self) -> Iterable[str]:
        """Return the key."""
        return select_redactable_secrets((self.api_key,))
