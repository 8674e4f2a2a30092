"""Every checkpointer against a dictionary: in whatever order things are done, both say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from locus.core.messages import Message
from locus.core.state import AgentState, ToolExecution
from locus.memory import MemoryCheckpointer
from tests.memory.checkpointers.every_checkpointer import MAKERS, Make
from tests.support.strategies.conversations import conversations
from tests.support.strategies.states import executions, states


class Model(RuleBasedStateMachine):
    """Two checkpointers at one place and a dictionary see the same."""

    make: Make
    path: Path

    @initialize()
    def begin(self) -> None:
        first = self.make(self.path)
        second = first if isinstance(first, MemoryCheckpointer) else self.make(self.path)
        self.both = [first, second]
        for thread in first.threads():  # of the example before
            first.delete(thread)
        self.model: dict[str, AgentState] = {}

    names = st.sampled_from(["a", "A", "a/b"])
    which = st.integers(0, 1)

    @rule(name=names, which=which, state=states())
    def save(self, name: str, which: int, state: AgentState) -> None:
        self.both[which].save(name, state)
        self.model[name] = state

    @rule(name=names, which=which, more=conversations(), ran=st.lists(executions(), max_size=2))
    def go_on(
        self, name: str, which: int, more: tuple[Message, ...], ran: list[ToolExecution]
    ) -> None:
        state = self.model.get(name, AgentState()).with_messages(*more).with_execution(*ran)
        self.both[which].save(name, state)
        self.model[name] = state

    @rule(name=names, which=which, keep=st.integers(0, 5))
    def cut(self, name: str, which: int, keep: int) -> None:
        state = self.model.get(name, AgentState())
        state = state.evolve(
            messages=state.messages[-keep:], tool_executions=state.tool_executions[:keep]
        )
        self.both[which].save(name, state)
        self.model[name] = state

    @rule(name=names, which=which)
    def load(self, name: str, which: int) -> None:
        state = self.both[which].load(name)
        assert state == self.model.get(name)
        if state is not None:  # goes on with what was loaded
            self.model[name] = state

    @rule(name=names, which=which)
    def delete(self, name: str, which: int) -> None:
        self.both[which].delete(name)
        self.model.pop(name, None)

    @rule(which=which)
    def list_all(self, which: int) -> None:
        assert self.both[which].threads() == tuple(sorted(self.model))

    @rule(which=which)
    def close(self, which: int) -> None:
        self.both[which].close()

    def teardown(self) -> None:
        for name, state in self.model.items():
            for checkpointer in self.both:
                assert checkpointer.load(name) == state
        for checkpointer in getattr(self, "both", ()):
            checkpointer.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_any_order_of_doing_things_gives_what_a_dictionary_gives(kind: str, tmp_path: Path) -> None:
    machine = type("Machine", (Model,), {"make": staticmethod(MAKERS[kind]), "path": tmp_path})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=15, deadline=None)
    )
