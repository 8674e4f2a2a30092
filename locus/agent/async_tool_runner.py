"""Runs several tool calls at the same time, under asyncio and trio.

``blocking_tool_runner`` mirrors this module. A task drives each generator that a tool call belongs
to. When a run is cancelled, async tools are cancelled as well. Everything else that is running is
shielded for a short time, so that what it did is recorded.
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
    Effect,
    EffectGenerator,
    RunClosed,
    RunConcurrently,
    RunTool,
    ToolOutcome,
    make_tool_timeout_error,
)
from locus.agent.worker_threads import run_in_thread, to_tool_error

Perform: TypeAlias = Callable[[Effect], Awaitable[Any]]


class AsyncToolRunner:
    """Performs each :class:`~locus.agent.effects.RunConcurrently` of a run.

    :ivar is_cancelled: the run is being cancelled: nothing more is started.
    :ivar has_own_task: the run has a task of its own, which only a cancel scope can cancel.
    """

    def __init__(self) -> None:
        self._async_tool_scopes: set[CancelScope] = set()
        self.is_cancelled = False
        self.has_own_task = False

    async def run(self, effect: RunConcurrently, perform: Perform) -> list[Any]:
        """Drive all generators to their end and return the result or error of each.

        :param perform: performs every effect other than running a tool.
        """
        first: Effect | None = None
        if self.has_own_task and len(effect.generators) == 1:
            # A single async tool needs no shield. A task for it would cost as much as the rest of
            # the loop.
            (generator,) = effect.generators
            try:
                first = generator.send(None)
                while isinstance(first, RunTool) and first.is_async:
                    first = generator.send(await self._run_tool(first))
            except StopIteration as stop:
                return [stop.value]
            except Exception as exc:  # noqa: BLE001 - the loop gets it as the result
                return [exc]
        return await self._run_in_tasks(effect, perform, first)

    async def _run_in_tasks(
        self, effect: RunConcurrently, perform: Perform, first: Effect | None
    ) -> list[Any]:
        results: list[Any] = [None] * len(effect.generators)
        waiting = iter(enumerate(effect.generators))
        scopes: list[CancelScope] = []
        done = anyio.Event()
        workers = min(effect.limit, len(effect.generators))
        fatal: BaseException | None = None

        async def work() -> None:
            nonlocal workers, fatal
            try:
                with CancelScope(shield=True) as scope:
                    scopes.append(scope)
                    for position, generator in waiting:
                        if self.is_cancelled:
                            break
                        results[position] = await self._drive(generator, perform, first)
            except BaseException as exc:
                if _is_cancellation_of_task(exc):
                    raise
                # Raised below, after all tasks have ended, and not inside an exception group.
                fatal, self.is_cancelled = fatal or exc, True
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
                    self.is_cancelled = True
                    for scope in self._async_tool_scopes:
                        scope.cancel()
                    try:
                        with anyio.move_on_after(GRACE_SECONDS, shield=True):
                            await done.wait()
                    finally:  # in asyncio no shield protects a task that is cancelled again
                        for scope in scopes:
                            scope.cancel()
                    raise
        except BaseExceptionGroup as exc:  # Ctrl-C, if trio received it
            raise unwrap_exception_group(exc) from None
        if fatal is not None:
            try:
                raise fatal
            finally:
                fatal = None  # its traceback refers to this frame
        return results

    async def _drive(
        self, generator: EffectGenerator[Any], perform: Perform, effect: Effect | None
    ) -> Any:
        """Drive a generator to its end and return its result or error.

        :param effect: the effect that the generator waits for, if it has started already.
        """
        result: Any = None
        error: Exception | None = None
        try:
            if effect is None:
                effect = generator.send(None)
            while True:
                try:
                    result = await self._perform_effect(effect, perform)
                except Exception as exc:  # noqa: BLE001 - the loop raises it
                    error = exc
                effect = generator.send(result) if error is None else generator.throw(error)
                result = error = None
        except StopIteration as stop:
            return stop.value
        except RunClosed:
            return None
        except Exception as exc:  # noqa: BLE001 - the loop gets it as the result
            return exc
        finally:
            generator.close()

    async def _perform_effect(self, effect: Effect, perform: Perform) -> Any:
        if not isinstance(effect, RunTool):
            return await perform(effect)
        with anyio.move_on_after(math.inf) as scope:
            if effect.is_async:
                self._async_tool_scopes.add(scope)
            try:
                return await self._run_tool(effect)
            finally:
                self._async_tool_scopes.discard(scope)
        raise RunClosed

    async def _run_tool(self, tool: RunTool) -> ToolOutcome:
        started_at = perf_counter()
        try:
            if tool.timeout is None:
                value, error = await _call_tool(tool)
            else:
                value, error = None, None
                with anyio.move_on_after(tool.timeout) as scope:
                    value, error = await _call_tool(tool)
                if scope.cancelled_caught:
                    error = make_tool_timeout_error(tool.timeout)
        except get_cancelled_exc_class() as exc:
            value, error = None, to_tool_error(exc)  # if the tool cancelled itself
            if error is None or _is_cancellation_of_task(exc):
                raise
        return ToolOutcome(value, error, (perf_counter() - started_at) * 1e3)


def _is_cancellation_of_task(error: BaseException) -> bool:
    """Whether an error is the cancellation of this task, not another one that a hook raised."""
    is_cancellation = isinstance(error, get_cancelled_exc_class())
    return is_cancellation and anyio.get_current_task().has_pending_cancellation()


async def _call_tool(tool: RunTool) -> tuple[Any, Exception | None]:
    try:
        if tool.is_async:
            return await tool.function(**tool.arguments), None
        value, error = await run_in_thread(_call_blocking_tool, tool)
        return (await value if isawaitable(value) else value), error
    except get_cancelled_exc_class():
        raise
    except BaseException as exc:
        error = None if _is_coroutine_closed(exc) else to_tool_error(exc)
        if error is None:
            raise
        return None, error


def _is_coroutine_closed(error: BaseException) -> bool:
    """Whether Python raised an error to close the coroutine that caught it, and not a tool.

    Python closes coroutines from the inside out, so the traceback begins in the one that caught it.
    """
    traceback = error.__traceback__
    return isinstance(error, GeneratorExit) and (traceback is None or traceback.tb_next is None)


def _call_blocking_tool(tool: RunTool) -> tuple[Any, Exception | None]:
    try:
        return tool.function(**tool.arguments), None
    except BaseException as exc:
        error = to_tool_error(exc)
        if error is None:
            raise
        return None, error


async def call_function(
    function: Callable[..., Any], is_async: bool, /, *args: Any, **kw: Any
) -> Any:
    """Call a function of the user's: in the event loop if it is async, else in a thread."""
    if is_async:
        return await function(*args, **kw)
    value = await run_in_thread(partial(function, *args, **kw))
    return await value if isawaitable(value) else value


def unwrap_exception_group(error: BaseException) -> BaseException:
    """Return the first error inside an exception group, however deep; else the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
