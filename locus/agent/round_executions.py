"""Records the executions of one round of tool calls in the state, in the order of the calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from locus.agent.effects import EffectGenerator
from locus.agent.prepare_tool_call import PreparedCall
from locus.agent.run_context import RunContext
from locus.core.messages import ToolCall
from locus.core.state import AgentState, ToolExecution


@attrs.define(eq=False)
class RoundExecutions:
    """The executions of a round, which finish in any order and are recorded in that of the calls.

    :ivar run: the run, whose state is updated.
    :ivar by_position: the recorded executions, by the index of their call in the round.
    :ivar unfinished: how many calls have yet to be answered.
    :ivar earlier: the executions of earlier rounds.
    """

    run: RunContext
    by_position: dict[int, ToolExecution]
    unfinished: int
    earlier: tuple[ToolExecution, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        executions = self.run.state.tool_executions
        self.earlier = executions[: len(executions) - len(self.by_position)]

    def record(self, prepared: PreparedCall, execution: ToolExecution) -> None:
        """Put an execution into the state, without saving it."""
        run, by_position = self.run, self.by_position
        if by_position.get(prepared.position) is execution:
            return
        is_last = not by_position or prepared.position > max(by_position)
        prepared.execution = by_position[prepared.position] = execution
        if is_last:
            run.state = run.state.with_execution(execution)
        else:
            self._rebuild_executions()

    def discard(self, prepared: PreparedCall) -> None:
        """Remove the execution of a call that will be run again."""
        if self.by_position.pop(prepared.position, None) is not None:
            self._rebuild_executions()

    def _rebuild_executions(self) -> None:
        ordered = (self.by_position[position] for position in sorted(self.by_position))
        self.run.state = self.run.state.evolve(tool_executions=(*self.earlier, *ordered))

    def finish(self, prepared: PreparedCall, execution: ToolExecution) -> EffectGenerator[None]:
        """Record the final execution of a call, and save the state unless it is the last call.

        After the last one the results are added to the conversation first, and saved with it.
        """
        self.record(prepared, execution)
        self.run.tool_call_count += 1
        self.unfinished -= 1
        if self.unfinished:
            yield from self.run.save_state()


def find_recorded_executions(
    state: AgentState, calls: Sequence[ToolCall]
) -> dict[int, ToolExecution]:
    """Find what was executed of a round before the run was interrupted, by the calls' indexes."""
    positions = {call.id: position for position, call in enumerate(calls)}
    by_position = {}
    for execution in _iter_executions_of_round(state):
        position = positions.get(execution.tool_call_id)
        if position is not None:
            by_position[position] = execution
    return by_position


def _iter_executions_of_round(state: AgentState) -> Iterator[ToolExecution]:
    for execution in reversed(state.tool_executions):
        if execution.iteration != state.iteration:
            break
        yield execution
