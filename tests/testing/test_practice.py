"""The practice server: the same responses in every format it speaks, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.core.errors import ConfigurationError, NotFoundError
from locus.core.messages import ImagePart, Message, ToolResult
from locus.core.structured import build_response_format, parse_structured
from locus.models.native.anthropic import AnthropicModel
from locus.models.providers.oci import (
    OCIChatCompletionsModel,
    OCIModel,
    OCIResponsesModel,
    OCIResponsesStateLostError,
)
from locus.testing import practice as practice_module
from locus.testing.practice import PracticeServer, choose_example_model
from tests.support.oci import profiles

home = profiles.home

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
BOOK = {
    "type": "function",
    "function": {
        "name": "book_table",
        "parameters": {
            "type": "object",
            "properties": {
                "guests": {"type": "integer", "maximum": 8},
                "where": {"enum": ["inside", "outside"]},
                "note": {"type": "string"},
            },
        },
    },
}


@attrs.frozen
class City:
    name: str
    people: int
    rivers: list[str]
    capital: bool
    mayor: str | None


@pytest.fixture
def practice(home: Path) -> Iterator[PracticeServer]:
    with PracticeServer() as server:
        yield server


def make_oci_model(server: PracticeServer, home: Path, model: str) -> Any:
    pytest.importorskip("oci")
    file = server.write_oci_profile(home)
    return OCIModel(
        model,
        profile_name="PRACTICE",
        config_file=file,
        service_endpoint=server.url,
        max_retries=0,
    )


def make_openai_style_model(model_class: Any, server: PracticeServer) -> Any:
    return model_class(
        "meta.llama-3.3-70b-instruct", api_key="any", base_url=server.url, max_retries=0
    )


MODELS: dict[str, Callable[[PracticeServer, Path], Any]] = {
    "openai": lambda server, home: server.make_model(max_retries=0),
    "oci chat": lambda server, home: make_openai_style_model(OCIChatCompletionsModel, server),
    "oci responses": lambda server, home: make_openai_style_model(OCIResponsesModel, server),
    "oci generic": lambda server, home: make_oci_model(server, home, "meta.llama-3.3-70b-instruct"),
    "oci cohere": lambda server, home: make_oci_model(server, home, "cohere.command-r-plus"),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, practice: PracticeServer, home: Path) -> Iterator[Any]:
    with MODELS[request.param](practice, home) as model:
        yield model


@pytest.fixture(params=[name for name in MODELS if name != "oci cohere"])
def tool_model(
    request: pytest.FixtureRequest, practice: PracticeServer, home: Path
) -> Iterator[Any]:
    """A model that can call tools: for Cohere's format the practice server supports text only."""
    with MODELS[request.param](practice, home) as model:
        yield model


def stream_response(model: Any, *args: Any, **kw: Any) -> Any:
    with model.stream_sync(*args, **kw) as events:
        *_, last = events
    return last.response


def get_comparable_values(response: Any) -> tuple[Any, ...]:
    calls = [(call.name, call.arguments) for call in response.tool_calls]
    return response.content, calls, response.finish_reason, response.total_tokens


def test_complete_and_streamed_responses_are_the_same(model: Any) -> None:
    for question in ("What is the capital of France?", "Hello", "Tell me a story.", "Why?"):
        response = model.complete_sync(question)
        assert response.content
        assert response.finish_reason == "stop"
        assert get_comparable_values(stream_response(model, question)) == get_comparable_values(
            response
        )


def test_a_name_is_remembered_from_the_conversation(model: Any) -> None:
    history = [Message.user("My name is Ada."), Message.assistant("Hi.")]
    prompt = [*history, Message.user("What is my name?")]
    assert model.complete_sync(prompt).content == "Your name is Ada."
    assert model.complete_sync(prompt[-1]).content == "You have not told me your name."


def test_a_limit_cuts_a_response(model: Any) -> None:
    for response in (
        model.complete_sync("Tell me a story.", max_tokens=3),
        stream_response(model, "Tell me a story.", max_tokens=3),
    ):
        assert response.content == "Once upon a"
        assert response.finish_reason == "length"


def test_a_tool_is_called_for_each_name_and_its_results_are_read(tool_model: Any) -> None:
    conversation = [Message.user("Compare the weather in Rome and in Oslo.")]
    response = tool_model.complete_sync(conversation, tools=[BOOK, WEATHER])
    cities = [call.arguments for call in response.tool_calls]
    assert cities == [{"city": "Rome"}, {"city": "Oslo"}]
    assert response.finish_reason == "tool_calls"
    assert get_comparable_values(
        stream_response(tool_model, conversation, tools=[BOOK, WEATHER])
    ) == get_comparable_values(response)
    conversation.append(response.message)
    conversation += [
        Message.tool(ToolResult(call.id, call.name, "19 °C")) for call in response.tool_calls
    ]
    response = tool_model.complete_sync(conversation, tools=[BOOK, WEATHER])
    assert response.content == "weather(Rome) says: 19 °C. weather(Oslo) says: 19 °C."


