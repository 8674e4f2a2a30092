"""Tokens that no header can carry are rejected when they are read, and are never shown."""

from __future__ import annotations

import pickle
import textwrap
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.core.error_context import ErrorContext
from locus.core.errors import APIConnectionError, APIError, ConfigurationError, LocusError
from locus.models.providers.oci import OCIChatCompletionsModel, OCIResponsesModel
from locus.models.providers.oci._credentials_snapshot import make_token_credentials
from locus.models.providers.oci._sdk_errors import translate_sdk_errors
from locus.models.providers.oci.authentication import resolve_auth
from locus.testing.formats.runtimes import Runtime
from locus.transport.http_request import HttpRequest
from tests.support.chat_replies import TEXT
from tests.support.oci import crypto, profiles, signed_models
from tests.support.oci.cloud import COMPARTMENT
from tests.support.oci.credential_services import CredentialServices, Proxymux
from tests.support.oci.crypto import (
    TENANCY,
    compute_fingerprint,
    encode_private_key,
    get_private_key,
)
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import make_signed_model, make_signer, write_key_file

pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]


def make_valid_token(key_name: str = "session") -> str:
    """A valid token."""
    return crypto.make_token("auth service", get_private_key(key_name).public_key(), 60)


def wrap_lines(text: str) -> str:
    """The text with line breaks, as copied from a mail or a terminal."""
    return textwrap.fill(text, 64)


def check_not_shown(error: BaseException, secret: str) -> None:
    """No part of the secret is in the error's message, its traceback or its pickle."""
    shown = (
        str(error),
        "".join(traceback.format_exception(error)),
        pickle.dumps(error).decode("latin1"),
    )
    for start in range(0, len(secret) - 20, 20):
        part = secret[start : start + 20].partition("\n")[0]
        if len(part) > 8:
            assert not any(part in text for text in shown)


def write_session_profile(home: Path, token: str) -> Path:
    file = home / "token"
    file.write_text(token)
    write_profile(
        home,
        fingerprint=compute_fingerprint(get_private_key("session")),
        key_file=str(write_key_file(home, "session")),
        tenancy=TENANCY,
        region="us-chicago-1",
        security_token_file=str(file),
    )
    return file


every_defect = pytest.mark.parametrize(
    ("damage", "message"),
    [
        (wrap_lines, "a line break, a space, or a character beyond ASCII"),
        (lambda text: f"{text[:50]} {text[50:]}", "a line break, a space, or a character"),
        (lambda text: f"{text}\x7f", "a line break, a space, or a character"),
        (lambda text: f"{text}é", "beyond ASCII|not ASCII|no delegation token"),
        (lambda _: " \n", "is empty"),
    ],
    ids=["wrapped", "space", "control", "letter", "blank"],
)


@every_defect
def test_an_invalid_session_token_is_rejected(
    cloud: CredentialServices, tmp_path: Path, runtime: Runtime, damage: Any, message: str
) -> None:
    token = make_valid_token()
    file = write_session_profile(tmp_path, damage(token))
    model = make_signed_model(cloud, make_signer(), max_retries=2)
    with pytest.raises(ConfigurationError, match=message) as exc_info:
        runtime.complete(model, "hello")
    runtime.close(model)
    check_not_shown(exc_info.value, token)
    assert "security_token_file" in str(exc_info.value)
    assert "oci session authenticate" in str(exc_info.value)
    assert str(file) in str(exc_info.value) or "ASCII" in message
    assert not cloud.server.requests


@every_defect
@pytest.mark.parametrize("location", ["argument", "variable", "file", "profile"])
def test_an_invalid_delegation_token_is_rejected(
    cloud: CredentialServices,
    isolated_environment: pytest.MonkeyPatch,
    tmp_path: Path,
    location: str,
    damage: Any,
    message: str,
) -> None:
    token = make_valid_token("user")
    arguments: dict[str, str] = {}
    file = tmp_path / "obo"
    names = {"argument": "delegation_token", "variable": "OCI_DELEGATION_TOKEN"}
    if location == "argument":
        arguments["delegation_token"] = damage(token)
    elif location == "variable":
        isolated_environment.setenv("OCI_DELEGATION_TOKEN", damage(token))
    else:
        file.write_text(damage(token))
        if location == "file":
            isolated_environment.setenv("OCI_DELEGATION_TOKEN_FILE", str(file))
        else:
            write_profile(tmp_path, delegation_token_file=str(file))
    with pytest.raises(ConfigurationError, match=message) as exc_info:
        make_signed_model(
            cloud, make_signer(auth_type="delegation_token", **arguments)
        ).complete_sync("hello")
    check_not_shown(exc_info.value, token)
    assert names.get(location, str(file)) in str(exc_info.value)
    assert not cloud.accepted_key_ids


