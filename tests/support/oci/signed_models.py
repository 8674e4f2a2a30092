"""What the tests of OCI's authentication send with: a small signed model, and its surroundings."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from locus.models.native.openai import OpenAIModel
from locus.models.providers.oci._signing import OCISigner, Pace
from locus.models.providers.oci.settings import OCIAuth, auth_of
from tests.support.oci.cloud import COMPARTMENT, Cloud
from tests.support.oci.credential_services import Services
from tests.support.oci.crypto import TENANCY, USER, fingerprint, key, pem
from tests.support.oci.profiles import write_profile

QUICK = Pace(again=0.2, settled=0.0, shared=0.5)
"""Refresh soon after a failure, and credentials that have only just come."""


def signed_model(cloud: Cloud, signer: OCISigner, **kw: Any) -> OpenAIModel:
    """A model that signs, with a foreign key that must not come through."""

    class SignedModel(OpenAIModel):
        def _signer(self) -> OCISigner:
            return signer

        def _headers(self) -> dict[str, str]:
            return {**super()._headers(), "opc-compartment-id": COMPARTMENT}

    kw = {"timeout": 10.0, "max_retries": 0, "api_key": "sk-foreign-key", **kw}
    return SignedModel("loop-1", base_url=kw.pop("base_url", f"{cloud.url}/openai/v1"), **kw)


def quick(auth: OCIAuth | None = None, pace: Pace = QUICK, **kw: Any) -> OCISigner:
    """A signer of its own, not the process's."""
    return OCISigner(auth or auth_of(**kw), pace=pace)


def metadata_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """Have the metadata service looked for at ``url``, and not at the real one's address."""
    from oci.auth.signers import InstancePrincipalsSecurityTokenSigner as Instance

    patch.setenv("OCI_METADATA_BASE_URL", url)
    # Older versions of oci have read the environment when they were imported.
    for name, path in {
        "METADATA_URL_BASE": "",
        "GET_REGION_URL": "/instance/region",
        "LEAF_CERTIFICATE_URL": "/identity/cert.pem",
        "LEAF_CERTIFICATE_PRIVATE_KEY_URL": "/identity/key.pem",
        "INTERMEDIATE_CERTIFICATE_URL": "/identity/intermediate.pem",
    }.items():
        patch.setattr(Instance, name, f"{url}{path}")


@pytest.fixture
def surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A home of one's own, services that nobody listens at, and no way out of this machine."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _HERE:
            raise OSError(f"a test wanted to connect to {address[0]}")
        connect(self, address)

    def resolve_here(host: Any, *args: Any, **kw: Any) -> Any:
        if (host.decode() if isinstance(host, bytes) else host) not in _HERE:
            raise OSError(f"a test wanted the address of {host}")
        return resolve(host, *args, **kw)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    metadata_at("http://127.0.0.1:1/opc/v2", monkeypatch)
    monkeypatch.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", "http://127.0.0.1:1")
    return monkeypatch


@pytest.fixture
def cloud(surroundings: pytest.MonkeyPatch) -> Iterator[Services]:
    """A cloud with all services, which are the ones that this machine asks."""
    with Services() as cloud:
        metadata_at(f"{cloud.url}/opc/v2", surroundings)
        surroundings.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", cloud.url)
        yield cloud


_HERE = ("127.0.0.1", "::1", "localhost")


def write_key(home: Path, name: str, passphrase: str | None = None) -> Path:
    """The key ``name`` as a file."""
    file = home / f"{name.replace(' ', '_')}.pem"
    file.write_text(pem(key(name), passphrase))
    return file


def api_key_profile(home: Path, name: str = "DEFAULT", of: str = "user", **more: str) -> Path:
    """A profile with an API key."""
    return write_profile(
        home,
        name,
        tenancy=TENANCY,
        user=USER,
        fingerprint=fingerprint(key(of)),
        key_file=str(write_key(home, of, more.get("pass_phrase"))),
        region="us-chicago-1",
        **more,
    )
