"""``Credentials``: a snapshot of what requests are signed with, whose signer only computes.

``oci``'s signers for principals look at the clock and fetch a new token while they sign, which
would block an event loop. Their key and token are therefore copied into a plain signer that never
changes, together with the time when the token expires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from locus.core.frozendict import EMPTY
from locus.models.providers.oci._tokens import clean_token, read_token_lifetime

_GENERIC_HEADERS: Final = ("date", "(request-target)", "host")
_DELEGATION_HEADER: Final = "opc-obo-token"
_MIN_SECRET_LENGTH: Final = 6
"""Secrets shorter than this are not redacted: they also occur inside ordinary words."""


def select_redactable_secrets(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``secrets`` that are long enough to be redacted from a text."""
    return tuple(secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH)


@attrs.frozen(eq=False)
class Credentials:
    """What requests are signed with.

    :param signer: one of ``oci``'s; signing with it never blocks.
    :param expires_at: when they expire, in seconds since 1970; None where that is not known.
    :param issued_at: when they were issued, where that is known.
    :param headers: sent with each request, and signed.
    :param secrets: texts that no error may show; those too short to be redacted are left out.
    """

    signer: Any = attrs.field(repr=False)
    expires_at: float | None = None
    issued_at: float | None = None
    headers: Mapping[str, str] = attrs.field(
        default=EMPTY, repr=lambda headers: str(sorted(headers))
    )
    secrets: tuple[str, ...] = attrs.field(
        default=(), repr=False, converter=select_redactable_secrets
    )

    def is_equivalent_to(self, other_credentials: Credentials) -> bool:
        """Return whether both have the same key and token."""
        return (
            bool(self.signer.api_key == other_credentials.signer.api_key)
            and self.headers == other_credentials.headers
            and bool(
                self.signer.private_key.public_key()
                == other_credentials.signer.private_key.public_key()
            )
        )


def make_token_credentials(
    token: str, private_key: Any, delegation_token: str | None = None, *, label: str = "the token"
) -> Credentials:
    """Make credentials of a security token and the private key that it was issued for.

    :param delegation_token: sent with each request, to act for the user that it was issued to.
    :param label: names the security token in the error.
    :raises ConfigurationError: if the token cannot be sent.
    """
    from oci.auth.signers import SecurityTokenSigner

    token = clean_token(token, label)
    headers, secrets, lifetimes = {}, [token], [read_token_lifetime(token)]
    generic_headers = list(_GENERIC_HEADERS)
    if delegation_token is not None:
        headers[_DELEGATION_HEADER] = delegation_token
        generic_headers.append(_DELEGATION_HEADER)
        secrets.append(delegation_token)
        lifetimes.append(read_token_lifetime(delegation_token))
    # The credentials expire with the token that expires first.
    issued_at, expires_at = min(lifetimes, key=lambda lifetime: lifetime[1] or float("inf"))
    return Credentials(
        SecurityTokenSigner(token, private_key, generic_headers=generic_headers),
        expires_at,
        issued_at,
        headers,
        tuple(secrets),
    )
