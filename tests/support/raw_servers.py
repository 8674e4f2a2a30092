"""Servers on plain sockets, for what the loopback server cannot do: TLS, and early answers."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest


class RawServer:
    """A server whose connections are served by a function, each in a thread of its own.

    :ivar connections: how many connections have been accepted.
    """

    def __init__(self, serve: Callable[[socket.socket], None], *, family: int = socket.AF_INET):
        self._serve = serve
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        """Its address, by plain HTTP and by number."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept_connections, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()

    def _accept_connections(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one request with a body of a given length; empty if the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class TlsServerFiles:
    """A certificate for ``localhost`` and 127.0.0.1 that signs itself, and its key, as files."""

    def __init__(self, folder: Path) -> None:
        x509: Any = pytest.importorskip("cryptography.x509")
        ec: Any = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
        hashes: Any = pytest.importorskip("cryptography.hazmat.primitives.hashes")
        forms: Any = pytest.importorskip("cryptography.hazmat.primitives.serialization")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        names = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate_file = folder / "certificate.pem"
        self.certificate_file.write_bytes(certificate.public_bytes(forms.Encoding.PEM))
        key_file = folder / "key.pem"
        key_file.write_bytes(
            key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate_file, key_file)

    @contextlib.contextmanager
    def start_server(self, serve: Callable[[ssl.SSLSocket], None]) -> Iterator[RawServer]:
        """Start a server whose function gets connections with TLS."""

        def serve_with_tls(connection: socket.socket) -> None:
            with (
                contextlib.suppress(ssl.SSLError),
                self.context.wrap_socket(connection, server_side=True) as encrypted,
            ):
                serve(encrypted)

        with RawServer(serve_with_tls) as server:
            yield server
