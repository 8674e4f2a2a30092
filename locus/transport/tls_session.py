"""TLS without I/O: bytes of a connection become bytes of its content, and the other way round."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

from locus.core.errors import ConfigurationError

_READ_SIZE: Final = 65_536


@cache
def get_tls_context() -> ssl.SSLContext:
    """Return the one TLS context of the process: reading its certificates takes long.

    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name other certificates than those of ``certifi``.

    :raises ConfigurationError: if one of these variables names no certificates.
    """
    try:
        if variable := _find_variable("SSL_CERT_FILE", os.path.isfile):
            context = ssl.create_default_context(cafile=os.environ[variable])
        elif variable := _find_variable("SSL_CERT_DIR", os.path.isdir):
            context = ssl.create_default_context(capath=os.environ[variable])
        else:
            import certifi

            context = ssl.create_default_context(cafile=certifi.where())
    except (OSError, ssl.SSLError) as exc:
        where = variable or "the package certifi"
        raise ConfigurationError(f"{where} holds no certificates that can be read: {exc}") from exc
    context.set_alpn_protocols(["http/1.1"])
    return context


def _find_variable(variable: str, is_usable: Callable[[str], bool]) -> str | None:
    """Return the name of a variable that is set.

    :raises ConfigurationError: if it names nothing that can be used.
    """
    path = os.environ.get(variable)
    if not path:
        return None
    if not is_usable(path):
        raise ConfigurationError(f"{variable} names {path!r}, which is not there")
    return variable


class TlsSession:
    """The TLS of one connection (RFC 8446), client's side."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ends_cleanly", "has_ended")

    def __init__(self, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = get_tls_context().wrap_bio(
            self._incoming, self._outgoing, server_hostname=host
        )
        self.has_ended = False
        self.ends_cleanly = False
        """Whether the server has said that it closes the connection."""

    def advance_handshake(self) -> bool:
        """Go on with the handshake; return whether it is complete. Send :meth:`take_outgoing`.

        :raises ssl.SSLError: if it fails.
        """
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def take_outgoing(self) -> bytes:
        """Return what has to be sent now."""
        return self._outgoing.read()

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Return the bytes to send for this content."""
        self._object.write(data)
        return self._outgoing.read()

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived; no bytes are the end of the connection."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def decrypt(self) -> bytes:
        """Return the content that has arrived; empty if more has to be fed, or at the end.

        :raises ssl.SSLError: if the bytes are not TLS, or the server reports an error.
        """
        data = b""
        try:
            while not self.has_ended and (piece := self._object.read(_READ_SIZE)):
                data = data + piece if data else piece
        except ssl.SSLWantReadError:
            return data
        except ssl.SSLZeroReturnError:
            self.ends_cleanly = True
        except ssl.SSLEOFError:
            pass
        except ssl.SSLError:
            if not data:
                raise
            return data  # the next call raises it again
        else:
            if not self.has_ended:
                self.ends_cleanly = True
        self.has_ended = True
        return data

    def close(self) -> bytes:
        """Return the bytes that tell the server of the end, which nobody waits for."""
        with suppress(ssl.SSLError, ValueError):  # it wants the server's answer, or never began
            self._object.unwrap()
        return self._outgoing.read()
