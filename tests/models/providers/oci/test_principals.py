"""The credentials that machines have by themselves, each from real services on loopback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from locus.core.errors import AuthenticationError, ConfigurationError
from tests.support import runtimes
from tests.support.oci import crypto, profiles, signed_models
from tests.support.oci.credential_services import RESOURCE, Proxymux, Services
from tests.support.oci.crypto import key, pem
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import quick, signed_model
from tests.support.runtimes import Runtime

oci = pytest.importorskip("oci")

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
home, surroundings = profiles.home, signed_models.surroundings
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]


def test_where_there_is_no_metadata_service_it_says_this_is_no_instance(
    surroundings: pytest.MonkeyPatch, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # oci tries four times
    with Services() as cloud:
        model = signed_model(cloud, quick(auth_type="instance_principal"))
        with pytest.raises(ConfigurationError, match="no OCI compute instance"):
            runtime.ask(model, "hello")
        runtime.close(model)


def test_a_delegation_token_travels_signed_with_the_instances_own(
    cloud: Services, surroundings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user = crypto.token("auth service", key("user").public_key(), 60)
    surroundings.setenv("OCI_DELEGATION_TOKEN", user)
    signer = quick(auth_type="delegation_token")
    model = signed_model(cloud, signer)
    model.complete_sync("hello")
    assert cloud.signed[:4] == ["date", "(request-target)", "host", "opc-obo-token"]
    assert cloud.server.requests[-1].headers["opc-obo-token"] == user
    assert user in tuple(signer.secrets())
    # A new one comes with the next renewal, from the file that a profile names.
    surroundings.delenv("OCI_DELEGATION_TOKEN")
    (tmp_path / "obo").write_text("another\n")
    write_profile(
        tmp_path,
        authentication_type="instance_principal",
        delegation_token_file=str(tmp_path / "obo"),
    )
    cloud.distrusted.add(cloud.issued[0])
    model.complete_sync("hello")
    assert cloud.server.requests[-1].headers["opc-obo-token"] == "another"
    # A profile of that shape says the same without an auth_type.
    model = signed_model(cloud, quick(profile="DEFAULT"))
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.server.requests[-1].headers["opc-obo-token"] == "another"


def test_without_a_delegation_token_it_says_where_one_may_stand(cloud: Services) -> None:
    with pytest.raises(ConfigurationError, match="OCI_DELEGATION_TOKEN_FILE"):
        quick(auth_type="delegation_token").prepare()


def _environment(patch: pytest.MonkeyPatch, leaf: bool = False, **said: str) -> None:
    for name, value in said.items():
        after = "_FOR_LEAF_RESOURCE" if leaf else ""
        patch.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}{after}", value)


@pytest.mark.parametrize("files", [True, False], ids=["files", "values"])
def test_resource_principal_2_2(
    cloud: Services,
    surroundings: pytest.MonkeyPatch,
    tmp_path: Path,
    files: bool,
) -> None:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    first = crypto.token("auth service", key("resource").public_key(), 60)
    said = {"RPST": first, "PRIVATE_PEM": pem(key("resource"))}
    if files:
        said = {name: write(name, text) for name, text in said.items()}
    _environment(surroundings, VERSION="2.2", REGION="us-chicago-1", **said)
    signer = quick(auth_type="resource_principal")
    model = signed_model(cloud, signer)
    model.complete_sync("hello")
    assert cloud.accepted == [f"ST${first}"]
    cloud.distrusted.add(first)
    if files:  # a new token with a new key
        second = crypto.token("auth service", key("resource two").public_key(), 60)
        write("RPST", second)
        write("PRIVATE_PEM", pem(key("resource two")))
        model.complete_sync("hello")
        assert cloud.accepted[1:] == [f"ST${second}"]
    else:
        with pytest.raises(AuthenticationError):
            model.complete_sync("hello")
        assert signer.version == 1
    model.close_sync()


@pytest.mark.parametrize("passphrase", ["value", "file"])
def test_resource_principal_2_2_with_a_passphrase(
    cloud: Services, surroundings: pytest.MonkeyPatch, tmp_path: Path, passphrase: str
) -> None:
    made = crypto.token("auth service", key("resource").public_key(), 60)
    said = {
        "RPST": made,
        "PRIVATE_PEM": pem(key("resource"), "a phrase"),
        "PRIVATE_PEM_PASSPHRASE": "a phrase",
    }
    if passphrase == "file":
        for name, text in said.items():
            (tmp_path / name).write_text(text)
            said[name] = str(tmp_path / name)
    _environment(surroundings, VERSION="2.2", **said)
    model = signed_model(cloud, quick(auth_type="resource_principal"))
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.accepted == [f"ST${made}"]


def test_a_resource_token_that_nobody_renews_ends_with_a_word_about_it(
    cloud: Services, surroundings: pytest.MonkeyPatch
) -> None:
    made = crypto.token("auth service", key("resource").public_key(), -5)
    _environment(surroundings, VERSION="2.2", RPST=made, PRIVATE_PEM=pem(key("resource")))
    with pytest.raises(ConfigurationError, match="resource_principal': the token expired at"):
        quick(auth_type="resource_principal").prepare()


def test_resource_principal_1_1(cloud: Services, surroundings: pytest.MonkeyPatch) -> None:
    surroundings.setattr(oci.regions, "endpoint_for", lambda *_: cloud.url)
    _environment(surroundings, VERSION="1.1", RPT_ENDPOINT=cloud.url, RPST_ENDPOINT=cloud.url)
    _check_resource(cloud, ["x509", "resource", "session"])


@pytest.mark.parametrize("version", ["2.1", "2.1.1"])
def test_resource_principal_2_1(
    cloud: Services, surroundings: pytest.MonkeyPatch, version: str
) -> None:
    _environment(
        surroundings,
        VERSION=version,
        RPT_ENDPOINT=cloud.url,
        RPST_ENDPOINT=cloud.url,
        RESOURCE_ID=RESOURCE,
        TENANCY_ID=crypto.TENANCY,
        PRIVATE_PEM=pem(key("resource")),
        REGION="us-chicago-1",
    )
    _check_resource(cloud, ["resource", "session"])


def test_resource_principal_3_0(cloud: Services, surroundings: pytest.MonkeyPatch) -> None:
    leaf = crypto.token("auth service", key("resource").public_key(), 600)
    _environment(surroundings, VERSION="3.0")
    _environment(
        surroundings, leaf=True, VERSION="2.2", RPST=leaf, PRIVATE_PEM=pem(key("resource"))
    )
    surroundings.setenv(
        "OCI_RESOURCE_PRINCIPAL_RPT_URL_FOR_PARENT_RESOURCE", f"{cloud.url}/parent/token"
    )
    surroundings.setenv("OCI_RESOURCE_PRINCIPAL_RPST_ENDPOINT_FOR_PARENT_RESOURCE", cloud.url)
    _check_resource(cloud, ["parent", "session"])


def _check_resource(cloud: Services, steps: list[str]) -> None:
    """It signs with a session token, and with another once that is refused."""
    signer = quick(auth_type="resource_principal")
    model = signed_model(cloud, signer)
    model.complete_sync("hello")
    assert [step for step in cloud.asked if step in steps][-len(steps) :] == steps
    first = cloud.accepted[-1]
    assert first == f"ST${cloud.issued[-1]}"
    cloud.distrusted.add(cloud.issued[-1])
    model.complete_sync("hello")
    model.close_sync()
    assert cloud.accepted[-1] == f"ST${cloud.issued[-1]}" != first
    assert signer.version == 2


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({}, "OCI_RESOURCE_PRINCIPAL_VERSION is not defined"),
        ({"VERSION": "9"}, "Unsupported OCI_RESOURCE_PRINCIPAL_VERSION: 9"),
        ({"VERSION": "2.2"}, "session_token was not provided"),
        ({"VERSION": "2.1"}, "resource_principal_token_endpoint must be provided"),
        ({"VERSION": "2.2", "RPST": "/nowhere", "PRIVATE_PEM": "/nowhere"}, "no file /nowhere"),
        ({"VERSION": "2.2", "RPST": "x", "PRIVATE_PEM": "secret"}, "not a private key"),
    ],
)
def test_a_resource_principal_that_is_not_set_up_says_what_is_missing(
    surroundings: pytest.MonkeyPatch, said: dict[str, str], says: str
) -> None:
    _environment(surroundings, **said)
    with pytest.raises(ConfigurationError, match=says) as caught:
        quick(auth_type="resource_principal").prepare()
    assert "secret" not in str(caught.value)


def test_oke_workload_identity(
    cloud: Services, surroundings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = crypto.token("cluster", key("cluster").public_key(), 600)
    (tmp_path / "account").write_text(account)
    from oci.auth import rpt_path_providers
    from oci.auth.signers import resource_principals_signer

    with Proxymux(cloud, tmp_path, account) as proxymux:
        surroundings.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        surroundings.setenv("OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH", str(proxymux.ca_file))
        surroundings.setattr(
            resource_principals_signer, "OCI_KUBERNETES_PROXYMUX_SERVICE_PORT", proxymux.port
        )
        surroundings.setattr(
            rpt_path_providers,
            "OCI_KUBERNETES_SERVICE_ACCOUNT_TOKEN_PATH",
            str(tmp_path / "account"),
        )
        model = signed_model(cloud, quick(auth_type="oke_workload_identity"))
        model.complete_sync("hello")
        cloud.distrusted.add(cloud.issued[0])
        model.complete_sync("hello")
        model.close_sync()
        assert proxymux.asked == 2
        assert cloud.accepted == [f"ST${made}" for made in cloud.issued]


def test_outside_a_cluster_oke_workload_identity_says_what_is_missing(
    surroundings: pytest.MonkeyPatch,
) -> None:
    surroundings.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    with pytest.raises(ConfigurationError, match="oke_workload_identity': there is no file"):
        quick(auth_type="oke_workload_identity").prepare()
