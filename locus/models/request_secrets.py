"""Finds what of a request must never show: in errors, in logs, in the causes of exceptions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from locus.core.redaction import (
    MIN_SECRET_LENGTH,
    find_secrets_in_headers,
    find_secrets_in_members,
)


def find_request_secrets(
    headers: Mapping[str, str],
    http_client: Any = None,
    sdk_client: Any = None,
    members: Iterable[Any] = (),
) -> tuple[str, ...]:
    """Return the secrets of a request, longer ones first.

    :param headers: the headers of the request.
    :param http_client: the caller's own httpx client, or a pair of them; it adds what it has.
    :param sdk_client: the caller's own client of a provider's SDK; it adds its key, and what the
        httpx client adds that it sends with.
    :param members: what the caller itself has put into the JSON body.
    """
    clients = list(http_client) if isinstance(http_client, (tuple, list)) else [http_client]
    # The httpx client of every SDK of a provider has this name, and no other.
    clients.append(getattr(sdk_client, "_client", None))
    secrets = list(find_secrets_in_headers(headers))
    secrets += find_secrets_in_members(tuple(members))
    for client in clients:
        if client is not None:
            secrets += _iter_client_secrets(client)
    sdk_key = getattr(sdk_client, "api_key", None)
    if isinstance(sdk_key, str):
        secrets.append(sdk_key)
    long_ones = {secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH}
    return tuple(sorted(long_ones, key=lambda secret: (-len(secret), secret)))


def _iter_client_secrets(client: Any) -> Iterator[str]:
    """Yield the secrets that an httpx client, or one with its API, adds to every request."""
    for members in (getattr(client, "headers", None), getattr(client, "params", None)):
        if isinstance(members, Mapping):
            yield from find_secrets_in_headers(members)
    cookies = getattr(getattr(client, "cookies", None), "jar", ())
    yield from (cookie.value for cookie in cookies if cookie.value)
    header = getattr(getattr(client, "auth", None), "_auth_header", "")  # of httpx.BasicAuth
    scheme, _, encoded = header.partition(" ")
    if scheme == "Basic":
        yield encoded
        try:
            yield base64.b64decode(encoded).decode().partition(":")[2]
        except (binascii.Error, UnicodeError):
            return
