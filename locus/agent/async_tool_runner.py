"""Runs several tool calls at the same time, under asyncio and trio.

``blocking_tool_runner`` mirrors this module. A task drives each generator that a tool call belongs
to. When a run is cancelled, async tools are cancelled as well. Everything else that is running is
shielded for a short time, so that what it did is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextvars import Context
from inspect import isawaitable
from time import perf_counter
from typing import Any, TypeAlias

import anyio
from anyio import CancelScope, get_cancelled_exc_class

from locus.agent.await_in_context import await_in_context, call_in_context
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
from locus.agent.worker_threads import run_in_thread
from locus.tools.signature import is_coroutine_function

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

    async def run_generators_concurrently(
        self, effect: RunConcurrently, perform_effect: Perform
    ) -> list[Any]:
        """Drive all generators to their end and return the result or error of each.

        :param perform_effect: performs every effect other than running a tool.
        """
        first_effect: Effect | None = None
        if self.has_own_task and len(effect.generators) == 1:
            # A single async tool needs no shield. A task for it would cost as much as the rest of
            # the loop.
            (generator,) = effect.generators
            try:
                first_effect = generator.send(None)
                while isinstance(first_effect, RunTool) and first_effect.is_async:
                    first_effect = generator.send(await self._run_tool_within_timeout(first_effect))
            except StopIteration as stop:
                return [stop.value]
            except Exception as exc:  # noqa: BLE001 - the loop gets it as the result
                return [exc]
        return await self._drive_generators_in_tasks(effect, perform_effect, first_effect)

    async def _drive_generators_in_tasks(
        self, effect: RunConcurrently, perform_effect: Perform, first_effect: Effect | None
    ) -> list[Any]:
        """Drive the generators in concurrent tasks and return the result or error of each.

        :param first_effect: the effect that the only generator waits for, if it has started
            already.
        """
        results: list[Any] = [None] * len(effect.generators)
        waiting = iter(enumerate(effect.generators))
        scopes: list[CancelScope] = []
        done = anyio.Event()
        workers = min(effect.limit, len(effect.generators))
        fatal: BaseException | None = None

        async def drive_waiting_generators() -> None:
            nonlocal workers, fatal
            try:
                with CancelScope(shield=True) as scope:
                    scopes.append(scope)
                    for position, generator in waiting:
                        if self.is_cancelled:
                            break
                        results[position] = await self._drive_generator(
                            generator, perform_effect, first_effect
                        )
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
                    group.start_soon(drive_waiting_generators)
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

    async def _drive_generator(
        self, generator: EffectGenerator[Any], perform_effect: Perform, effect: Effect | None
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
                    result = await self._run_tool_or_perform_effect(effect, perform_effect)
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

    async def _run_tool_or_perform_effect(self, effect: Effect, perform_effect: Perform) -> Any:
        """Run the tool of a ``RunTool`` in a scope that can be cancelled; perform other effects.

        :raises RunClosed: if the tool was cancelled because the run was.
        """
        if not isinstance(effect, RunTool):
            return await perform_effect(effect)
        with anyio.move_on_after(math.inf) as scope:
            if effect.is_async:
                self._async_tool_scopes.add(scope)
            try:
                return await self._run_tool_within_timeout(effect)
            finally:
                self._async_tool_scopes.discard(scope)
        raise RunClosed

    async def _run_tool_within_timeout(self, effect: RunTool) -> ToolOutcome:
        """Run a tool for at most its timeout and return its outcome."""
        started_at = perf_counter()
        try:
            if effect.timeout is None:
                value, error = await _call_tool_function(effect)
            else:
                value, error = None, None
                with anyio.move_on_after(effect.timeout) as scope:
                    value, error = await _call_tool_function(effect)
                # What a tool makes of its cancellation comes too late, on every runtime.
                if scope.cancelled_caught or perf_counter() - started_at >= effect.timeout:
                    value, error = None, make_tool_timeout_error(effect.timeout)
        except get_cancelled_exc_class() as exc:
            value, error = None, try_convert_to_tool_error(exc)  # if the tool cancelled itself
            if error is None or _is_cancellation_of_task(exc):
                raise
        return ToolOutcome(value, error, (perf_counter() - started_at) * 1e3)


def _is_cancellation_of_task(error: BaseException) -> bool:
    """Whether an error is the cancellation of this task, not another one that a hook raised."""
    is_cancellation = isinstance(error, get_cancelled_exc_class())
    return is_cancellation and anyio.get_current_task().has_pending_cancellation()


async def _call_tool_function(effect: RunTool) -> tuple[Any, Exception | None]:
    """Call a tool's function, blocking or async, and return its value and its error."""
    try:
        if effect.is_async:
            context = effect.context
            coroutine = context.run(effect.function, **effect.arguments)
            return await await_in_context(context, coroutine), None
        value, error = await run_in_thread(
            _call_blocking_tool_function, effect, context=effect.context
        )
        if isawaitable(value):
            value = await await_in_context(effect.context, value)
        return value, error
    except get_cancelled_exc_class():
        raise
    except BaseException as exc:
        error = None if _is_coroutine_close_request(exc) else try_convert_to_tool_error(exc)
        if error is None:
            raise
        return None, error


def _is_coroutine_close_request(error: BaseException) -> bool:
    """Whether Python raised an error to close the coroutine that caught it, and not a tool.

    Python closes coroutines from the inside out, so the traceback begins in the one that caught it.
    """
    traceback = error.__traceback__
    return isinstance(error, GeneratorExit) and (traceback is None or traceback.tb_next is None)


def _call_blocking_tool_function(effect: RunTool) -> tuple[Any, Exception | None]:
    """Call a tool's function in this thread and return its value and its error."""
    try:
        return effect.function(**effect.arguments), None
    except BaseException as exc:
        error = try_convert_to_tool_error(exc)
        if error is None:
            raise
        return None, error


async def call_user_function(context: Context, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of the user's: in the event loop if it is async, else in a thread.

    Returns its result, which is awaited if it is awaitable.

    :param context: the context that it runs in.
    """
    if is_coroutine_function(function):
        return await call_in_context(context, function, *args)
    value = await run_in_thread(function, *args, context=context)
    return await await_in_context(context, value) if isawaitable(value) else value


def unwrap_exception_group(error: BaseException) -> BaseException:
    """Return the first error inside an exception group, however deep; else the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
