"""Locks the thread of a run in its checkpointer, whose methods may be blocking or async."""

from __future__ import annotations

from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import attrs

from locus.agent.effects import EffectGenerator, UseStorage

if TYPE_CHECKING:
    from locus.memory.checkpointers.base import BaseCheckpointer


@attrs.frozen(eq=False)
class ThreadLock:
    """The lock that a run holds on its thread.

    :ivar context: the context that the lock was entered in, and is left in.
    """

    _lock: Any
    context: Context

    def release_in_steps(self) -> EffectGenerator[None]:
        """Release the lock; if Ctrl-C came before that had begun, once more."""
        leave = getattr(self._lock, "__exit__", None) or self._lock.__aexit__
        has_begun = False

        def leave_lock() -> Any:
            nonlocal has_begun
            has_begun = True
            return leave(None, None, None)

        try:
            yield UseStorage(leave_lock, self.context)
        except KeyboardInterrupt:
            if not has_begun:
                yield UseStorage(leave_lock, self.context)
            raise


def lock_thread_in_steps(
    checkpointer: BaseCheckpointer, thread_id: str
) -> EffectGenerator[ThreadLock]:
    """Lock a thread and return the lock.

    ``claim`` may also return an async context manager, or be an async function.

    :raises TypeError: if it returned something else.
    """
    lock: Any = checkpointer.claim(thread_id)
    context = copy_context()
    if isawaitable(lock):
        lock = yield UseStorage(partial(_return_value, lock), context)
    enter = getattr(lock, "__enter__", None) or getattr(lock, "__aenter__", None)
    if enter is None:
        raise TypeError(
            f"{type(checkpointer).__name__}.claim returned {type(lock).__name__}, "
            "not a context manager"
        )
    yield UseStorage(enter, context)
    return ThreadLock(lock, context)


def _return_value(value: Any) -> Any:
    """Return a value, which the driver awaits if it is awaitable."""
    return value
