"""Tokens that cannot travel in a header are refused where they are read, and shown nowhere."""

from __future__ import annotations

import pickle
import textwrap
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.core.error_factory import Asked
from locus.core.errors import APIConnectionError, APIError, ConfigurationError, LocusError
from locus.models.providers.oci import OCIChatCompletionsModel, OCIResponsesModel
from locus.models.providers.oci._credentials import explained, of_token
from locus.models.providers.oci.settings import auth_of
from locus.transport.http_call import HttpRequest
from tests.support import runtimes
from tests.support.oci import crypto, profiles, signed_models
from tests.support.oci.cloud import COMPARTMENT
from tests.support.oci.credential_services import Proxymux, Services
from tests.support.oci.crypto import TENANCY, fingerprint, key, pem
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import quick, signed_model, write_key
from tests.support.runtimes import TEXT, Runtime

pytest.importorskip("oci")

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
home, surroundings = profiles.home, signed_models.surroundings
cloud = signed_models.cloud
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]


def token(of: str = "session") -> str:
    """A token that is good."""
    return crypto.token("auth service", key(of).public_key(), 60)


def wrapped(text: str) -> str:
    """As a mail or a terminal leaves it."""
    return textwrap.fill(text, 64)


def check_hidden(error: BaseException, secret: str) -> None:
    """No stretch of the secret is in what the error says, or how it is printed or pickled."""
    shown = (
        str(error),
        "".join(traceback.format_exception(error)),
        pickle.dumps(error).decode("latin1"),
    )
    for at in range(0, len(secret) - 20, 20):
        piece = secret[at : at + 20].partition("\n")[0]
        if len(piece) > 8:
            assert not any(piece in text for text in shown)


def session_profile(home: Path, made: str) -> Path:
    file = home / "token"
    file.write_text(made)
    write_profile(
        home,
        fingerprint=fingerprint(key("session")),
        key_file=str(write_key(home, "session")),
        tenancy=TENANCY,
        region="us-chicago-1",
        security_token_file=str(file),
    )
    return file


BROKEN = pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (wrapped, "a line break, a space, or a character beyond ASCII"),
        (lambda text: f"{text[:50]} {text[50:]}", "a line break, a space, or a character"),
        (lambda text: f"{text}\x7f", "a line break, a space, or a character"),
        (lambda text: f"{text}é", "beyond ASCII|not ASCII|no delegation token"),
        (lambda _: " \n", "is empty"),
    ],
    ids=["wrapped", "space", "control", "letter", "blank"],
)


@BROKEN
def test_a_session_token_that_cannot_be_sent_is_refused(
    cloud: Services, tmp_path: Path, runtime: Runtime, spoil: Any, says: str
) -> None:
    made = token()
    file = session_profile(tmp_path, spoil(made))
    model = signed_model(cloud, quick(), max_retries=2)
    with pytest.raises(ConfigurationError, match=says) as caught:
        runtime.ask(model, "hello")
    runtime.close(model)
    check_hidden(caught.value, made)
    assert "security_token_file" in str(caught.value)
    assert "oci session authenticate" in str(caught.value)
    assert str(file) in str(caught.value) or "ASCII" in says
    assert not cloud.server.requests


@BROKEN
@pytest.mark.parametrize("where", ["argument", "variable", "file", "profile"])
def test_a_delegation_token_that_cannot_be_sent_is_refused(
    cloud: Services,
    surroundings: pytest.MonkeyPatch,
    tmp_path: Path,
    where: str,
    spoil: Any,
    says: str,
) -> None:
    made = token("user")
    given: dict[str, str] = {}
    file = tmp_path / "obo"
    named = {"argument": "delegation_token", "variable": "OCI_DELEGATION_TOKEN"}
    if where == "argument":
        given["delegation_token"] = spoil(made)
    elif where == "variable":
        surroundings.setenv("OCI_DELEGATION_TOKEN", spoil(made))
    else:
        file.write_text(spoil(made))
        if where == "file":
            surroundings.setenv("OCI_DELEGATION_TOKEN_FILE", str(file))
        else:
            write_profile(tmp_path, delegation_token_file=str(file))
    with pytest.raises(ConfigurationError, match=says) as caught:
        signed_model(cloud, quick(auth_type="delegation_token", **given)).complete_sync("hello")
    check_hidden(caught.value, made)
    assert named.get(where, str(file)) in str(caught.value)
    assert not cloud.accepted


