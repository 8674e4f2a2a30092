"""Checks and normalizes the ``base_url`` of a provider's API."""

from __future__ import annotations

from urllib.parse import urlsplit

from locus.core.errors import ConfigurationError


def normalize_base_url(url: str) -> str:
    """Return the base URL without a slash at its end.

    :raises ConfigurationError: if it is not an http or https URL, or holds a query or credentials.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"base_url must be a string, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        labels = host.removesuffix(".").split(".")
        is_valid = (
            parts.scheme in ("http", "https")
            and all(0 < len(label) < 64 for label in labels)  # RFC 1035, 2.3.4
            and parts.port != 0
        )
    except ValueError:
        is_valid = False
    if "@" in (parts.netloc if is_valid else url):
        raise ConfigurationError("base_url must not hold credentials: pass api_key=")
    if not is_valid:
        shown_url = url.partition("?")[0]
        raise ConfigurationError(f"base_url must be an http(s) address, not {shown_url!r}")
    if parts.query or parts.fragment:
        raise ConfigurationError("base_url is the API's root: no query and no fragment")
    return url.rstrip("/")