def test_arguments_fit_the_schema(practice: PracticeServer) -> None:
    with practice.make_model() as model:
        prompt = 'Book a table outside for 12 guests, "by the window".'
        (call,) = model.complete_sync(prompt, tools=[BOOK]).tool_calls
        assert call.arguments == {"guests": 8, "where": "outside", "note": "by the window"}


def test_then_makes_another_round_which_knows_the_results(practice: PracticeServer) -> None:
    prompt = [Message.user("Ask for the weather in Rome, then book a table.")]
    with practice.make_model() as model:
        first = model.complete_sync(prompt, tools=[WEATHER, BOOK])
        (call,) = first.tool_calls
        prompt += [first.message, Message.tool(ToolResult(call.id, call.name, "for 5 guests"))]
        (call,) = model.complete_sync(prompt, tools=[WEATHER, BOOK]).tool_calls
        assert (call.name, call.arguments["guests"]) == ("book_table", 5)


def test_the_choice_of_tools_is_obeyed(practice: PracticeServer) -> None:
    with practice.make_model() as model:
        prompt = "The weather in Rome?"
        assert not model.complete_sync(prompt, tools=[WEATHER], tool_choice="none").tool_calls
        for choice in ("required", "weather"):
            response = model.complete_sync("Hello", tools=[WEATHER], tool_choice=choice)
            assert [call.name for call in response.tool_calls] == ["weather"]


def test_a_schema_is_filled_from_the_text(tool_model: Any) -> None:
    text = "Cologne has 1,087,000 people. It is on the Rhine."
    response = tool_model.complete_sync(text, response_format=build_response_format(City))
    city = parse_structured(response.content, City).unwrap()
    assert (city.name, city.people, city.rivers) == ("Cologne", 1087000, ["Rhine"])


def test_images_are_counted(practice: PracticeServer) -> None:
    dot = ImagePart(data=b"\x89PNG", media_type="image/png")
    with practice.make_model() as model:
        assert "a picture" in model.complete_sync(Message.user(["What?", dot])).content
        assert "2 pictures" in model.complete_sync(Message.user([dot, dot])).content


def test_candidates_and_log_probabilities(practice: PracticeServer) -> None:
    with practice.make_model() as model:
        response = model.complete_sync("A colour?", extra_body={"n": 2, "logprobs": True})
        assert [candidate.message.text for candidate in response.candidates] == ["Blue.", "Blue."]
        assert [token["token"] for token in response.logprobs["content"]] == ["Blue."]


def test_responses_are_kept_until_they_are_forgotten(practice: PracticeServer) -> None:
    with make_openai_style_model(OCIResponsesModel, practice) as model:
        first = model.complete_sync("My name is Ada.")
        state = first.provider_state
        assert model.complete_sync("Who am I?", provider_state=state).content.endswith("Ada.")
        assert len(practice.requests[-1].json()["input"]) == 1
        practice.delete_response(state["previous_response_id"])
        with pytest.raises(OCIResponsesStateLostError):
            model.complete_sync("Who am I?", provider_state=state)


def test_what_is_not_to_be_stored_is_not_kept(practice: PracticeServer) -> None:
    with make_openai_style_model(OCIResponsesModel, practice) as model:
        first = model.copy(store=False).complete_sync("My name is Ada.")
        state = {"previous_response_id": first.response_id}
        with pytest.raises(OCIResponsesStateLostError):
            model.complete_sync("Who am I?", provider_state=state)


def test_a_format_that_it_does_not_speak_is_refused(practice: PracticeServer) -> None:
    model = AnthropicModel(base_url=practice.url, api_key="any")
    with model, pytest.raises(NotFoundError, match="the practice server knows no /v1/messages"):
        model.complete_sync("Hello")


# -- which model examples ask


def test_examples_ask_what_the_environment_names(
    practice: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUS_MODEL_ID", "openai:gpt-4o")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    named = choose_example_model(practice, calls_tools=True, temperature=0)
    assert (named.config.model, named.config.temperature) == ("gpt-4o", 0)
    monkeypatch.setenv("LOCUS_MODEL_ID", "practice")
    assert choose_example_model(practice) == practice.make_model()


def test_without_an_embedded_model_examples_ask_the_practice_server(
    practice: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCUS_MODEL_ID", raising=False)
    monkeypatch.setattr(practice_module, "_is_embedded_model_installed", lambda: False)
    assert choose_example_model(practice) == practice.make_model()
    monkeypatch.setenv("LOCUS_MODEL_ID", "local:smollm2")
    assert choose_example_model(practice, calls_tools=True) == practice.make_model()
    assert choose_example_model(practice, sends_images=True) == practice.make_model()


def test_a_profile_without_the_package_says_what_to_install(
    practice: PracticeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(practice_module, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"locus-llm\[oci\]"):
        practice.write_oci_profile(tmp_path)
