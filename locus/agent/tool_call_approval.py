"""Decides whether a tool call waits for the approval of a person, and reads what they decided.

A call that waits is not run and gets no result, so it stays open in the saved state, and a resumed
run finds it there. A decision is for the calls that are open when the run is resumed: a later call
is asked about again, even if the provider gives it the same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from typing import Any, Final, TypeAlias

from locus.agent.bind_arguments import bind_arguments_in_steps
from locus.agent.effects import CallFunction, EffectGenerator
from locus.agent.settings import RunnableTool
from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict, to_frozen_dict
from locus.core.messages import ToolCall
from locus.core.state import AgentState
from locus.tools.approval_rule import make_rule_arguments
from locus.tools.context import ToolContext
from locus.tools.errors import ToolArgumentsError
from locus.tools.function_tool import FunctionTool

APPROVAL_REQUIRED: Final = "approval_required"
"""The stop reason of a run that ended with tool calls that wait for approval."""

Approvals: TypeAlias = Mapping[str, bool | str]
"""Decisions by the ``id`` of the call: True, or the reason why it is not run."""


def normalize_approvals(approvals: Mapping[str, Any] | None) -> Approvals:
    """Check ``approvals``, and return them as an immutable mapping.

    :raises ConfigurationError: if a decision is something else than True, False or a reason.
    """
    decisions: FrozenDict[str, Any] = to_frozen_dict(approvals, "approvals")
    for call_id, decision in decisions.items():
        if not isinstance(call_id, str):
            raise ConfigurationError(f"approvals have ids of tool calls, not {call_id!r}")
        if not isinstance(decision, (bool, str)):
            raise ConfigurationError(
                f"approvals[{call_id!r}] is True, or the reason not to run the call; "
                f"not {decision!r}"
            )
    return decisions


def select_open_approvals(approvals: Approvals, state: AgentState) -> Approvals:
    """Return the decisions about calls that are open, after a check of all.

    A decision about a call that has a result already is left out, and is no error: whoever resumes
    a thread may have to repeat it.

    :raises ConfigurationError: if the conversation has no such call; the message has the ids of
        those that are open.
    """
    if not approvals:
        return approvals
    open_ids = [call.id for call in state.pending_calls()]
    known = {call.id for message in state.messages for call in message.tool_calls}
    for call_id in approvals:
        if call_id not in known:
            raise ConfigurationError(
                f"approvals[{call_id!r}]: the conversation has no tool call of that id; "
                f"those without a result are: {', '.join(map(repr, open_ids)) or 'none'}"
            )
    return FrozenDict({name: approvals[name] for name in open_ids if name in approvals})


def is_approval_required_in_steps(
    tool: RunnableTool, call: ToolCall, context: ToolContext, variables: Context
) -> EffectGenerator[bool]:
    """Return whether a person has to approve a call that nobody has decided about.

    A call with arguments that the tool does not accept is not worth a question: the model reads
    its error.

    :param variables: the context that the tool's rule runs in.
    """
    rule = tool.requires_approval
    if rule is False:
        return False
    try:
        yield from bind_arguments_in_steps(tool, call, context, variables.copy())
    except ToolArgumentsError:
        return False
    if rule is True:
        return True
    arguments = call.arguments
    if isinstance(tool, FunctionTool):
        arguments = tool.read_arguments(arguments)
    answer = yield CallFunction(rule, make_rule_arguments(rule, arguments, context), variables)
    if not isinstance(answer, bool):
        raise TypeError(
            f"tool {tool.name!r}: requires_approval returned {type(answer).__name__}, not a bool"
        )
    return answer


def make_denial(decision: bool | str) -> str:
    """Make the text that the model reads as the result of a call that was not approved."""
    reason = decision.strip() if isinstance(decision, str) else ""
    return f"the call was not approved: {reason}" if reason else "the call was not approved"
