"""Shortens the conversation of a request by the agent's conversation manager."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from locus.agent.drive_conversation_manager import run_manager_in_steps
from locus.agent.effects import EffectGenerator
from locus.agent.run_context import RunContext
from locus.core.messages import Message, Role
from locus.core.state import ToolExecution

if TYPE_CHECKING:
    from locus.memory.managers.base import ConversationManager


def shorten_conversation_in_steps(
    run: RunContext, manager: ConversationManager
) -> EffectGenerator[tuple[Message, ...]]:
    """Return the system message and the conversation, as the manager shortens them.

    If the manager replaces the history, the shortened conversation becomes that of the state, and
    the executions of calls that are no longer in it are dropped.
    """
    system = () if run.system_message is None else (run.system_message,)
    messages = (*system, *run.state.messages)
    shortened = yield from run_manager_in_steps(run, manager, messages)
    if getattr(manager, "rewrites", False) and shortened != messages:
        # No server has these messages, and the records refer to positions among the old ones.
        run.state = run.state.evolve(
            messages=_remove_system_message(run, shortened),
            tool_executions=_select_needed_executions(run, shortened),
            provider_state=None,
            server_knowledge=None,
            empty_response_after=None,
            output_retries=None,
        )
    return shortened


def _remove_system_message(run: RunContext, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages without the system message of the run, which is not in the state.

    A manager of the user's may have left it out or changed it.
    """
    first = messages[0] if messages else None
    if run.system_message is None or first is None or first.role is not Role.SYSTEM:
        return messages
    is_in_state = first != run.system_message and first in run.state.messages
    return messages if is_in_state else messages[1:]


def _select_needed_executions(
    run: RunContext, messages: Sequence[Message]
) -> tuple[ToolExecution, ...]:
    """Return the executions of the calls in the messages, and those that are needed without them.

    A later call of an idempotent tool gets the first result, however long ago that was. The results
    of the run itself are the evidence that grounding and GSAR compare its answer with.
    """
    counts = Counter(call.id for message in messages for call in message.tool_calls)
    is_reviewed = run.settings.grounding is not None or run.settings.gsar is not None
    earlier = {id(execution) for execution in run.initial_state.tool_executions}
    needed = []
    for execution in reversed(run.state.tool_executions):
        is_in_messages = counts[execution.tool_call_id] > 0  # the newest, if an id was used again
        counts[execution.tool_call_id] -= 1
        is_repeatable = execution.idempotent and execution.error is None
        is_evidence = is_reviewed and id(execution) not in earlier
        if is_in_messages or is_repeatable or is_evidence:
            needed.append(execution)
    return tuple(reversed(needed))
