"""Drives a run in the thread that asks for it. The mirror image of ``nonblocking``.

The loop, the model and the hooks have the caller's own thread. Tools that run at the same time have
threads of a pool; async functions have an event loop in one more thread, begun when the first of
them is called. Whatever loop the caller may be running is left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Self

from locus.agent.async_bridge import Helpers
from locus.agent.blocking_tool_runner import Tools
from locus.agent.driver_base import DrivenRun
from locus.agent.effects import (
    CallHook,
    CallModel,
    Closed,
    Effect,
    Emit,
    Event,
    Now,
    Steps,
    Together,
    UseStore,
)
from locus.agent.result import AgentResult
from locus.agent.stream_accumulator import graver, piece, readable, whole
from locus.core.closeable import Closeable
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse


class BlockingRun(DrivenRun, Closeable, Iterator[Event]):
    """The events of one run: an iterator, and a context manager that ends it.

    The run begins when the first event is asked for, and goes on while events are asked for.
    Leaving the context, or dropping the run, ends it: the state is saved, hooks are told,
    connections are closed.

    :ivar result: the :class:`~locus.agent.AgentResult`, once the last event has been given.
    """

    _asker = "thread"

    def __init__(self, steps: Steps[AgentResult], *, streams: bool) -> None:
        super().__init__(steps, streams=streams)
        self._answer: _Answer | None = None
        self._helpers = Helpers()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        self._check_free()
        self._waiting = True
        try:
            event = self._next()
        finally:
            self._waiting = False
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """End the run where it is. Calling it twice is fine."""
        if self._is_over():
            return
        error: BaseException | None = Closed()
        with suppress(Closed):
            while self._next(error) is not None:
                error = None  # what could not be closed has failed the run

    def __del__(self) -> None:
        if self._steps is None or self._waiting or sys.is_finalizing():
            return  # at the end of the program nothing works any more: it is as if killed
        self.close()

    def to_end(self) -> AgentResult:
        """The result, whatever happens on the way."""
        while self._next() is not None:
            pass
        return self.result

    # The loop.

    def _next(self, error: BaseException | None = None) -> Event | None:
        """The next event; None at the end. An ``error`` is raised in the loop first."""
        self._begun = True
        came: Any = None
        while self._steps is not None:
            if self._answer is not None:
                chunk, came, error = self._listen(self._answer, error)
                if chunk is not None:
                    return chunk
            effect = self._advance(came, error)
            came = error = None
            if isinstance(effect, Emit):
                self._result = effect.result
                return effect.event
            try:
                if isinstance(effect, CallModel) and effect.aloud and self._streams:
                    self._answer = _Answer(effect, self._helpers)
                elif effect is not None:
                    came = self._do(effect)
            except BaseException as why:  # noqa: BLE001 - for the loop to raise
                error = why
        return None

    def _advance(self, came: Any, error: BaseException | None) -> Effect | None:
        try:
            return super()._advance(came, error)
        finally:
            if self._steps is None:
                self._helpers.close()

    def _listen(
        self, answer: _Answer, error: BaseException | None
    ) -> tuple[ModelChunkEvent | None, Any, BaseException | None]:
        """The next piece of an answer; or the whole, or the error that ended it."""
        came = None
        try:
            if error is None:
                chunk = answer.more()
                if chunk is not None:
                    return chunk, None, None
                came = answer.whole()
        except BaseException as why:  # noqa: BLE001 - for the loop to raise
            error = why
        self._answer = None
        try:
            answer.close()
        except BaseException as why:  # noqa: BLE001 - for the loop to raise
            error = graver(error, why)
        return None, came, error

    # The effects.

    def _do(self, effect: Effect) -> Any:
        match effect:
            case CallModel(model, messages, tools, options):
                if hasattr(model, "complete_sync"):
                    return model.complete_sync(messages, tools, **options)
                return self._helpers.await_(partial(model.complete, messages, tools, **options))
            case Together():
                return self._together(effect)
            case CallHook(method, event):
                return self._helpers.awaited(method(event))
            case UseStore(action):
                return action()
            case Now():
                return monotonic()
        raise AssertionError(f"{type(effect).__name__} is not for this place")

    def _together(self, effect: Together) -> list[Any]:
        tools = Tools(effect, self._helpers, self._do)
        try:
            return tools.run()
        except BaseException:
            tools.interrupt()
            raise


class _Answer:
    """A model's answer as it arrives."""

    def __init__(self, effect: CallModel, helpers: Helpers) -> None:
        self._model = model = effect.model
        asked = effect.messages, effect.tools
        self._stream: Any
        if hasattr(model, "stream_sync"):
            self._stream = model.stream_sync(*asked, **effect.options)
        else:
            stream = readable(model.stream(*asked, **effect.options), model)
            self._stream = helpers.stream(stream)
        self._chunks: list[ModelChunkEvent] = []

    def more(self) -> ModelChunkEvent | None:
        """The next piece; None at the end."""
        chunk: ModelChunkEvent | None = next(self._stream, None)
        if chunk is not None:
            self._chunks.append(piece(chunk, self._model))
        return chunk

    def whole(self) -> ModelResponse:
        """All of it."""
        return whole(self._chunks)

    def close(self) -> None:
        """Release the connection."""
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()
