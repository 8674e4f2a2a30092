"""Every fault of a server, for every wire format on each runtime: the response or a Locus error.

The worst that a client can do is to return a part of a response as if it were complete. So each
test compares with the complete response; everything else has to be one of Locus's errors. Nothing
may hang: if the server has closed the connection, a client must not wait for its timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
from locus.testing.formats.hang_guard import FOREVER, HangGuard, retry_slower
from locus.testing.formats.parametrize import each_case, spread_over_runtimes
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.runtimes import Runtime
from locus.testing.formats.spoken_format import TEXT
from locus.testing.formats.stream_reader import check_streaming_law, join_text
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import FAULTS, Fault, LoopbackServer, Reply

without_leaks = pytest.mark.usefixtures("formats_environment", "no_leaks")

SILENCE = 0.2
"""The timeout of models in tests where the server is silent, in seconds."""

every_fault = each_case("fault, runtime_name", lambda wire: spread_over_runtimes(FAULTS.values()))


@pytest.fixture(autouse=True)
def skip_retry_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locus.transport.retries.random.uniform", lambda low, high: 0.0)


def prepare_fault(
    server: LoopbackServer, fault: Fault, reply: Reply, call_model: Callable[[], object]
) -> None:
    """Set up the fault for the next call; some faults need another call before it."""
    server.always(*fault(reply))
    if fault.phase == "after":
        call_model()
        server.wait_closed()


def make_model_with_long_timeout(wire: WireFormat, server: LoopbackServer, fault: Fault) -> Any:
    timeout = SILENCE if fault.stalls else FOREVER
    return wire.make_model(server, timeout=timeout, max_retries=fault.retries)


def catch_api_error(action: Callable[[], object]) -> APIError | None:
    """The error that ``action`` raises, or None."""
    with HangGuard():
        try:
            action()
        except APIError as error:
            return error
    return None


def read_events(runtime: Runtime, model: Any, events: list[ModelChunkEvent]) -> None:
    """Read a stream, and append its events to ``events``."""
    events.extend(runtime.open_stream(model, "hello"))


def check_error(error: APIError, fault: Fault, wire: WireFormat, model: Any) -> None:
    """The fault may end in an error, and the error names the provider, the model and the URL."""
    assert fault.outcome != "success", error
    assert type(error) is not APIError, "an error has a name"
    provider_and_model = (wire.provider, model.config.model)
    assert (error.provider, error.model) == provider_and_model
    assert "{} {}: POST http://127.0.0.1:".format(*provider_and_model) in str(error)
    assert isinstance(error, APITimeoutError) == fault.stalls


def check_next_call(
    model: Any,
    wire: WireFormat,
    server: LoopbackServer,
    runtime: Runtime,
    fault: Fault,
    failed: bool,
) -> None:
    """Nothing of a broken response is left in the connection of the next one."""
    if failed or fault.phase == "after":
        server.wait_closed(remaining=int(fault.phase != "after"))
    server.always(wire.build_reply("second"))
    # httpx reuses a connection with more data than announced; the next request fails on it.
    retries = int(fault.name == "length_too_small")
    again = model.copy(timeout=FOREVER, max_retries=retries)
    assert runtime.complete(again, "again").content == "second"


@without_leaks
@every_fault
def test_a_response_is_complete_or_an_error_and_the_next_call_works(
    server: LoopbackServer, runtime: Runtime, fault: Fault, wire: WireFormat
) -> None:
    model = make_model_with_long_timeout(wire, server, fault)
    prepare_fault(server, fault, wire.build_reply(), lambda: runtime.complete(model, "hello"))
    responses: list[ModelResponse] = []
    error = catch_api_error(lambda: responses.append(runtime.complete(model, "hello")))
    if error is not None:
        check_error(error, fault, wire, model)
    else:
        assert fault.outcome != "error"
        response = responses[0]
        assert (response.content, response.finish_reason, response.usage) == (
            TEXT,
            "stop",
            wire.usage,
        )
    check_next_call(model, wire, server, runtime, fault, failed=error is not None)


@without_leaks
@every_fault
def test_a_stream_is_complete_or_an_error_and_the_next_call_works(
    server: LoopbackServer, runtime: Runtime, fault: Fault, wire: WireFormat
) -> None:
    model = make_model_with_long_timeout(wire, server, fault)
    prepare_fault(
        server, fault, wire.build_stream_reply(), lambda: runtime.collect_events(model, "hello")
    )
    events: list[ModelChunkEvent] = []
    error = catch_api_error(lambda: events.extend(runtime.open_stream(model, "hello")))
    if error is not None:
        check_error(error, fault, wire, model)
        assert not any(event.done for event in events)
        assert not events or (error.partial and error.partial.content == join_text(events))
    else:
        assert fault.outcome != "error"
        response = check_streaming_law(events)
        assert (response.content, response.finish_reason) == (TEXT, "stop")
        assert response.usage == wire.usage
    check_next_call(model, wire, server, runtime, fault, failed=error is not None)


@without_leaks
def test_wherever_a_stream_is_cut_the_error_holds_the_events_so_far(
    server: LoopbackServer, runtime: Runtime, wire: WireFormat
) -> None:
    reply = wire.build_stream_reply().framed("close")
    model = wire.make_model(server, timeout=FOREVER)
    for cut in [*range(0, len(reply.content), 29), len(reply.content) - 1]:
        server.always(reply.truncate(cut))
        events: list[ModelChunkEvent] = []
        error = catch_api_error(partial(read_events, runtime, model, events))
        if wire.is_complete_at(reply.content, cut):
            # The end of the response had arrived, and the server closed normally.
            assert error is None, f"cut at {cut}"
            content = check_streaming_law(events).content
            assert content == TEXT if wire.has_end_marker else TEXT.startswith(content)
            continue
        assert isinstance(error, StreamInterruptedError), f"cut at {cut}"
        assert error.partial is not None
        assert error.partial.content == join_text(events)
        assert not any(event.done for event in events)


@without_leaks
@pytest.mark.parametrize("name", ["cut_chunked", "reset_in_body", "stall_in_body"])
def test_the_error_of_a_stream_holds_the_events_so_far(
    server: LoopbackServer, runtime: Runtime, wire: WireFormat, name: str
) -> None:
    def check_partial_events(factor: float) -> None:
        before = len(server.requests)
        server.always(*FAULTS[name](wire.build_stream_reply()))
        timeout = factor * SILENCE if FAULTS[name].stalls else FOREVER
        model = wire.make_model(server, timeout=timeout, max_retries=2)
        events: list[ModelChunkEvent] = []
        with pytest.raises(APIConnectionError) as exc_info:
            events.extend(runtime.open_stream(model, "hello"))
        assert events
        assert exc_info.value.partial is not None
        assert exc_info.value.partial.content == join_text(events)
        assert len(server.requests) == before + 1

    retry_slower(check_partial_events)  # it is handed out before the silence is too long
