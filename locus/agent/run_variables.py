"""The context variables (``contextvars``) of a run that has hooks.

A run starts with a copy of its caller's variables. All hooks of the run share that copy, so what
one of them sets is seen by the hooks, the model calls and the tools after it, blocking or async, on
every runtime, and not by the caller. Calls of a round that run at the same time have a copy each,
which their hooks share, and which ends with the call. A tool and a model call have a copy of their
own: what they set is theirs alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context

from sniffio import current_async_library_cvar


class RunVariables:
    """The variables that the hooks of a run share.

    :param context: the context with the variables at the beginning.
    """

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    @classmethod
    def copy_from_caller(cls) -> RunVariables:
        """Copy the variables of the caller."""
        context = copy_context()
        # A blocking hook of an async run has a thread without an event loop. In the thread of an
        # event loop, the loop is found without this variable.
        context.run(current_async_library_cvar.set, None)
        return cls(context)

    def copy(self) -> Context:
        """Return a context with the present variables, for code that shares it with no hook."""
        return self._context.copy()

    def fork(self) -> RunVariables:
        """Return a copy that the hooks of one tool call share."""
        return RunVariables(self.copy())

    @contextmanager
    def use_for_hook(self) -> Iterator[Context]:
        """Give the context to a hook for a ``with`` block.

        A hook that was interrupted may still be running in it, and two cannot; then later hooks
        have a copy.
        """
        try:
            yield self._context
        except Exception:
            raise
        except BaseException:
            self._context = self._context.copy()
            raise
