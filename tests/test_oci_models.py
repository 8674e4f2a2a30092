"""The three models of OCI against a service that verifies every signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.core.errors import AuthenticationError, ConfigurationError
from locus.core.messages import ImagePart, Message, TextPart, ToolResult
from locus.models.providers.oci._signing import OCISigner, signer_for
from locus.models.providers.oci.settings import auth_of
from tests import oci_inference, oci_models, oci_profiles, runtimes
from tests.decoding import check_law
from tests.oci_cloud import COMPARTMENT
from tests.oci_crypto import TENANCY, USER, fingerprint, key, pem, token
from tests.oci_inference import COST, MODELS, THREE, Inference, Said
from tests.oci_models import QUICK, api_key_profile, metadata_at, write_key
from tests.oci_profiles import write_profile
from tests.runtimes import TEXT, Runtime, text

pytest.importorskip("oci")

no_leaks, runtime = runtimes.no_leaks, runtimes.runtime
home, surroundings = oci_profiles.home, oci_models.surroundings
cloud, profile = oci_inference.cloud, oci_inference.profile
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "surroundings")]

LOOK = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look at a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
        },
    },
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
PNG = b"\x89PNG\r\n"

every_format = pytest.mark.parametrize("kind", MODELS)
every_class = pytest.mark.parametrize("kind", THREE)


# -- what they do ------------------------------------------------------------------------------


@every_format
def test_an_answer_is_the_same_whole_and_streamed(
    cloud: Inference, profile: Path, runtime: Runtime, kind: str
) -> None:
    model = MODELS[kind](cloud)
    answer = runtime.ask(model, "hello")
    found = runtime.stream(model, "hello")
    runtime.close(model)
    assert answer.content == text(found) == TEXT
    assert [event.content for event in found if event.content] == list(runtimes.WORDS)
    last = check_law(found)
    assert (last.usage, last.finish_reason) == (answer.usage, "stop")
    assert COST.items() <= answer.usage.items()
    assert len(cloud.accepted) == 2
    assert not cloud.refused
    assert {request.headers["opc-compartment-id"] for request in cloud.answered} == {COMPARTMENT}
    assert {"x-content-sha256", "content-length", "content-type"} <= set(cloud.signed)


@every_format
def test_a_round_of_tools(cloud: Inference, profile: Path, runtime: Runtime, kind: str) -> None:
    places = [{"place": "here"}, {"place": "there"}]
    looks = Said("", tuple(("look", place) for place in places))
    model = MODELS[kind](cloud).bind_tools([LOOK])
    cloud.says(looks, Said("nothing"), looks, Said("nothing"))
    for ask in (runtime.ask, lambda *said: runtime.stream(*said)[-1].response):
        asked = [Message.user("where?")]
        answer = ask(model, asked)
        assert [call.name for call in answer.tool_calls] == ["look", "look"]
        assert [dict(call.arguments) for call in answer.tool_calls] == places
        assert len({call.id for call in answer.tool_calls}) == 2
        assert answer.finish_reason in ("tool_calls", "stop")
        results = [
            Message.tool(ToolResult(call.id, call.name, f"found in {call.arguments['place']}"))
            for call in answer.tool_calls
        ]
        assert ask(model, [*asked, answer.message, *results]).content == "nothing"
        sent = str(cloud.sent)
        assert sent.index("found in here") < sent.index("found in there")
    runtime.close(model)


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "cohere"])
def test_a_structured_answer(cloud: Inference, profile: Path, runtime: Runtime, kind: str) -> None:
    model = MODELS[kind](cloud)
    cloud.always(Said('{"city":"Rome"}'))
    assert runtime.ask(model, "where?", response_format=FORMAT).content == '{"city":"Rome"}'
    assert text(runtime.stream(model, "where?", response_format=FORMAT)) == '{"city":"Rome"}'
    runtime.close(model)
    for request in cloud.answered:
        body = request.json()
        wanted = {
            "chat": lambda body: body["response_format"]["json_schema"]["schema"],
            "responses": lambda body: body["text"]["format"]["schema"],
            "generic": lambda body: body["chatRequest"]["responseFormat"]["jsonSchema"]["schema"],
            "cohere2": lambda body: body["chatRequest"]["responseFormat"]["schema"],
        }[kind](body)
        assert wanted["properties"] == SCHEMA["properties"]
    assert model.supports_structured_output is (kind in ("chat", "responses"))


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "cohere"])
def test_an_image(cloud: Inference, profile: Path, runtime: Runtime, kind: str) -> None:
    model = MODELS[kind](cloud)
    seen = Message.user([TextPart("what is it?"), ImagePart(data=PNG, media_type="image/png")])
    runtime.ask(model, [seen])
    runtime.close(model)
    assert "data:image/png;base64,iVBORw0K" in str(cloud.sent)


def test_command_r_sees_no_images(cloud: Inference, profile: Path) -> None:
    seen = Message.user([ImagePart(data=PNG, media_type="image/png")])
    with pytest.raises(ConfigurationError, match=r"messages\[0\].*image"):
        MODELS["cohere"](cloud).complete_sync([seen])
    assert not cloud.answered


# -- who asks ----------------------------------------------------------------------------------


def session(home: Path, made: str) -> None:
    (home / "token").write_text(made)
    write_profile(
        home,
        "SESSION",
        fingerprint=fingerprint(key("session")),
        key_file=str(write_key(home, "session")),
        tenancy=TENANCY,
        region="us-chicago-1",
        security_token_file=str(home / "token"),
    )


@every_class
def test_a_session_token_signs(
    cloud: Inference, tmp_path: Path, runtime: Runtime, kind: str
) -> None:
    made = token("auth service", key("session").public_key(), 60)
    session(tmp_path, made)
    model = MODELS[kind](cloud, profile="SESSION")
    assert runtime.ask(model, "hello").content == text(runtime.stream(model, "hello")) == TEXT
    runtime.close(model)
    assert cloud.accepted == [f"ST${made}"] * 2


@every_class
def test_a_key_with_a_passphrase_signs(cloud: Inference, tmp_path: Path, kind: str) -> None:
    api_key_profile(tmp_path, "LOCKED", pass_phrase="correct horse")
    model = MODELS[kind](cloud, profile="LOCKED")
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert "correct horse" not in repr(model)


@every_class
def test_a_key_in_the_environment_signs_without_any_file(
    cloud: Inference, surroundings: pytest.MonkeyPatch, kind: str
) -> None:
    said = {"USER": USER, "TENANCY": TENANCY, "FINGERPRINT": fingerprint(key("user"))}
    for name, value in {**said, "KEY_CONTENT": pem(key("user"))}.items():
        surroundings.setenv(f"OCI_CLI_{name}", value)
    model = MODELS[kind](cloud)
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert len(cloud.accepted) == 1


@every_class
def test_an_instance_signs_with_the_token_of_the_auth_service(
    cloud: Inference, surroundings: pytest.MonkeyPatch, runtime: Runtime, kind: str
) -> None:
    metadata_at(f"{cloud.url}/opc/v2", surroundings)
    surroundings.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", cloud.url)
    model = MODELS[kind](cloud, auth_type="instance_principal")
    assert runtime.ask(model, "hello").content == text(runtime.stream(model, "hello")) == TEXT
    runtime.close(model)
    assert cloud.accepted == [f"ST${cloud.issued[0]}"] * 2
    assert cloud.asked == ["x509"]


@pytest.mark.parametrize("kind", ["chat", "responses"])
def test_an_api_key_of_the_service_is_a_bearer_token(
    cloud: Inference, runtime: Runtime, kind: str
) -> None:
    cloud.bearer = "sk-of-the-service-0123456789"
    model = MODELS[kind](cloud, api_key=cloud.bearer)
    assert runtime.ask(model, "hello").content == text(runtime.stream(model, "hello")) == TEXT
    cloud.bearer = "another"
    with pytest.raises(AuthenticationError, match="no such key") as caught:
        runtime.ask(model, "hello")
    runtime.close(model)
    assert not cloud.accepted
    assert "sk-of-the-service" not in f"{caught.value!r} {model!r}"
    assert all("x-content-sha256" not in request.headers for request in cloud.answered)


def test_a_bearer_token_needs_no_compartment(cloud: Inference) -> None:
    cloud.bearer = "sk-of-the-service-0123456789"
    for kind in ("chat", "responses"):
        model = MODELS[kind](cloud, api_key=cloud.bearer, compartment_id=None)
        assert model.complete_sync("hello").content == TEXT
        model.close_sync()
        assert "opc-compartment-id" not in cloud.answered[-1].headers


@every_class
def test_after_a_401_it_signs_once_more_with_the_newer_key(
    cloud: Inference,
    tmp_path: Path,
    runtime: Runtime,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = token("auth service", key("session").public_key(), 60)
    session(tmp_path, first)
    auth = auth_of(profile="SESSION")
    monkeypatch.setattr(signer_for(auth), "_pace", QUICK)
    model = MODELS[kind](cloud, profile="SESSION")
    runtime.ask(model, "hello")
    cloud.distrusted.add(first)
    second = token("auth service", key("session").public_key(), 60)
    (tmp_path / "token").write_text(second)
    assert text(runtime.stream(model, "hello")) == TEXT
    assert cloud.accepted == [f"ST${first}", f"ST${second}"]
    assert len(cloud.refused) == 1
    cloud.distrusted.add(second)
    with pytest.raises(AuthenticationError, match="revoked") as caught:
        runtime.ask(model, "hello")
    runtime.close(model)
    assert len(cloud.refused) == 2  # nothing newer: not sent again
    assert "check the profile" in str(caught.value)
    assert second not in f"{caught.value!r} {caught.value.body}"


# -- brought connections -----------------------------------------------------------------------


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@every_class
def test_what_a_brought_client_adds_is_signed_and_what_contradicts_is_dropped(
    cloud: Inference, profile: Path, runtime: Runtime, kind: str, library: str
) -> None:
    module: Any = pytest.importorskip(library)
    said: dict[str, Any] = {
        "auth": ("user", "password"),
        "params": {"via": "a b"},
        "headers": {"Authorization": "Bearer foreign", "API-Key": "foreign", "x-mine": "1"},
    }
    both = (module.Client(**said), module.AsyncClient(**said))
    model = MODELS[kind](cloud, http_client=both)
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    assert len(cloud.accepted) == 2
    for request in cloud.answered:
        assert "via=a" in request.target
        assert request.headers["x-mine"] == "1"
        assert "foreign" not in str(request.headers)
    both[0].close()
    runtime.close(_Closing(both[1]))


@attrs.frozen
class _Closing:
    """A client, to be closed where its connections live."""

    client: Any

    def close_sync(self) -> None:
        """It has none: it was not used."""

    async def aclose(self) -> None:
        await self.client.aclose()


def test_models_with_the_same_credentials_share_a_signer(cloud: Inference, profile: Path) -> None:
    signers = [MODELS[kind](cloud)._signer() for kind in ("chat", "responses", "chat")]
    assert isinstance(signers[0], OCISigner)
    assert len(set(map(id, signers))) == 1
