"""For the tests of OCI's authentication: a small model that signs, and an isolated environment."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from locus.models.native.openai import OpenAIModel
from locus.models.providers.oci._refresh_policy import RefreshPolicy
from locus.models.providers.oci._refreshing_signer import OCISigner
from locus.models.providers.oci.authentication import OCIAuth, resolve_auth
from tests.support.oci.cloud import COMPARTMENT, LoopbackCloud
from tests.support.oci.credential_services import CredentialServices
from tests.support.oci.crypto import (
    TENANCY,
    USER,
    compute_fingerprint,
    encode_private_key,
    get_private_key,
)
from tests.support.oci.profiles import write_profile
from tests.support.timing import FOREVER

FAST_REFRESH_POLICY = RefreshPolicy(retry_delay=0.2, min_renewal_age=0.0, failure_cache_seconds=0.5)
"""Refreshes soon after a failure, and also credentials that are new."""


def make_signed_model(cloud: LoopbackCloud, signer: OCISigner, **kw: Any) -> OpenAIModel:
    """Make a model that signs. Its API key is foreign and must not be sent."""

    class SignedModel(OpenAIModel):
        def get_signer(self) -> OCISigner:
            return signer

        def build_provider_headers(self) -> dict[str, str]:
            return {**super().build_provider_headers(), "opc-compartment-id": COMPARTMENT}

    kw = {"timeout": FOREVER, "max_retries": 0, "api_key": "sk-foreign-key", **kw}
    return SignedModel("loop-1", base_url=kw.pop("base_url", f"{cloud.url}/openai/v1"), **kw)


def make_signer(
    auth: OCIAuth | None = None, refresh_policy: RefreshPolicy = FAST_REFRESH_POLICY, **kw: Any
) -> OCISigner:
    """Make a new signer, not the one that the process shares."""
    return OCISigner(auth or resolve_auth(**kw), refresh_policy=refresh_policy)


def set_metadata_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``url`` the address of the metadata service, in place of the real one."""
    from oci.auth.signers import InstancePrincipalsSecurityTokenSigner

    monkeypatch.setenv("OCI_METADATA_BASE_URL", url)
    # Older versions of oci read the environment at import time.
    for name, path in {
        "METADATA_URL_BASE": "",
        "GET_REGION_URL": "/instance/region",
        "LEAF_CERTIFICATE_URL": "/identity/cert.pem",
        "LEAF_CERTIFICATE_PRIVATE_KEY_URL": "/identity/key.pem",
        "INTERMEDIATE_CERTIFICATE_URL": "/identity/intermediate.pem",
    }.items():
        monkeypatch.setattr(InstancePrincipalsSecurityTokenSigner, name, f"{url}{path}")


@pytest.fixture
def isolated_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make a temporary home, close all services, and forbid connections to other machines."""
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo

    def connect_to_loopback(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOOPBACK_HOSTS:
            raise OSError(f"a test wanted to connect to {address[0]}")
        connect(self, address)

    def resolve_loopback(host: Any, *args: Any, **kw: Any) -> Any:
        if (host.decode() if isinstance(host, bytes) else host) not in _LOOPBACK_HOSTS:
            raise OSError(f"a test wanted the address of {host}")
        return getaddrinfo(host, *args, **kw)

    monkeypatch.setattr(socket.socket, "connect", connect_to_loopback)
    monkeypatch.setattr(socket, "getaddrinfo", resolve_loopback)
    set_metadata_url("http://127.0.0.1:1/opc/v2", monkeypatch)
    monkeypatch.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", "http://127.0.0.1:1")
    return monkeypatch


@pytest.fixture
def cloud(isolated_environment: pytest.MonkeyPatch) -> Iterator[CredentialServices]:
    """Start a cloud with all services; the environment points to them."""
    with CredentialServices() as cloud:
        set_metadata_url(f"{cloud.url}/opc/v2", isolated_environment)
        isolated_environment.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", cloud.url)
        yield cloud


_LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


def write_key_file(home: Path, name: str, passphrase: str | None = None) -> Path:
    """Write the key ``name`` to a file; return its path."""
    file = home / f"{name.replace(' ', '_')}.pem"
    file.write_text(encode_private_key(get_private_key(name), passphrase))
    return file


def write_api_key_profile(
    home: Path, name: str = "DEFAULT", key_name: str = "user", **more: str
) -> Path:
    """Write a profile with an API key; return the config file's path."""
    return write_profile(
        home,
        name,
        tenancy=TENANCY,
        user=USER,
        fingerprint=compute_fingerprint(get_private_key(key_name)),
        key_file=str(write_key_file(home, key_name, more.get("pass_phrase"))),
        region="us-chicago-1",
        **more,
    )
