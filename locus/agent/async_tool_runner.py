"""Several tools at the same time, under asyncio and trio. The mirror image of ``blocking_tools``.

Each piece of the run that a tool belongs to is driven by a task. A cancelled run does not drop
what has been done: async tools are cancelled, but what else is under way is shielded, for a
moment, until it is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from time import perf_counter
from typing import Any, TypeAlias

import anyio
from anyio import CancelScope, get_cancelled_exc_class

from locus.agent.effects import (
    GRACE_SECONDS,
    Closed,
    Effect,
    Outcome,
    RunTool,
    Steps,
    Together,
    out_of_time,
)
from locus.agent.worker_threads import as_failure, from_thread

Do: TypeAlias = Callable[[Effect], Awaitable[Any]]


class Tools:
    """Runs the pieces of each :class:`~locus.agent.effects.Together` of a run.

    :ivar cancelled: the run is being cancelled: nothing more is begun.
    :ivar own_task: the run has a task of its own, which nobody but a scope can cancel.
    """

    def __init__(self) -> None:
        self._async: set[CancelScope] = set()
        self.cancelled = False
        self.own_task = False

    async def run(self, effect: Together, do: Do) -> list[Any]:
        """What came of each, an :class:`Exception` where it has raised one.

        :param do: performs every effect but the running of tools.
        """
        first: Effect | None = None
        if self.own_task and len(effect.each) == 1:
            # Where nothing but an async tool is waited for, there is nothing to shield, and a task
            # for it would cost as much as the rest of the loop does.
            (steps,) = effect.each
            try:
                first = steps.send(None)
                while isinstance(first, RunTool) and first.is_async:
                    first = steps.send(await self._run_tool(first))
            except StopIteration as done:
                return [done.value]
            except Exception as why:  # noqa: BLE001 - handed to the loop
                return [why]
        return await self._in_tasks(effect, do, first)

    async def _in_tasks(self, effect: Together, do: Do, first: Effect | None) -> list[Any]:
        came: list[Any] = [None] * len(effect.each)
        waiting = iter(enumerate(effect.each))
        scopes: list[CancelScope] = []
        done = anyio.Event()
        workers = min(effect.limit, len(effect.each))
        fatal: BaseException | None = None

        async def work() -> None:
            nonlocal workers, fatal
            try:
                with CancelScope(shield=True) as scope:
                    scopes.append(scope)
                    for position, steps in waiting:
                        if self.cancelled:
                            break
                        came[position] = await self._drive(steps, do, first)
            except BaseException as why:
                if _is_ours(why):
                    raise
                # Raised below, where no task is cut off, and in none of the group's groups.
                fatal, self.cancelled = fatal or why, True
                group.cancel_scope.cancel()
            finally:
                workers -= 1
                if not workers:
                    done.set()

        try:
            async with anyio.create_task_group() as group:
                for _ in range(workers):
                    group.start_soon(work)
                try:
                    await done.wait()
                except BaseException:
                    self.cancelled = True
                    for scope in self._async:
                        scope.cancel()
                    try:
                        with anyio.move_on_after(GRACE_SECONDS, shield=True):
                            await done.wait()
                    finally:  # in asyncio a task that is cancelled again minds no shield
                        for scope in scopes:
                            scope.cancel()
                    raise
        except BaseExceptionGroup as of_tasks:  # the program is to end, where trio has been told
            raise the_first(of_tasks) from None
        if fatal is not None:
            try:
                raise fatal
            finally:
                fatal = None  # its traceback holds this frame
        return came

    async def _drive(self, steps: Steps[Any], do: Do, effect: Effect | None) -> Any:
        """What comes of a piece; it may be under way, waiting for ``effect``."""
        came: Any = None
        error: Exception | None = None
        try:
            if effect is None:
                effect = steps.send(None)
            while True:
                try:
                    came = await self._perform(effect, do)
                except Exception as why:  # noqa: BLE001 - for the loop to raise
                    error = why
                effect = steps.send(came) if error is None else steps.throw(error)
                came = error = None
        except StopIteration as done:
            return done.value
        except Closed:
            return None
        except Exception as why:  # noqa: BLE001 - handed to the loop
            return why
        finally:
            steps.close()

    async def _perform(self, effect: Effect, do: Do) -> Any:
        if not isinstance(effect, RunTool):
            return await do(effect)
        with anyio.move_on_after(math.inf) as scope:
            if effect.is_async:
                self._async.add(scope)
            try:
                return await self._run_tool(effect)
            finally:
                self._async.discard(scope)
        raise Closed

    async def _run_tool(self, tool: RunTool) -> Outcome:
        began = perf_counter()
        try:
            if tool.timeout is None:
                value, error = await _attempt(tool)
            else:
                value, error = None, None
                with anyio.move_on_after(tool.timeout) as scope:
                    value, error = await _attempt(tool)
                if scope.cancelled_caught:
                    error = out_of_time(tool.timeout)
        except get_cancelled_exc_class() as why:
            value, error = None, as_failure(why)  # by itself, not by us
            if error is None or _is_ours(why):
                raise
        return Outcome(value, error, (perf_counter() - began) * 1e3)


def _is_ours(error: BaseException) -> bool:
    """Whether it is a cancellation of this task, not one that a hook has let through."""
    cancelled = isinstance(error, get_cancelled_exc_class())
    return cancelled and anyio.get_current_task().has_pending_cancellation()


async def _attempt(tool: RunTool) -> tuple[Any, Exception | None]:
    try:
        if tool.is_async:
            return await tool.function(**tool.arguments), None
        value, error = await from_thread(_attempt_there, tool)
        return (await value if isawaitable(value) else value), error
    except get_cancelled_exc_class():
        raise
    except BaseException as why:
        failure = None if _is_closed(why) else as_failure(why)
        if failure is None:
            raise
        return None, failure


def _is_closed(error: BaseException) -> bool:
    """Whether Python has closed the coroutine that caught this, and not a tool raised it.

    Python closes from the inside out, so that the error begins where it is caught.
    """
    trace = error.__traceback__
    return isinstance(error, GeneratorExit) and (trace is None or trace.tb_next is None)


def _attempt_there(tool: RunTool) -> tuple[Any, Exception | None]:
    try:
        return tool.function(**tool.arguments), None
    except BaseException as why:
        failure = as_failure(why)
        if failure is None:
            raise
        return None, failure


async def call(function: Callable[..., Any], is_async: bool, /, *args: Any, **kw: Any) -> Any:
    """Call a function of the user's: in the event loop if it is async, else in a thread."""
    if is_async:
        return await function(*args, **kw)

    value = await from_thread(partial(function, *args, **kw))
    return await value if isawaitable(value) else value


def the_first(error: BaseException) -> BaseException:
    """An error without the groups that it has come in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
