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

# They come with oci, and so do the tests that import this.
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
def key(name: str) -> Any:
    """A key of this test run; equal names, same key: making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(private: Any, passphrase: str | None = None) -> str:
    """A private key as it stands in a file."""
    hidden: Any = serialization.NoEncryption()
    if passphrase is not None:
        hidden = serialization.BestAvailableEncryption(passphrase.encode())
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden
    ).decode()


def public_pem(private: Any) -> str:
    """Its public half."""
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def fingerprint(private: Any) -> str:
    """As OCI's console shows it: MD5 over the public key in DER."""
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.MD5())
    digest.update(der)
    return ":".join(f"{byte:02x}" for byte in digest.finalize())


_numbers = itertools.count(1)


def token(issuer: str, public: Any, seconds: float, **claims: Any) -> str:
    """A token that vouches for a public key, as the auth service issues them (claim ``jwk``)."""
    now = time.time()
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public))
    return jwt.encode(
        {
            "iat": now,
            "exp": now + seconds,
            "jti": f"token {next(_numbers)}",
            "jwk": json.dumps(jwk),
            "tenant": TENANCY,
            "res_tenant": TENANCY,
            **claims,
        },
        key(issuer),
        algorithm="RS256",
    )


class Forged(Exception):
    """A token that this issuer did not give."""


def claims_of(text: str, issuer: str) -> tuple[Any, dict[str, Any]]:
    """The public key that a token vouches for, and its claims. Its end is not looked at."""
    try:
        claims = jwt.decode(
            text,
            key(issuer).public_key(),
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False},
        )
    except jwt.PyJWTError as error:
        raise Forged(str(error)) from error
    return jwt.algorithms.RSAAlgorithm.from_jwk(claims["jwk"]), claims


def public_of(bare: str) -> Any:
    """A public key sent without its PEM frame."""
    return serialization.load_der_public_key(base64.b64decode(bare))


def certificate(
    subject: str, private: Any, issuer: str, issuer_key: Any, *, ca: bool = False, **names: str
) -> Any:
    """A certificate for today."""
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
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False
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


def cert_pem(made: Any) -> str:
    """A certificate as it stands in a file."""
    return made.public_bytes(serialization.Encoding.PEM).decode()


def certificate_of(bare: str) -> Any:
    """A certificate sent without its PEM frame."""
    return x509.load_der_x509_certificate(base64.b64decode(bare))


def mark_of(made: Any) -> str:
    """A certificate's fingerprint, as the auth service's key ids have it."""
    return ":".join(f"{byte:02X}" for byte in made.fingerprint(hashes.SHA1()))


def is_signed(public: Any, signature: bytes, message: str) -> bool:
    """Whether ``signature`` is this key's over ``message`` (RSASSA-PKCS1-v1_5 with SHA-256)."""
    try:
        public.verify(signature, message.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
