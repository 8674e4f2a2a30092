"""Compares every checkpointer with a dictionary, after any sequence of operations."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from locus.core.messages import Message
from locus.core.state import AgentState, ToolExecution
from locus.memory import MemoryCheckpointer
from tests.memory.checkpointers.checkpointer_factories import FACTORIES, Factory
from tests.support.strategies import conversations
from tests.support.strategies.states import executions, states


class CheckpointerMachine(RuleBasedStateMachine):
    """Two checkpointers at one path have the same states as a dictionary."""

    factory: Factory
    path: Path

    @initialize()
    def open_checkpointers(self) -> None:
        first = self.factory(self.path)
        second = first if isinstance(first, MemoryCheckpointer) else self.factory(self.path)
        self.instances = [first, second]
        for thread_id in first.threads():  # of the previous example
            first.delete(thread_id)
        self.expected: dict[str, AgentState] = {}

    thread_ids = st.sampled_from(["a", "A", "a/b"])
    index = st.integers(0, 1)

    @rule(thread_id=thread_ids, index=index, state=states())
    def save(self, thread_id: str, index: int, state: AgentState) -> None:
        self.instances[index].save(thread_id, state)
        self.expected[thread_id] = state

    @rule(
        thread_id=thread_ids,
        index=index,
        messages=conversations(),
        new_executions=st.lists(executions(), max_size=2),
    )
    def extend(
        self,
        thread_id: str,
        index: int,
        messages: tuple[Message, ...],
        new_executions: list[ToolExecution],
    ) -> None:
        state = (
            self.expected.get(thread_id, AgentState())
            .with_messages(*messages)
            .with_execution(*new_executions)
        )
        self.instances[index].save(thread_id, state)
        self.expected[thread_id] = state

    @rule(thread_id=thread_ids, index=index, count=st.integers(0, 5))
    def shorten(self, thread_id: str, index: int, count: int) -> None:
        state = self.expected.get(thread_id, AgentState())
        state = state.evolve(
            messages=state.messages[-count:], tool_executions=state.tool_executions[:count]
        )
        self.instances[index].save(thread_id, state)
        self.expected[thread_id] = state

    @rule(thread_id=thread_ids, index=index)
    def load(self, thread_id: str, index: int) -> None:
        state = self.instances[index].load(thread_id)
        assert state == self.expected.get(thread_id)
        if state is not None:  # continue with the loaded state
            self.expected[thread_id] = state

    @rule(thread_id=thread_ids, index=index)
    def delete(self, thread_id: str, index: int) -> None:
        self.instances[index].delete(thread_id)
        self.expected.pop(thread_id, None)

    @rule(index=index)
    def threads(self, index: int) -> None:
        assert self.instances[index].threads() == tuple(sorted(self.expected))

    @rule(index=index)
    def close(self, index: int) -> None:
        self.instances[index].close()

    def teardown(self) -> None:
        for thread_id, state in self.expected.items():
            for checkpointer in self.instances:
                assert checkpointer.load(thread_id) == state
        for checkpointer in getattr(self, "both", ()):
            checkpointer.close()


@pytest.mark.parametrize("max_examples", [5, pytest.param(100, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("backend", FACTORIES)
def test_any_sequence_of_operations_gives_the_same_as_a_dictionary(
    backend: str, max_examples: int, tmp_path: Path
) -> None:
    machine = type(
        "Machine",
        (CheckpointerMachine,),
        {"factory": staticmethod(FACTORIES[backend]), "path": tmp_path},
    )
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=max_examples, stateful_step_count=15, deadline=None),
    )
