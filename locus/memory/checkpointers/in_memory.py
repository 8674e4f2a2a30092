"""Checkpoints in a dictionary: for tests, and for conversations that end with their process."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NoReturn

import attrs

from locus.core.messages import Message
from locus.core.state import AgentState, ToolExecution
from locus.memory.checkpointers.base import BaseCheckpointer, check_state, check_thread_id
from locus.memory.checkpointers.incremental import same_beginning
from locus.memory.checkpointers.thread_locks import claim_in_process


@attrs.frozen(eq=False)
class _Saved:
    state: AgentState
    """What was saved, to find by identity what is new the next time."""

    messages: tuple[bytes, ...]
    executions: tuple[bytes, ...]
    rest: bytes


_NOTHING = _Saved(AgentState(), (), (), b"")


class MemoryCheckpointer(BaseCheckpointer):
    """Keeps checkpoints as long as it lives, in this process.

    It keeps them as JSON, as the others do: it refuses what they refuse, gives what they give, and
    nobody can alter a checkpoint afterwards. Pickling it is an error, for the copy would know
    nothing of what is saved later.
    """

    def __init__(self) -> None:
        # Used without a lock: each method does one thing to it, which the interpreter does whole.
        self._states: dict[str, _Saved] = {}

    def save(self, thread_id: str, state: AgentState) -> None:
        from locus.core.state_json import write_item, write_state

        last = self._states.get(check_thread_id(thread_id), _NOTHING)
        kept = same_beginning(last.state.messages, check_state(state).messages)
        messages = last.messages[:kept] + tuple(map(write_item, state.messages[kept:]))
        kept = same_beginning(last.state.tool_executions, state.tool_executions)
        executions = last.executions[:kept] + tuple(map(write_item, state.tool_executions[kept:]))
        rest = write_state(state.evolve(messages=(), tool_executions=()))
        self._states[thread_id] = _Saved(state, messages, executions, rest)

    def load(self, thread_id: str) -> AgentState | None:
        from locus.core.state_json import read_items, read_state

        saved = self._states.get(check_thread_id(thread_id))
        if saved is None:
            return None
        return read_state(saved.rest).evolve(
            messages=read_items(Message, saved.messages),
            tool_executions=read_items(ToolExecution, saved.executions),
        )

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
