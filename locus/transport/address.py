"""``parse_url``: where a URL leads, and what a request to it says: RFC 3986 and RFC 9110, 7.1."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from locus.core.errors import ConfigurationError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# As browsers and httpx do: what is escaped already stays as it is.
_ESCAPED_IN_PATH: Final = re.compile(r'[^!$-;=@-_a-z|~&%]|%(?![0-9A-Fa-f]{2})|["<>`{}]')
_ESCAPED_IN_QUERY: Final = re.compile(r"[^!$-;=?-~&%]|%(?![0-9A-Fa-f]{2})")


@attrs.frozen
class Address:
    """Where connections lead. Requests to one address share connections."""

    host: str
    port: int
    is_tls: bool


@attrs.frozen
class ParsedUrl:
    """The parts of a URL, as a request needs them.

    :param authority: the value of the header ``host``.
    :param target: the path with the query, escaped.
    """

    address: Address
    authority: str
    target: str


@lru_cache(maxsize=256)
def parse_url(url: str) -> ParsedUrl:
    """Parse and normalize a URL.

    :raises ConfigurationError: if it is not a valid http or https URL.
    """
    try:
        parts = urlsplit(url)
        host, port = _encode_host(parts.hostname or ""), parts.port
    except (ValueError, UnicodeError) as exc:
        raise ConfigurationError(f"base_url is not a valid URL: {exc}") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ConfigurationError("base_url is not a valid URL: it names no http or https host")
    default_port = _DEFAULT_PORTS[parts.scheme]
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != default_port:
        authority += f":{port}"
    address = Address(host, default_port if port is None else port, parts.scheme == "https")
    return ParsedUrl(address, authority, _build_target(parts))


def _encode_host(host: str) -> str:
    """Return a host in ASCII: a name in another script as its A-labels (RFC 5890)."""
    if not host.isascii():
        host = host.encode("idna").decode()
    if not re.fullmatch(r"[0-9a-z._~%:-]*", host):
        raise ValueError("the name of its host holds a character that none has")
    return host


def _build_target(parts: SplitResult) -> str:
    """Return the request target: the path without dot segments, and the query."""
    path = _ESCAPED_IN_PATH.sub(_escape, _remove_dot_segments(parts.path)) or "/"
    query = _ESCAPED_IN_QUERY.sub(_escape, parts.query)
    return f"{path}?{query}" if query else path


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _remove_dot_segments(path: str) -> str:
    """Remove ``.`` and ``..`` from a path: RFC 3986, 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
