"""What opening a connection takes, in blocking and in async code: addresses and sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, Final, TypeAlias

from locus.transport.transport_errors import ConnectError

AddressInfo: TypeAlias = tuple[Any, Any, int, str, Any]
"""An item of the result of ``socket.getaddrinfo``."""

NEXT_ADDRESS_DELAY: Final = 0.25
"""Seconds that one address of a host has for itself before the next one is tried as well: RFC 8305,
section 5. IPv6 that leads nowhere would else cost a whole time-out."""

_IN_PROGRESS: Final = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR}


def order_addresses(infos: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Return the addresses of a host with their families in turn: RFC 8305, section 4."""
    by_family: dict[Any, list[AddressInfo]] = {}
    for info in infos:
        if info not in by_family.setdefault(info[0], []):
            by_family[info[0]].append(info)
    rows = zip_longest(*by_family.values())
    return [info for row in rows for info in row if info is not None]


def find_numeric_address(host: str, port: int) -> list[AddressInfo] | None:
    """Return the address of a host that is written as a number; None if it has to be looked up."""
    try:
        return socket.getaddrinfo(
            host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
    except OSError:
        return None


def begin_connecting(info: AddressInfo) -> tuple[socket.socket, bool]:
    """Open a socket and begin to connect it; return it, and whether it is connected already.

    :raises OSError: if it cannot be connected.
    """
    family, kind, protocol, _, sockaddr = info
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = opened.connect_ex(sockaddr)
        if code not in _IN_PROGRESS and code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        opened.close()
        raise
    return opened, not code


def check_connected(opened: socket.socket) -> None:
    """Check a socket that has become writable.

    :raises OSError: if it could not be connected.
    """
    code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def make_connect_error(errors: Iterable[OSError]) -> ConnectError:
    """Make the error for a host none of whose addresses could be reached."""
    return ConnectError("; ".join(dict.fromkeys(map(str, errors))) or "the host has no address")
