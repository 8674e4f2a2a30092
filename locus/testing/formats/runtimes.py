"""Blocking code, asyncio and trio behind one interface, so that a test can call models on each.

A test that takes the fixture ``runtime`` runs three times. It is
written as blocking code: under asyncio and trio, an event loop runs in a thread of its own for the
length of the test, and every call is made in that loop, so that two calls in a row share the loop
as they would in a user's program. A test of what only async code can do takes the fixture
``backend`` instead, and runs a function with :func:`run_async`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, Self

import anyio
from anyio.from_thread import BlockingPortal

from locus.core.events import ModelChunkEvent
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.hang_guard import HANG_SECONDS

RUNTIME_NAMES = ("blocking", "asyncio", "trio")
ASYNC_BACKENDS = ("asyncio", "trio")


class OpenStream(Iterator[ModelChunkEvent], Protocol):
    """An open stream, one event at a time; leaving the context closes it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def close(self) -> None: ...


class Runtime(Protocol):
    """One way of calling models: blocking, or in an event loop."""

    name: str

    def complete(self, model: Any, *args: Any, **kw: Any) -> ModelResponse:
        """Call ``complete``."""

    def invoke(self, model: Any, *args: Any, **kw: Any) -> Message:
        """Call ``invoke``."""

    def open_stream(self, model: Any, *args: Any, **kw: Any) -> OpenStream:
        """Call ``stream``, and read one event at a time."""

    def collect_events(self, model: Any, *args: Any, **kw: Any) -> list[ModelChunkEvent]:
        """Call ``stream``, and read all events."""

    def close(self, model: Any) -> None:
        """Release the model's connections."""

    def run_in_context(self, model: Any, action: Callable[[Any], Any]) -> Any:
        """Call ``action(model)``, blocking code, inside the model's own ``with`` block."""


class BlockingRuntime:
    """Calls the blocking methods of models."""

    name = "blocking"

    def complete(self, model: Any, *args: Any, **kw: Any) -> ModelResponse:
        response: ModelResponse = model.complete_sync(*args, **kw)
        return response

    def invoke(self, model: Any, *args: Any, **kw: Any) -> Message:
        message: Message = model.invoke(*args, **kw)
        return message

    def open_stream(self, model: Any, *args: Any, **kw: Any) -> OpenStream:
        stream: OpenStream = model.stream_sync(*args, **kw)
        return stream

    def collect_events(self, model: Any, *args: Any, **kw: Any) -> list[ModelChunkEvent]:
        return list(model.stream_sync(*args, **kw))

    def close(self, model: Any) -> None:
        model.close_sync()

    def run_in_context(self, model: Any, action: Callable[[Any], Any]) -> Any:
        with model as entered_model:
            return action(entered_model)


class AsyncRuntime:
    """Calls the async methods of models, in an event loop that runs in another thread."""

    def __init__(self, name: str, portal: BlockingPortal) -> None:
        self.name = name
        self._portal = portal

    def complete(self, model: Any, *args: Any, **kw: Any) -> ModelResponse:
        response: ModelResponse = self._portal.call(partial(model.complete, *args, **kw))
        return response

    def invoke(self, model: Any, *args: Any, **kw: Any) -> Message:
        message: Message = self._portal.call(partial(model.ainvoke, *args, **kw))
        return message

    def open_stream(self, model: Any, *args: Any, **kw: Any) -> OpenStream:
        return _OpenStream(self._portal, model.stream(*args, **kw))

    def collect_events(self, model: Any, *args: Any, **kw: Any) -> list[ModelChunkEvent]:
        async def read() -> list[ModelChunkEvent]:
            return [event async for event in model.stream(*args, **kw)]

        return self._portal.call(read)

    def close(self, model: Any) -> None:
        self._portal.call(model.aclose)

    def run_in_context(self, model: Any, action: Callable[[Any], Any]) -> Any:
        with self._portal.wrap_async_context_manager(model) as entered_model:
            return action(entered_model)


class _OpenStream(Iterator[ModelChunkEvent]):
    """An async stream, read by blocking code."""

    def __init__(self, portal: BlockingPortal, stream: Any) -> None:
        self._portal = portal
        self._stream = stream

    def __next__(self) -> ModelChunkEvent:
        event: ModelChunkEvent | None = self._portal.call(anext, self._stream, None)
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        self._portal.call(self._stream.__aenter__)
        return self

    def __exit__(self, *exc: object) -> None:
        self._portal.call(self._stream.__aexit__, None, None, None)

    def close(self) -> None:
        self._portal.call(self._stream.aclose)


def run_async(backend: str, function: Callable[..., Any], *args: Any) -> Any:
    """``anyio.run`` with a limit of 20 seconds."""

    async def run_with_timeout() -> Any:
        with anyio.fail_after(HANG_SECONDS):
            return await function(*args)

    return anyio.run(run_with_timeout, backend=backend)
