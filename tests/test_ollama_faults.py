"""Every fault of an Ollama server, on each runtime: the whole answer or a named error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from locus.core.errors import (
    APIError,
    APITimeoutError,
    StreamInterruptedError,
)
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.testing.server import FAULTS, Fault, LoopbackServer, Reply
from tests import ollama_server, runtimes
from tests.ollama_server import model_of, streamed, whole
from tests.runtimes import TEXT, AtMost, Runtime, text

no_leaks, runtime, server = runtimes.no_leaks, runtimes.runtime, runtimes.server
environment = ollama_server.environment
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")

TIMEOUT = 0.3
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))


def outcome(action: Callable[[], object]) -> APIError | None:
    """How ``action`` fails, should it."""
    with AtMost(3.0):
        try:
            action()
        except APIError as error:
            return error
    return None


def prepare(server: LoopbackServer, fault: Fault, reply: Reply, ask: Callable[[], object]) -> None:
    """Have the next call meet the fault, where that takes a call before it."""
    server.always(*fault(reply))
    if fault.phase == "after":
        ask()
        server.wait_closed(timeout=2)


def assert_well_told(error: APIError, fault: Fault) -> None:
    assert type(error) is not APIError, "an error has a name"
    assert "ollama loop-1: POST http://127.0.0.1:" in str(error)
    if fault.stalls:
        assert isinstance(error, APITimeoutError)


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
        assert_well_told(error, fault)
        return
    assert fault.outcome != "error"
    assert (got[0].content, got[0].finish_reason, got[0].prompt_tokens) == (TEXT, "stop", 9)


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
        assert_well_told(error, fault)
        assert not got or (error.partial and error.partial.content == text(got))
        return
    assert fault.outcome != "error"
    assert text(got) == TEXT
    assert [event.done for event in got] == [False] * (len(got) - 1) + [True]


@pytest.mark.parametrize("cut", range(0, len(streamed().content), 53))
def test_wherever_a_stream_is_cut_the_error_holds_what_was_handed_out(
    server: LoopbackServer, runtime: Runtime, cut: int
) -> None:
    server.always(streamed().framed("close").truncate(cut))
    got: list[ModelChunkEvent] = []
    error = outcome(lambda: got.extend(runtime.open(model_of(server), "hello")))
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.content == text(got)
