"""``BaseCheckpointer``, the base class of checkpointers: they save the state of each thread.

The methods block, so that one implementation serves all runtimes: an async agent calls them in a
worker thread. In a class of the user's they may be async instead; a blocking agent awaits them in
the background event loop. A *thread* here is a conversation with an id, not a thread of the
operating system.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager

from locus.core.closeable import Closeable
from locus.core.errors import ConfigurationError
from locus.core.state import AgentState


class BaseCheckpointer(Closeable):
    """Saves the state of each conversation thread.

    A subclass implements the five abstract methods, and :meth:`close` if it has open files or
    connections. Many operating-system threads and tasks may use it at the same time.
    """

    @abstractmethod
    def save(self, thread_id: str, state: AgentState) -> None:
        """Save ``state`` as the thread's checkpoint; it replaces the previous one.

        When this returns, the checkpoint is durable: it survives the end of the process and, as far
        as the disk is reliable, a power failure. If it fails or the process is killed, the thread
        has either the new checkpoint or the previous one.

        :raises CheckpointError: if it could not be saved; the previous one still exists.
        :raises ConfigurationError: if a value in the state is not JSON; the message names it.
        """

    @abstractmethod
    def load(self, thread_id: str) -> AgentState | None:
        """Load the thread's checkpoint; None if it has none.

        :raises CheckpointError: if it is damaged or cannot be read; the message says what to do.
        :raises CheckpointVersionError: if a newer version of Locus saved it.
        """

    @abstractmethod
    def delete(self, thread_id: str) -> None:
        """Delete the thread's checkpoint, if it has one."""

    @abstractmethod
    def threads(self) -> tuple[str, ...]:
        """Return the ids of all threads that have a checkpoint, sorted."""

    @abstractmethod
    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        """Return a context manager that locks the thread; a run locks it before it loads.

        Meanwhile no other code can lock it, in any thread, task or process; the lock is not
        reentrant. It is released at the end of the ``with`` block, or when the process ends, even
        if it is killed. It may be released in another operating-system thread than it was acquired
        in. :meth:`save` and :meth:`load` do not need the lock.

        :raises ThreadBusyError: at the start of the ``with`` block, without waiting, if the thread
            is locked already.
        """

    def close(self) -> None:
        """Close files and connections. Calling it twice is fine; a later call opens them again."""


def validate_thread_id(thread_id: str) -> str:
    """Check ``thread_id``, and return it.

    :raises TypeError: if it is not a string.
    :raises ConfigurationError: (a ``ValueError``) if it is empty.
    """
    if not isinstance(thread_id, str):
        raise TypeError(f"thread_id is a string, not {type(thread_id).__name__}")
    if not thread_id:
        raise ConfigurationError("thread_id is empty: give the conversation a name")
    return thread_id


def validate_state(state: AgentState) -> AgentState:
    """Check ``state``, and return it.

    :raises TypeError: if it is not an ``AgentState``.
    """
    if not isinstance(state, AgentState):
        raise TypeError(f"a checkpoint is an AgentState, not {type(state).__name__}")
    return state
