"""Prepares a tool call: the before-hooks may change it, and it may be rejected."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Context, copy_context
from difflib import get_close_matches
from typing import TYPE_CHECKING

import attrs

from locus.agent.effects import AgentEvent, EffectGenerator
from locus.agent.idempotent_calls import (
    IdempotencyKey,
    find_earlier_execution,
    make_idempotency_key,
)
from locus.agent.run_context import RunContext
from locus.agent.settings import RunnableTool
from locus.agent.tool_call_approval import is_approval_required_in_steps, make_denial
from locus.core.frozendict import EMPTY
from locus.core.messages import ToolCall
from locus.core.response import is_response_broken_off
from locus.core.state import ToolExecution
from locus.hooks.events import BeforeToolCallEvent
from locus.tools.function_tool import FunctionTool

if TYPE_CHECKING:
    from locus.agent.run_variables import RunVariables


@attrs.define(eq=False)
class PreparedCall:
    """A tool call that is ready to run, or rejected.

    :ivar call: the call, as the hooks have changed it.
    :ivar position: its index among the calls of the round.
    :ivar tool: the tool; None if there is none of that name.
    :ivar rejection_reason: why the call is not run, as the model reads it; None if it is run.
    :ivar idempotency_key: identifies equal calls of an idempotent tool; None for other tools.
    :ivar is_waiting: whether a person has to approve the call first.
    :ivar execution: what was recorded for the call, as soon as it has run.
    :ivar variables: the context variables that its hooks share; None if there are no hooks.
    :ivar nested_events: the events of the agent that the tool has run, if it is one.
    """

    call: ToolCall
    position: int
    tool: RunnableTool | None
    rejection_reason: str | None = None
    idempotency_key: IdempotencyKey | None = None
    is_waiting: bool = False
    execution: ToolExecution | None = None
    variables: RunVariables | None = None
    nested_events: Sequence[AgentEvent] = ()

    def make_function_context(self) -> Context:
        """Return a context for one call of the tool, or of another function of the user's."""
        return copy_context() if self.variables is None else self.variables.copy()


def prepare_tool_call_in_steps(
    run: RunContext, call: ToolCall, position: int, *, is_alone: bool
) -> EffectGenerator[PreparedCall]:
    """Call the before-hooks for a tool call and decide whether it can run.

    :param position: the index of the call in its round.
    :param is_alone: whether no other call runs at the same time.
    """
    cut_off = call.id == run.state.cut_off_call_id
    rejection_reason = None
    variables = run.variables
    if variables is not None and not is_alone:
        variables = variables.fork()
    if call.malformed_arguments is not None and not call.malformed_arguments.strip():
        call = attrs.evolve(call, malformed_arguments=None)  # some models write no arguments so
    if run.has_hooks("on_before_tool_call"):
        event = BeforeToolCallEvent(
            thread_id=run.thread_id,
            metadata=run.metadata,
            tool_name=call.name,
            tool_call_id=call.id,
            iteration=run.state.iteration,
            arguments=call.arguments,
            malformed_arguments=call.malformed_arguments,
            cut_off=cut_off,
        )
        yield from run.call_hooks_in_steps("on_before_tool_call", event, variables)
        malformed = event.malformed_arguments
        is_repaired = malformed is None and call.malformed_arguments is not None
        cut_off = event.cut_off and not is_repaired
        arguments = event.arguments if malformed is None else EMPTY
        call = attrs.evolve(call, arguments=arguments, malformed_arguments=malformed)
        if event.cancel:
            reason = event.cancel if isinstance(event.cancel, str) else "no reason was given"
            rejection_reason = f"the call was cancelled: {reason}"
    tool = run.find_tool(call.name)
    if isinstance(tool, FunctionTool):
        call = tool.repair_call(call)
    prepared = PreparedCall(call, position, tool, rejection_reason, variables=variables)
    if rejection_reason is None:
        prepared.rejection_reason = _find_rejection_reason(run, prepared, cut_off=cut_off)
    if prepared.rejection_reason is None and prepared.tool is not None:
        if prepared.tool.idempotent:
            prepared.idempotency_key = make_idempotency_key(call)
        yield from _ask_for_approval_in_steps(run, prepared, prepared.tool)
    return prepared


def _ask_for_approval_in_steps(
    run: RunContext, prepared: PreparedCall, tool: RunnableTool
) -> EffectGenerator[None]:
    """Let a call wait for approval, or reject it if it was not approved.

    A repeated idempotent call does not run, so it needs no approval.
    """
    decision = run.approvals.get(prepared.call.id)
    if decision is not None:
        if decision is not True:
            prepared.rejection_reason = make_denial(decision)
        return
    key = prepared.idempotency_key
    executions = run.state.tool_executions
    if key is not None and find_earlier_execution(executions, prepared.call, key) is not None:
        return
    if tool.requires_approval is not False:
        prepared.is_waiting = yield from is_approval_required_in_steps(
            tool,
            prepared.call,
            run.make_tool_context(prepared.call),
            prepared.make_function_context(),
        )


def _find_rejection_reason(run: RunContext, prepared: PreparedCall, *, cut_off: bool) -> str | None:
    """Return the reason not to run a call, as the model reads it; None if it can run.

    A call is rejected if there is no such tool, or if it was cut off.
    """
    if prepared.tool is None:
        schema = run.output_schema
        if schema is not None and schema.is_answer(prepared.call):
            return schema.make_rejection()
        name, names = prepared.call.name, run.list_visible_tool_names()
        close_names = get_close_matches(name, names, n=1)
        hint = f" Did you mean {close_names[0]!r}?" if close_names else ""
        all_tools = f"The tools are: {', '.join(names)}" if names else "There are no tools"
        return f"there is no tool {name!r}.{hint} {all_tools}."
    if cut_off:
        if is_response_broken_off(run.state.stop_reason):
            return (
                f"your answer was broken off ({run.state.stop_reason}), so the arguments of this "
                "call may not be whole and it was not run. Make the call again."
            )
        return (
            "your answer was cut off at its token limit, so the arguments of this call may not be "
            "whole and it was not run. Make the call again, with less around it."
        )
    return None
