"""Runs a round of tool calls: every call of a model response gets exactly one result.

The hooks see the calls first, in their order, and may change or cancel them. Then the calls run
concurrently, and each is recorded and saved when it finishes. The results enter the conversation in
the order of the calls. The result of a call that is rejected or fails is an error that the model
can read.

A call that waits for approval gets no result. What the other calls of its round gave is recorded,
and enters the conversation when the thread is resumed and the round is complete.
"""

from __future__ import annotations

from collections.abc import Sequence

from locus.agent.effects import EffectGenerator, EmitEvent, RunConcurrently
from locus.agent.execute_tool_call import execute_tool_call_in_steps
from locus.agent.guard_against_generator_exit import GeneratorExitConverter
from locus.agent.idempotent_calls import IdempotencyKey
from locus.agent.prepare_tool_call import PreparedCall, prepare_tool_call_in_steps
from locus.agent.record_executions import RoundExecutions, find_recorded_executions
from locus.agent.run_context import RunContext
from locus.core.events import SubAgentEvent, ToolCompleteEvent, ToolStartEvent
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.state import ToolExecution


def run_tool_round_in_steps(run: RunContext) -> EffectGenerator[None]:
    """Run the calls of the model's last response that have no result yet, and add the results.

    ``run.pending_calls`` are those that wait for approval. If calls run one after another, none
    runs after one that waits.
    """
    run.pending_calls = ()
    calls = run.state.pending_calls()
    executions_by_position = find_recorded_executions(run.state, calls)
    first_calls: dict[IdempotencyKey, PreparedCall] = {}
    indexed_calls = list(enumerate(calls))
    is_sequential = run.settings.tool_execution == "sequential"
    batches = [[indexed] for indexed in indexed_calls] if is_sequential else [indexed_calls]
    for batch in batches:
        prepared_calls = []
        for position, call in batch:
            if position not in executions_by_position:
                prepared = yield from prepare_tool_call_in_steps(
                    run, call, position, is_alone=len(batch) == 1
                )
                if prepared.is_waiting:
                    run.pending_calls += (prepared.call,)
                else:
                    prepared_calls.append(prepared)
        if prepared_calls:
            yield from _run_call_batch_in_steps(
                run, prepared_calls, executions_by_position, first_calls
            )
        if run.pending_calls:  # the results stay with their executions until the round is complete
            yield from _emit_complete_events_in_steps(prepared_calls, executions_by_position)
            return
        messages = (
            _make_result_message(call, executions_by_position[position]) for position, call in batch
        )
        run.state = run.state.with_messages(*messages)
        yield from run.save_state_in_steps()
        yield from _emit_complete_events_in_steps(prepared_calls, executions_by_position)
    run.approvals = EMPTY  # a later call may have the same id


def _run_call_batch_in_steps(
    run: RunContext,
    prepared_calls: Sequence[PreparedCall],
    executions_by_position: dict[int, ToolExecution],
    first_calls: dict[IdempotencyKey, PreparedCall],
) -> EffectGenerator[None]:
    """Run calls concurrently, then those that repeat an idempotent call of the same round.

    :param executions_by_position: the executions of the round, by the index of their call; is
        added to.
    :param first_calls: the first of each group of equal idempotent calls; is added to.
    """
    for prepared in prepared_calls:
        call = prepared.call
        yield EmitEvent(ToolStartEvent(call.name, call.id, call.arguments))
    distinct_calls = [
        prepared
        for prepared in prepared_calls
        if prepared.idempotency_key is None
        or first_calls.setdefault(prepared.idempotency_key, prepared) is prepared
    ]
    executions = RoundExecutions(run, executions_by_position, len(prepared_calls))
    generators = [
        GeneratorExitConverter(execute_tool_call_in_steps(run, prepared, executions))
        for prepared in distinct_calls
    ]
    if generators:
        results = yield RunConcurrently(generators, run.settings.max_concurrency)
        for error in results:
            if error is not None:
                raise error
    for prepared in prepared_calls:
        key = prepared.idempotency_key
        if key is not None and (first := first_calls[key]) is not prepared:
            yield from execute_tool_call_in_steps(run, prepared, executions, first.execution)


def _make_result_message(call: ToolCall, execution: ToolExecution) -> Message:
    """Make the message with the result of a call."""
    content, error = execution.content, execution.error
    return Message.tool(ToolResult(call.id, call.name, content, error, execution.duration_ms))


def _emit_complete_events_in_steps(
    prepared_calls: Sequence[PreparedCall], executions_by_position: dict[int, ToolExecution]
) -> EffectGenerator[None]:
    """Emit the event of each call that has ended, after those of the agent that it has run."""
    for prepared in prepared_calls:
        execution = executions_by_position[prepared.position]
        for event in prepared.nested_events:
            yield EmitEvent(SubAgentEvent(execution.tool_name, execution.tool_call_id, event))
        yield EmitEvent(_make_complete_event(execution))


def _make_complete_event(execution: ToolExecution) -> ToolCompleteEvent:
    """Make the event of an execution that has ended."""
    return ToolCompleteEvent(
        execution.tool_name,
        execution.tool_call_id,
        execution.result,
        execution.error,
        execution.duration_ms,
    )
