"""Which credentials sign: from arguments, the environment and profiles. Does not need ``oci``."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.models.providers.oci import OCIChatCompletionsModel, OCIModel, OCIResponsesModel
from locus.models.providers.oci._config_profile import read_profile
from locus.models.providers.oci._refreshing_signer import OCISigner
from locus.models.providers.oci._signer_cache import get_signer
from locus.models.providers.oci.authentication import AUTH_TYPES, resolve_auth
from tests.support.oci import profiles
from tests.support.oci.profiles import write_profile
from tests.support.processes import run_process
from tests.support.subprocess_scripts import run_script

home = profiles.home


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        ({}, "profile"),
        ({"profile": "A"}, "profile"),
        ({"auth_type": "api_key"}, "profile"),
        ({"auth_type": "session_token"}, "security_token"),
        *(({"auth_type": name}, name) for name in AUTH_TYPES),
    ],
)
def test_arguments_decide_the_authentication_method(arguments: dict[str, str], method: str) -> None:
    assert resolve_auth(**arguments).method == method
    assert resolve_auth(**arguments) == resolve_auth(**arguments)


@pytest.mark.parametrize("wrong", ["instance", "", "PROFILE", "profile", 3])
def test_an_unknown_auth_type_is_an_error_that_lists_the_known_ones(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="oke_workload_identity"):
        resolve_auth(auth_type=wrong)


@pytest.mark.parametrize("arguments", [{"profile": 3}, {"profile": " "}, {"config_file": ""}])
def test_invalid_values_are_rejected(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        resolve_auth(**arguments)


def test_secrets_are_not_shown_and_credentials_can_be_pickled(home: Path) -> None:
    auth = resolve_auth(key_content="secret key", delegation_token="secret-token", profile="A")
    assert "secret" not in f"{auth} {auth!r}"
    assert pickle.loads(pickle.dumps(auth)) == auth
    assert hash(pickle.loads(pickle.dumps(auth))) == hash(auth)
    write_profile(home, pass_phrase="hush hush", user="u")
    assert "hush" not in f"{read_profile('~/.oci/config', 'DEFAULT')!r}"


def test_the_profile_comes_from_the_argument_or_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve_auth().profile_name == "DEFAULT"
    monkeypatch.setenv("OCI_PROFILE", "OTHER")
    assert resolve_auth().profile_name == "OTHER"
    assert resolve_auth(profile="MINE").profile_name == "MINE"


@pytest.mark.parametrize("auth_type", ["api_key", "security_token", "delegation_token"])
def test_another_profile_in_the_environment_gives_another_value(
    home: Path, monkeypatch: pytest.MonkeyPatch, auth_type: str
) -> None:
    before = resolve_auth(auth_type=auth_type)
    monkeypatch.setenv("OCI_PROFILE", "OTHER")
    assert resolve_auth(auth_type=auth_type) != before
    assert get_signer(resolve_auth(auth_type=auth_type)) is not get_signer(before)
    assert resolve_auth(auth_type=auth_type) == resolve_auth(auth_type=auth_type, profile="OTHER")
    monkeypatch.setenv("OCI_PROFILE", "")
    assert resolve_auth(auth_type=auth_type) == before


def test_a_principal_has_no_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve_auth(auth_type="instance_principal")
    monkeypatch.setenv("OCI_PROFILE", "OTHER")
    assert resolve_auth(auth_type="instance_principal") == before


@pytest.mark.parametrize("model_class", [OCIChatCompletionsModel, OCIResponsesModel])
def test_an_older_name_of_the_other_class_is_rejected(home: Path, model_class: Any) -> None:
    arguments = {"compartment_id": "ocid1.compartment.x"}
    with pytest.raises(ValueError, match="'session_token' is OCIModel's older name of 'security"):
        model_class("m", auth_type="session_token", **arguments)
    with pytest.raises(ValueError, match="an API key is a profile's"):
        model_class("m", auth_type="api_key", **arguments)
    model = model_class("m", auth_type="security_token", **arguments)
    with pytest.raises(ValueError, match="older name"):
        model.copy(auth_type="session_token")
    assert OCIModel(auth_type="session_token").config.resolve_auth().method == "security_token"


# -- signers ------------------------------------------------------------------------------------


def test_credentials_and_signers_neither_import_oci_nor_read_files() -> None:
    output = run_script(
        """
        import os, sys
        from locus.models.providers.oci._signer_cache import get_signer
        from locus.models.providers.oci.authentication import resolve_auth
        from locus.models.providers.oci.endpoints import resolve_openai_base_url

        signer = get_signer(resolve_auth(profile="NOWHERE", config_file="/nowhere"))
        print(signer.is_ready(), signer.credentials_version, tuple(signer.get_secrets()))
        print(signer.last_refresh_error)
        print("oci" in sys.modules)
        """
    )
    assert output.split("\n")[:3] == ["False 0 ()", "None", "False"]


def test_signing_before_ensure_ready_is_an_error() -> None:
    from locus.transport.http_request import HttpRequest

    with pytest.raises(RuntimeError, match="ensure_ready"):
        OCISigner(resolve_auth()).make_signed_copy(HttpRequest("http://localhost", {}, b""))


def test_without_the_extra_the_error_says_what_to_install(home: Path) -> None:
    code = (
        "import sys; sys.modules['oci'] = None\n"
        "from locus.models.providers.oci._signer_cache import get_signer\n"
        "from locus.models.providers.oci.authentication import resolve_auth\n"
        "try: get_signer(resolve_auth()).ensure_ready()\n"
        "except ValueError as error: print(error)\n"
    )
    process = run_process([sys.executable, "-c", code])
    assert 'pip install "locus-llm[oci]"' in process.stdout


def test_equal_credentials_share_a_signer(home: Path) -> None:
    assert get_signer(resolve_auth(profile="A")) is get_signer(resolve_auth(profile="A"))
    assert get_signer(resolve_auth(profile="A")) is not get_signer(resolve_auth(profile="B"))
