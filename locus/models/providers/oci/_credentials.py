"""Credentials at one moment: a signer of the ``oci`` package that computes and does nothing else.

``oci``'s signers for principals look at the clock and fetch a new token while they sign, which
would block an event loop. What they hold is therefore copied out into a plain one, whose key and
token never change, together with what can be known about its life.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import attrs
import msgspec

from locus.core.error_factory import SHOWN
from locus.core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
    LocusError,
    ResponseParseError,
    error_class,
)
from locus.core.frozendict import EMPTY

_GENERIC: Final = ("date", "(request-target)", "host")
_OBO: Final = "opc-obo-token"
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_LEAST: Final = 6
"""How long a secret is at least: anything shorter stands in ordinary words too."""


def check_token(token: str, where: str, hint: str = "") -> str:
    """``token`` without white space around it.

    What cannot travel in a header is found here, and not by the library that sends it: that would
    show it in its error, and take the failure for one that another try may mend.

    :param where: what the token is, for the error.
    :param hint: how to come by another.
    :raises ConfigurationError: there is no token, or it cannot be sent. Does not show it.
    """
    token = token.strip()
    after = f" ({hint})" if hint else ""
    if not token:
        raise ConfigurationError(f"{where} is empty{after}")
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            f"{where} holds a line break, a space, or a character beyond ASCII: a token is one "
            f"word, on one line{after}"
        )
    return token


def hidden(secrets: Iterable[str]) -> tuple[str, ...]:
    """Those of ``secrets`` that are long enough to be struck out of a text."""
    return tuple(secret for secret in secrets if len(secret) >= _LEAST)


@attrs.frozen(eq=False)
class Credentials:
    """What requests are signed with.

    :param signer: one of ``oci``'s; signing with it never blocks.
    :param expires: when it ends, in seconds since 1970; None where nothing says so.
    :param issued: when it began, where that is known.
    :param headers: sent with each request, and signed.
    :param secrets: what must not show. What is too short to be found for certain is left out.
    """

    signer: Any = attrs.field(repr=False)
    expires: float | None = None
    issued: float | None = None
    headers: Mapping[str, str] = attrs.field(
        default=EMPTY, repr=lambda headers: str(sorted(headers))
    )
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False, converter=hidden)

    def same_as(self, other: Credentials) -> bool:
        """Whether these are the other's key and token."""
        return (
            bool(self.signer.api_key == other.signer.api_key)
            and self.headers == other.headers
            and bool(self.signer.private_key.public_key() == other.signer.private_key.public_key())
        )


def of_token(
    token: str, key: Any, delegation_token: str | None = None, *, where: str = "the token"
) -> Credentials:
    """Credentials of a session token and the private key that it was issued for.

    :param delegation_token: sent along, to act for the user that it was issued to.
    :param where: what the session token is, for the error.
    :raises ConfigurationError: it cannot be sent.
    """
    from oci.auth.signers import SecurityTokenSigner

    token = check_token(token, where)
    headers, secrets, lives = {}, [token], [life_of(token)]
    generic = list(_GENERIC)
    if delegation_token is not None:
        headers[_OBO] = delegation_token
        generic.append(_OBO)
        secrets.append(delegation_token)
        lives.append(life_of(delegation_token))
    # The first of them to expire decides.
    issued, expires = min(lives, key=lambda life: life[1] or float("inf"))
    return Credentials(
        SecurityTokenSigner(token, key, generic_headers=generic),
        expires,
        issued,
        headers,
        tuple(secrets),
    )


def life_of(token: str) -> tuple[float | None, float | None]:
    """When a token was issued and when it expires, as its claims say (RFC 7519, 4.1)."""
    claims = _claims(token)
    issued, expires = claims.get("iat"), claims.get("exp")
    return (
        float(issued) if isinstance(issued, (int, float)) else None,
        float(expires) if isinstance(expires, (int, float)) else None,
    )


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JSON web token, unverified: its signature is the server's affair."""
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


def is_token(text: str) -> bool:
    """Whether ``text`` looks like a JSON web token."""
    return bool(_claims(text))


def clock(seconds: float) -> str:
    """A moment, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


@contextmanager
def explained(what: str, hint: str = "") -> Iterator[None]:
    """Turn what the ``oci`` package raises into Locus's errors, with ``what`` to begin them.

    :raises ConfigurationError: something is missing or unreadable.
    :raises APIError: a service refused, or could not be reached.
    """
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm
    from oci._vendor.requests import exceptions as http
    from oci.auth.certificate_retriever import InvalidCertificateFromInstanceMetadataError
    from oci.exceptions import ClientError, ServiceError
    from oci.retry.retry_checkers import CircuitBreakerError

    after = f" ({hint})" if hint else ""
    try:
        yield
    except LocusError:
        raise
    except ServiceError as error:
        said = str(error.message or error.code or "no explanation")[:SHOWN]
        kind = error_class(error.status)
        refusal = kind(
            f"{what}: {error.status}: {said}{after}",
            status_code=error.status,
            body=str(error.message or ""),
            headers={str(name): str(value) for name, value in (error.headers or {}).items()},
            provider="oci",
        )
        raise refusal from error
    except (jwt.PyJWTError, http.InvalidJSONError, json.JSONDecodeError, LookupError) as error:
        raise ResponseParseError(
            f"{what}: the answer makes no sense: {_words(error)}{after}", provider="oci"
        ) from error
    except http.InvalidHeader:  # it quotes the header, which holds a token
        raise ConfigurationError(
            f"{what}: a token holds a line break, a space, or a character beyond ASCII{after}"
        ) from None
    except http.Timeout as error:
        raise APITimeoutError(f"{what}: {_words(error)}{after}", provider="oci") from error
    except (http.RequestException, CircuitBreakerError, ConnectionError) as error:
        raise APIConnectionError(f"{what}: {_words(error)}{after}", provider="oci") from error
    except InvalidCertificateFromInstanceMetadataError as error:  # it quotes the private key
        raise ResponseParseError(
            f"{what}: the instance metadata holds no valid {error.certificate_type}{after}",
            provider="oci",
        ) from None
    except FileNotFoundError as error:
        raise ConfigurationError(f"{what}: there is no file {error.filename}{after}") from error
    except OSError as error:
        raise ConfigurationError(f"{what}: {error.strerror or error}{after}") from error
    except UnicodeError:  # it holds the whole text, which may be a passphrase
        raise ConfigurationError(f"{what}: a character is not ASCII{after}") from None
    except (ClientError, UnsupportedAlgorithm, AttributeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{what}: {_words(error)}{after}") from error
    except RuntimeError as error:  # it may quote what an auth service said, redacted by oci
        raise APIError(f"{what}: {_words(error)}{after}", provider="oci") from error


def _words(error: BaseException) -> str:
    text = str(error)[:SHOWN]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
