"""Runs several tool calls at the same time, for a blocking run.

The thread of the run drives the generators that the tool calls belong to. Only the tools themselves
run elsewhere: in worker threads, or in the background event loop. A single blocking tool without a
timeout runs in the thread of the run.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter
from typing import Any, Final

import attrs

from locus.agent.async_bridge import AsyncBridge, AsyncOutcome
from locus.agent.effects import (
    GRACE_SECONDS,
    Effect,
    EffectGenerator,
    RunConcurrently,
    RunTool,
    ToolOutcome,
    make_tool_timeout_error,
)
from locus.agent.worker_threads import start_in_thread, to_tool_error

_MAX_WAIT: Final = 86400.0
"""The longest single wait, in seconds, since Python limits it. A longer wait is repeated."""

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

    :param bridge: runs async tools.
    :param perform: performs every effect other than running a tool.
    """

    def __init__(
        self, effect: RunConcurrently, bridge: AsyncBridge, perform: Callable[[Effect], Any]
    ) -> None:
        self._results: list[Any] = [None] * len(effect.generators)
        self._waiting = deque(_ToolCallJob(*indexed) for indexed in enumerate(effect.generators))
        self._limit = effect.limit
        self._is_single = len(effect.generators) == 1
        self._async_bridge = bridge
        self._perform = perform
        self._running: dict[Future[Any], _ToolCallJob] = {}
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()

    def run(self) -> list[Any]:
        """Drive all generators to their end and return the result or error of each."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._limit:
                self._advance(self._waiting.popleft())
            if self._running:
                deadlines = [job.deadline for job in self._running.values()]
                self._wait_for_next(
                    min((time for time in deadlines if time is not None), default=None)
                )
        return self._results

    def interrupt(self) -> None:
        """Start nothing more, cancel async tools, and give blocking tools a short time to end."""
        self._waiting.clear()
        for future, job in list(self._running.items()):
            # A tool that has ended meanwhile cannot be cancelled, and its result is recorded.
            if job.tool is not None and job.tool.is_async and future.cancel():
                del self._running[future]
        deadline = monotonic() + GRACE_SECONDS
        while self._running and (remaining := deadline - monotonic()) > 0:
            with suppress(Empty):
                self._record_result(self._done.get(timeout=remaining))

    def _record_result(self, future: Future[Any]) -> None:
        """Record the result of a tool of an interrupted run.

        An error that would end the program is only logged: another one has done that already.
        """
        job = self._running.pop(future, None)
        if job is None:
            return
        try:
            outcome = _get_outcome(future)
        except BaseException as exc:
            _logger.warning("after a tool had ended the run, too", exc_info=exc)
        else:
            self._advance(job, outcome)

    def _advance(self, job: _ToolCallJob, result: Any = None) -> None:
        """Drive a generator until it waits for its tool, or ends."""
        generator = job.generator
        error: Exception | None = None
        try:
            while True:
                effect = generator.send(result) if error is None else generator.throw(error)
                result = error = None
                if isinstance(effect, RunTool):
                    if not self._is_single or effect.is_async or effect.timeout is not None:
                        self._start_tool(job, effect)
                        return
                    result = self._call_tool(effect)
                    continue
                try:
                    result = self._perform(effect)
                except Exception as exc:  # noqa: BLE001 - the loop raises it
                    error = exc
        except StopIteration as stop:
            self._results[job.position] = stop.value
        except Exception as exc:  # noqa: BLE001 - the loop gets it as the result
            self._results[job.position] = exc

    def _start_tool(self, job: _ToolCallJob, tool: RunTool) -> None:
        job.tool, job.started_at = tool, monotonic()
        if tool.is_async:
            future: Future[Any] = self._async_bridge.start_in_loop(_call_async_tool, tool)
        else:
            future = start_in_thread(self._call_tool, tool)
        self._running[future] = job
        future.add_done_callback(self._done.put)

    def _call_tool(self, tool: RunTool) -> ToolOutcome:
        started_at = perf_counter()
        try:
            value, error = self._async_bridge.resolve(tool.function(**tool.arguments)), None
        except BaseException as exc:
            value, error = None, to_tool_error(exc)
            if error is None:
                raise
        return ToolOutcome(value, error, (perf_counter() - started_at) * 1e3)

    def _wait_for_next(self, deadline: float | None) -> None:
        """Wait until a tool is done or has run out of time, and advance its generator."""
        timeout = None
        if deadline is not None:
            timeout = min(max(0.0, deadline - monotonic()), _MAX_WAIT)
        try:
            future = self._done.get(timeout=timeout)
        except Empty:
            self._time_out_calls()
            return
        job = self._running.pop(future, None)
        if job is not None:  # else it had run out of time before
            self._advance(job, _get_outcome(future))

    def _time_out_calls(self) -> None:
        now = monotonic()
        for future, job in list(self._running.items()):
            deadline, tool = job.deadline, job.tool
            if deadline is None or deadline > now or tool is None or tool.timeout is None:
                continue
            del self._running[future]
            future.cancel()
            error = make_tool_timeout_error(tool.timeout)
            self._advance(job, ToolOutcome(None, error, (now - job.started_at) * 1e3))


async def _call_async_tool(tool: RunTool) -> ToolOutcome:
    started_at = perf_counter()
    value, error = None, None
    try:
        value = await tool.function(**tool.arguments)
    except Exception as exc:  # noqa: BLE001 - the model reads it
        error = to_tool_error(exc)
    return ToolOutcome(value, error, (perf_counter() - started_at) * 1e3)


def _get_outcome(future: Future[Any]) -> ToolOutcome:
    try:
        result = future.result()
        outcome: ToolOutcome = result.unwrap() if isinstance(result, AsyncOutcome) else result
        return outcome
    except BaseException as exc:
        error = to_tool_error(exc)  # the tool cancelled itself
        if error is None:
            raise
        return ToolOutcome(error=error)
