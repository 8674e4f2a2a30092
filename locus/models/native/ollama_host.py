"""Parses ``OLLAMA_HOST``, and Ollama's ``base_url``, into the URL of a server.

Ollama's command line and its Python package take a host, a host and a port, or a URL, and fill in
the missing parts: port 11434, or the scheme's own port if there is a scheme. The same variable says
on which address a server listens, so it may be "all addresses" (``0.0.0.0``). No client can connect
to that address; it becomes this machine's loopback address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from locus.core.errors import ConfigurationError

DEFAULT_PORT: Final = 11434
_SCHEME_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK_ADDRESSES: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_ACCEPTED_FORMS: Final = (
    "it takes a host ('192.168.1.5'), a host and a port ('gpu-box:11434'), or an address "
    "('https://ollama.example.com')"
)


def normalize_server_url(host_or_url: str) -> str:
    """Return the URL of the server, with a port and without a slash at its end.

    :param host_or_url: any form that ``OLLAMA_HOST`` may have; an empty text is this machine.
    :raises ConfigurationError: if it is not a host or a URL, or holds a query or credentials.
    """
    if not isinstance(host_or_url, str):
        raise ConfigurationError(f"base_url must be a string, not {type(host_or_url).__name__}")
    text = host_or_url.strip().strip("\"'").strip()  # shells and .env files may leave quotes there
    scheme, separator, address = text.partition("://")
    if not separator:
        scheme, address = "http", text
        if text == "ollama.com":
            scheme = "https"
    scheme = scheme.lower()
    if scheme not in _SCHEME_PORTS or re.search(r"[\x00-\x20\x7f\\]", address):
        raise _make_host_error(text)
    if _is_ipv6_address(address.rstrip("/")):
        address = f"[{address.rstrip('/')}]"
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        raise _make_host_error(text) from None
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "base_url and OLLAMA_HOST must not hold credentials: pass api_key=, or an http_client= "
            "that has them"
        )
    if parts.query or parts.fragment:
        raise _make_host_error(text)
    host = _LOOPBACK_ADDRESSES.get(host, host)
    if _is_ipv6_address(host):
        host = f"[{host}]"
    if not port:
        port = _SCHEME_PORTS[scheme] if separator or scheme == "https" else DEFAULT_PORT
    path = parts.path.strip("/")
    return f"{scheme}://{host}:{port}" + (f"/{path}" if path else "")


def _is_ipv6_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _make_host_error(text: str) -> ConfigurationError:
    return ConfigurationError(f"base_url or OLLAMA_HOST is {text!r}; {_ACCEPTED_FORMS}")