def test_white_space_around_a_token_is_removed(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch
) -> None:
    token = make_valid_token("user")
    isolated_environment.setenv("OCI_DELEGATION_TOKEN", f" {token}\r\n")
    model = make_signed_model(cloud, make_signer(auth_type="delegation_token"))
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert cloud.server.requests[-1].headers["opc-obo-token"] == token
    assert resolve_auth(delegation_token=f" {token}\n") == resolve_auth(delegation_token=token)


def test_an_invalid_token_of_a_principal_is_rejected(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch
) -> None:
    token = make_valid_token("resource")
    variables = {
        "VERSION": "2.2",
        "RPST": wrap_lines(token),
        "PRIVATE_PEM": encode_private_key(get_private_key("resource")),
    }
    for name, value in variables.items():
        isolated_environment.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}", value)
    with pytest.raises(LocusError, match="resource_principal': ") as exc_info:
        make_signed_model(cloud, make_signer(auth_type="resource_principal")).complete_sync("hello")
    check_not_shown(exc_info.value, token)
    assert not cloud.server.requests


def test_an_invalid_token_of_a_service_account_is_rejected(
    cloud: CredentialServices, isolated_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from oci.auth import rpt_path_providers
    from oci.auth.signers import resource_principals_signer

    account = crypto.make_token("cluster", get_private_key("cluster").public_key(), 600)
    (tmp_path / "account").write_text(wrap_lines(account))
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
        with pytest.raises(LocusError, match="oke_workload_identity': ") as exc_info:
            make_signer(auth_type="oke_workload_identity").ensure_ready()
    check_not_shown(exc_info.value, account)


@pytest.mark.parametrize("model_class", [OCIChatCompletionsModel, OCIResponsesModel])
@pytest.mark.parametrize("name", ["api_key", "delegation_token"])
@pytest.mark.parametrize("ending", ["\nabcdef", "é", " abcdef"])
def test_an_invalid_key_or_token_argument_is_rejected_by_the_constructor(
    model_class: Any, name: str, ending: str
) -> None:
    secret = f"sk-0123456789abcdef{ending}"
    arguments = {} if name == "api_key" else {"auth_type": name, "compartment_id": COMPARTMENT}
    with pytest.raises(ConfigurationError, match="holds a line break") as exc_info:
        model_class("some-model", **arguments, **{name: secret})
    assert "0123" not in str(exc_info.value)


def test_a_header_that_the_oci_package_cannot_send_is_not_shown() -> None:
    from oci._vendor import requests

    token = make_valid_token()
    with pytest.raises(ConfigurationError, match="asking: a token holds a line break") as exc_info:  # noqa: SIM117
        with translate_sdk_errors("asking"):
            requests.get(
                "http://127.0.0.1:1", headers={"authorization": wrap_lines(token)}, timeout=1
            )
    check_not_shown(exc_info.value, token)


def test_no_credentials_are_made_of_an_invalid_token() -> None:
    with pytest.raises(ConfigurationError, match="the token holds"):
        make_token_credentials(wrap_lines(make_valid_token()), get_private_key("session"))


# -- if an invalid token is sent after all -----------------------------------------------------


class UncheckedSigner:
    """A signer that does not check its token."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.signed = self.credentials_version = 0

    def is_ready(self) -> bool:
        return True

    def ensure_ready(self) -> None:
        raise AssertionError("it is ready")

    def make_signed_copy(self, request: HttpRequest) -> HttpRequest:
        self.signed += 1
        return attrs.evolve(
            request, headers={**request.headers, "authorization": f"Bearer {self.secret}"}
        )

    def refresh_credentials(self, version: int) -> bool:
        return False

    def get_secrets(self) -> Iterable[str]:
        return (self.secret,)


def test_a_request_that_the_library_cannot_send_is_not_retried_and_not_shown(
    cloud: CredentialServices, runtime: Runtime
) -> None:
    token = make_valid_token()
    signer: Any = UncheckedSigner(wrap_lines(token))
    model = make_signed_model(cloud, signer, max_retries=2)
    with pytest.raises(APIError, match="cannot be sent: LocalProtocolError") as exc_info:
        runtime.complete(model, "hello")
    runtime.close(model)
    assert not isinstance(exc_info.value, APIConnectionError)
    assert signer.signed == 1
    for start in range(0, len(token) - 20, 20):
        assert token[start : start + 20] not in f"{exc_info.value} {pickle.dumps(exc_info.value)!r}"


@pytest.mark.parametrize("secret", ["first line\nsecond line", "it's\tsecret", 'a "quoted" \\ one'])
@pytest.mark.parametrize("quote", [repr, lambda s: repr(s.encode()), str])
def test_a_secret_is_redacted_however_it_is_quoted(secret: str, quote: Any) -> None:
    shown = ErrorContext("p", "m", secrets=(secret,)).redact(f"illegal value {quote(secret)} here")
    assert "***" in shown
    assert "line" not in shown
    assert "secret" not in shown
    assert "quoted" not in shown
