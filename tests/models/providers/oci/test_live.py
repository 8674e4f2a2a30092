"""The three models of OCI with a real account, if the environment names one.

``OCI_PROFILE`` is a section of ``~/.oci/config``; on a machine of OCI, ``OCI_AUTH_TYPE`` (such as
``instance_principal``) and ``OCI_COMPARTMENT`` have the same effect. ``OCI_MODEL_ID`` is a chat
model that calls tools, such as ``openai.gpt-4.1-mini``; ``OCI_COHERE_MODEL_ID`` is one of Cohere's
command-r models, for Cohere's own format. ``OCI_GENAI_API_KEY`` is a key of the service,
``OCI_PROJECT_OCID`` the project of stored conversations, if the service requires one.
``OCI_REGION``, ``OCI_COMPARTMENT`` and ``OCI_ENDPOINT`` have their usual meaning. A test that lacks
a variable is skipped, and says which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from locus import get_model
from locus.core.errors import AuthenticationError
from locus.core.messages import Message, ToolResult
from locus.models.providers.oci import (
    OCIChatCompletionsModel,
    OCIModel,
    OCIResponsesModel,
)
from locus.testing.formats.runtimes import Runtime
from locus.testing.formats.stream_reader import check_streaming_law
from tests.support.chat_replies import join_text

pytestmark = pytest.mark.live

CITY_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city, now.",
        "parameters": CITY_SCHEMA,
    },
}
CAPITAL_QUESTION = "What is the capital of France? Answer in one word."


def require_variable(name: str, description: str) -> str:
    """The value of a variable; skips the test if it is not set."""
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"needs {name}: {description}")
    return value


def get_auth_arguments() -> dict[str, str]:
    """The arguments of the OpenAI-compatible models that choose the credentials."""
    if os.environ.get("OCI_AUTH_TYPE") and not os.environ.get("OCI_PROFILE"):
        require_variable("OCI_COMPARTMENT", "the OCID of the compartment, beside OCI_AUTH_TYPE")
        return {"auth_type": os.environ["OCI_AUTH_TYPE"]}
    return {"profile": require_variable("OCI_PROFILE", "a section of ~/.oci/config")}


def make_chat_completions_model() -> Any:
    access = get_auth_arguments()
    return OCIChatCompletionsModel(_get_model_id(), max_tokens=200, **access)


def make_generic_model() -> Any:
    get_auth_arguments()
    return OCIModel(_get_model_id(), max_tokens=200)


def make_cohere_model() -> Any:
    get_auth_arguments()
    return OCIModel(
        require_variable("OCI_COHERE_MODEL_ID", "a model cohere.command-r…"), max_tokens=200
    )


def make_responses_model(**kw: Any) -> Any:
    project = os.environ.get("OCI_PROJECT_OCID") or None
    kw = {"project_ocid": project, "max_tokens": 200, **get_auth_arguments(), **kw}
    return OCIResponsesModel(_get_model_id(), **kw)


def _get_model_id() -> str:
    return require_variable(
        "OCI_MODEL_ID", "a chat model that calls tools, such as openai.gpt-4.1-mini"
    )


MODEL_FACTORIES: dict[str, Callable[[], Any]] = {
    "chat": make_chat_completions_model,
    "generic": make_generic_model,
    "cohere": make_cohere_model,
    "responses": make_responses_model,
    "unstored": lambda: make_responses_model(store=False),
}


@pytest.fixture(params=MODEL_FACTORIES)
def model(request: pytest.FixtureRequest, runtime: Runtime) -> Iterator[Any]:
    model = MODEL_FACTORIES[request.param]()
    yield model
    runtime.close(model)


def test_a_live_response_complete_and_streamed(model: Any, runtime: Runtime) -> None:
    response = runtime.complete(model, CAPITAL_QUESTION)
    assert "Paris" in response.content
    assert response.prompt_tokens > 0
    events = runtime.collect_events(model, CAPITAL_QUESTION)
    assert "Paris" in join_text(events)
    assert check_streaming_law(events).finish_reason == response.finish_reason == "stop"


def test_a_live_round_of_tools(model: Any, runtime: Runtime) -> None:
    messages = [Message.user("How warm is it in Rome, and how warm in Oslo? Use the tool.")]
    state = None
    for _ in range(4):
        response = check_streaming_law(
            runtime.collect_events(model, messages, [WEATHER_TOOL], provider_state=state)
        )
        state = response.provider_state
        messages.append(response.message)
        if not response.tool_calls:
            break
        for call in response.tool_calls:
            warm = {"Rome": 31, "Oslo": 17}.get(str(call.arguments.get("city")), 20)
            messages.append(Message.tool(ToolResult(call.id, call.name, f"{warm} °C")))
    assert "31" in messages[-1].text
    assert "17" in messages[-1].text


def test_a_live_conversation_is_remembered(model: Any, runtime: Runtime) -> None:
    messages = [Message.user("My name is Zdenka. Remember it.")]
    response = runtime.complete(model, messages)
    assert (response.provider_state is not None) is model.server_stateful
    messages += [response.message, Message.user("What is my name?")]
    if model.server_stateful:  # only the new message: the service has stored the others
        del messages[:-1]
    recalled = runtime.complete(model, messages, provider_state=response.provider_state)
    assert "Zdenka" in recalled.content


def test_a_live_conversation_moves_between_transports() -> None:
    messages = [Message.user("My name is Zdenka. Say hello.")]
    models = [
        make_generic_model(),
        make_chat_completions_model(),
        make_responses_model(),
        make_generic_model(),
    ]
    for model in models:
        with model:
            messages += [model.invoke(messages), Message.user("What is my name?")]
    assert "Zdenka" in messages[-2].text


def test_a_live_model_by_name() -> None:
    get_auth_arguments()
    with get_model(f"oci:{_get_model_id()}") as model:
        assert "Paris" in model.invoke(CAPITAL_QUESTION).text


def test_a_live_sdk_client_signs() -> None:
    client = make_generic_model().client
    models = pytest.importorskip("oci").generative_ai_inference.models
    details = models.ChatDetails(
        compartment_id=require_variable("OCI_COMPARTMENT", "the OCID of the compartment"),
        serving_mode=models.OnDemandServingMode(model_id=_get_model_id()),
        chat_request=models.GenericChatRequest(
            messages=[models.UserMessage(content=[models.TextContent(text=CAPITAL_QUESTION)])]
        ),
    )
    try:
        response = client.chat(details).data.chat_response
    finally:
        client.close()
    assert "Paris" in response.choices[0].message.content[0].text


@pytest.mark.parametrize("model_class", [OCIChatCompletionsModel, OCIResponsesModel])
def test_a_live_api_key(model_class: Any, runtime: Runtime) -> None:
    key = require_variable("OCI_GENAI_API_KEY", "an API key of the Generative AI service")
    project = os.environ.get("OCI_PROJECT_OCID")
    arguments = {"project_ocid": project} if project and model_class is OCIResponsesModel else {}
    model = model_class(_get_model_id(), api_key=key, **arguments)
    assert "Paris" in runtime.complete(model, CAPITAL_QUESTION).content
    runtime.close(model)
    with pytest.raises(AuthenticationError):
        model_class(
            _get_model_id(), api_key=f"{key[:-4]}0000", max_retries=0, **arguments
        ).complete_sync(CAPITAL_QUESTION)
