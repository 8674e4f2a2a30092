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
    :ivar executions_by_position: the recorded executions, by the index of their call in the round.
    :ivar unfinished_call_count: how many calls have yet to be answered.
    :ivar earlier_executions: the executions of earlier rounds.
    """

    run: RunContext
    executions_by_position: dict[int, ToolExecution]
    unfinished_call_count: int
    earlier_executions: tuple[ToolExecution, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        executions = self.run.state.tool_executions
        self.earlier_executions = executions[: len(executions) - len(self.executions_by_position)]

    def record_execution(self, prepared: PreparedCall, execution: ToolExecution) -> None:
        """Put an execution into the state, without saving it."""
        run, executions_by_position = self.run, self.executions_by_position
        if executions_by_position.get(prepared.position) is execution:
            return
        is_last = not executions_by_position or prepared.position > max(executions_by_position)
        prepared.execution = executions_by_position[prepared.position] = execution
        if is_last:
            run.state = run.state.with_execution(execution)
        else:
            self._write_executions_to_state()

    def discard_execution(self, prepared: PreparedCall) -> None:
        """Remove the execution of a call that will be run again."""
        if self.executions_by_position.pop(prepared.position, None) is not None:
            self._write_executions_to_state()

    def _write_executions_to_state(self) -> None:
        """Write the executions into the state of the run, in the order of their calls."""
        ordered = (
            self.executions_by_position[position]
            for position in sorted(self.executions_by_position)
        )
        self.run.state = self.run.state.evolve(tool_executions=(*self.earlier_executions, *ordered))

    def finish_call_in_steps(
        self, prepared: PreparedCall, execution: ToolExecution
    ) -> EffectGenerator[None]:
        """Record the final execution of a call, and save the state unless it is the last call.

        After the last one the results are added to the conversation first, and saved with it.
        """
        self.record_execution(prepared, execution)
        self.run.tool_call_count += 1
        self.unfinished_call_count -= 1
        if self.unfinished_call_count or self.run.pending_calls:
            yield from self.run.save_state_in_steps()


def find_recorded_executions(
    state: AgentState, calls: Sequence[ToolCall]
) -> dict[int, ToolExecution]:
    """Find the executions of a round that were recorded before the run was interrupted.

    Returns them by the indexes of their calls.
    """
    positions = {call.id: position for position, call in enumerate(calls)}
    executions_by_position = {}
    for execution in _iter_latest_executions(state):
        position = positions.get(execution.tool_call_id)
        if position is not None:
            executions_by_position[position] = execution
    return executions_by_position


def _iter_latest_executions(state: AgentState) -> Iterator[ToolExecution]:
    """Iterate over the executions of the last model call, the latest first."""
    for execution in reversed(state.tool_executions):
        if execution.iteration != state.iteration:
            break
        yield execution
