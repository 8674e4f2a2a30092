"""The three models of OCI against a service that verifies every signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from locus import get_model
from locus.core.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
)
from locus.core.messages import ImagePart, Message, TextPart, ToolResult
from locus.models.providers.oci import (
    OCIChatCompletionsModel,
    OCIProjectRequiredError,
    OCIResponsesModel,
    OCIResponsesStateLostError,
    chat,
)
from locus.models.providers.oci._signing import OCISigner, signer_for
from locus.models.providers.oci.settings import auth_of
from locus.testing.loopback_server import Reply
from tests.support import runtimes
from tests.support.decoding import check_law
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.cloud import CHAT, COMPARTMENT
from tests.support.oci.crypto import TENANCY, USER, fingerprint, key, pem, token
from tests.support.oci.inference import (
    COST,
    MODELS,
    NATIVE,
    RESPONSES,
    THREE,
    Inference,
    Said,
    refusal,
)
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import QUICK, api_key_profile, metadata_at, write_key
from tests.support.runtimes import TEXT, Runtime, text

pytest.importorskip("oci")

no_leaks, runtime = runtimes.no_leaks, runtimes.runtime
home, surroundings = profiles.home, signed_models.surroundings
cloud, profile = inference.cloud, inference.profile
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


# -- the service's ways ------------------------------------------------------------------------

every_native = pytest.mark.parametrize("kind", ["generic", "cohere", "cohere2"])
LOOKS = Said("", (("look", {"place": "here"}),))


@every_native
def test_an_answer_with_nothing_in_it_is_asked_for_again(
    cloud: Inference,
    profile: Path,
    runtime: Runtime,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chat.PAUSES == (0.5, 1.0)
    monkeypatch.setattr(chat, "PAUSES", (0.01, 0.02))
    model = MODELS[kind](cloud, max_retries=2)
    for ask in (runtime.ask, lambda *said: runtime.stream(*said)[-1].response):
        for empty, asked in ((2, 3), (3, 3)):
            cloud.answered.clear()
            cloud.says(*[Said("")] * empty)
            assert ask(model, "hello").content == ("" if empty == 3 else TEXT)
            assert len(cloud.answered) == asked
        cloud.answered.clear()
        cloud.says(LOOKS)  # a call is something
        assert ask(model.bind_tools([LOOK]), "hello").tool_calls
        cloud.says(Said(""))
        assert ask(model.copy(max_retries=0), "hello").content == ""
        assert len(cloud.answered) == 2
    runtime.close(model)


@every_native
def test_where_streams_are_refused_the_answer_comes_whole(
    cloud: Inference, profile: Path, runtime: Runtime, kind: str
) -> None:
    model = MODELS[kind](cloud)
    cloud.says(refusal(400, "InvalidParameter", "Streaming is not supported for this model."))
    (only,) = runtime.stream(model, "hello")
    assert (only.content, only.done) == (TEXT, True)
    assert only.response is not None
    assert [r.json()["chatRequest"].get("isStream") for r in cloud.answered] == [True, None]
    cloud.says(refusal(400, "InvalidParameter", "No such thing."))
    with pytest.raises(BadRequestError, match="No such thing"):
        runtime.stream(model, "hello")
    cloud.says(Reply.sse([{"code": 500, "message": "Streaming broke."}], done=False))
    with pytest.raises(InternalServerError, match="Streaming broke"):
        runtime.stream(model, "hello")
    runtime.close(model)
    assert len(cloud.answered) == 4


def test_a_dedicated_cluster_is_asked_by_its_endpoint(cloud: Inference, profile: Path) -> None:
    endpoint = "ocid1.generativeaiendpoint.oc1.us-chicago-1.amaaaaaa"
    for said, form, provider in (
        ({}, "GENERIC", "generic"),
        ({"api_format": "COHERE"}, "COHERE", "cohere"),
    ):
        model = MODELS["generic"](cloud, model=endpoint, **said)
        assert model.provider == provider
        assert model.complete_sync("hello").content == TEXT
        model.close_sync()
        mode = {"servingType": "DEDICATED", "endpointId": endpoint}
        assert cloud.sent["servingMode"] == mode
        assert cloud.sent["chatRequest"]["apiFormat"] == form


def test_gemini_gets_one_call_a_turn(cloud: Inference, profile: Path) -> None:
    model = MODELS["generic"](cloud, model="google.gemini-2.5-pro").bind_tools([LOOK])
    cloud.says(Said("", (("look", {"place": "here"}), ("look", {"place": "there"}))))
    asked = Message.user("where?")
    answer = model.complete_sync([asked])
    results = [Message.tool(ToolResult(c.id, c.name, "found")) for c in answer.tool_calls]
    assert len(results) == 2
    model.complete_sync([asked, answer.message, *results])
    model.close_sync()
    sent = cloud.sent["chatRequest"]["messages"]
    roles = [(one["role"], len(one.get("toolCalls", ()))) for one in sent]
    assert roles == [("USER", 0), *[("ASSISTANT", 1), ("TOOL", 0)] * 2]


def test_responses_that_the_service_refuses(
    cloud: Inference, profile: Path, runtime: Runtime
) -> None:
    model = MODELS["responses"](cloud)
    state = {"previous_response_id": "resp_1"}
    for status, words, error, hint in (
        (404, "The project was not found.", OCIProjectRequiredError, "project_ocid="),
        (403, "opc-project-id is required", OCIProjectRequiredError, "project_ocid="),
        (404, "Previous response 'resp_1' not found", OCIResponsesStateLostError, "without"),
        (400, "previous_response_id has expired", OCIResponsesStateLostError, "without"),
        (403, "not allowed", PermissionDeniedError, "may not use"),
        (404, "no such model", NotFoundError, "no such model"),
    ):
        for ask in (runtime.ask, runtime.stream):
            cloud.says(refusal(status, "Refused", words))
            with pytest.raises(error) as caught:
                ask(model, "hello", provider_state=state)
            assert type(caught.value) is error
            assert caught.value.status_code == status
            assert words in str(caught.value)
            assert hint in str(caught.value)
    runtime.close(model)
    assert {request.path for request in cloud.answered} == {RESPONSES}  # nothing falls back


# -- by name, and by the environment -----------------------------------------------------------


def test_a_name_finds_its_class_and_the_environment_the_rest(
    cloud: Inference, profile: Path, surroundings: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "OCI_ENDPOINT": cloud.url,
        "OCI_PROFILE": "DEFAULT",
        "OCI_COMPARTMENT_ID": COMPARTMENT,
    }.items():
        surroundings.setenv(name, value)
    for name, path in {
        "oci:cohere.command-r-plus": NATIVE,
        "oci:ocid1.generativeaiendpoint.oc1.us-chicago-1.amaaaaaa": NATIVE,
        "oci:cohere.command-a-03-2025": CHAT,
        "oci:published.today:v1": CHAT,
    }.items():
        with get_model(name) as model:
            assert model.complete_sync("hello").content == TEXT
        assert cloud.answered[-1].path == path
    with OCIResponsesModel("m", profile="DEFAULT") as model:
        assert model.complete_sync("hello").content == TEXT
    assert cloud.answered[-1].path == RESPONSES
    surroundings.delenv("OCI_PROFILE")
    surroundings.setenv("OCI_GENAI_API_KEY", "sk-of-the-service")
    cloud.bearer = "sk-of-the-service"
    with get_model("oci:openai.gpt-4.1") as model:
        assert model.complete_sync("hello").content == TEXT
    assert len(cloud.accepted) == 5


@pytest.mark.parametrize("made", [OCIChatCompletionsModel, OCIResponsesModel])
def test_not_exactly_one_way_in_is_an_error_that_shows_the_ways(made: Any) -> None:
    for said in (
        {},
        {"profile": "DEFAULT", "api_key": "sk-secret-123456"},
        {"profile": "DEFAULT", "auth_type": "instance_principal", "compartment_id": COMPARTMENT},
        {"auth_type": "instance_principal"},
        {"auth_type": "magic", "compartment_id": COMPARTMENT},
    ):
        with pytest.raises(ConfigurationError, match='profile="DEFAULT"') as caught:
            made("m", **said)
        assert 'api_key="…"' in str(caught.value)
        assert "sk-secret" not in str(caught.value)
