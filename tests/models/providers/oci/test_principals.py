"""Credentials of machines (principals), each issued by real services on loopback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from locus.core.errors import AuthenticationError, ConfigurationError
from locus.testing.formats.runtimes import Runtime
from tests.support.oci import crypto, profiles, signed_models
from tests.support.oci.credential_services import RESOURCE_OCID, CredentialServices, Proxymux
from tests.support.oci.crypto import encode_private_key, get_private_key
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import make_signed_model, make_signer

oci = pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]


def test_without_a_metadata_service_the_error_says_this_is_no_instance(
    isolated_environment: pytest.MonkeyPatch, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # oci tries four times
    with CredentialServices() as cloud:
        model = make_signed_model(cloud, make_signer(auth_type="instance_principal"))
        with pytest.raises(ConfigurationError, match="not an OCI compute instance"):
            runtime.complete(model, "hello")
        runtime.close(model)


def test_a_delegation_token_is_sent_and_signed_with_the_instances_token(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user = crypto.make_token("auth service", get_private_key("user").public_key(), 60)
    isolated_environment.setenv("OCI_DELEGATION_TOKEN", user)
    signer = make_signer(auth_type="delegation_token")
    model = make_signed_model(cloud, signer)
    model.complete_sync("hello")
    assert cloud.signed_headers[:4] == ["date", "(request-target)", "host", "opc-obo-token"]
    assert cloud.server.requests[-1].headers["opc-obo-token"] == user
    assert user in tuple(signer.get_secrets())
    # The next refresh reads a new one, from the file that a profile names.
    isolated_environment.delenv("OCI_DELEGATION_TOKEN")
    (tmp_path / "obo").write_text("another\n")
    write_profile(
        tmp_path,
        authentication_type="instance_principal",
        delegation_token_file=str(tmp_path / "obo"),
    )
    cloud.revoked_tokens.add(cloud.issued_tokens[0])
    model.complete_sync("hello")
    assert cloud.server.requests[-1].headers["opc-obo-token"] == "another"
    # A profile with these entries has the same effect without an auth_type.
    model = make_signed_model(cloud, make_signer(profile="DEFAULT"))
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.server.requests[-1].headers["opc-obo-token"] == "another"


def test_without_a_delegation_token_the_error_says_where_to_set_one(
    cloud: CredentialServices,
) -> None:
    with pytest.raises(ConfigurationError, match="OCI_DELEGATION_TOKEN_FILE"):
        make_signer(auth_type="delegation_token").ensure_ready()


def _set_variables(monkeypatch: pytest.MonkeyPatch, leaf: bool = False, **variables: str) -> None:
    for name, value in variables.items():
        suffix = "_FOR_LEAF_RESOURCE" if leaf else ""
        monkeypatch.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}{suffix}", value)


@pytest.mark.parametrize("files", [True, False], ids=["files", "values"])
def test_resource_principal_2_2(
    cloud: CredentialServices,
    isolated_environment: pytest.MonkeyPatch,
    tmp_path: Path,
    files: bool,
) -> None:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    first = crypto.make_token("auth service", get_private_key("resource").public_key(), 60)
    variables = {"RPST": first, "PRIVATE_PEM": encode_private_key(get_private_key("resource"))}
    if files:
        variables = {name: write(name, text) for name, text in variables.items()}
    _set_variables(isolated_environment, VERSION="2.2", REGION="us-chicago-1", **variables)
    signer = make_signer(auth_type="resource_principal")
    model = make_signed_model(cloud, signer)
    model.complete_sync("hello")
    assert cloud.accepted_key_ids == [f"ST${first}"]
    cloud.revoked_tokens.add(first)
    if files:  # a new token with a new key
        second = crypto.make_token("auth service", get_private_key("resource two").public_key(), 60)
        write("RPST", second)
        write("PRIVATE_PEM", encode_private_key(get_private_key("resource two")))
        model.complete_sync("hello")
        assert cloud.accepted_key_ids[1:] == [f"ST${second}"]
    else:
        with pytest.raises(AuthenticationError):
            model.complete_sync("hello")
        assert signer.credentials_version == 1
    model.close_sync()


@pytest.mark.parametrize("passphrase", ["value", "file"])
def test_resource_principal_2_2_with_a_passphrase(
    cloud: CredentialServices,
    isolated_environment: pytest.MonkeyPatch,
    tmp_path: Path,
    passphrase: str,
) -> None:
    token = crypto.make_token("auth service", get_private_key("resource").public_key(), 60)
    variables = {
        "RPST": token,
        "PRIVATE_PEM": encode_private_key(get_private_key("resource"), "a phrase"),
        "PRIVATE_PEM_PASSPHRASE": "a phrase",
    }
    if passphrase == "file":
        for name, text in variables.items():
            (tmp_path / name).write_text(text)
            variables[name] = str(tmp_path / name)
    _set_variables(isolated_environment, VERSION="2.2", **variables)
    model = make_signed_model(cloud, make_signer(auth_type="resource_principal"))
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.accepted_key_ids == [f"ST${token}"]


def test_an_expired_resource_token_is_an_error(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch
) -> None:
    token = crypto.make_token("auth service", get_private_key("resource").public_key(), -5)
    _set_variables(
        isolated_environment,
        VERSION="2.2",
        RPST=token,
        PRIVATE_PEM=encode_private_key(get_private_key("resource")),
    )
    with pytest.raises(ConfigurationError, match="resource_principal': the token expired at"):
        make_signer(auth_type="resource_principal").ensure_ready()


def test_resource_principal_1_1(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch
) -> None:
    isolated_environment.setattr(oci.regions, "endpoint_for", lambda *_: cloud.url)
    _set_variables(
        isolated_environment, VERSION="1.1", RPT_ENDPOINT=cloud.url, RPST_ENDPOINT=cloud.url
    )
    _check_resource_principal(cloud, ["x509", "resource", "session"])


@pytest.mark.parametrize("version", ["2.1", "2.1.1"])
def test_resource_principal_2_1(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch, version: str
) -> None:
    _set_variables(
        isolated_environment,
        VERSION=version,
        RPT_ENDPOINT=cloud.url,
        RPST_ENDPOINT=cloud.url,
        RESOURCE_ID=RESOURCE_OCID,
        TENANCY_ID=crypto.TENANCY,
        PRIVATE_PEM=encode_private_key(get_private_key("resource")),
        REGION="us-chicago-1",
    )
    _check_resource_principal(cloud, ["resource", "session"])


def test_resource_principal_3_0(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch
) -> None:
    leaf = crypto.make_token("auth service", get_private_key("resource").public_key(), 600)
    _set_variables(isolated_environment, VERSION="3.0")
    _set_variables(
        isolated_environment,
        leaf=True,
        VERSION="2.2",
        RPST=leaf,
        PRIVATE_PEM=encode_private_key(get_private_key("resource")),
    )
    isolated_environment.setenv(
        "OCI_RESOURCE_PRINCIPAL_RPT_URL_FOR_PARENT_RESOURCE", f"{cloud.url}/parent/token"
    )
    isolated_environment.setenv(
        "OCI_RESOURCE_PRINCIPAL_RPST_ENDPOINT_FOR_PARENT_RESOURCE", cloud.url
    )
    _check_resource_principal(cloud, ["parent", "session"])


def _check_resource_principal(cloud: CredentialServices, services: list[str]) -> None:
    """Check that it signs with a session token, and with another after that is rejected."""
    signer = make_signer(auth_type="resource_principal")
    model = make_signed_model(cloud, signer)
    model.complete_sync("hello")
    assert [step for step in cloud.token_requests if step in services][-len(services) :] == services
    first = cloud.accepted_key_ids[-1]
    assert first == f"ST${cloud.issued_tokens[-1]}"
    cloud.revoked_tokens.add(cloud.issued_tokens[-1])
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.accepted_key_ids[-1] == f"ST${cloud.issued_tokens[-1]}" != first
    assert signer.credentials_version == 2


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "OCI_RESOURCE_PRINCIPAL_VERSION is not defined"),
        ({"VERSION": "9"}, "Unsupported OCI_RESOURCE_PRINCIPAL_VERSION: 9"),
        ({"VERSION": "2.2"}, "session_token was not provided"),
        ({"VERSION": "2.1"}, "resource_principal_token_endpoint must be provided"),
        ({"VERSION": "2.2", "RPST": "/nowhere", "PRIVATE_PEM": "/nowhere"}, "no file /nowhere"),
        ({"VERSION": "2.2", "RPST": "x", "PRIVATE_PEM": "secret"}, "not a private key"),
    ],
)
def test_the_error_for_a_missing_resource_principal_says_what_is_missing(
    isolated_environment: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    _set_variables(isolated_environment, **variables)
    with pytest.raises(ConfigurationError, match=message) as exc_info:
        make_signer(auth_type="resource_principal").ensure_ready()
    assert "secret" not in str(exc_info.value)


def test_oke_workload_identity(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = crypto.make_token("cluster", get_private_key("cluster").public_key(), 600)
    (tmp_path / "account").write_text(account)
    from oci.auth import rpt_path_providers
    from oci.auth.signers import resource_principals_signer

    with Proxymux(cloud, tmp_path, account) as proxymux:
        isolated_environment.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        isolated_environment.setenv(
            "OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH", str(proxymux.ca_file)
        )
        isolated_environment.setattr(
            resource_principals_signer, "OCI_KUBERNETES_PROXYMUX_SERVICE_PORT", proxymux.port
        )
        isolated_environment.setattr(
            rpt_path_providers,
            "OCI_KUBERNETES_SERVICE_ACCOUNT_TOKEN_PATH",
            str(tmp_path / "account"),
        )
        model = make_signed_model(cloud, make_signer(auth_type="oke_workload_identity"))
        model.complete_sync("hello")
        cloud.revoked_tokens.add(cloud.issued_tokens[0])
        model.complete_sync("hello")
        model.close_sync()
        assert proxymux.token_count == 2
        assert cloud.accepted_key_ids == [f"ST${token}" for token in cloud.issued_tokens]


def test_outside_a_cluster_the_error_says_what_is_missing(
    isolated_environment: pytest.MonkeyPatch,
) -> None:
    isolated_environment.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    with pytest.raises(ConfigurationError, match="oke_workload_identity': there is no file"):
        make_signer(auth_type="oke_workload_identity").ensure_ready()
