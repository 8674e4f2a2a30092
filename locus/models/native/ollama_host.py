"""Where an Ollama server is: what may stand in ``OLLAMA_HOST``, as an address.

Ollama's command line and its Python package take a host, a host and a port, or an address, and
fill in what is missing: 11434 for the port, or the scheme's own port where a scheme was written. A
server is told by the same variable where to listen, so that it may say "everywhere" (``0.0.0.0``),
which is no place to connect to: that is this machine.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from locus.core.errors import ConfigurationError

PORT: Final = 11434
_PORTS: Final = {"http": 80, "https": 443}
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_FORMS: Final = (
    "it takes a host ('192.168.1.5'), a host and a port ('gpu-box:11434'), or an address "
    "('https://ollama.example.com')"
)


def parse_host(said: str) -> str:
    """The server's root, with a port and without a slash at its end; "" is this machine.

    :raises ConfigurationError: it is no such thing, or holds a query or credentials.
    """
    if not isinstance(said, str):
        raise ConfigurationError(f"base_url must be a string, not {type(said).__name__}")
    said = said.strip().strip("\"'").strip()  # what shells and .env files leave there
    scheme, mark, place = said.partition("://")
    if not mark:
        scheme, place = "http", said
        if said == "ollama.com":
            scheme = "https"
    scheme = scheme.lower()
    if scheme not in _PORTS or re.search(r"[\x00-\x20\x7f\\]", place):
        raise _unusable(said)
    if _is_ipv6(place.rstrip("/")):
        place = f"[{place.rstrip('/')}]"
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        raise _unusable(said) from None
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "base_url and OLLAMA_HOST must not hold credentials: pass api_key=, or an http_client= "
            "that has them"
        )
    if parts.query or parts.fragment:
        raise _unusable(said)
    host = _HERE.get(host, host)
    if _is_ipv6(host):
        host = f"[{host}]"
    if not port:
        port = _PORTS[scheme] if mark or scheme == "https" else PORT
    path = parts.path.strip("/")
    return f"{scheme}://{host}:{port}" + (f"/{path}" if path else "")


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _unusable(said: str) -> ConfigurationError:
    return ConfigurationError(f"base_url or OLLAMA_HOST is {said!r}; {_FORMS}")
