"""Which compartment a request has: from the argument, the environment or the profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from locus.core.errors import ConfigurationError
from locus.models.providers.oci.authentication import OCIAuth, resolve_auth
from locus.models.providers.oci.compartment import resolve_compartment
from tests.support.oci import profiles
from tests.support.oci.profiles import write_profile

home = profiles.home


def test_the_compartment_is_the_argument_or_the_environments_or_the_tenancy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile(home, tenancy="the tenancy")
    assert resolve_compartment(None, resolve_auth()) == "the tenancy"
    assert resolve_compartment(None, resolve_auth(auth_type="security_token")) == "the tenancy"
    monkeypatch.setenv("OCI_COMPARTMENT_ID", "second")
    assert resolve_compartment(None, resolve_auth()) == "second"
    monkeypatch.setenv("OCI_COMPARTMENT", "first")
    assert resolve_compartment(None, resolve_auth()) == "first"
    assert (
        resolve_compartment("argument", resolve_auth(auth_type="instance_principal")) == "argument"
    )


@pytest.mark.parametrize(
    "auth", [resolve_auth(auth_type="instance_principal"), None, resolve_auth()]
)
def test_without_a_compartment_the_error_says_how_to_set_one(
    home: Path, auth: OCIAuth | None
) -> None:
    write_profile(home, user="u")
    with pytest.raises(ConfigurationError, match="OCI_COMPARTMENT"):
        resolve_compartment(None, auth)
    with pytest.raises(ConfigurationError, match="must be a string"):
        resolve_compartment(3, auth)  # type: ignore[arg-type]
