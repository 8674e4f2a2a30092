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
from locus.models.providers.oci._refreshing_signer import OCISigner
from locus.models.providers.oci._signer_cache import get_signer
from locus.models.providers.oci.authentication import resolve_auth
from locus.testing.formats.runtimes import Runtime
from locus.testing.formats.stream_reader import check_streaming_law
from locus.testing.server import Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, join_text
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.cloud import CHAT_PATH, COMPARTMENT
from tests.support.oci.crypto import (
    TENANCY,
    USER,
    compute_fingerprint,
    encode_private_key,
    get_private_key,
    make_token,
)
from tests.support.oci.inference import (
    EXPECTED_USAGE,
    MODEL_FACTORIES,
    NATIVE_PATH,
    ONE_PER_CLASS,
    RESPONSES_PATH,
    InferenceCloud,
    ScriptedReply,
    make_error_reply,
)
from tests.support.oci.profiles import write_profile
from tests.support.oci.signed_models import (
    FAST_REFRESH_POLICY,
    set_metadata_url,
    write_api_key_profile,
    write_key_file,
)

pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud, profile = inference.cloud, inference.profile
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "isolated_environment")]

LOOK_TOOL = {
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
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
PNG = b"\x89PNG\r\n"

every_format = pytest.mark.parametrize("model_name", MODEL_FACTORIES)
every_class = pytest.mark.parametrize("model_name", ONE_PER_CLASS)


# -- calls -------------------------------------------------------------------------------------


@every_format
@pytest.mark.one_runtime_each
def test_a_response_is_the_same_complete_and_streamed(
    cloud: InferenceCloud, profile: Path, runtime: Runtime, model_name: str
) -> None:
    model = MODEL_FACTORIES[model_name](cloud)
    response = runtime.complete(model, "hello")
    events = runtime.collect_events(model, "hello")
    runtime.close(model)
    assert response.content == join_text(events) == TEXT
    assert [event.content for event in events if event.content] == list(TEXT_CHUNKS)
    last = check_streaming_law(events)
    assert (last.usage, last.finish_reason) == (response.usage, "stop")
    assert EXPECTED_USAGE.items() <= response.usage.items()
    assert len(cloud.accepted_key_ids) == 2
    assert not cloud.rejection_reasons
    assert {request.headers["opc-compartment-id"] for request in cloud.accepted_requests} == {
        COMPARTMENT
    }
    assert {"x-content-sha256", "content-length", "content-type"} <= set(cloud.signed_headers)


@every_format
@pytest.mark.one_runtime_each
def test_a_round_of_tools(
    cloud: InferenceCloud, profile: Path, runtime: Runtime, model_name: str
) -> None:
    places = [{"place": "here"}, {"place": "there"}]
    look_reply = ScriptedReply("", tuple(("look", place) for place in places))
    model = MODEL_FACTORIES[model_name](cloud).bind_tools([LOOK_TOOL])
    cloud.queue_replies(look_reply, ScriptedReply("nothing"), look_reply, ScriptedReply("nothing"))
    for call_model in (runtime.complete, lambda *args: runtime.collect_events(*args)[-1].response):
        question = [Message.user("where?")]
        response = call_model(model, question)
        assert [call.name for call in response.tool_calls] == ["look", "look"]
        assert [dict(call.arguments) for call in response.tool_calls] == places
        assert len({call.id for call in response.tool_calls}) == 2
        assert response.finish_reason in ("tool_calls", "stop")
        results = [
            Message.tool(ToolResult(call.id, call.name, f"found in {call.arguments['place']}"))
            for call in response.tool_calls
        ]
        assert call_model(model, [*question, response.message, *results]).content == "nothing"
        sent = str(cloud.last_body)
        assert sent.index("found in here") < sent.index("found in there")
    runtime.close(model)


@pytest.mark.parametrize(
    "model_name", [model_name for model_name in MODEL_FACTORIES if model_name != "cohere"]
)
def test_a_structured_response(
    cloud: InferenceCloud, profile: Path, runtime: Runtime, model_name: str
) -> None:
    model = MODEL_FACTORIES[model_name](cloud)
    cloud.set_default_reply(ScriptedReply('{"city":"Rome"}'))
    assert (
        runtime.complete(model, "where?", response_format=RESPONSE_FORMAT).content
        == '{"city":"Rome"}'
    )
    assert (
        join_text(runtime.collect_events(model, "where?", response_format=RESPONSE_FORMAT))
        == '{"city":"Rome"}'
    )
    runtime.close(model)
    for request in cloud.accepted_requests:
        body = request.json()
        schema = {
            "chat": lambda body: body["response_format"]["json_schema"]["schema"],
            "responses": lambda body: body["text"]["format"]["schema"],
            "generic": lambda body: body["chatRequest"]["responseFormat"]["jsonSchema"]["schema"],
            "cohere2": lambda body: body["chatRequest"]["responseFormat"]["schema"],
        }[model_name](body)
        assert schema["properties"] == SCHEMA["properties"]
    assert model.supports_structured_output is (model_name in ("chat", "responses"))


@pytest.mark.parametrize(
    "model_name", [model_name for model_name in MODEL_FACTORIES if model_name != "cohere"]
)
def test_an_image(cloud: InferenceCloud, profile: Path, runtime: Runtime, model_name: str) -> None:
    model = MODEL_FACTORIES[model_name](cloud)
    message = Message.user([TextPart("what is it?"), ImagePart(data=PNG, media_type="image/png")])
    runtime.complete(model, [message])
    runtime.close(model)
    assert "data:image/png;base64,iVBORw0K" in str(cloud.last_body)


def test_command_r_takes_no_images(cloud: InferenceCloud, profile: Path) -> None:
    message = Message.user([ImagePart(data=PNG, media_type="image/png")])
    with pytest.raises(ConfigurationError, match=r"messages\[0\].*image"):
        MODEL_FACTORIES["cohere"](cloud).complete_sync([message])
    assert not cloud.accepted_requests


# -- credentials -------------------------------------------------------------------------------


def write_session_profile(home: Path, token: str) -> None:
    (home / "token").write_text(token)
    write_profile(
        home,
        "SESSION",
        fingerprint=compute_fingerprint(get_private_key("session")),
        key_file=str(write_key_file(home, "session")),
        tenancy=TENANCY,
        region="us-chicago-1",
        security_token_file=str(home / "token"),
    )


@every_class
@pytest.mark.one_runtime_each
def test_a_session_token_signs(
    cloud: InferenceCloud, tmp_path: Path, runtime: Runtime, model_name: str
) -> None:
    token = make_token("auth service", get_private_key("session").public_key(), 600)
    write_session_profile(tmp_path, token)
    model = MODEL_FACTORIES[model_name](cloud, profile="SESSION")
    assert (
        runtime.complete(model, "hello").content
        == join_text(runtime.collect_events(model, "hello"))
        == TEXT
    )
    runtime.close(model)
    assert cloud.accepted_key_ids == [f"ST${token}"] * 2


@every_class
def test_a_key_with_a_passphrase_signs(
    cloud: InferenceCloud, tmp_path: Path, model_name: str
) -> None:
    write_api_key_profile(tmp_path, "LOCKED", pass_phrase="correct horse")
    model = MODEL_FACTORIES[model_name](cloud, profile="LOCKED")
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert "correct horse" not in repr(model)


@every_class
def test_a_key_in_the_environment_signs_without_any_file(
    cloud: InferenceCloud, isolated_environment: pytest.MonkeyPatch, model_name: str
) -> None:
    variables = {
        "USER": USER,
        "TENANCY": TENANCY,
        "FINGERPRINT": compute_fingerprint(get_private_key("user")),
    }
    for name, value in {
        **variables,
        "KEY_CONTENT": encode_private_key(get_private_key("user")),
    }.items():
        isolated_environment.setenv(f"OCI_CLI_{name}", value)
    model = MODEL_FACTORIES[model_name](cloud)
    assert model.complete_sync("hello").content == TEXT
    model.close_sync()
    assert len(cloud.accepted_key_ids) == 1


@every_class
@pytest.mark.one_runtime_each
def test_an_instance_signs_with_the_token_of_the_auth_service(
    cloud: InferenceCloud,
    isolated_environment: pytest.MonkeyPatch,
    runtime: Runtime,
    model_name: str,
) -> None:
    set_metadata_url(f"{cloud.url}/opc/v2", isolated_environment)
    isolated_environment.setenv("OCI_SDK_AUTH_CLIENT_REGION_URL", cloud.url)
    model = MODEL_FACTORIES[model_name](cloud, auth_type="instance_principal")
    assert (
        runtime.complete(model, "hello").content
        == join_text(runtime.collect_events(model, "hello"))
        == TEXT
    )
    runtime.close(model)
    assert cloud.accepted_key_ids == [f"ST${cloud.issued_tokens[0]}"] * 2
    assert cloud.token_requests == ["x509"]


@pytest.mark.parametrize("model_name", ["chat", "responses"])
def test_an_api_key_of_the_service_is_a_bearer_token(
    cloud: InferenceCloud, runtime: Runtime, model_name: str
) -> None:
    cloud.bearer_key = "sk-of-the-service-0123456789"
    model = MODEL_FACTORIES[model_name](cloud, api_key=cloud.bearer_key)
    assert (
        runtime.complete(model, "hello").content
        == join_text(runtime.collect_events(model, "hello"))
        == TEXT
    )
    cloud.bearer_key = "another"
    with pytest.raises(AuthenticationError, match="no such key") as exc_info:
        runtime.complete(model, "hello")
    runtime.close(model)
    assert not cloud.accepted_key_ids
    assert "sk-of-the-service" not in f"{exc_info.value!r} {model!r}"
    assert all("x-content-sha256" not in request.headers for request in cloud.accepted_requests)


def test_a_bearer_token_needs_no_compartment(cloud: InferenceCloud) -> None:
    cloud.bearer_key = "sk-of-the-service-0123456789"
    for model_name in ("chat", "responses"):
        model = MODEL_FACTORIES[model_name](cloud, api_key=cloud.bearer_key, compartment_id=None)
        assert model.complete_sync("hello").content == TEXT
        model.close_sync()
        assert "opc-compartment-id" not in cloud.accepted_requests[-1].headers


@every_class
@pytest.mark.one_runtime_each
def test_after_a_401_it_signs_again_with_the_newer_key(
    cloud: InferenceCloud,
    tmp_path: Path,
    runtime: Runtime,
    model_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = make_token("auth service", get_private_key("session").public_key(), 600)
    write_session_profile(tmp_path, first)
    auth = resolve_auth(profile="SESSION")
    monkeypatch.setattr(get_signer(auth), "_refresh_policy", FAST_REFRESH_POLICY)
    model = MODEL_FACTORIES[model_name](cloud, profile="SESSION")
    runtime.complete(model, "hello")
    cloud.revoked_tokens.add(first)
    second = make_token("auth service", get_private_key("session").public_key(), 600)
    (tmp_path / "token").write_text(second)
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert cloud.accepted_key_ids == [f"ST${first}", f"ST${second}"]
    assert len(cloud.rejection_reasons) == 1
    cloud.revoked_tokens.add(second)
    with pytest.raises(AuthenticationError, match="revoked") as exc_info:
        runtime.complete(model, "hello")
    runtime.close(model)
    assert len(cloud.rejection_reasons) == 2  # there is no newer token: not sent again
    assert "check the profile" in str(exc_info.value)
    assert second not in f"{exc_info.value!r} {exc_info.value.body}"


# -- custom clients ----------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@every_class
@pytest.mark.one_runtime_each
def test_additions_of_a_custom_client_are_signed_and_its_credentials_removed(
    cloud: InferenceCloud, profile: Path, runtime: Runtime, model_name: str, library: str
) -> None:
    module: Any = pytest.importorskip(library)
    client_arguments: dict[str, Any] = {
        "auth": ("user", "password"),
        "params": {"via": "a b"},
        "headers": {"Authorization": "Bearer foreign", "API-Key": "foreign", "x-mine": "1"},
    }
    clients = (module.Client(**client_arguments), module.AsyncClient(**client_arguments))
    model = MODEL_FACTORIES[model_name](cloud, http_client=clients)
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert len(cloud.accepted_key_ids) == 2
    for request in cloud.accepted_requests:
        assert "via=a" in request.target
        assert request.headers["x-mine"] == "1"
        assert "foreign" not in str(request.headers)
    clients[0].close()
    runtime.close(_CloseableClient(clients[1]))


@attrs.frozen
class _CloseableClient:
    """A client that is closed in the event loop of its connections."""

    client: Any

    def close_sync(self) -> None:
        """Does nothing: the blocking client was not used."""

    async def aclose(self) -> None:
        await self.client.aclose()


def test_models_with_the_same_credentials_share_a_signer(
    cloud: InferenceCloud, profile: Path
) -> None:
    signers = [
        MODEL_FACTORIES[model_name](cloud).get_signer()
        for model_name in ("chat", "responses", "chat")
    ]
    assert isinstance(signers[0], OCISigner)
    assert len(set(map(id, signers))) == 1


# -- particularities of the service ------------------------------------------------------------

every_oci_format = pytest.mark.parametrize("model_name", ["generic", "cohere", "cohere2"])
LOOK_REPLY = ScriptedReply("", (("look", {"place": "here"}),))


@every_oci_format
def test_an_empty_response_is_requested_again(
    cloud: InferenceCloud,
    profile: Path,
    runtime: Runtime,
    model_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chat.EMPTY_RESPONSE_DELAYS == (0.5, 1.0)
    monkeypatch.setattr(chat, "EMPTY_RESPONSE_DELAYS", (0.01, 0.02))
    model = MODEL_FACTORIES[model_name](cloud, max_retries=2)
    for call_model in (runtime.complete, lambda *args: runtime.collect_events(*args)[-1].response):
        for empty_count, request_count in ((2, 3), (3, 3)):
            cloud.accepted_requests.clear()
            cloud.queue_replies(*[ScriptedReply("")] * empty_count)
            assert call_model(model, "hello").content == ("" if empty_count == 3 else TEXT)
            assert len(cloud.accepted_requests) == request_count
        cloud.accepted_requests.clear()
        cloud.queue_replies(LOOK_REPLY)  # a response with a call is not empty
        assert call_model(model.bind_tools([LOOK_TOOL]), "hello").tool_calls
        cloud.queue_replies(ScriptedReply(""))
        assert call_model(model.copy(max_retries=0), "hello").content == ""
        assert len(cloud.accepted_requests) == 2
    runtime.close(model)


@every_oci_format
def test_if_streaming_is_not_supported_the_response_is_one_event(
    cloud: InferenceCloud, profile: Path, runtime: Runtime, model_name: str
) -> None:
    model = MODEL_FACTORIES[model_name](cloud)
    cloud.queue_replies(
        make_error_reply(400, "InvalidParameter", "Streaming is not supported for this model.")
    )
    (event,) = runtime.collect_events(model, "hello")
    assert (event.content, event.done) == (TEXT, True)
    assert event.response is not None
    assert [
        request.json()["chatRequest"].get("isStream") for request in cloud.accepted_requests
    ] == [
        True,
        None,
    ]
    cloud.queue_replies(make_error_reply(400, "InvalidParameter", "No such thing."))
    with pytest.raises(BadRequestError, match="No such thing"):
        runtime.collect_events(model, "hello")
    cloud.queue_replies(Reply.sse([{"code": 500, "message": "Streaming broke."}], done=False))
    with pytest.raises(InternalServerError, match="Streaming broke"):
        runtime.collect_events(model, "hello")
    runtime.close(model)
    assert len(cloud.accepted_requests) == 4


def test_a_dedicated_cluster_is_called_by_its_endpoint(
    cloud: InferenceCloud, profile: Path
) -> None:
    endpoint = "ocid1.generativeaiendpoint.oc1.us-chicago-1.amaaaaaa"
    for arguments, api_format, provider in (
        ({}, "GENERIC", "generic"),
        ({"api_format": "COHERE"}, "COHERE", "cohere"),
    ):
        model = MODEL_FACTORIES["generic"](cloud, model=endpoint, **arguments)
        assert model.provider == provider
        assert model.complete_sync("hello").content == TEXT
        model.close_sync()
        mode = {"servingType": "DEDICATED", "endpointId": endpoint}
        assert cloud.last_body["servingMode"] == mode
        assert cloud.last_body["chatRequest"]["apiFormat"] == api_format


def test_gemini_gets_one_call_per_message(cloud: InferenceCloud, profile: Path) -> None:
    model = MODEL_FACTORIES["generic"](cloud, model="google.gemini-2.5-pro").bind_tools([LOOK_TOOL])
    cloud.queue_replies(
        ScriptedReply("", (("look", {"place": "here"}), ("look", {"place": "there"})))
    )
    question = Message.user("where?")
    response = model.complete_sync([question])
    results = [
        Message.tool(ToolResult(call.id, call.name, "found")) for call in response.tool_calls
    ]
    assert len(results) == 2
    model.complete_sync([question, response.message, *results])
    model.close_sync()
    sent = cloud.last_body["chatRequest"]["messages"]
    roles = [(message["role"], len(message.get("toolCalls", ()))) for message in sent]
    assert roles == [("USER", 0), *[("ASSISTANT", 1), ("TOOL", 0)] * 2]


def test_errors_of_the_responses_api(
    cloud: InferenceCloud, profile: Path, runtime: Runtime
) -> None:
    model = MODEL_FACTORIES["responses"](cloud)
    state = {"previous_response_id": "resp_1"}
    for status, message, error, hint in (
        (404, "The project was not found.", OCIProjectRequiredError, "project_ocid="),
        (403, "opc-project-id is required", OCIProjectRequiredError, "project_ocid="),
        (404, "Previous response 'resp_1' not found", OCIResponsesStateLostError, "without"),
        (400, "previous_response_id has expired", OCIResponsesStateLostError, "without"),
        (403, "not allowed", PermissionDeniedError, "may not use"),
        (404, "no such model", NotFoundError, "no such model"),
    ):
        for call_model in (runtime.complete, runtime.collect_events):
            cloud.queue_replies(make_error_reply(status, "Refused", message))
            with pytest.raises(error) as exc_info:
                call_model(model, "hello", provider_state=state)
            assert type(exc_info.value) is error
            assert exc_info.value.status_code == status
            assert message in str(exc_info.value)
            assert hint in str(exc_info.value)
    runtime.close(model)
    assert {request.path for request in cloud.accepted_requests} == {
        RESPONSES_PATH
    }  # no other API was called


# -- by name, and from the environment ---------------------------------------------------------


def test_get_model_chooses_the_class_and_reads_the_environment(
    cloud: InferenceCloud, profile: Path, isolated_environment: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "OCI_ENDPOINT": cloud.url,
        "OCI_PROFILE": "DEFAULT",
        "OCI_COMPARTMENT_ID": COMPARTMENT,
    }.items():
        isolated_environment.setenv(name, value)
    for name, path in {
        "oci:cohere.command-r-plus": NATIVE_PATH,
        "oci:ocid1.generativeaiendpoint.oc1.us-chicago-1.amaaaaaa": NATIVE_PATH,
        "oci:cohere.command-a-03-2025": CHAT_PATH,
        "oci:published.today:v1": CHAT_PATH,
    }.items():
        with get_model(name) as model:
            assert model.complete_sync("hello").content == TEXT
        assert cloud.accepted_requests[-1].path == path
    with OCIResponsesModel("m", profile="DEFAULT") as model:
        assert model.complete_sync("hello").content == TEXT
    assert cloud.accepted_requests[-1].path == RESPONSES_PATH
    isolated_environment.delenv("OCI_PROFILE")
    isolated_environment.setenv("OCI_GENAI_API_KEY", "sk-of-the-service")
    cloud.bearer_key = "sk-of-the-service"
    with get_model("oci:openai.gpt-4.1") as model:
        assert model.complete_sync("hello").content == TEXT
    assert len(cloud.accepted_key_ids) == 5


@pytest.mark.parametrize("model_class", [OCIChatCompletionsModel, OCIResponsesModel])
def test_not_exactly_one_way_to_authenticate_is_an_error_that_shows_the_ways(
    model_class: Any,
) -> None:
    for arguments in (
        {},
        {"profile": "DEFAULT", "api_key": "sk-secret-123456"},
        {"profile": "DEFAULT", "auth_type": "instance_principal", "compartment_id": COMPARTMENT},
        {"auth_type": "instance_principal"},
        {"auth_type": "magic", "compartment_id": COMPARTMENT},
    ):
        with pytest.raises(ConfigurationError, match='profile="DEFAULT"') as exc_info:
            model_class("m", **arguments)
        assert 'api_key="…"' in str(exc_info.value)
        assert "sk-secret" not in str(exc_info.value)


PROJECT = "ocid1.generativeaiproject.oc1.us-chicago-1.example"
PROJECT_HEADERS = ("openai-project", "opc-project-id", "opc-conversation-store-id")
OPENAI_STYLE = pytest.mark.parametrize("model_class", [OCIChatCompletionsModel, OCIResponsesModel])


def get_project_headers(model: Any) -> list[str | None]:
    headers = model._build_http_call("x", None, {}, stream=False).request.headers
    return [headers.get(name) for name in PROJECT_HEADERS]


@OPENAI_STYLE
def test_a_project_is_sent_under_both_names_of_its_header(
    isolated_environment: pytest.MonkeyPatch, model_class: Any
) -> None:
    assert get_project_headers(model_class("m", api_key="k")) == [None, None, None]
    for name in ("project", "project_ocid"):
        model = model_class("m", api_key="k", **{name: PROJECT}, conversation_store_id="store")
        assert get_project_headers(model) == [PROJECT, PROJECT, "store"]
        assert model.config.project == model.config.project_ocid == PROJECT
        copy = model.copy(**{name: "other"})
        assert get_project_headers(copy) == ["other", "other", "store"]
    with pytest.raises(TypeError, match="two names for one argument"):
        model_class("m", api_key="k", project="a", project_ocid="b")
    isolated_environment.setenv("OCI_GENAI_PROJECT", "of the environment")
    assert get_project_headers(model_class("m", api_key="k"))[0] == "of the environment"
    assert get_project_headers(model_class("m", api_key="k", project="a"))[0] == "a"
    for wrong in ({"project": 5}, {"project": "a\nb"}, {"conversation_store_id": " x"}):
        with pytest.raises(ConfigurationError):
            model_class("m", api_key="k", **wrong)


@OPENAI_STYLE
def test_the_sdk_client_names_the_project_too(
    isolated_environment: pytest.MonkeyPatch, model_class: Any
) -> None:
    isolated_environment.setenv("OPENAI_PROJECT_ID", "of OpenAI")
    for project in (None, PROJECT):
        client = model_class(
            "m", api_key="k", base_url="http://127.0.0.1:1", project=project
        ).client
        headers = {
            name.lower(): value
            for name, value in client.default_headers.items()
            if isinstance(value, str)
        }
        assert headers.get("openai-project") == headers.get("opc-project-id") == project


@pytest.mark.parametrize(
    ("model_name", "status", "code", "message", "advice"),
    [
        *(
            (
                name,
                404,
                "NotAuthorizedOrNotFound",
                "Authorization failed or requested resource not found",
                "policy",
            )
            for name in ("generic", "chat", "responses")
        ),
        ("chat", 404, "404", "This model is only supported in v1/responses", "OCIResponsesModel"),
        ("chat", 400, "400", "Unsupported OpenAI operation", "OCIModel"),
        ("responses", 400, "400", "… due to Zero Data Retention.", "store=False"),
    ],
)
def test_errors_advise_what_to_do(
    cloud: InferenceCloud,
    profile: Path,
    model_name: str,
    status: int,
    code: str,
    message: str,
    advice: str,
) -> None:
    cloud.queue_replies(make_error_reply(status, code, message))
    with (
        MODEL_FACTORIES[model_name](cloud) as model,
        pytest.raises((BadRequestError, NotFoundError)) as exc_info,
    ):
        model.complete_sync("hello")
    assert advice in str(exc_info.value).partition(message)[2]
    assert str(exc_info.value).count(message) == 1
