"""Lets the ``oci`` package reach a machine's metadata service directly, and not through a proxy.

The service has a link-local address, the same one on every machine. A proxy would ask the service
of its own machine, and see a request for credentials. Oracle says not to send it through one, but
the HTTP library in the ``oci`` package sends every request to the proxy of the environment.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

_METADATA_NETWORK_IPV6: Final = ip_network("fd00:c1::a9fe:a9fe/128")
"""Oracle's metadata service in IPv6; this address is unique-local, not link-local."""


def is_link_local_url(url: str) -> bool:
    """Return whether a URL's host is a link-local address, or the metadata service's in IPv6."""
    try:
        address = ip_address(urlsplit(url).hostname or "")
    except ValueError:  # a name
        return False
    return address.is_link_local or address in _METADATA_NETWORK_IPV6


def connect_directly_to_link_local() -> None:
    """Let the requests of the ``oci`` package to link-local addresses use no proxy.

    The package makes these requests in several places, which accept no options. Its own copy of
    ``requests`` asks one function whether ``NO_PROXY`` names a host; that function gets a wrapper,
    once in a process. Requests to other addresses are not changed.
    """
    from oci._vendor.requests import utils

    is_in_no_proxy = utils.should_bypass_proxies
    if getattr(is_in_no_proxy, "knows_link_local", False):
        return

    def should_bypass_proxies(url: str, *args: Any, **kw: Any) -> bool:
        return is_link_local_url(url) or bool(is_in_no_proxy(url, *args, **kw))

    should_bypass_proxies.knows_link_local = True  # type: ignore[attr-defined]
    utils.should_bypass_proxies = should_bypass_proxies