def test_white_space_around_a_token_does_no_harm(
    cloud: Services, surroundings: pytest.MonkeyPatch
) -> None:
    made = token("user")
    surroundings.setenv("OCI_DELEGATION_TOKEN", f" {made}\r\n")
    model = signed_model(cloud, quick(auth_type="delegation_token"))
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert cloud.server.requests[-1].headers["opc-obo-token"] == made
    assert auth_of(delegation_token=f" {made}\n") == auth_of(delegation_token=made)


def test_the_token_of_a_principal_that_cannot_be_sent_is_refused(
    cloud: Services, surroundings: pytest.MonkeyPatch
) -> None:
    made = token("resource")
    said = {"VERSION": "2.2", "RPST": wrapped(made), "PRIVATE_PEM": pem(key("resource"))}
    for name, value in said.items():
        surroundings.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}", value)
    with pytest.raises(LocusError, match="resource_principal': ") as caught:
        signed_model(cloud, quick(auth_type="resource_principal")).complete_sync("hello")
    check_hidden(caught.value, made)
    assert not cloud.server.requests


def test_the_token_of_a_service_account_that_cannot_be_sent_is_refused(
    cloud: Services, surroundings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from oci.auth import rpt_path_providers
    from oci.auth.signers import resource_principals_signer

    account = crypto.token("cluster", key("cluster").public_key(), 600)
    (tmp_path / "account").write_text(wrapped(account))
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
        with pytest.raises(LocusError, match="oke_workload_identity': ") as caught:
            quick(auth_type="oke_workload_identity").prepare()
    check_hidden(caught.value, account)


@pytest.mark.parametrize("kind", [OCIChatCompletionsModel, OCIResponsesModel])
@pytest.mark.parametrize("name", ["api_key", "delegation_token"])
@pytest.mark.parametrize("ending", ["\nabcdef", "é", " abcdef"])
def test_an_argument_that_cannot_be_sent_is_refused_when_the_model_is_made(
    kind: Any, name: str, ending: str
) -> None:
    secret = f"sk-0123456789abcdef{ending}"
    way = {} if name == "api_key" else {"auth_type": name, "compartment_id": COMPARTMENT}
    with pytest.raises(ConfigurationError, match="holds a line break") as caught:
        kind("some-model", **way, **{name: secret})
    assert "0123" not in str(caught.value)


def test_a_header_that_the_oci_package_cannot_send_is_not_shown() -> None:
    from oci._vendor import requests

    made = token()
    with pytest.raises(ConfigurationError, match="asking: a token holds a line break") as caught:  # noqa: SIM117
        with explained("asking"):
            requests.get("http://127.0.0.1:1", headers={"authorization": wrapped(made)}, timeout=1)
    check_hidden(caught.value, made)


def test_no_credentials_are_made_of_what_cannot_be_sent() -> None:
    with pytest.raises(ConfigurationError, match="the token holds"):
        of_token(wrapped(token()), key("session"))


# -- should one slip through -------------------------------------------------------------------


class Careless:
    """A signer that looks at nothing."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.signed = self.version = 0

    def ready(self) -> bool:
        return True

    def prepare(self) -> None:
        raise AssertionError("it is ready")

    def sign(self, request: HttpRequest) -> HttpRequest:
        self.signed += 1
        return attrs.evolve(
            request, headers={**request.headers, "authorization": f"Bearer {self.secret}"}
        )

    def renew(self, version: int) -> bool:
        return False

    def secrets(self) -> Iterable[str]:
        return (self.secret,)


def test_what_the_library_refuses_to_send_is_not_tried_again_and_not_shown(
    cloud: Services, runtime: Runtime
) -> None:
    made = token()
    signer: Any = Careless(wrapped(made))
    model = signed_model(cloud, signer, max_retries=2)
    with pytest.raises(APIError, match="cannot be sent: LocalProtocolError") as caught:
        runtime.ask(model, "hello")
    runtime.close(model)
    assert not isinstance(caught.value, APIConnectionError)
    assert signer.signed == 1
    for at in range(0, len(made) - 20, 20):
        assert made[at : at + 20] not in f"{caught.value} {pickle.dumps(caught.value)!r}"


@pytest.mark.parametrize("secret", ["first line\nsecond line", "it's\tsecret", 'a "quoted" \\ one'])
@pytest.mark.parametrize("quote", [repr, lambda s: repr(s.encode()), str])
def test_a_secret_is_struck_out_however_it_is_quoted(secret: str, quote: Any) -> None:
    shown = Asked("p", "m", secrets=(secret,)).redact(f"illegal value {quote(secret)} here")
    assert "***" in shown
    assert "line" not in shown
    assert "secret" not in shown
    assert "quoted" not in shown
