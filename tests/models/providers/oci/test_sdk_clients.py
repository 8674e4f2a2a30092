"""``model.client`` and ``sdk_client=``: the official clients of OCI's three ways in.

Those that Locus makes sign with the model's credentials; those that the caller brings sign by
themselves, here with a signer of their own.
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
from locus.models.providers.oci._signing import signer_for
from locus.models.providers.oci.settings import auth_of
from locus.testing.loopback_server import Reply
from locus.transport.httpx_auth import signed_auth
from tests.support import runtimes
from tests.support.decoding import check_law
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.cloud import COMPARTMENT
from tests.support.oci.crypto import TENANCY, USER, fingerprint, key, pem
from tests.support.oci.inference import (
    COST,
    MODEL,
    MODELS,
    NATIVE,
    RESPONSES,
    Inference,
    Said,
    native_model,
    refusal,
)
from tests.support.oci.signed_models import QUICK, api_key_profile
from tests.support.runtimes import TEXT, Runtime, run, text

oci = pytest.importorskip("oci")
openai = pytest.importorskip("openai")

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
home, surroundings = profiles.home, signed_models.surroundings
cloud, profile = inference.cloud, inference.profile
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks", "surroundings")]

DETAILS = {
    "compartmentId": COMPARTMENT,
    "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL},
    "chatRequest": {
        "apiFormat": "GENERIC",
        "messages": [{"role": "USER", "content": [{"type": "TEXT", "text": "hello"}]}],
    },
}
HEADERS = {"opc-compartment-id": COMPARTMENT}


# -- model.client ------------------------------------------------------------------------------


def test_the_openai_client_of_a_model_signs(cloud: Inference, profile: Path, backend: str) -> None:
    async def main() -> None:
        for kind in ("chat", "responses"):
            async with MODELS[kind](cloud) as model:
                client = model.client
                assert isinstance(client, openai.AsyncOpenAI)
                assert client is model.client
                models = await client.models.list()
                assert models.data == []
                if kind == "chat":
                    chat = await client.chat.completions.create(
                        model=MODEL, messages=[{"role": "user", "content": "hello"}]
                    )
                    assert chat.choices[0].message.content == TEXT
                else:
                    answer = await client.responses.create(model=MODEL, input="hello")
                    assert answer.output_text == TEXT

    run(backend, main)
    assert len(cloud.accepted) == 4
    assert not cloud.refused
    for request in cloud.answered:
        assert request.headers["opc-compartment-id"] == COMPARTMENT
        assert "openai-project" not in request.headers


def test_the_client_of_a_model_with_an_api_key_does_not_sign(
    cloud: Inference, backend: str, surroundings: pytest.MonkeyPatch
) -> None:
    surroundings.setenv("OPENAI_API_KEY", "sk-foreign")
    surroundings.setenv("OPENAI_PROJECT_ID", "proj_foreign")
    cloud.bearer = "sk-of-the-service-0123456789"

    async def main() -> None:
        async with MODELS["responses"](cloud, api_key=cloud.bearer) as model:
            answer = await model.client.responses.create(model=MODEL, input="hello")
            assert answer.output_text == TEXT

    run(backend, main)
    assert "foreign" not in str(cloud.answered[0].headers)


def test_the_project_goes_with_the_client_too(
    cloud: Inference, profile: Path, backend: str
) -> None:
    async def main() -> None:
        async with MODELS["responses"](cloud, project_ocid="ocid1.project.x") as model:
            await model.client.responses.create(model=MODEL, input="hello")

    run(backend, main)
    assert cloud.answered[0].headers["opc-project-id"] == "ocid1.project.x"


def test_the_inference_client_of_a_model_signs(cloud: Inference, profile: Path) -> None:
    model = native_model(cloud)
    client = model.client
    assert isinstance(client, oci.generative_ai_inference.GenerativeAiInferenceClient)
    assert client is model.client
    answer = client.chat(DETAILS).data
    assert answer.chat_response.choices[0].message.content[0].text == TEXT
    assert len(cloud.accepted) == 1
    client.close()


def test_the_inference_client_renews_after_a_401(cloud: Inference, tmp_path: Path) -> None:
    api_key_profile(tmp_path)
    signer = signer_for(auth_of(profile="DEFAULT"))
    signer._pace = QUICK
    model = native_model(cloud)
    model.client.chat(DETAILS)
    cloud.users.clear()
    cloud.trust("user two")
    (tmp_path / ".oci" / "config").unlink()
    api_key_profile(tmp_path, of="user two")
    model.client.chat(DETAILS)
    assert len(cloud.accepted) == 2
    assert len(cloud.refused) == 1
    cloud.users.clear()
    with pytest.raises(oci.exceptions.ServiceError, match="no such key"):
        model.client.chat(DETAILS)
    assert len(cloud.refused) == 3  # its own loop asks again, newer key or not
    model.client.close()


def test_the_inference_client_is_closed_with_the_model(
    cloud: Inference, profile: Path, backend: str
) -> None:
    async def main() -> None:
        async with native_model(cloud) as model:
            model.client.chat(DETAILS)
            assert cloud.server.connections_open == 1

    run(backend, main)
    cloud.server.wait_closed()


# -- sdk_client=, of openai --------------------------------------------------------------------


@pytest.fixture
def openai_client(cloud: Inference, profile: Path, runtime: Runtime) -> Iterator[Any]:
    """A client of the openai SDK that signs by itself, of the kind the runtime wants."""
    kind = openai.DefaultHttpxClient if runtime.name == "blocking" else None
    kind = kind or openai.DefaultAsyncHttpxClient
    names = {base.__module__.partition(".")[0] for base in kind.__mro__}
    library = sys.modules["httpx2" if "httpx2" in names else "httpx"]
    auth = signed_auth(signer_for(auth_of(profile="DEFAULT")), library)
    made = openai.OpenAI if runtime.name == "blocking" else openai.AsyncOpenAI
    client = made(
        api_key="unused",
        base_url=f"{cloud.url}/openai/v1",
        default_headers=HEADERS,
        max_retries=0,
        http_client=kind(auth=auth),
    )
    yield client
    if runtime.name == "blocking":
        client.close()
    else:
        runtime._portal.call(client.close)  # type: ignore[attr-defined]


@pytest.mark.parametrize("made", [OCIChatCompletionsModel, OCIResponsesModel])
def test_an_openai_client_that_signs_is_sent_through(
    cloud: Inference, openai_client: Any, runtime: Runtime, made: Any
) -> None:
    model = made(MODEL, sdk_client=openai_client)
    answer = runtime.ask(model, "hello")
    last = check_law(runtime.stream(model, "hello"))
    assert answer.content == last.content == TEXT
    assert len(cloud.accepted) == 2
    assert not cloud.refused
    assert model.client is openai_client
    cloud.says(refusal(404, "NotAuthorizedOrNotFound", "no such model"))
    with pytest.raises(NotFoundError, match="no such model"):
        runtime.ask(model, "hello")
    kind, other = (
        ("a blocking", "awaited") if runtime.name == "blocking" else ("an async", "called")
    )
    wrong: Any = Runtimes[runtime.name]
    with pytest.raises(ConfigurationError, match=f"given {kind} client only.*cannot be {other}"):
        wrong(model)
    with pytest.raises(TypeError, match="cannot be pickled"):
        model.__getstate__()


def _await(model: Any) -> None:
    async def main() -> None:
        await model.complete("hello")

    run("asyncio", main)


Runtimes = {
    "blocking": _await,
    "asyncio": lambda model: model.complete_sync("hello"),
    "trio": lambda model: model.complete_sync("hello"),
}


def test_what_the_model_was_told_goes_with_an_sdk_client(
    cloud: Inference, openai_client: Any, runtime: Runtime
) -> None:
    model = OCIResponsesModel(
        MODEL, sdk_client=openai_client, project_ocid="ocid1.project.x", compartment_id=COMPARTMENT
    )
    runtime.ask(model, "hello")
    assert cloud.answered[0].headers["opc-project-id"] == "ocid1.project.x"
    assert cloud.answered[0].headers["opc-compartment-id"] == COMPARTMENT


# -- sdk_client=, of oci -----------------------------------------------------------------------


@pytest.fixture
def oci_client(cloud: Inference) -> Iterator[Any]:
    """A client of the ``oci`` package, configured by hand."""
    client = _oci_client(cloud)
    yield client
    client.base_client.session.close()


def _oci_client(cloud: Inference, **kw: Any) -> Any:
    config = {
        "user": USER,
        "tenancy": TENANCY,
        "fingerprint": fingerprint(key("user")),
        "key_content": pem(key("user")),
        "region": "us-chicago-1",
    }
    known = {"service_endpoint": cloud.url, "retry_strategy": oci.retry.NoneRetryStrategy()}
    return oci.generative_ai_inference.GenerativeAiInferenceClient(config, **{**known, **kw})


@pytest.mark.parametrize("kind", ["generic", "cohere", "cohere2"])
def test_an_oci_client_is_sent_through(cloud: Inference, oci_client: Any, kind: str) -> None:
    model = MODELS[kind](cloud, sdk_client=oci_client, service_endpoint=None, timeout=600.0)
    cloud.server.route("POST", NATIVE, cloud.unchecked)
    answer = model.complete_sync("hello")
    found = list(model.stream_sync("hello"))
    assert answer.content == text(found) == TEXT
    assert [event.content for event in found if event.content] == list(runtimes.WORDS)
    assert check_law(found).usage == answer.usage
    assert COST.items() <= answer.usage.items()
    assert len(cloud.accepted) == 2
    assert model.client is oci_client


def test_a_round_of_tools_through_an_oci_client(cloud: Inference, oci_client: Any) -> None:
    cloud.server.route("POST", NATIVE, cloud.unchecked)
    schema = {"type": "object", "properties": {"place": {"type": "string"}}}
    look = {"type": "function", "function": {"name": "look", "parameters": schema}}
    cloud.says(Said("", (("look", {"place": "here"}), ("look", {"place": "there"}))))
    model = OCIModel(MODEL, COMPARTMENT, sdk_client=oci_client).bind_tools([look])
    asked = Message.user("where?")
    answer = model.complete_sync([asked])
    assert [dict(call.arguments) for call in answer.tool_calls] == [
        {"place": "here"},
        {"place": "there"},
    ]
    results = [Message.tool(ToolResult(call.id, call.name, "no")) for call in answer.tool_calls]
    assert model.complete_sync([asked, answer.message, *results]).content == TEXT
    assert cloud.sent["chatRequest"]["tools"][0]["parameters"] == schema


def test_the_compartment_is_the_tenancy_of_the_client(cloud: Inference, oci_client: Any) -> None:
    cloud.server.route("POST", NATIVE, cloud.unchecked)
    OCIModel(MODEL, sdk_client=oci_client).complete_sync("hello")
    assert cloud.sent["compartmentId"] == TENANCY


def test_the_refusals_of_an_oci_client_are_locuss_own(cloud: Inference, oci_client: Any) -> None:
    cloud.server.route("POST", NATIVE, cloud.unchecked)
    model = OCIModel(MODEL, COMPARTMENT, sdk_client=oci_client)
    cloud.says(refusal(404, "NotAuthorizedOrNotFound", "no such model"))
    with pytest.raises(NotFoundError, match="no such model"):
        model.complete_sync("hello")
    cloud.says(refusal(429, "TooManyRequests", "slowly"))
    with pytest.raises(RateLimitError, match="slowly"):
        list(model.stream_sync("hello"))
    cloud.users.clear()
    with pytest.raises(AuthenticationError, match="no such key"):
        model.complete_sync("hello")
    cloud.trust("user")
    cloud.says(refusal(400, "InvalidParameter", "streaming is not supported for this model"))
    (only,) = model.stream_sync("hello")
    assert only.content == TEXT


def test_a_type_that_the_client_does_not_know_is_read_all_the_same(
    cloud: Inference, oci_client: Any
) -> None:
    cloud.server.route("POST", NATIVE, cloud.unchecked)

    def typed(stream: bool, kind: str) -> Any:
        reply = Said().generic(stream)
        return Reply(200, {"content-type": kind}, reply.content)

    cloud.says(typed(True, "text/event-stream;charset=UTF-8"), typed(False, "application/json; a"))
    model = OCIModel(MODEL, COMPARTMENT, sdk_client=oci_client)
    assert text(model.stream_sync("hello")) == TEXT
    assert model.complete_sync("hello").content == TEXT


def test_a_stream_that_breaks_off_under_an_oci_client(cloud: Inference, oci_client: Any) -> None:
    cloud.server.route("POST", NATIVE, cloud.unchecked)
    model = OCIModel(MODEL, COMPARTMENT, sdk_client=oci_client)
    whole = Said().generic(True)
    cloud.says(whole.truncate(150), whole.reset(150))
    for _ in range(2):
        with pytest.raises(StreamInterruptedError) as caught:
            list(model.stream_sync("hello"))
        assert caught.value.partial is not None
        assert TEXT.startswith(caught.value.partial.content or "")


def test_leaving_a_stream_closes_the_connection_of_an_oci_client(
    cloud: Inference, oci_client: Any
) -> None:
    cloud.server.route("POST", NATIVE, cloud.unchecked)
    cloud.always(Said().generic(True).stall(150))
    with OCIModel(MODEL, COMPARTMENT, sdk_client=oci_client).stream_sync("hello") as stream:
        next(stream)
    cloud.server.wait_closed()


def test_an_oci_client_that_cannot_connect_or_waits_too_long(cloud: Inference) -> None:
    cloud.server.route("POST", NATIVE, cloud.unchecked)
    cloud.always(Said().generic(False).stall(stop="head"))
    for client, error in [
        (_oci_client(cloud, timeout=(1.0, 0.2)), APITimeoutError),
        (_oci_client(cloud, service_endpoint="http://127.0.0.1:9"), APIConnectionError),
    ]:
        with pytest.raises(error):
            OCIModel(MODEL, COMPARTMENT, sdk_client=client).complete_sync("hello")
        client.base_client.session.close()


def test_an_oci_client_takes_neither_headers_nor_a_timeout_for_a_call(oci_client: Any) -> None:
    model = OCIModel(MODEL, COMPARTMENT, sdk_client=oci_client)
    with pytest.raises(ConfigurationError, match="takes no timeout for a call"):
        model.complete_sync("hello", timeout=3)
    with pytest.raises(ConfigurationError, match=r"takes no headers for a call \(x-a\)"):
        model.complete_sync("hello", extra_headers={"X-A": "secret"})


def test_an_oci_client_cannot_be_awaited(oci_client: Any, backend: str) -> None:
    model = OCIModel(MODEL, COMPARTMENT, sdk_client=oci_client)

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="given a blocking client only"):
            await model.complete("hello")
        with pytest.raises(ConfigurationError, match="given a blocking client only"):
            await anext(model.stream("hello"))

    run(backend, main)


@pytest.mark.parametrize("wrong", [object(), "client", io.BytesIO()], ids=["object", "str", "io"])
def test_another_sdks_client_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="GenerativeAiInferenceClient of the package oci, not"):
        OCIModel(MODEL, sdk_client=wrong)
    for made in (OCIChatCompletionsModel, OCIResponsesModel):
        with pytest.raises(TypeError, match="takes a client of the package openai, not"):
            made(MODEL, sdk_client=wrong)


def test_each_class_takes_its_own_sdk_alone(cloud: Inference, oci_client: Any) -> None:
    with pytest.raises(TypeError, match="of the package openai, not GenerativeAiInferenceClient"):
        OCIChatCompletionsModel(MODEL, sdk_client=oci_client)
    client = openai.OpenAI(api_key="k", base_url=f"{cloud.url}{RESPONSES}")
    with pytest.raises(TypeError, match="of the package oci, not OpenAI"):
        OCIModel(MODEL, sdk_client=client)
    client.close()
    with pytest.raises(ConfigurationError, match="exclude each other"):
        OCIModel(MODEL, sdk_client=oci_client, http_client=object())


logging.getLogger("oci").setLevel(logging.ERROR)  # its client warns of every stream
