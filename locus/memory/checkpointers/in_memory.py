"""Checkpoints in a dictionary: for tests, and for conversations that end with their process."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NoReturn

from locus.core.state import AgentState
from locus.memory.checkpointers.base import BaseCheckpointer, check_thread_id
from locus.memory.checkpointers.claims import claim_in_process
from locus.memory.checkpointers.items import same_beginning


class MemoryCheckpointer(BaseCheckpointer):
    """Keeps checkpoints as long as it lives, in this process.

    It refuses the states that the others refuse, so what works with it works with them. Pickling it
    is an error, for the copy would know nothing of what is saved later.
    """

    def __init__(self) -> None:
        # Used without a lock: each method does one thing to it, which the interpreter does whole.
        self._states: dict[str, AgentState] = {}

    def save(self, thread_id: str, state: AgentState) -> None:
        from locus.core.state_json import write_item, write_state

        last = self._states.get(check_thread_id(thread_id), AgentState())
        for old, new in (
            (last.messages, state.messages),
            (last.tool_executions, state.tool_executions),
        ):
            for item in new[same_beginning(old, new) :]:
                write_item(item)
        write_state(state.evolve(messages=(), tool_executions=()))
        self._states[thread_id] = state

    def load(self, thread_id: str) -> AgentState | None:
        return self._states.get(check_thread_id(thread_id))

    def delete(self, thread_id: str) -> None:
        self._states.pop(check_thread_id(thread_id), None)

    def threads(self) -> tuple[str, ...]:
        return tuple(sorted(self._states))

    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        return claim_in_process(f"{id(self)}:{check_thread_id(thread_id)}", thread_id)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a MemoryCheckpointer cannot be pickled: its checkpoints stay in this process. "
            "SQLiteCheckpointer(path) and FileCheckpointer(directory) go along to another one"
        )

    def __repr__(self) -> str:
        return f"<MemoryCheckpointer, {len(self._states)} threads>"
