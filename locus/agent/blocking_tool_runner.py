"""Several tools at the same time, for a blocking run.

The pieces of the run that the tools belong to are all driven by the thread that waits; only the
tools themselves are elsewhere, in threads or in the helpers' event loop. A tool that is
alone and may take as long as it likes needs neither.
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

from locus.agent.async_bridge import Helpers, Settled
from locus.agent.effects import (
    GRACE_SECONDS,
    Effect,
    Outcome,
    RunTool,
    Steps,
    Together,
    out_of_time,
)
from locus.agent.worker_threads import as_failure, in_thread

_LONGEST_WAIT: Final = 86400.0
"""Seconds; what waits longer waits again. Python's own waits have an end."""


_logger = logging.getLogger("locus.agent")


@attrs.define(eq=False)
class _Part:
    """One of the pieces, waiting for its tool."""

    position: int
    steps: Steps[Any]
    tool: RunTool | None = None
    began: float = 0.0

    @property
    def deadline(self) -> float | None:
        """When the tool will have run out of time."""
        timeout = self.tool.timeout if self.tool is not None else None
        return None if timeout is None else self.began + timeout


class Tools:
    """The pieces of a :class:`~locus.agent.effects.Together`.

    :param do: performs every effect but the running of tools.
    """

    def __init__(self, effect: Together, helpers: Helpers, do: Callable[[Effect], Any]) -> None:
        self._came: list[Any] = [None] * len(effect.each)
        self._waiting = deque(_Part(*one) for one in enumerate(effect.each))
        self._limit = effect.limit
        self._alone = len(effect.each) == 1
        self._helpers = helpers
        self._do = do
        self._running: dict[Future[Any], _Part] = {}
        self._finished: SimpleQueue[Future[Any]] = SimpleQueue()

    def run(self) -> list[Any]:
        """Drive them all to their ends: what came of each."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._limit:
                self._go_on(self._waiting.popleft())
            if self._running:
                deadlines = [part.deadline for part in self._running.values()]
                self._wait(min((one for one in deadlines if one is not None), default=None))
        return self._came

    def interrupt(self) -> None:
        """Begin nothing more, and give what is under way a moment to end."""
        self._waiting.clear()
        for future, part in list(self._running.items()):
            # One that has ended meanwhile cannot be cancelled: what it has done is recorded.
            if part.tool is not None and part.tool.is_async and future.cancel():
                del self._running[future]
        until = monotonic() + GRACE_SECONDS
        while self._running and (left := until - monotonic()) > 0:
            with suppress(Empty):
                self._settle(self._finished.get(timeout=left))

    def _settle(self, future: Future[Any]) -> None:
        """Record what a tool has done; another one that ends the program adds nothing to that."""
        part = self._running.pop(future, None)
        if part is None:
            return
        try:
            outcome = _outcome(future)
        except BaseException as why:
            _logger.warning("after a tool had ended the run, too", exc_info=why)
        else:
            self._go_on(part, outcome)

    def _go_on(self, part: _Part, came: Any = None) -> None:
        """Drive a piece until it waits for its tool, or ends."""
        steps = part.steps
        error: Exception | None = None
        try:
            while True:
                effect = steps.send(came) if error is None else steps.throw(error)
                came = error = None
                if isinstance(effect, RunTool):
                    if not self._alone or effect.is_async or effect.timeout is not None:
                        self._start(part, effect)
                        return
                    came = self._attempt(effect)
                    continue
                try:
                    came = self._do(effect)
                except Exception as why:  # noqa: BLE001 - for the loop to raise
                    error = why
        except StopIteration as done:
            self._came[part.position] = done.value
        except Exception as why:  # noqa: BLE001 - handed to the loop
            self._came[part.position] = why

    def _start(self, part: _Part, tool: RunTool) -> None:
        part.tool, part.began = tool, monotonic()
        if tool.is_async:
            future: Future[Any] = self._helpers.in_loop(_attempt_async, tool)
        else:
            future = in_thread(self._attempt, tool)
        self._running[future] = part
        future.add_done_callback(self._finished.put)

    def _attempt(self, tool: RunTool) -> Outcome:
        began = perf_counter()
        try:
            value, error = self._helpers.awaited(tool.function(**tool.arguments)), None
        except BaseException as why:
            value, error = None, as_failure(why)
            if error is None:
                raise
        return Outcome(value, error, (perf_counter() - began) * 1e3)

    def _wait(self, until: float | None) -> None:
        """Go on with the piece whose tool is done next, or with those whose time is up."""
        try:
            left = None if until is None else min(max(0.0, until - monotonic()), _LONGEST_WAIT)
            future = self._finished.get(timeout=left)
        except Empty:
            self._give_up()
            return
        part = self._running.pop(future, None)
        if part is not None:  # else its time was up before
            self._go_on(part, _outcome(future))

    def _give_up(self) -> None:
        now = monotonic()
        for future, part in list(self._running.items()):
            deadline, tool = part.deadline, part.tool
            if deadline is None or deadline > now or tool is None or tool.timeout is None:
                continue
            del self._running[future]
            future.cancel()
            self._go_on(part, Outcome(None, out_of_time(tool.timeout), (now - part.began) * 1e3))


async def _attempt_async(tool: RunTool) -> Outcome:
    began = perf_counter()
    value, error = None, None
    try:
        value = await tool.function(**tool.arguments)
    except Exception as why:  # noqa: BLE001 - the model reads it
        error = as_failure(why)
    return Outcome(value, error, (perf_counter() - began) * 1e3)


def _outcome(future: Future[Any]) -> Outcome:
    try:
        came = future.result()
        outcome: Outcome = came.get() if isinstance(came, Settled) else came
        return outcome
    except BaseException as why:
        error = as_failure(why)  # it was cancelled by itself, not by us
        if error is None:
            raise
        return Outcome(error=error)
