"""Runs several tool calls at the same time, for a blocking run.

The thread of the run drives the generators that the tool calls belong to. Only the tools themselves
run elsewhere: in worker threads, or in the background event loop. A single blocking tool without a
timeout runs in the thread of the run, unless an event loop runs there or the run can be cancelled.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter
from typing import Any, Final

import attrs

from locus.agent.blocking_portal import AsyncOutcome, RunPortal
from locus.agent.convert_tool_error import try_convert_to_tool_error
from locus.agent.effects import (
    GRACE_SECONDS,
    Effect,
    EffectGenerator,
    RunClosed,
    RunConcurrently,
    RunTool,
    ToolOutcome,
    make_tool_timeout_error,
)
from locus.agent.worker_threads import is_in_event_loop, start_in_thread

_MAX_WAIT: Final = 86400.0
"""The longest single wait, in seconds, since Python limits it. A longer wait is repeated."""

_CANCEL_GRACE_SECONDS: Final = 0.5
"""How long blocking tools may take to end when another thread has cancelled the run."""

_logger = logging.getLogger("locus.agent")


@attrs.define(eq=False)
class _ToolCallJob:
    """A generator of effects for one tool call, and the tool that it waits for."""

    position: int
    generator: EffectGenerator[Any]
    tool: RunTool | None = None
    started_at: float = 0.0

    @property
    def deadline(self) -> float | None:
        """The time at which the tool has to be done; None if it has no timeout."""
        timeout = self.tool.timeout if self.tool is not None else None
        return None if timeout is None else self.started_at + timeout


class BlockingToolRunner:
    """Performs one :class:`~locus.agent.effects.RunConcurrently`.

    :param portal: runs async tools.
    :param perform_effect: performs every effect other than running a tool.
    :param may_use_caller: whether a single blocking tool without a timeout may run in the thread of
        the run. That thread cannot stop waiting for it.
    """

    def __init__(
        self,
        effect: RunConcurrently,
        portal: RunPortal,
        perform_effect: Callable[[Effect], Any],
        *,
        may_use_caller: bool = True,
    ) -> None:
        self._results: list[Any] = [None] * len(effect.generators)
        self._waiting = deque(_ToolCallJob(*indexed) for indexed in enumerate(effect.generators))
        self._limit = effect.limit
        # In an event loop a tool could not run one of its own.
        self._uses_caller = (
            may_use_caller and len(effect.generators) == 1 and not is_in_event_loop()
        )
        self._grace = GRACE_SECONDS
        self._portal = portal
        self._perform_effect = perform_effect
        self._running: dict[Future[Any], _ToolCallJob] = {}
        self._done: SimpleQueue[Future[Any] | None] = SimpleQueue()

    def run_generators_concurrently(self) -> list[Any]:
        """Drive all generators to their end and return the result or error of each."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._limit:
                self._advance_generator(self._waiting.popleft())
            if self._running:
                deadlines = [job.deadline for job in self._running.values()]
                self._wait_for_next_tool(
                    min((time for time in deadlines if time is not None), default=None)
                )
        return self._results

    def cancel(self) -> None:
        """Stop waiting for tools; any thread may call this.

        Tools have less time to end than after an error, because somebody waits for the end.
        """
        self._grace = min(GRACE_SECONDS, _CANCEL_GRACE_SECONDS)
        self._done.put(None)

    def interrupt_tools(self) -> None:
        """Start nothing more, cancel async tools, and give blocking tools a short time to end."""
        self._waiting.clear()
        for future, job in list(self._running.items()):
            # A tool that has ended meanwhile cannot be cancelled, and its result is recorded.
            if job.tool is not None and job.tool.is_async and future.cancel():
                del self._running[future]
        deadline = monotonic() + self._grace
        while self._running and (remaining := deadline - monotonic()) > 0:
            with suppress(Empty):
                done = self._done.get(timeout=remaining)
                if done is not None:
                    self._record_late_result(done)

    def _record_late_result(self, future: Future[Any]) -> None:
        """Record the result of a tool of an interrupted run.

        An error that would end the program is only logged: another one has done that already.
        """
        job = self._running.pop(future, None)
        if job is None:
            return
        try:
            outcome = _get_tool_outcome(future)
        except BaseException as exc:
            _logger.warning("after a tool had ended the run, too", exc_info=exc)
        else:
            self._advance_generator(job, outcome)

    def _advance_generator(self, job: _ToolCallJob, result: Any = None) -> None:
        """Drive a generator until it waits for its tool, or ends."""
        generator = job.generator
        error: Exception | None = None
        try:
            while True:
                effect = generator.send(result) if error is None else generator.throw(error)
                result = error = None
                if isinstance(effect, RunTool):
                    if not self._uses_caller or effect.is_async or effect.timeout is not None:
                        self._start_tool(job, effect)
                        return
                    result = effect.context.run(self._call_tool_function, effect)
                    continue
                try:
                    result = self._perform_effect(effect)
                except Exception as exc:  # noqa: BLE001 - the loop raises it
                    error = exc
        except StopIteration as stop:
            self._results[job.position] = stop.value
        except Exception as exc:  # noqa: BLE001 - the loop gets it as the result
            self._results[job.position] = exc

    def _start_tool(self, job: _ToolCallJob, effect: RunTool) -> None:
        """Start a tool of a job in a worker thread, or in the background loop if it is async."""
        job.tool = effect
        if effect.is_async:
            future: Future[Any] = effect.context.run(
                partial(
                    self._portal.start_async_function,
                    _call_async_tool_function,
                    effect,
                    owner=effect.function,
                )
            )
        else:
            future = start_in_thread(self._call_tool_function, effect, context=effect.context)
        job.started_at = monotonic()  # not before: it may have waited for a loop that was blocked
        self._running[future] = job
        future.add_done_callback(self._done.put)

    def _call_tool_function(self, effect: RunTool) -> ToolOutcome:
        """Call a tool's function in this thread and return its outcome."""
        started_at = perf_counter()
        try:
            value, error = (
                self._portal.await_if_awaitable(
                    effect.function(**effect.arguments), effect.function
                ),
                None,
            )
        except BaseException as exc:
            value, error = None, try_convert_to_tool_error(exc)
            if error is None:
                raise
        return ToolOutcome(value, error, (perf_counter() - started_at) * 1e3)

    def _wait_for_next_tool(self, deadline: float | None) -> None:
        """Wait until a tool is done or has run out of time, and advance its generator."""
        timeout = None
        if deadline is not None:
            timeout = min(max(0.0, deadline - monotonic()), _MAX_WAIT)
        try:
            future = self._done.get(timeout=timeout)
        except Empty:
            self._time_out_overdue_tools()
            return
        if future is None:
            raise RunClosed
        job = self._running.pop(future, None)
        if job is not None:  # else it had run out of time before
            self._advance_generator(job, _get_tool_outcome(future))

    def _time_out_overdue_tools(self) -> None:
        """Stop waiting for the tools whose time is over; their outcome is a timeout error."""
        now = monotonic()
        for future, job in list(self._running.items()):
            deadline, tool = job.deadline, job.tool
            if deadline is None or deadline > now or tool is None or tool.timeout is None:
                continue
            del self._running[future]
            future.cancel()
            error = make_tool_timeout_error(tool.timeout)
            self._advance_generator(job, ToolOutcome(None, error, (now - job.started_at) * 1e3))


async def _call_async_tool_function(effect: RunTool) -> ToolOutcome:
    """Call an async tool's function in the background loop and return its outcome."""
    started_at = perf_counter()
    value, error = None, None
    try:
        value = await effect.function(**effect.arguments)
    except Exception as exc:  # noqa: BLE001 - the model reads it
        error = try_convert_to_tool_error(exc)
    return ToolOutcome(value, error, (perf_counter() - started_at) * 1e3)


def _get_tool_outcome(future: Future[Any]) -> ToolOutcome:
    """Return the outcome of a tool whose future is done.

    :raises BaseException: if the tool raised an error that ends the program.
    """
    try:
        result = future.result()
        outcome: ToolOutcome = result.unwrap() if isinstance(result, AsyncOutcome) else result
        return outcome
    except BaseException as exc:
        error = try_convert_to_tool_error(exc)  # the tool cancelled itself
        if error is None:
            raise
        return ToolOutcome(error=error)
