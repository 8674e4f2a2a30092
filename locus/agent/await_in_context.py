"""Awaits a user's coroutine in a context of its own, in the task that awaits it.

A new task would have a copy of a context, and no runtime but asyncio lets the caller choose it. So
what the coroutine set there would be lost.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from inspect import iscoroutine
from typing import Any


async def call_in_context(
    context: Context | None, function: Callable[..., Awaitable[Any]], /, *args: Any, **kw: Any
) -> Any:
    """Call an async function in a context and return its result.

    :param context: None is that of the caller.
    """
    if context is None:
        return await function(*args, **kw)
    return await await_in_context(context, context.run(function, *args, **kw))


@types.coroutine
def await_in_context(context: Context, awaitable: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """Await something in a context, which is entered for each step and left between the steps.

    :param context: no other code may enter it during a step.
    """
    run = context.run
    coroutine: Any = awaitable if iscoroutine(awaitable) else _await_value(awaitable)
    step, argument = coroutine.send, None
    try:
        while True:
            try:
                yielded = run(step, argument)
            except StopIteration as stop:
                return stop.value
            try:
                step, argument = coroutine.send, (yield yielded)
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as exc:  # noqa: BLE001 - the coroutine gets it
                step, argument = coroutine.throw, exc
    finally:
        argument = None  # the traceback of an error refers to this frame


async def _await_value(value: Awaitable[Any]) -> Any:
    """Await a value: a coroutine for every awaitable."""
    return await value
