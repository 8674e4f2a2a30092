"""The proxies of the environment: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.

The variables have the meaning that curl gives them. Nothing here opens a connection: httpx does
that, which is imported only then.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import attrs

from locus.core.errors import ConfigurationError
from locus.transport.address import Address

_VARIABLES: Final = tuple(
    (key, f"{key}_proxy", f"{key.upper()}_PROXY") for key in ("http", "https", "all", "no")
)
_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_HOST_PATTERN: Final = re.compile(r"(?:\*?\.)?[\w-]+(?:\.[\w-]+)*\.?(?::\d+)?")


@attrs.frozen
class EnvironmentProxy:
    """A proxy.

    :param url: its address; it may hold a password.
    :param variable: the variable that names it.
    """

    url: str = attrs.field(repr=False)
    variable: str


def find_proxy(address: Address) -> EnvironmentProxy | None:
    """Return the proxy for connections to an address; None if there is none.

    This machine, and addresses that are valid on its own network alone (link-local ones, such as a
    cloud's metadata service), are never reached through a proxy: it would be another machine's.

    :raises ConfigurationError: if a variable cannot be understood. The message names it.
    """
    if not (proxies := read_proxies()) or _is_local(address.host):
        return None
    scheme = "https" if address.is_tls else "http"
    key = scheme if proxies.get(scheme) else "all"
    value = proxies.get(key, "")
    variable = _name_variable(f"{key}_proxy")
    for excluded in _parse_exclusions(proxies.get("no", "")):
        if excluded.matches(address):
            return None
    return EnvironmentProxy(_check_proxy(value.strip(), variable), variable) if value else None


def read_proxies() -> Mapping[str, str]:
    """Read the variables, by ``http``, ``https``, ``all`` and ``no``; a call needs them each time.

    They mean what they mean to ``urllib.request.getproxies``, which looks at every variable of the
    process, and whose import takes longer than that of all of Locus.
    """
    if sys.platform in ("darwin", "win32"):  # there the system has settings of its own, too
        from urllib.request import getproxies

        return getproxies()
    environ = os.environ
    proxies: dict[str, str] = {}
    for key, lower_name, upper_name in _VARIABLES:
        value = environ.get(lower_name)  # it goes first, also where it is empty
        # In a CGI script, the client can set HTTP_PROXY, by a header named Proxy.
        if value is None and not (key == "http" and "REQUEST_METHOD" in environ):
            value = environ.get(upper_name)
        if value:
            proxies[key] = value
    return proxies


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local


def _name_variable(name: str) -> str:
    """Return a variable's name as it is set: both cases are in use."""
    return name if os.environ.get(name) else name.upper()


@lru_cache(maxsize=16)
def _check_proxy(value: str, variable: str) -> str:
    """Return the URL of a proxy.

    :raises ConfigurationError: if it is none, or needs a package that is not installed.
    """
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:
        is_valid = False
    # The value itself may hold a password.
    if not is_valid:
        raise ConfigurationError(
            f"{variable} is not the address of a proxy, such as http://proxy.example:3128"
        )
    if parts.scheme.lower() not in _SCHEMES:
        raise ConfigurationError(
            f"{variable} names a proxy of the scheme {parts.scheme!r}; Locus can use "
            f"{', '.join(_SCHEMES)}"
        )
    if parts.scheme.lower().startswith("socks") and find_spec("socksio") is None:
        raise ConfigurationError(
            f'{variable} names a SOCKS proxy, for which a package is missing: pip install "httpx'
            '[socks]"'
        )
    return url


@attrs.frozen
class _Exclusion:
    """One item of ``NO_PROXY``: a host with its subdomains, an address, or a network."""

    host: str
    port: int | None = None
    network: IPv4Network | IPv6Network | None = None

    def matches(self, address: Address) -> bool:
        """Return whether the item excludes an address."""
        if self.port not in (None, address.port):
            return False
        host = address.host.removesuffix(".")
        if self.network is not None:
            try:
                return ip_address(host.partition("%")[0]) in self.network
            except ValueError:
                return False
        return self.host == "*" or host == self.host or host.endswith(f".{self.host}")


@lru_cache(maxsize=16)
def _parse_exclusions(value: str) -> tuple[_Exclusion, ...]:
    """Parse the value of ``NO_PROXY``."""
    return tuple(_iter_exclusions(value))


def _iter_exclusions(value: str) -> Iterator[_Exclusion]:
    for item in re.split(r"[,\s]+", value.strip().lower()):
        if not item:
            continue
        host = re.sub(r"^\w+://", "", item)
        if host == "*":
            yield _Exclusion("*")
            continue
        bracketed = re.fullmatch(r"\[([^]]*)\](?::(\d+))?", host)
        text, port = (bracketed[1], bracketed[2]) if bracketed else (host, None)
        try:
            network = ip_network(text.partition("%")[0], strict=False)
        except ValueError:
            network = None
        if network is None and not bracketed and re.fullmatch(r"[\d.]+:\d+", host):
            text, _, port = host.partition(":")
            try:
                network = ip_network(text)
            except ValueError:
                network = None
        if network is not None:
            yield _Exclusion("", int(port) if port else None, network)
        elif not bracketed and _HOST_PATTERN.fullmatch(host):
            name, _, port = host.partition(":")
            name = name.removeprefix("*").removeprefix(".").removesuffix(".")
            yield _Exclusion(name, int(port) if port else None)
        else:
            raise ConfigurationError(
                f"{_name_variable('no_proxy')} holds {item!r}, which is neither a host, an "
                "address nor a network, such as example.com, 10.1.2.3 or 10.0.0.0/8"
            )
