"""Finds what of a request must never show: in errors, in logs, in the causes of exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locus.core.redaction import MIN_SECRET_LENGTH, find_secrets_in_headers


def find_request_secrets(
    headers: Mapping[str, str], http_client: Any = None, sdk_client: Any = None
) -> tuple[str, ...]:
    """Return the secrets of a request, longer ones first.

    :param headers: the headers of the request.
    :param http_client: the caller's own httpx client, or a pair of them; it has its own headers.
    :param sdk_client: the caller's own client of a provider's SDK, which adds its key.
    """
    http_clients = http_client if isinstance(http_client, (tuple, list)) else (http_client,)
    secrets = list(find_secrets_in_headers(headers))
    for client in http_clients:
        if client is not None:
            secrets += find_secrets_in_headers(client.headers)
    sdk_key = getattr(sdk_client, "api_key", None)
    if isinstance(sdk_key, str):
        secrets.append(sdk_key)
    long_ones = (secret for secret in secrets if len(secret) >= MIN_SECRET_LENGTH)
    return tuple(sorted(long_ones, key=len, reverse=True))
