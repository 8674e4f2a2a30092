"""``model.client`` and ``sdk_client=``: the official clients of the three OCI models.

Those that Locus makes sign with the model's credentials; the caller's own sign by themselves, here
with a signer of their own.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    RateLimitError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ToolResult
from locus.models.providers.oci import OCIChatCompletionsModel, OCIModel, OCIResponsesModel
from locus.models.providers.oci._signer_cache import get_signer
from locus.models.providers.oci.authentication import resolve_auth
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.formats.stream_reader import check_streaming_law
from locus.testing.server import Reply
from locus.transport.httpx_auth import build_signing_auth
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, join_text
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.cloud import COMPARTMENT
from tests.support.oci.crypto import (
    TENANCY,
    USER,
    compute_fingerprint,
    encode_private_key,
    get_private_key,
)
from tests.support.oci.inference import (
    EXPECTED_USAGE,
    MODEL_FACTORIES,
    MODEL_ID,
    NATIVE_PATH,
    RESPONSES_PATH,
    InferenceCloud,
    ScriptedReply,
    make_error_reply,
    make_generic_model,
)
from tests.support.oci.signed_models import FAST_REFRESH_POLICY, write_api_key_profile

oci = pytest.importorskip("oci")
openai = pytest.importorskip("openai")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud, profile = inference.cloud, inference.profile
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "isolated_environment")]

DETAILS = {
    "compartmentId": COMPARTMENT,
    "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL_ID},
    "chatRequest": {
        "apiFormat": "GENERIC",
        "messages": [{"role": "USER", "content": [{"type": "TEXT", "text": "hello"}]}],
    },
}
HEADERS = {"opc-compartment-id": COMPARTMENT}


# -- model.client ------------------------------------------------------------------------------


def test_the_openai_client_of_a_model_signs(
    cloud: InferenceCloud, profile: Path, backend: str
) -> None:
    async def main() -> None:
        for model_name in ("chat", "responses"):
            async with MODEL_FACTORIES[model_name](cloud) as model:
                client = model.client
                assert isinstance(client, openai.AsyncOpenAI)
                assert client is model.client
                models = await client.models.list()
                assert models.data == []
                if model_name == "chat":
                    chat = await client.chat.completions.create(
                        model=MODEL_ID, messages=[{"role": "user", "content": "hello"}]
                    )
                    assert chat.choices[0].message.content == TEXT
                else:
                    response = await client.responses.create(model=MODEL_ID, input="hello")
                    assert response.output_text == TEXT

    run_async(backend, main)
    assert len(cloud.accepted_key_ids) == 4
    assert not cloud.rejection_reasons
    for request in cloud.accepted_requests:
        assert request.headers["opc-compartment-id"] == COMPARTMENT
        assert "openai-project" not in request.headers


def test_the_client_of_a_model_with_an_api_key_does_not_sign(
    cloud: InferenceCloud, backend: str, isolated_environment: pytest.MonkeyPatch
) -> None:
    isolated_environment.setenv("OPENAI_API_KEY", "sk-foreign")
    isolated_environment.setenv("OPENAI_PROJECT_ID", "proj_foreign")
    cloud.bearer_key = "sk-of-the-service-0123456789"

    async def main() -> None:
        async with MODEL_FACTORIES["responses"](cloud, api_key=cloud.bearer_key) as model:
            response = await model.client.responses.create(model=MODEL_ID, input="hello")
            assert response.output_text == TEXT

    run_async(backend, main)
    assert "foreign" not in str(cloud.accepted_requests[0].headers)


def test_the_client_also_sends_the_project(
    cloud: InferenceCloud, profile: Path, backend: str
) -> None:
    async def main() -> None:
        async with MODEL_FACTORIES["responses"](cloud, project_ocid="ocid1.project.x") as model:
            await model.client.responses.create(model=MODEL_ID, input="hello")

    run_async(backend, main)
    assert cloud.accepted_requests[0].headers["opc-project-id"] == "ocid1.project.x"


def test_the_inference_client_of_a_model_signs(cloud: InferenceCloud, profile: Path) -> None:
    model = make_generic_model(cloud)
    client = model.client
    assert isinstance(client, oci.generative_ai_inference.GenerativeAiInferenceClient)
    assert client is model.client
    response = client.chat(DETAILS).data
    assert response.chat_response.choices[0].message.content[0].text == TEXT
    assert len(cloud.accepted_key_ids) == 1
    client.close()


def test_the_inference_client_refreshes_credentials_after_a_401(
    cloud: InferenceCloud, tmp_path: Path
) -> None:
    write_api_key_profile(tmp_path)
    signer = get_signer(resolve_auth(profile="DEFAULT"))
    signer._refresh_policy = FAST_REFRESH_POLICY
    model = make_generic_model(cloud)
    model.client.chat(DETAILS)
    cloud.user_keys.clear()
    cloud.register_key("user two")
    (tmp_path / ".oci" / "config").unlink()
    write_api_key_profile(tmp_path, key_name="user two")
    model.client.chat(DETAILS)
    assert len(cloud.accepted_key_ids) == 2
    assert len(cloud.rejection_reasons) == 1
    cloud.user_keys.clear()
    with pytest.raises(oci.exceptions.ServiceError, match="no such key"):
        model.client.chat(DETAILS)
    assert (
        len(cloud.rejection_reasons) == 3
    )  # the SDK sends the request again, even without a newer key
    model.client.close()


def test_the_inference_client_is_closed_with_the_model(
    cloud: InferenceCloud, profile: Path, backend: str
) -> None:
    async def main() -> None:
        async with make_generic_model(cloud) as model:
            model.client.chat(DETAILS)
            assert cloud.server.connections_open == 1

    run_async(backend, main)
    cloud.server.wait_closed()


# -- sdk_client=, of openai --------------------------------------------------------------------


@pytest.fixture
def openai_client(cloud: InferenceCloud, profile: Path, runtime: Runtime) -> Iterator[Any]:
    """A client of the openai SDK that signs by itself, blocking or async as the runtime needs."""
    client_class = openai.DefaultHttpxClient if runtime.name == "blocking" else None
    client_class = client_class or openai.DefaultAsyncHttpxClient
    names = {base.__module__.partition(".")[0] for base in client_class.__mro__}
    library = sys.modules["httpx2" if "httpx2" in names else "httpx"]
    auth = build_signing_auth(get_signer(resolve_auth(profile="DEFAULT")), library)
    sdk_class = openai.OpenAI if runtime.name == "blocking" else openai.AsyncOpenAI
    client = sdk_class(
        api_key="unused",
        base_url=f"{cloud.url}/openai/v1",
        default_headers=HEADERS,
        max_retries=0,
        http_client=client_class(auth=auth),
    )
    yield client
    if runtime.name == "blocking":
        client.close()
    else:
        runtime._portal.call(client.close)  # type: ignore[attr-defined]


@pytest.mark.parametrize("model_class", [OCIChatCompletionsModel, OCIResponsesModel])
def test_calls_go_through_an_openai_client_that_signs(
    cloud: InferenceCloud, openai_client: Any, runtime: Runtime, model_class: Any
) -> None:
    model = model_class(MODEL_ID, sdk_client=openai_client)
    response = runtime.complete(model, "hello")
    last = check_streaming_law(runtime.collect_events(model, "hello"))
    assert response.content == last.content == TEXT
    assert len(cloud.accepted_key_ids) == 2
    assert not cloud.rejection_reasons
    assert model.client is openai_client
    cloud.queue_replies(make_error_reply(404, "NotAuthorizedOrNotFound", "no such model"))
    with pytest.raises(NotFoundError, match="no such model"):
        runtime.complete(model, "hello")
    message = (
        "only a blocking client.*cannot be awaited"
        if runtime.name == "blocking"
        else "only an async client.*cannot make blocking calls"
    )
    call_wrongly: Any = WRONG_CALLS[runtime.name]
    with pytest.raises(ConfigurationError, match=message):
        call_wrongly(model)
    with pytest.raises(TypeError, match="cannot be pickled"):
        model.__getstate__()


def _await_complete(model: Any) -> None:
    async def main() -> None:
        await model.complete("hello")

    run_async("asyncio", main)


WRONG_CALLS = {
    "blocking": _await_complete,
    "asyncio": lambda model: model.complete_sync("hello"),
    "trio": lambda model: model.complete_sync("hello"),
}


def test_the_models_arguments_are_sent_through_an_sdk_client(
    cloud: InferenceCloud, openai_client: Any, runtime: Runtime
) -> None:
    model = OCIResponsesModel(
        MODEL_ID,
        sdk_client=openai_client,
        project_ocid="ocid1.project.x",
        compartment_id=COMPARTMENT,
    )
    runtime.complete(model, "hello")
    assert cloud.accepted_requests[0].headers["opc-project-id"] == "ocid1.project.x"
    assert cloud.accepted_requests[0].headers["opc-compartment-id"] == COMPARTMENT


# -- sdk_client=, of oci -----------------------------------------------------------------------


@pytest.fixture
def oci_client(cloud: InferenceCloud) -> Iterator[Any]:
    """A client of the ``oci`` package, configured by hand."""
    client = _make_oci_client(cloud)
    yield client
    client.base_client.session.close()


def _make_oci_client(cloud: InferenceCloud, **kw: Any) -> Any:
    config = {
        "user": USER,
        "tenancy": TENANCY,
        "fingerprint": compute_fingerprint(get_private_key("user")),
        "key_content": encode_private_key(get_private_key("user")),
        "region": "us-chicago-1",
    }
    defaults = {"service_endpoint": cloud.url, "retry_strategy": oci.retry.NoneRetryStrategy()}
    return oci.generative_ai_inference.GenerativeAiInferenceClient(config, **{**defaults, **kw})


@pytest.mark.parametrize("model_name", ["generic", "cohere", "cohere2"])
def test_calls_go_through_an_oci_client(
    cloud: InferenceCloud, oci_client: Any, model_name: str
) -> None:
    model = MODEL_FACTORIES[model_name](
        cloud, sdk_client=oci_client, service_endpoint=None, timeout=600.0
    )
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)
    response = model.complete_sync("hello")
    events = list(model.stream_sync("hello"))
    assert response.content == join_text(events) == TEXT
    assert [event.content for event in events if event.content] == list(TEXT_CHUNKS)
    assert check_streaming_law(events).usage == response.usage
    assert EXPECTED_USAGE.items() <= response.usage.items()
    assert len(cloud.accepted_key_ids) == 2
    assert model.client is oci_client


def test_a_round_of_tools_through_an_make_oci_client(
    cloud: InferenceCloud, oci_client: Any
) -> None:
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)
    schema = {"type": "object", "properties": {"place": {"type": "string"}}}
    look_tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
    cloud.queue_replies(
        ScriptedReply("", (("look", {"place": "here"}), ("look", {"place": "there"})))
    )
    model = OCIModel(MODEL_ID, COMPARTMENT, sdk_client=oci_client).bind_tools([look_tool])
    question = Message.user("where?")
    response = model.complete_sync([question])
    assert [dict(call.arguments) for call in response.tool_calls] == [
        {"place": "here"},
        {"place": "there"},
    ]
    results = [Message.tool(ToolResult(call.id, call.name, "no")) for call in response.tool_calls]
    assert model.complete_sync([question, response.message, *results]).content == TEXT
    assert cloud.last_body["chatRequest"]["tools"][0]["parameters"] == schema


def test_the_compartment_is_the_tenancy_of_the_client(
    cloud: InferenceCloud, oci_client: Any
) -> None:
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)
    OCIModel(MODEL_ID, sdk_client=oci_client).complete_sync("hello")
    assert cloud.last_body["compartmentId"] == TENANCY


def test_errors_of_an_oci_client_become_locuss_errors(
    cloud: InferenceCloud, oci_client: Any
) -> None:
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)
    model = OCIModel(MODEL_ID, COMPARTMENT, sdk_client=oci_client)
    cloud.queue_replies(make_error_reply(404, "NotAuthorizedOrNotFound", "no such model"))
    with pytest.raises(NotFoundError, match="no such model"):
        model.complete_sync("hello")
    cloud.queue_replies(make_error_reply(429, "TooManyRequests", "slowly"))
    with pytest.raises(RateLimitError, match="slowly"):
        list(model.stream_sync("hello"))
    cloud.user_keys.clear()
    with pytest.raises(AuthenticationError, match="no such key"):
        model.complete_sync("hello")
    cloud.register_key("user")
    cloud.queue_replies(
        make_error_reply(400, "InvalidParameter", "streaming is not supported for this model")
    )
    (only,) = model.stream_sync("hello")
    assert only.content == TEXT


def test_a_content_type_that_the_client_does_not_know_is_read_too(
    cloud: InferenceCloud, oci_client: Any
) -> None:
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)

    def build_reply(stream: bool, content_type: str) -> Any:
        reply = ScriptedReply().build("oci_generic", stream)
        return Reply(200, {"content-type": content_type}, reply.content)

    cloud.queue_replies(
        build_reply(True, "text/event-stream;charset=UTF-8"),
        build_reply(False, "application/json; a"),
    )
    model = OCIModel(MODEL_ID, COMPARTMENT, sdk_client=oci_client)
    assert join_text(model.stream_sync("hello")) == TEXT
    assert model.complete_sync("hello").content == TEXT


def test_an_interrupted_stream_of_an_oci_client(cloud: InferenceCloud, oci_client: Any) -> None:
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)
    model = OCIModel(MODEL_ID, COMPARTMENT, sdk_client=oci_client)
    reply = ScriptedReply().build("oci_generic", True)
    cloud.queue_replies(reply.truncate(150), reply.reset(150))
    for _ in range(2):
        with pytest.raises(StreamInterruptedError) as exc_info:
            list(model.stream_sync("hello"))
        assert exc_info.value.partial is not None
        assert TEXT.startswith(exc_info.value.partial.content or "")


def test_leaving_a_stream_closes_the_connection_of_an_oci_client(
    cloud: InferenceCloud, oci_client: Any
) -> None:
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)
    cloud.set_default_reply(ScriptedReply().build("oci_generic", True).stall(-1))
    with OCIModel(MODEL_ID, COMPARTMENT, sdk_client=oci_client).stream_sync("hello") as stream:
        next(stream)
    cloud.server.wait_closed()


def test_connection_errors_and_timeouts_of_an_oci_client(cloud: InferenceCloud) -> None:
    cloud.server.route("POST", NATIVE_PATH, cloud.reply_without_compartment)
    cloud.set_default_reply(ScriptedReply().build("oci_generic", False).stall(stop="head"))
    for client, error in [
        (_make_oci_client(cloud, timeout=(1.0, 0.2)), APITimeoutError),
        (_make_oci_client(cloud, service_endpoint="http://127.0.0.1:9"), APIConnectionError),
    ]:
        with pytest.raises(error):
            OCIModel(MODEL_ID, COMPARTMENT, sdk_client=client).complete_sync("hello")
        client.base_client.session.close()


def test_an_oci_client_takes_neither_headers_nor_a_timeout_for_a_call(oci_client: Any) -> None:
    model = OCIModel(MODEL_ID, COMPARTMENT, sdk_client=oci_client)
    with pytest.raises(ConfigurationError, match="accepts no timeout for a call"):
        model.complete_sync("hello", timeout=3)
    with pytest.raises(ConfigurationError, match=r"accepts no headers for a call \(x-a\)"):
        model.complete_sync("hello", extra_headers={"X-A": "secret"})


def test_an_oci_client_cannot_be_awaited(oci_client: Any, backend: str) -> None:
    model = OCIModel(MODEL_ID, COMPARTMENT, sdk_client=oci_client)

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="only a blocking client"):
            await model.complete("hello")
        with pytest.raises(ConfigurationError, match="only a blocking client"):
            await anext(model.stream("hello"))

    run_async(backend, main)


@pytest.mark.parametrize("wrong", [object(), "client", io.BytesIO()], ids=["object", "str", "io"])
def test_another_sdks_client_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="GenerativeAiInferenceClient of the package oci, not"):
        OCIModel(MODEL_ID, sdk_client=wrong)
    for model_class in (OCIChatCompletionsModel, OCIResponsesModel):
        with pytest.raises(TypeError, match="takes a client of the package openai, not"):
            model_class(MODEL_ID, sdk_client=wrong)


def test_each_class_takes_only_its_own_sdk(cloud: InferenceCloud, oci_client: Any) -> None:
    with pytest.raises(TypeError, match="of the package openai, not GenerativeAiInferenceClient"):
        OCIChatCompletionsModel(MODEL_ID, sdk_client=oci_client)
    client = openai.OpenAI(api_key="k", base_url=f"{cloud.url}{RESPONSES_PATH}")
    with pytest.raises(TypeError, match="of the package oci, not OpenAI"):
        OCIModel(MODEL_ID, sdk_client=client)
    client.close()
    with pytest.raises(ConfigurationError, match="exclude each other"):
        OCIModel(MODEL_ID, sdk_client=oci_client, http_client=object())


logging.getLogger("oci").setLevel(logging.ERROR)  # its client warns of every stream
