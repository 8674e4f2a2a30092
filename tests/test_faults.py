"""Every fault of a server, on each runtime: the whole answer or a named error, and never a hang.

A part of an answer that looks whole is the worst that a client can do, so each test compares with
the whole answer; whatever else comes has to be an error of Locus's own tree.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from locus.core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    StreamInterruptedError,
)
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.models.native.openai import OpenAIModel
from locus.testing.server import FAULTS, Fault, LoopbackServer, Reply
from tests import runtimes
from tests.runtimes import TEXT, AtMost, Runtime, model_of, streamed, text, whole

no_leaks, runtime, server = runtimes.no_leaks, runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("no_leaks")

TIMEOUT = 0.3
"""Seconds of silence that a model puts up with where it is met with silence."""

every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locus.transport.retries.random.uniform", lambda low, high: 0.0)


def prepare(server: LoopbackServer, fault: Fault, reply: Reply, ask: Callable[[], object]) -> None:
    """Have the next call meet the fault, where that takes a call before it."""
    server.always(*fault(reply))
    if fault.phase == "after":
        ask()
        server.wait_closed(timeout=2)


def patient(server: LoopbackServer, fault: Fault, **kw: int) -> OpenAIModel:
    return model_of(server, timeout=TIMEOUT if fault.stalls else 3.0, **kw)


def outcome(action: Callable[[], object]) -> APIError | None:
    """How ``action`` fails, should it."""
    with AtMost(5.0):
        try:
            action()
        except APIError as error:
            return error
    return None


@every_fault
def test_a_whole_answer_is_whole_or_an_error(
    server: LoopbackServer, runtime: Runtime, fault: Fault
) -> None:
    model = patient(server, fault, max_retries=fault.retries)
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
    model = patient(server, fault, max_retries=fault.retries)
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
    assert got[-1].response is not None
    assert got[-1].response.content == TEXT


@every_fault
def test_the_model_works_after_the_fault(
    server: LoopbackServer, runtime: Runtime, fault: Fault
) -> None:
    """Nothing of a broken answer is left in the connection that the next one comes over."""
    model = patient(server, fault)
    server.always(*fault(streamed()))
    if outcome(lambda: runtime.stream(model, "hello")):
        server.wait_closed(timeout=2, remaining=1)
    server.always(whole("second"))
    # httpx keeps a connection with more in it than was promised; the next request shows that.
    again = model.copy(max_retries=int(fault.name == "length_too_small"))
    assert runtime.ask(again, "again").content == "second"


def assert_well_told(error: APIError, fault: Fault) -> None:
    assert type(error) is not APIError, "an error has a name"
    assert (error.provider, error.model) == ("openai", "loop-1")
    assert "openai loop-1: POST http://127.0.0.1:" in str(error)
    if fault.stalls:
        assert isinstance(error, APITimeoutError)


@pytest.mark.parametrize("cut", range(0, len(streamed().content), 41))
def test_wherever_a_stream_is_cut_the_error_holds_what_was_handed_out(
    server: LoopbackServer, runtime: Runtime, cut: int
) -> None:
    server.always(streamed().framed("close").truncate(cut))
    got: list[ModelChunkEvent] = []
    error = outcome(lambda: got.extend(runtime.open(model_of(server), "hello")))
    if error is not None:
        assert isinstance(error, StreamInterruptedError)
        assert error.partial is not None
        assert error.partial.content == text(got)
        return
    # The reason to stop had come, and the server closed in order: only the bill is missing.
    assert text(got) == TEXT
    assert got[-1].done
    assert streamed().content.index(b'"stop"') < cut


@pytest.mark.parametrize("name", ["cut_chunked", "reset_in_body", "stall_in_body"])
def test_what_a_stream_has_handed_out_is_what_its_error_holds(
    server: LoopbackServer, runtime: Runtime, name: str
) -> None:
    server.always(*FAULTS[name](streamed()))
    got: list[ModelChunkEvent] = []
    with pytest.raises(APIConnectionError) as caught:
        got.extend(runtime.open(model_of(server, timeout=TIMEOUT), "hello"))
    assert got
    assert caught.value.partial is not None
    assert caught.value.partial.content == text(got)
    assert len(server.requests) == 1
