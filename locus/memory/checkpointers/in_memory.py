"""``MemoryCheckpointer``: checkpoints in a dictionary, lost when the process ends."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NoReturn

import attrs

from locus.core.messages import Message
from locus.core.state import AgentState, ToolExecution
from locus.memory.checkpointers.base import BaseCheckpointer, validate_state, validate_thread_id
from locus.memory.checkpointers.interprocess_thread_locks import lock_key_in_process
from locus.memory.checkpointers.item_digests import count_identical_leading_items


@attrs.frozen(eq=False)
class _SavedState:
    state: AgentState
    """The saved object. The next save compares its items by identity, to find the new ones."""

    messages: tuple[bytes, ...]
    executions: tuple[bytes, ...]
    state_json: bytes
    """The state as JSON, without its messages and executions."""


_EMPTY_STATE = _SavedState(AgentState(), (), (), b"")


class MemoryCheckpointer(BaseCheckpointer):
    """Keeps checkpoints in the memory of this process, until the checkpointer is deleted.

    It saves JSON, as the others do: so it raises the same errors and returns the same values, and a
    saved checkpoint cannot be changed. It cannot be pickled, because the copy would not have the
    checkpoints that are saved later.
    """

    def __init__(self) -> None:
        # No lock is needed: each method uses it in one operation, which is atomic in Python.
        self._states: dict[str, _SavedState] = {}

    def save(self, thread_id: str, state: AgentState) -> None:
        from locus.core.state_json import encode_item

        last = self._states.get(validate_thread_id(thread_id), _EMPTY_STATE)
        count = count_identical_leading_items(last.state.messages, validate_state(state).messages)
        messages = last.messages[:count] + tuple(map(encode_item, state.messages[count:]))
        count = count_identical_leading_items(last.state.tool_executions, state.tool_executions)
        new_executions = tuple(map(encode_item, state.tool_executions[count:]))
        executions = last.executions[:count] + new_executions
        state_json = state.evolve(messages=(), tool_executions=()).to_json()
        self._states[thread_id] = _SavedState(state, messages, executions, state_json)

    def load(self, thread_id: str) -> AgentState | None:
        from locus.core.state_json import decode_items

        saved = self._states.get(validate_thread_id(thread_id))
        if saved is None:
            return None
        return AgentState.from_json(saved.state_json).evolve(
            messages=decode_items(saved.messages, Message),
            tool_executions=decode_items(saved.executions, ToolExecution),
        )

    def delete(self, thread_id: str) -> None:
        self._states.pop(validate_thread_id(thread_id), None)

    def threads(self) -> tuple[str, ...]:
        return tuple(sorted(self._states))

    def claim(self, thread_id: str) -> AbstractContextManager[None]:
        return lock_key_in_process(f"{id(self)}:{validate_thread_id(thread_id)}", thread_id)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a MemoryCheckpointer cannot be pickled: its checkpoints stay in this process. "
            "SQLiteCheckpointer(path) and FileCheckpointer(directory) can be pickled"
        )

    def __repr__(self) -> str:
        return f"<MemoryCheckpointer, {len(self._states)} threads>"
