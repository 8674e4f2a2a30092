"""Drives a run under asyncio and trio: performs the loop's effects in the caller's task.

``blocking_driver`` mirrors this module. The caller asks an object for each event. While the caller
has an event, no task group or cancel scope is open (PEP 789): a round of tools begins and ends
between two events.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, Self

import anyio
from anyio import get_cancelled_exc_class

from locus.agent.async_tool_runner import (
    AsyncToolRunner,
    call_user_function,
    unwrap_exception_group,
)
from locus.agent.await_in_context import call_in_context
from locus.agent.driver_base import BaseRun
from locus.agent.effects import (
    GRACE_SECONDS,
    AgentEvent,
    CallFunction,
    CallHook,
    CallModel,
    Effect,
    EffectGenerator,
    EmitEvent,
    ReadClock,
    RunClosed,
    RunConcurrently,
    ToolOutcome,
    UseStorage,
)
from locus.agent.result import AgentResult
from locus.agent.stream_accumulator import (
    ResponseAccumulator,
    ensure_async_iterator,
    select_more_severe_error,
)
from locus.core.closeable import AsyncCloseable
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse


class AsyncRun(BaseRun, AsyncCloseable, AsyncIterator[AgentEvent]):
    """The events of one run: an async iterator, and a context manager that ends it.

    The run begins when the caller asks for the first event, and makes progress only while the
    caller asks for events. Leaving the context ends it: the state is saved, the hooks are called,
    connections are closed.

    :ivar result: the :class:`~locus.agent.AgentResult`, after the last event.
    """

    _caller_noun = "task"

    def __init__(self, generator: EffectGenerator[AgentResult], *, streamed: bool) -> None:
        super().__init__(generator, streamed=streamed)
        self._response_stream: _ResponseStream | None = None
        self._tool_runner = AsyncToolRunner()
        self._deferred_cancellation: BaseException | None = None
        self._hook_lock, self._storage_lock = anyio.Lock(), anyio.Lock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AgentEvent:
        self._check_no_event_is_awaited()
        self._is_waiting = True
        try:
            event = await self._read_next_event()
        finally:
            self._is_waiting = False
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """End the run where it is. Calling this twice is fine."""
        if self._close_if_not_started():
            return
        error: BaseException | None = RunClosed()
        with suppress(RunClosed):
            while await self._read_next_event(error) is not None:
                error = None  # the cleanup failed, and the next call raises its error

    async def run_to_end(self) -> AgentResult:
        """Run to the end and return the result."""
        error: BaseException | None = None

        async def consume_events() -> None:
            nonlocal error
            try:
                while await self._read_next_event() is not None:
                    pass
            except BaseException as exc:  # noqa: BLE001 - raised below
                error = exc

        # In a task of its own: in asyncio no shield protects a task that others cancel directly.
        self._tool_runner.has_own_task = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(consume_events)
        except BaseExceptionGroup as exc:  # Ctrl-C, if trio received it
            raise unwrap_exception_group(exc) from None
        if error is not None:
            try:
                raise error
            finally:
                error = None  # its traceback refers to this frame
        return self.result

    # The loop.

    async def _read_next_event(self, error: BaseException | None = None) -> AgentEvent | None:
        """Return the next event, or None at the end.

        :param error: an error that is raised in the loop first.
        """
        self._is_started = True
        result: Any = None
        while self._generator is not None:
            if self._response_stream is not None:
                event, result, error = await self._read_event_or_response(
                    self._response_stream, error
                )
                if event is not None:
                    return event
            effect = self._advance_generator(result, error)
            result = error = None
            if self._deferred_cancellation is not None and not isinstance(
                effect, (UseStorage, CallHook)
            ):
                error, self._deferred_cancellation = self._deferred_cancellation, None
                if effect is None:
                    raise error
                continue
            if isinstance(effect, EmitEvent):
                self._result = effect.result
                return effect.event
            try:
                if isinstance(effect, CallModel) and effect.streamed and self._streamed:
                    self._response_stream = _ResponseStream(effect)
                elif effect is not None:
                    result = await self._perform_effect_within_grace(effect)
            except BaseException as exc:  # noqa: BLE001 - the loop raises it
                error = exc
        return None

    def _advance_generator(self, result: Any, error: BaseException | None) -> Effect | None:
        """Send the loop the result or the error of its last effect, and return the next effect.

        An error that is no ``Exception`` is a cancellation: the tool runner starts nothing more.
        """
        if error is not None and not isinstance(error, Exception):
            self._tool_runner.is_cancelled = True
        return super()._advance_generator(result, error)

    async def _read_event_or_response(
        self, stream: _ResponseStream, error: BaseException | None
    ) -> tuple[ModelChunkEvent | None, Any, BaseException | None]:
        """Return the next event of a response, or else the response or the error that ended it.

        :param error: an error that ends the response first.
        """
        response = None
        try:
            if error is None:
                event = await stream.read_next_event()
                if event is not None:
                    return event, None, None
                response = stream.build_response()
        except BaseException as exc:  # noqa: BLE001 - the loop raises it
            error = exc
        self._response_stream = None
        try:
            await stream.close()
        except BaseException as exc:  # noqa: BLE001 - the loop raises it
            error = select_more_severe_error(error, exc)
        return None, response, error

    # The effects.

    async def _perform_effect_within_grace(self, effect: Effect) -> Any:
        """Perform an effect; if the run is cancelled, shielded and with a limited time."""
        if not self._tool_runner.is_cancelled or isinstance(effect, UseStorage):
            return await self._perform_effect(effect)  # storage has a shield of its own
        with anyio.fail_after(GRACE_SECONDS, shield=True):
            return await self._perform_effect(effect)

    async def _perform_effect(self, effect: Effect) -> Any:
        """Perform an effect and return its result."""
        match effect:
            case CallModel(model, messages, tools, options):
                if effect.context is None:
                    return await model.complete(messages, tools, **options)
                return await call_in_context(
                    effect.context, model.complete, messages, tools, **options
                )
            case RunConcurrently():
                return await self._tool_runner.run_generators_concurrently(
                    effect, self._perform_effect
                )
            case CallHook(method, event, variables):
                async with self._hook_lock:
                    with variables.use_for_hook() as context:
                        return await call_user_function(context, method, event)
            case UseStorage():
                return await self._use_storage(effect)
            case ReadClock():
                return monotonic()
            case CallFunction(function, args, context):
                return await call_user_function(context, function, *args)
        raise AssertionError(f"{type(effect).__name__} is performed elsewhere")

    async def _use_storage(self, effect: UseStorage) -> Any:
        """Call a storage function and return its result.

        If the run is cancelled meanwhile, also when it is being cancelled already, the cancellation
        is raised after the call has ended.
        """
        outcome: ToolOutcome | None = None
        seconds = GRACE_SECONDS if self._tool_runner.is_cancelled else math.inf

        async def run_shielded_storage_action() -> None:
            nonlocal outcome
            try:
                with anyio.fail_after(seconds, shield=True):
                    async with self._storage_lock:
                        context = effect.context or copy_context()
                        outcome = ToolOutcome(await call_user_function(context, effect.action))
            except Exception as exc:  # noqa: BLE001 - raised below
                outcome = ToolOutcome(error=exc)

        if self._tool_runner.has_own_task:
            await run_shielded_storage_action()
        else:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(run_shielded_storage_action)
            except get_cancelled_exc_class() as exc:
                if outcome is None:
                    raise
                self._deferred_cancellation = exc  # raised after the loop has the outcome
                self._tool_runner.is_cancelled = True
        assert outcome is not None
        if outcome.error is not None:
            raise outcome.error
        return outcome.value


class _ResponseStream:
    """A model's response while it arrives."""

    def __init__(self, effect: CallModel) -> None:
        model, self._context = effect.model, effect.context
        start = partial(model.stream, effect.messages, effect.tools, **effect.options)
        stream = start() if self._context is None else self._context.run(start)
        self._stream = ensure_async_iterator(stream, model)
        self._accumulator = ResponseAccumulator(model)

    async def read_next_event(self) -> ModelChunkEvent | None:
        """Return the next event, or None at the end."""
        if self._context is None:  # the same, with one call less for each event
            event = await anext(self._stream, None)
        else:
            event = await call_in_context(self._context, anext, self._stream, None)
        return None if event is None else self._accumulator.feed(event)

    def build_response(self) -> ModelResponse:
        """Build the response from the events so far."""
        return self._accumulator.build_response()

    async def close(self) -> None:
        """Release the connection.

        Without a cancel scope around it: if the stream is a generator that has one open, the two
        would not be nested properly. Locus's own streams shield their cleanup and limit its time.
        """
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await call_in_context(self._context, close)
