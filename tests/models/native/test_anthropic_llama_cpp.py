"""``AnthropicModel`` with llama.cpp, a real server that implements the messages format itself."""

from __future__ import annotations

from typing import Any

import pytest

from locus.core.errors import BadRequestError
from locus.core.messages import Message
from locus.models.native.anthropic import AnthropicModel
from locus.testing.formats.runtimes import Runtime
from locus.testing.formats.stream_reader import check_streaming_law

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")


def make_engine_model(**kw: Any) -> AnthropicModel:
    """A model of the engine in this process."""
    from locus.models.local import LocalModel

    engine = LocalModel(context=1024, threads=1).engine
    return AnthropicModel(
        "smollm2",
        base_url=engine.url,
        api_key=engine.key,
        **{"temperature": 0, "max_tokens": 16, "max_retries": 0, **kw},
    )


@pytest.mark.engine
def test_llama_cpp_responds_complete_and_streamed(runtime: Runtime) -> None:
    question = "What is the capital of France? Answer in one sentence."
    response = runtime.complete(make_engine_model(), question)
    events = runtime.collect_events(make_engine_model(), question)
    streamed_response = check_streaming_law(events)
    assert "Paris" in response.content
    assert streamed_response.message == response.message
    assert (streamed_response.stop_reason, streamed_response.model) == (
        response.stop_reason,
        response.model,
    )
    assert streamed_response.completion_tokens == response.completion_tokens > 0
    assert len([event for event in events if event.content]) > 4
    assert response.finish_reason == "stop"


@pytest.mark.engine
def test_llama_cpp_reads_the_conversation(runtime: Runtime) -> None:
    messages = [
        Message.system("You know the capitals of all countries."),
        Message.user("What is the capital of France?"),
        Message.assistant("The capital of France is Paris."),
        Message.user("And of Italy?"),
    ]
    assert "Rome" in runtime.complete(make_engine_model(), messages).content
    cut = runtime.complete(make_engine_model(max_tokens=3), "Count to one hundred.")
    assert (cut.completion_tokens, cut.finish_reason) == (3, "length")


@pytest.mark.engine
def test_llama_cpp_rejects_a_conversation_that_is_too_long(runtime: Runtime) -> None:
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(BadRequestError):
            call_model(make_engine_model(), "word " * 1100)
