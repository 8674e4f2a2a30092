"""Real keys, certificates and tokens for the loopback OCI."""

from __future__ import annotations

import base64
import datetime
import functools
import ipaddress
import itertools
import json
import time
from typing import Any

import pytest

# These packages are dependencies of oci; without it the tests are skipped.
jwt: Any = pytest.importorskip("jwt")
x509: Any = pytest.importorskip("cryptography.x509")
hashes: Any = pytest.importorskip("cryptography.hazmat.primitives.hashes")
serialization: Any = pytest.importorskip("cryptography.hazmat.primitives.serialization")
padding: Any = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.padding")
rsa: Any = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
InvalidSignature: Any = pytest.importorskip("cryptography.exceptions").InvalidSignature
NameOID: Any = x509.oid.NameOID

TENANCY = "ocid1.tenancy.oc1..aaaatenancy"
USER = "ocid1.user.oc1..aaaauser"


@functools.cache
def get_private_key(name: str) -> Any:
    """Return the private key with this name. It is generated once, because that takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def encode_private_key(private_key: Any, passphrase: str | None = None) -> str:
    """Encode a private key in PEM, as in a key file."""
    encryption: Any = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def encode_public_key(private_key: Any) -> str:
    """Encode the public key of ``private_key`` in PEM."""
    return (
        private_key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def compute_fingerprint(private_key: Any) -> str:
    """Compute the fingerprint that OCI's console shows: MD5 over the public key in DER."""
    der = private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.MD5())
    digest.update(der)
    return ":".join(f"{byte:02x}" for byte in digest.finalize())


_token_numbers = itertools.count(1)


def make_token(issuer: str, public_key: Any, seconds: float, **claims: Any) -> str:
    """Make a token for a public key (claim ``jwk``), as the auth service issues them.

    :param seconds: how long it is valid.
    """
    now = time.time()
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public_key))
    return jwt.encode(
        {
            "iat": now,
            "exp": now + seconds,
            "jti": f"token {next(_token_numbers)}",
            "jwk": json.dumps(jwk),
            "tenant": TENANCY,
            "res_tenant": TENANCY,
            **claims,
        },
        get_private_key(issuer),
        algorithm="RS256",
    )


class InvalidToken(Exception):
    """This issuer has not signed the token."""


def verify_token(text: str, issuer: str) -> tuple[Any, dict[str, Any]]:
    """Return the public key in a token, and its claims. Whether it has expired is not checked.

    :raises InvalidToken: the issuer has not signed it.
    """
    try:
        claims = jwt.decode(
            text,
            get_private_key(issuer).public_key(),
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False},
        )
    except jwt.PyJWTError as exc:
        raise InvalidToken(str(exc)) from exc
    return jwt.algorithms.RSAAlgorithm.from_jwk(claims["jwk"]), claims


def load_public_key(base64_der: str) -> Any:
    """Read a public key that was sent without the lines around its PEM."""
    return serialization.load_der_public_key(base64.b64decode(base64_der))


def make_certificate(
    subject: str, private_key: Any, issuer: str, issuer_key: Any, *, ca: bool = False, **names: str
) -> Any:
    """Make a certificate that is valid today.

    :param names: further names of the subject, such as the tenant and the instance.
    """
    today = datetime.datetime.now(datetime.UTC)
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)]
    attributes += [
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"opc-{name}:{value}")
        for name, value in names.items()
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if ca:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    return builder.sign(issuer_key, hashes.SHA256())


def encode_certificate(certificate: Any) -> str:
    """Encode a certificate in PEM, as in a file."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def load_certificate(base64_der: str) -> Any:
    """Read a certificate that was sent without the lines around its PEM."""
    return x509.load_der_x509_certificate(base64.b64decode(base64_der))


def compute_certificate_fingerprint(certificate: Any) -> str:
    """Compute a certificate's fingerprint, in the form of the auth service's key ids."""
    return ":".join(f"{byte:02X}" for byte in certificate.fingerprint(hashes.SHA1()))


def is_valid_signature(public_key: Any, signature: bytes, message: str) -> bool:
    """Return whether this key has signed ``message`` (RSASSA-PKCS1-v1_5 with SHA-256)."""
    try:
        public_key.verify(signature, message.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
