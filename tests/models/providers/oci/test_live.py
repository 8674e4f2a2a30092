"""The three models of OCI with a real account, where the environment names one.

``OCI_PROFILE`` is a section of ``~/.oci/config``; on a machine of OCI, ``OCI_AUTH_TYPE`` (such as
``instance_principal``) and ``OCI_COMPARTMENT`` say the same. ``OCI_MODEL_ID`` is a chat model that
calls tools, such as ``openai.gpt-4.1-mini``; ``OCI_COHERE_MODEL_ID`` one of Cohere's command-r, for
the format that is theirs alone. ``OCI_GENAI_API_KEY`` is a key of the service, ``OCI_PROJECT_OCID``
the project of stored conversations, where the service wants one. ``OCI_REGION``,
``OCI_COMPARTMENT`` and ``OCI_ENDPOINT`` count as everywhere. A test skips where what it needs is
missing, and says what.
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
from tests.support import runtimes
from tests.support.decoding import check_law
from tests.support.runtimes import Runtime, text

runtime = runtimes.runtime
pytestmark = pytest.mark.live

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city, now.",
        "parameters": CITY,
    },
}
CAPITAL = "What is the capital of France? Answer in one word."


def said(name: str, what: str) -> str:
    """A variable, or the end of the test."""
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"needs {name}: {what}")
    return value


def who() -> dict[str, str]:
    """Whose credentials sign, as the OpenAI-style models take it."""
    if os.environ.get("OCI_AUTH_TYPE") and not os.environ.get("OCI_PROFILE"):
        said("OCI_COMPARTMENT", "the OCID of the compartment, beside OCI_AUTH_TYPE")
        return {"auth_type": os.environ["OCI_AUTH_TYPE"]}
    return {"profile": said("OCI_PROFILE", "a section of ~/.oci/config")}


def chat_model() -> Any:
    access = who()
    return OCIChatCompletionsModel(_model_id(), max_tokens=200, **access)


def generic_model() -> Any:
    who()
    return OCIModel(_model_id(), max_tokens=200)


def cohere_model() -> Any:
    who()
    return OCIModel(said("OCI_COHERE_MODEL_ID", "a model cohere.command-r…"), max_tokens=200)


def responses_model(**kw: Any) -> Any:
    project = os.environ.get("OCI_PROJECT_OCID") or None
    kw = {"project_ocid": project, "max_tokens": 200, **who(), **kw}
    return OCIResponsesModel(_model_id(), **kw)


def _model_id() -> str:
    return said("OCI_MODEL_ID", "a chat model that calls tools, such as openai.gpt-4.1-mini")


MODELS: dict[str, Callable[[], Any]] = {
    "chat": chat_model,
    "generic": generic_model,
    "cohere": cohere_model,
    "responses": responses_model,
    "unstored": lambda: responses_model(store=False),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, runtime: Runtime) -> Iterator[Any]:
    model = MODELS[request.param]()
    yield model
    runtime.close(model)


def test_a_live_answer_whole_and_streamed(model: Any, runtime: Runtime) -> None:
    answer = runtime.ask(model, CAPITAL)
    assert "Paris" in answer.content
    assert answer.prompt_tokens > 0
    found = runtime.stream(model, CAPITAL)
    assert "Paris" in text(found)
    assert check_law(found).finish_reason == answer.finish_reason == "stop"


def test_a_live_round_of_tools(model: Any, runtime: Runtime) -> None:
    turns = [Message.user("How warm is it in Rome, and how warm in Oslo? Use the tool.")]
    state = None
    for _ in range(4):
        answer = check_law(runtime.stream(model, turns, [WEATHER], provider_state=state))
        state = answer.provider_state
        turns.append(answer.message)
        if not answer.tool_calls:
            break
        for call in answer.tool_calls:
            warm = {"Rome": 31, "Oslo": 17}.get(str(call.arguments.get("city")), 20)
            turns.append(Message.tool(ToolResult(call.id, call.name, f"{warm} °C")))
    assert "31" in turns[-1].text
    assert "17" in turns[-1].text


def test_a_live_conversation_recalls(model: Any, runtime: Runtime) -> None:
    turns = [Message.user("My name is Zdenka. Remember it.")]
    answer = runtime.ask(model, turns)
    assert (answer.provider_state is not None) is model.server_stateful
    turns += [answer.message, Message.user("What is my name?")]
    if model.server_stateful:  # the new message alone, and what the service has kept
        del turns[:-1]
    recalled = runtime.ask(model, turns, provider_state=answer.provider_state)
    assert "Zdenka" in recalled.content


def test_a_live_conversation_moves_between_transports() -> None:
    turns = [Message.user("My name is Zdenka. Say hello.")]
    models = [generic_model(), chat_model(), responses_model(), generic_model()]
    for model in models:
        with model:
            turns += [model.invoke(turns), Message.user("What is my name?")]
    assert "Zdenka" in turns[-2].text


def test_a_live_name_finds_its_credentials() -> None:
    who()
    with get_model(f"oci:{_model_id()}") as model:
        assert "Paris" in model.invoke(CAPITAL).text


def test_a_live_sdk_client_signs() -> None:
    client = generic_model().client
    models = pytest.importorskip("oci").generative_ai_inference.models
    details = models.ChatDetails(
        compartment_id=said("OCI_COMPARTMENT", "the OCID of the compartment"),
        serving_mode=models.OnDemandServingMode(model_id=_model_id()),
        chat_request=models.GenericChatRequest(
            messages=[models.UserMessage(content=[models.TextContent(text=CAPITAL)])]
        ),
    )
    try:
        answer = client.chat(details).data.chat_response
    finally:
        client.close()
    assert "Paris" in answer.choices[0].message.content[0].text


@pytest.mark.parametrize("kind", [OCIChatCompletionsModel, OCIResponsesModel])
def test_a_live_api_key(kind: Any, runtime: Runtime) -> None:
    key = said("OCI_GENAI_API_KEY", "an API key of the Generative AI service")
    project = os.environ.get("OCI_PROJECT_OCID")
    more = {"project_ocid": project} if project and kind is OCIResponsesModel else {}
    model = kind(_model_id(), api_key=key, **more)
    assert "Paris" in runtime.ask(model, CAPITAL).content
    runtime.close(model)
    with pytest.raises(AuthenticationError):
        kind(_model_id(), api_key=f"{key[:-4]}0000", max_retries=0, **more).complete_sync(CAPITAL)
