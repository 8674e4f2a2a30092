"""Checks tokens before they are sent, and reads when they expire (JSON web tokens, RFC 7519)."""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import Any, Final

import msgspec

from locus.core.errors import ConfigurationError

_TOKEN_PATTERN: Final = re.compile(r"[\x21-\x7e]+")


def clean_token(token: str, label: str, hint: str = "") -> str:
    """Return ``token`` without white space at its ends, after checking that it can be sent.

    A token that no HTTP header can carry is rejected here and not by the library that sends it:
    that library would show the token in its error, and its error would be retried.

    :param label: names the token in the error.
    :param hint: how to get another token, for the error.
    :raises ConfigurationError: if there is no token, or it cannot be sent. The message does not
        show the token.
    """
    token = token.strip()
    suffix = f" ({hint})" if hint else ""
    if not token:
        raise ConfigurationError(f"{label} is empty{suffix}")
    if not _TOKEN_PATTERN.fullmatch(token):
        raise ConfigurationError(
            f"{label} holds a line break, a space, or a character beyond ASCII: a token is one "
            f"word, on one line{suffix}"
        )
    return token


def read_token_lifetime(token: str) -> tuple[float | None, float | None]:
    """Return when a token was issued and when it expires (RFC 7519, section 4.1).

    Both are in seconds since 1970, or None where the token does not contain them.
    """
    claims = _decode_claims(token)
    issued_at, expires_at = claims.get("iat"), claims.get("exp")
    return (
        float(issued_at) if isinstance(issued_at, (int, float)) else None,
        float(expires_at) if isinstance(expires_at, (int, float)) else None,
    )


def is_jwt(text: str) -> bool:
    """Return whether ``text`` looks like a JSON web token."""
    return bool(_decode_claims(text))


def format_time(seconds: float) -> str:
    """Format a time in seconds since 1970 as text for people, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _decode_claims(token: str) -> dict[str, Any]:
    """Decode the claims of a JSON web token; empty if it is none. The signature is not checked."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = msgspec.json.decode(
            base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        )
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
