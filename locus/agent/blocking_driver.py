"""Drives a run from blocking code: performs the loop's effects in the caller's thread.

``async_driver`` mirrors this module. The loop, the model and the hooks run in the caller's thread.
Tools that run at the same time have worker threads. If an event loop runs in the caller's thread,
as in a notebook, hooks and the other functions of the user's have a worker thread, too: they may
run a loop of their own. Async functions run in a background event loop, which starts when the first
of them is called. An event loop of the caller's is not touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Any, Self, TypeVar

from locus.agent.await_in_context import call_in_context
from locus.agent.blocking_portal import RunPortal
from locus.agent.blocking_tool_runner import BlockingToolRunner
from locus.agent.driver_base import BaseRun
from locus.agent.effects import (
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
    UseStorage,
)
from locus.agent.result import AgentResult
from locus.agent.stream_accumulator import (
    ResponseAccumulator,
    ensure_async_iterator,
    select_more_severe_error,
)
from locus.agent.worker_threads import is_in_event_loop, start_in_thread
from locus.core.closeable import Closeable
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.transport.interruption import Interruption, allow_interruption

T = TypeVar("T")


class BlockingRun(BaseRun, Closeable, Iterator[AgentEvent]):
    """The events of one run: an iterator, and a context manager that ends it.

    The run begins when the caller asks for the first event, and makes progress only while the
    caller asks for events. Leaving the context, or dropping the run, ends it: the state is saved,
    the hooks are called, connections are closed.

    Any thread may call :meth:`cancel`.

    :ivar result: the :class:`~locus.agent.AgentResult`, after the last event.
    """

    _caller_noun = "thread"

    def __init__(self, generator: EffectGenerator[AgentResult], *, streamed: bool) -> None:
        super().__init__(generator, streamed=streamed)
        self._response_stream: _ResponseStream | None = None
        self._portal = RunPortal()
        self._tool_runner: BlockingToolRunner | None = None
        self._interruption = Interruption()
        self._is_cancelled = self._runs_to_end = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AgentEvent:
        self._check_no_event_is_awaited()
        self._is_waiting = True
        try:
            event = self._read_next_event()
        except RunClosed:
            raise CancelledError("the run was cancelled") from None
        finally:
            self._is_waiting = False
        if event is None:
            raise StopIteration
        return event

    def cancel(self) -> None:
        """End the run where it is; any thread may call this, and does not wait for the end.

        The thread that asks for the next event gets a :class:`concurrent.futures.CancelledError`
        when the state is saved and the hooks are called. A request to the model is interrupted
        (through an ``http_client=`` or an SDK, when the server sends something), async tools are
        cancelled, and a blocking tool is left behind if it does not end soon. After the last event
        this does nothing.
        """
        if self._generator is None and not self._is_waiting:
            return
        self._interruption.request()
        self._portal.cancel_tasks()
        runner = self._tool_runner
        if runner is not None:
            runner.cancel()

    def close(self) -> None:
        """End the run where it is. Calling this twice is fine.

        If another thread waits for the next event, this is :meth:`cancel`.
        """
        if self._is_waiting:
            self.cancel()
            return
        if self._close_if_not_started():
            return
        error: BaseException | None = RunClosed()
        with suppress(RunClosed):
            while self._read_next_event(error) is not None:
                error = None  # the cleanup failed, and the next call raises its error

    def __del__(self) -> None:
        if self._generator is None or self._is_waiting or sys.is_finalizing():
            return  # at the end of the program no cleanup works any more
        self.close()

    def run_to_end(self) -> AgentResult:
        """Run to the end and return the result."""
        self._runs_to_end = True  # nobody has it, and could cancel it
        while self._read_next_event() is not None:
            pass
        return self.result

    # The loop.

    def _read_next_event(self, error: BaseException | None = None) -> AgentEvent | None:
        """Return the next event, or None at the end.

        :param error: an error that is raised in the loop first.
        """
        self._is_started = True
        result: Any = None
        while self._generator is not None:
            if self._interruption.is_requested and not self._is_cancelled:
                self._is_cancelled = True  # from now on, only the cleanup
                error = RunClosed()
            if self._response_stream is not None:
                event, result, error = self._read_event_or_response(self._response_stream, error)
                if event is not None:
                    return event
            effect = self._advance_generator(result, error)
            result = error = None
            if isinstance(effect, EmitEvent):
                self._result = effect.result
                return effect.event
            try:
                if isinstance(effect, CallModel) and effect.streamed and self._streamed:
                    self._response_stream = _ResponseStream(effect, self._portal)
                elif effect is not None:
                    result = self._perform_effect(effect)
            except BaseException as exc:  # noqa: BLE001 - the loop raises it
                error = self._replace_by_cancellation(exc)
        return None

    def _replace_by_cancellation(self, error: BaseException) -> BaseException:
        """Return the cancellation of the run instead of an error that it has led to."""
        if not self._interruption.is_requested or self._is_cancelled:
            return error
        self._is_cancelled = True
        return RunClosed()

    def _advance_generator(self, result: Any, error: BaseException | None) -> Effect | None:
        """Send the loop the result or the error of its last effect, and return the next effect."""
        try:
            return super()._advance_generator(result, error)
        finally:
            if self._generator is None:
                self._portal.close()

    def _read_event_or_response(
        self, stream: _ResponseStream, error: BaseException | None
    ) -> tuple[ModelChunkEvent | None, Any, BaseException | None]:
        """Return the next event of a response, or else the response or the error that ended it.

        :param error: an error that ends the response first.
        """
        response = None
        try:
            if error is None:
                event = _run_in_context(
                    stream.context, self._call_interruptibly, stream.read_next_event
                )
                if event is not None:
                    return event, None, None
                response = stream.build_response()
        except BaseException as exc:  # noqa: BLE001 - the loop raises it
            error = self._replace_by_cancellation(exc)
        self._response_stream = None
        try:
            stream.close()
        except BaseException as exc:  # noqa: BLE001 - the loop raises it
            error = select_more_severe_error(error, exc)
        return None, response, error

    # The effects.

    def _perform_effect(self, effect: Effect) -> Any:
        """Perform an effect and return its result."""
        match effect:
            case CallModel(model, messages, tools, options):
                if hasattr(model, "complete_sync"):
                    return _run_in_context(
                        effect.context,
                        self._call_interruptibly,
                        partial(model.complete_sync, messages, tools, **options),
                    )
                return self._portal.run_async_function(
                    call_in_context,
                    effect.context,
                    partial(model.complete, messages, tools, **options),
                    owner=model.complete,
                )
            case RunConcurrently():
                return self._run_generators_concurrently(effect)
            case CallHook(method, event, variables):
                with variables.use_for_hook() as context:
                    return self._call_user_function(context, method, event)
            case UseStorage(action, context):
                return self._call_user_function(context, action)
            case ReadClock():
                return monotonic()
            case CallFunction(function, args, context):
                return self._call_user_function(context, function, *args)
        raise AssertionError(f"{type(effect).__name__} is performed elsewhere")

    def _call_user_function(
        self, context: Context | None, function: Callable[..., Any], *args: Any
    ) -> Any:
        """Call a function of the user's, blocking or async, and return its result.

        :param context: the context that it runs in; None is that of the caller.
        """
        if is_in_event_loop():
            value = start_in_thread(function, *args, context=context).result()
        else:
            value = _run_in_context(context, function, *args)
        return self._portal.await_if_awaitable(value, function, context)

    def _call_interruptibly(self, function: Callable[[], T]) -> T:
        """Call a function that waits for a server, which ``cancel`` ends."""
        with allow_interruption(self._interruption):
            return function()

    def _run_generators_concurrently(self, effect: RunConcurrently) -> list[Any]:
        """Drive the generators of an effect at the same time; stop their tools if that fails."""
        runner = BlockingToolRunner(
            effect, self._portal, self._perform_effect, may_use_caller=self._runs_to_end
        )
        self._tool_runner = runner
        if self._interruption.is_requested:
            runner.cancel()
        try:
            return runner.run_generators_concurrently()
        except BaseException:
            runner.interrupt_tools()
            raise
        finally:
            self._tool_runner = None


def _run_in_context(
    context: Context | None, function: Callable[..., Any], /, *args: Any, **kw: Any
) -> Any:
    """Call a function in a context; None is that of the caller."""
    return function(*args, **kw) if context is None else context.run(function, *args, **kw)


class _ResponseStream:
    """A model's response while it arrives.

    :ivar context: the context that the model runs in; None is that of the caller.
    """

    def __init__(self, effect: CallModel, portal: RunPortal) -> None:
        model, args = effect.model, (effect.messages, effect.tools)
        self.context = effect.context
        self._stream: Any
        if hasattr(model, "stream_sync"):
            self._stream = _run_in_context(self.context, model.stream_sync, *args, **effect.options)
        else:
            stream = _run_in_context(self.context, model.stream, *args, **effect.options)
            self._stream = _run_in_context(
                self.context,
                portal.iter_stream_events,
                ensure_async_iterator(stream, model),
                model.stream,
            )
        self._accumulator = ResponseAccumulator(model)

    def read_next_event(self) -> ModelChunkEvent | None:
        """Return the next event, or None at the end; called in the context of the response."""
        event = next(self._stream, None)
        return None if event is None else self._accumulator.feed(event)

    def build_response(self) -> ModelResponse:
        """Build the response from the events so far."""
        return self._accumulator.build_response()

    def close(self) -> None:
        """Release the connection."""
        close = getattr(self._stream, "close", None)
        if close is not None:
            _run_in_context(self.context, close)
