"""What a checkpointer promises: the last saved state of each thread, whole, whatever happens.

The methods block, so that one implementation serves all runtimes: an async agent calls them in a
worker thread. A *thread* here is a conversation under a name, which has nothing to do with threads
of the operating system.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager

from locus.core.closeable import Closeable
from locus.core.errors import ConfigurationError
from locus.core.state import AgentState


class BaseCheckpointer(Closeable):
    """Keeps the state of each thread. May be used from many threads and tasks at once.

    A checkpointer of your own has these five methods, and :meth:`close` where it holds something.
    """

    @abstractmethod
    def save(self, thread_id: str, state: AgentState) -> None:
        """Keep ``state`` as the thread's checkpoint, in the place of the one before.

        When this returns, the checkpoint is there to stay: it outlives the process and, as far as
        the disk keeps its promises, the power. If it fails or is killed, either the new checkpoint
        is there or the one before.

        :raises CheckpointError: it could not be saved; the one before is still there.
        :raises ConfigurationError: the state holds something that is not JSON; says what.
        """

    @abstractmethod
    def load(self, thread_id: str) -> AgentState | None:
        """The thread's checkpoint, or None where it has none.

        :raises CheckpointError: it is damaged or cannot be read; says what to do.
        :raises CheckpointVersionError: a newer version of Locus has saved it.
        """

    @abstractmethod
    def delete(self, thread_id: str) -> None:
        """Forget the thread; all is well if it is not known."""

    @abstractmethod
    def threads(self) -> tuple[str, ...]:
        """The names of all threads that have a checkpoint, sorted."""

    @abstractmethod
    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        """Have the thread to oneself, inside ``with``: what a run does before it loads.

        Nobody else gets a claim on it meanwhile, in whatever thread, task or process, the holder
        itself included. A claim ends with its ``with`` block, or with its process, however that
        dies. It may end in another thread than it began in. Saving and loading need no claim.

        :raises ThreadBusyError: on entering, at once, where somebody else has the claim.
        """

    def close(self) -> None:  # to hold nothing is a good way to be closed
        """Release files and connections. Calling twice is fine; used again, it opens them again."""


def check_thread_id(thread_id: str) -> str:
    """``thread_id``, where it is one.

    :raises TypeError: it is not a string.
    :raises ConfigurationError: (a ``ValueError``) it is empty.
    """
    if not isinstance(thread_id, str):
        raise TypeError(f"thread_id is a string, not {type(thread_id).__name__}")
    if not thread_id:
        raise ConfigurationError("thread_id is empty: give the conversation a name")
    return thread_id


def check_state(state: AgentState) -> AgentState:
    """``state``, where it is one.

    :raises TypeError: it is something else.
    """
    if not isinstance(state, AgentState):
        raise TypeError(f"a checkpoint is an AgentState, not {type(state).__name__}")
    return state
