"""Collects the evidence that a final answer is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from locus.core.messages import Message, Role, ToolCall
from locus.core.state import AgentState, ToolExecution
from locus.memory.managers.message_groups import is_summary


def collect_evidence(state: AgentState) -> tuple[ToolExecution, ...]:
    """Collect the tool executions of a thread, and what stands for others.

    These are the summaries of a conversation manager, and the results in the prompts: of calls that
    a person carried out, or of a conversation that began elsewhere.
    """
    summaries = (
        ToolExecution("summary_of_earlier_messages", f"summary_{number}", {}, message.text)
        for number, message in enumerate(filter(is_summary, state.messages), 1)
    )
    return (*summaries, *_iter_given_results(state), *state.tool_executions)


def _iter_given_results(state: AgentState) -> Iterator[ToolExecution]:
    """Iterate over the results in the conversation that come from no execution.

    Some providers use the ids of calls again: the newest results are those of the executions.
    """
    calls: dict[str | None, ToolCall] = {}
    results: list[tuple[Message, ToolCall | None]] = []
    for message in state.messages:
        calls.update((call.id, call) for call in message.tool_calls)
        if message.role is Role.TOOL:
            results.append((message, calls.get(message.tool_call_id)))
    surplus = Counter(message.tool_call_id or "" for message, _ in results)
    surplus.subtract(execution.tool_call_id for execution in state.tool_executions)
    for message, call in results:
        call_id = message.tool_call_id or ""
        if surplus[call_id] > 0:
            surplus[call_id] -= 1
            arguments = None if call is None else call.arguments
            yield ToolExecution(message.name or "tool", call_id, arguments, message.text)
