"""Every fault of a server, for every wire format on each runtime: the answer or a named error.

A part of an answer that looks whole is the worst that a client can do, so each test compares with
the whole answer; whatever else comes has to be an error of Locus's own tree. Nothing may hang: a
client that waits for its timeout where the server has gone fails, as slow as the machine may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from locus.core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    StreamInterruptedError,
)
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.testing.loopback_server import FAULTS, Fault, LoopbackServer, Reply
from tests.support import formats, runtimes
from tests.support.decoding import check_law
from tests.support.formats import Format, every_model
from tests.support.runtimes import TEXT, AtMost, Runtime, text

environment, no_leaks = formats.environment, runtimes.no_leaks
runtime, server = runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")

SILENCE = 0.2
"""Seconds of silence that a model puts up with where it is met with silence."""
PATIENCE = 10.0
"""Seconds of silence that it puts up with elsewhere: more than a machine under load takes."""
BOUND = 15.0
"""Seconds after which a call has hung, on any machine."""

every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locus.transport.retries.random.uniform", lambda low, high: 0.0)


def prepare(server: LoopbackServer, fault: Fault, reply: Reply, ask: Callable[[], object]) -> None:
    """Have the next call meet the fault, where that takes a call before it."""
    server.always(*fault(reply))
    if fault.phase == "after":
        ask()
        server.wait_closed(timeout=BOUND)


def patient(wire: Format, server: LoopbackServer, fault: Fault) -> Any:
    timeout = SILENCE if fault.stalls else PATIENCE
    return wire.model_of(server, timeout=timeout, max_retries=fault.retries)


def outcome(action: Callable[[], object]) -> APIError | None:
    """How ``action`` fails, should it."""
    with AtMost(BOUND):
        try:
            action()
        except APIError as error:
            return error
    return None


def assert_well_told(error: APIError, fault: Fault, wire: Format, model: Any) -> None:
    """The fault may end in an error, and this is one with a name."""
    assert fault.outcome != "answer", error
    assert type(error) is not APIError, "an error has a name"
    asked = (wire.provider, model.config.model)
    assert (error.provider, error.model) == asked
    assert "{} {}: POST http://127.0.0.1:".format(*asked) in str(error)
    assert isinstance(error, APITimeoutError) == fault.stalls


def assert_works(
    model: Any, wire: Format, server: LoopbackServer, runtime: Runtime, fault: Fault, failed: bool
) -> None:
    """Nothing of a broken answer is left in the connection that the next one comes over."""
    if failed or fault.phase == "after":
        server.wait_closed(timeout=BOUND, remaining=int(fault.phase != "after"))
    server.always(wire.whole("second"))
    # httpx keeps a connection with more in it than was promised; the next request shows that.
    retries = int(fault.name == "length_too_small")
    again = model.copy(timeout=PATIENCE, max_retries=retries)
    assert runtime.ask(again, "again").content == "second"


@every_model
@every_fault
def test_a_whole_answer_is_whole_or_an_error_and_so_is_the_next(
    server: LoopbackServer, runtime: Runtime, fault: Fault, wire: Format
) -> None:
    model = patient(wire, server, fault)
    prepare(server, fault, wire.whole(), lambda: runtime.ask(model, "hello"))
    got: list[ModelResponse] = []
    error = outcome(lambda: got.append(runtime.ask(model, "hello")))
    if error is not None:
        assert_well_told(error, fault, wire, model)
    else:
        assert fault.outcome != "error"
        answer = got[0]
        assert (answer.content, answer.finish_reason, answer.usage) == (TEXT, "stop", wire.usage)
    assert_works(model, wire, server, runtime, fault, failed=error is not None)


@every_model
@every_fault
def test_a_stream_is_whole_or_an_error_and_so_is_the_next_answer(
    server: LoopbackServer, runtime: Runtime, fault: Fault, wire: Format
) -> None:
    model = patient(wire, server, fault)
    prepare(server, fault, wire.streamed(), lambda: runtime.stream(model, "hello"))
    got: list[ModelChunkEvent] = []
    error = outcome(lambda: got.extend(runtime.open(model, "hello")))
    if error is not None:
        assert_well_told(error, fault, wire, model)
        assert not any(event.done for event in got)
        assert not got or (error.partial and error.partial.content == text(got))
    else:
        assert fault.outcome != "error"
        answer = check_law(got)
        assert (answer.content, answer.finish_reason) == (TEXT, "stop")
        assert answer.usage == wire.usage
    assert_works(model, wire, server, runtime, fault, failed=error is not None)


@every_model
def test_wherever_a_stream_is_cut_the_error_holds_what_was_handed_out(
    server: LoopbackServer, runtime: Runtime, wire: Format
) -> None:
    reply = wire.streamed().framed("close")
    model = wire.model_of(server, timeout=PATIENCE)
    for cut in [*range(0, len(reply.content), 29), len(reply.content) - 1]:
        server.always(reply.truncate(cut))
        got: list[ModelChunkEvent] = []
        error = outcome(lambda got=got: got.extend(runtime.open(model, "hello")))
        if wire.ended(reply.content, cut):
            # What ends the answer had come, and the server closed in order.
            assert error is None, f"cut at {cut}"
            assert check_law(got).content == TEXT
            continue
        assert isinstance(error, StreamInterruptedError), f"cut at {cut}"
        assert error.partial is not None
        assert error.partial.content == text(got)
        assert not any(event.done for event in got)


@every_model
@pytest.mark.parametrize("name", ["cut_chunked", "reset_in_body", "stall_in_body"])
def test_what_a_stream_has_handed_out_is_what_its_error_holds(
    server: LoopbackServer, runtime: Runtime, wire: Format, name: str
) -> None:
    server.always(*FAULTS[name](wire.streamed()))
    # What is handed out has to come before the silence that is too long, under load as well.
    timeout = 5 * SILENCE if FAULTS[name].stalls else PATIENCE
    model = wire.model_of(server, timeout=timeout, max_retries=2)
    got: list[ModelChunkEvent] = []
    with pytest.raises(APIConnectionError) as caught:
        got.extend(runtime.open(model, "hello"))
    assert got
    assert caught.value.partial is not None
    assert caught.value.partial.content == text(got)
    assert len(server.requests) == 1
