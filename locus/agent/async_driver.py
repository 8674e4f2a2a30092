"""Drives a run under asyncio and trio. The mirror image of ``blocking``.

Events are handed to the caller by an object that is asked for the next one, never from inside a
task group or a cancel scope (PEP 789): a round of tools begins and ends within one step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Self

import anyio
from anyio import CancelScope, get_cancelled_exc_class, to_thread

from locus.agent.async_tool_runner import Tools, call, the_first
from locus.agent.driver_base import DrivenRun
from locus.agent.effects import (
    GRACE_SECONDS,
    CallHook,
    CallModel,
    Closed,
    Effect,
    Emit,
    Event,
    Now,
    Outcome,
    Steps,
    Together,
    UseStore,
)
from locus.agent.result import AgentResult
from locus.agent.stream_accumulator import graver, piece, readable, whole
from locus.core.closeable import AsyncCloseable
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.tools.signature import is_coroutine_function


class AsyncRun(DrivenRun, AsyncCloseable, AsyncIterator[Event]):
    """The events of one run: an async iterator, and a context manager that ends it.

    The run begins when the first event is asked for, and goes on while events are asked for.
    Leaving the context ends it: the state is saved, hooks are told, connections are closed.

    :ivar result: the :class:`~locus.agent.AgentResult`, once the last event has been given.
    """

    _asker = "task"

    def __init__(self, steps: Steps[AgentResult], *, streams: bool) -> None:
        super().__init__(steps, streams=streams)
        self._answer: _Answer | None = None
        self._tools = Tools()
        self._late: BaseException | None = None
        self._hooks, self._stores = anyio.Lock(), anyio.Lock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self._check_free()
        self._waiting = True
        try:
            event = await self._next()
        finally:
            self._waiting = False
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """End the run where it is. Calling it twice is fine."""
        if self._is_over():
            return
        error: BaseException | None = Closed()
        with suppress(Closed):
            while await self._next(error) is not None:
                error = None  # what could not be closed has failed the run

    async def to_end(self) -> AgentResult:
        """The result, whatever happens on the way."""
        failed: BaseException | None = None

        async def work() -> None:
            nonlocal failed
            try:
                while await self._next() is not None:
                    pass
            except BaseException as why:  # noqa: BLE001 - raised where it is waited for
                failed = why

        # In a task of its own, for in asyncio a task that others cancel minds no shield.
        self._tools.own_task = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(work)
        except BaseExceptionGroup as group_error:  # Ctrl-C, where trio has been told
            raise the_first(group_error) from None
        if failed is not None:
            try:
                raise failed
            finally:
                failed = None  # its traceback holds this frame
        return self.result

    # The loop.

    async def _next(self, error: BaseException | None = None) -> Event | None:
        """The next event; None at the end. An ``error`` is raised in the loop first."""
        self._begun = True
        came: Any = None
        while self._steps is not None:
            if self._answer is not None:
                chunk, came, error = await self._listen(self._answer, error)
                if chunk is not None:
                    return chunk
            effect = self._advance(came, error)
            came = error = None
            if self._late is not None and not isinstance(effect, (UseStore, CallHook)):
                error, self._late = self._late, None
                if effect is None:
                    raise error
                continue
            if isinstance(effect, Emit):
                self._result = effect.result
                return effect.event
            try:
                if isinstance(effect, CallModel) and effect.aloud and self._streams:
                    self._answer = _Answer(effect)
                elif effect is not None:
                    came = await self._perform(effect)
            except BaseException as why:  # noqa: BLE001 - for the loop to raise
                error = why
        return None

    def _advance(self, came: Any, error: BaseException | None) -> Effect | None:
        if error is not None and not isinstance(error, Exception):
            self._tools.cancelled = True
        return super()._advance(came, error)

    async def _listen(
        self, answer: _Answer, error: BaseException | None
    ) -> tuple[ModelChunkEvent | None, Any, BaseException | None]:
        """The next piece of an answer; or the whole, or the error that ended it."""
        came = None
        try:
            if error is None:
                chunk = await answer.more()
                if chunk is not None:
                    return chunk, None, None
                came = answer.whole()
        except BaseException as why:  # noqa: BLE001 - for the loop to raise
            error = why
        self._answer = None
        try:
            await answer.close()
        except BaseException as why:  # noqa: BLE001 - for the loop to raise
            error = graver(error, why)
        return None, came, error

    # The effects.

    async def _perform(self, effect: Effect) -> Any:
        if not self._tools.cancelled:
            return await self._do(effect)
        with anyio.fail_after(GRACE_SECONDS, shield=True):
            return await self._do(effect)

    async def _do(self, effect: Effect) -> Any:
        match effect:
            case CallModel(model, messages, tools, options):
                return await model.complete(messages, tools, **options)
            case Together():
                return await self._tools.run(effect, self._do)
            case CallHook(method, event):
                async with self._hooks:
                    return await call(method, is_coroutine_function(method), event)
            case UseStore(action):
                return await self._use_store(action)
            case Now():
                return monotonic()
        raise AssertionError(f"{type(effect).__name__} is not for this place")

    async def _use_store(self, action: Callable[[], Any]) -> Any:
        if self._tools.cancelled:  # and so shielded, within bounds
            async with self._stores:
                return await to_thread.run_sync(action, abandon_on_cancel=True)
        outcome: Outcome | None = None

        async def work() -> None:
            nonlocal outcome
            with CancelScope(shield=True):
                async with self._stores:
                    try:
                        outcome = Outcome(await to_thread.run_sync(action))
                    except Exception as why:  # noqa: BLE001 - raised where it is waited for
                        outcome = Outcome(error=why)

        if self._tools.own_task:
            await work()
        else:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(work)
            except get_cancelled_exc_class() as why:
                if outcome is None or self._tools.cancelled:
                    raise
                self._late = why  # first the loop has to know what was done
                self._tools.cancelled = True
        assert outcome is not None
        if outcome.error is not None:
            raise outcome.error
        return outcome.value


class _Answer:
    """A model's answer as it arrives."""

    def __init__(self, effect: CallModel) -> None:
        self._model = model = effect.model
        stream = model.stream(effect.messages, effect.tools, **effect.options)
        self._stream = readable(stream, model)
        self._chunks: list[ModelChunkEvent] = []

    async def more(self) -> ModelChunkEvent | None:
        """The next piece; None at the end."""
        chunk: ModelChunkEvent | None = await anext(self._stream, None)
        if chunk is not None:
            self._chunks.append(piece(chunk, self._model))
        return chunk

    def whole(self) -> ModelResponse:
        """All of it."""
        return whole(self._chunks)

    async def close(self) -> None:
        """Release the connection.

        No scope is put around this: where the stream is a generator that has one open, theirs
        would not be inside ours. Locus's own streams shield and bound what they do here.
        """
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()
