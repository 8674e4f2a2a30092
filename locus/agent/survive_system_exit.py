"""Keeps an event loop running when a task in it calls ``sys.exit``.

asyncio ends the whole loop then. In the background event loop, which blocking runs share, that
would take from all of them what they keep there, because of one tool that has started such a task.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any


class _ExitConverter(Coroutine[Any, Any, Any]):
    """A coroutine whose ``SystemExit`` becomes a ``RuntimeError``, for whoever awaits its task."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def send(self, value: Any, /) -> Any:
        """Continue with a value."""
        return self._run_step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Continue with an error."""
        return self._run_step(self._coroutine.throw, *error)

    def close(self) -> None:
        """Close the coroutine."""
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # anyio reads whether it has started

    @staticmethod
    def _run_step(step: Callable[..., Any], *args: Any) -> Any:
        try:
            return step(*args)
        except SystemExit as exc:
            raise RuntimeError(f"a task tried to end the program with {exc!r}") from exc


async def make_tasks_survive_system_exit(loop: Any) -> None:
    """Let no ``SystemExit`` of a later task end the running asyncio event loop.

    :param loop: the loop.
    """
    task = loop.create_task(_do_nothing())
    await task
    task_class = type(task)  # asyncio itself is not imported

    def make_task(loop: Any, coroutine: Coroutine[Any, Any, Any], **kw: Any) -> Any:
        return task_class(_ExitConverter(coroutine), loop=loop, **kw)

    loop.set_task_factory(make_task)


async def _do_nothing() -> None:
    """Do nothing."""
