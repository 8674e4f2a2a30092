"""The states that a checkpointer has last saved or loaded, to find out what is new in the next."""

from __future__ import annotations

from typing import Final

import attrs

from locus.core.state import AgentState

_MAX_STATES: Final = 128


@attrs.frozen(eq=False)
class _CachedState:
    """The state that the storage had at ``revision``."""

    revision: bytes
    state: AgentState


class StateCache:
    """The last states of the threads. A state is used only at the revision that the storage has."""

    def __init__(self) -> None:
        self._states: dict[str, _CachedState] = {}

    def get(self, thread_id: str, revision: bytes | None) -> AgentState | None:
        """Return the state that the thread had at ``revision``, or None if it is not cached."""
        cached = self._states.get(thread_id)
        if cached is None or revision is None or cached.revision != revision:
            return None
        return cached.state

    def put(self, thread_id: str, revision: bytes, state: AgentState) -> None:
        """Cache the state that was last saved or loaded, and drop the oldest ones."""
        # Without a lock, because a forked child could wait for it forever. None is needed: a cached
        # state is used only if its revision is that of the storage.
        self._states.pop(thread_id, None)
        self._states[thread_id] = _CachedState(revision, state)
        for oldest in list(self._states)[:-_MAX_STATES]:
            self._states.pop(oldest, None)

    def discard(self, thread_id: str) -> None:
        """Forget a thread."""
        self._states.pop(thread_id, None)
