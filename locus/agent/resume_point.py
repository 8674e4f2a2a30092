"""Determines where a resumed run continues, from the records in its state."""

from __future__ import annotations

from typing import Final

from locus.core.messages import Message, Role
from locus.core.response import is_turn_paused
from locus.core.state import AgentState

_CUT_OFF: Final = "cut_off"
"""The key in a message's metadata by which earlier versions of Locus marked a response that ended
at its token limit."""


def find_unfinished_response(state: AgentState) -> Message | None:
    """Return the model response that the run has to finish; None if the model is to be called.

    It is the last response if some of its tool calls have no result, or if no message follows it.
    """
    if state.empty_response_after == len(state.messages):
        return Message.assistant()
    has_pending_calls = bool(state.pending_calls())
    if is_turn_paused(state.stop_reason) and not has_pending_calls:
        return None
    for message in reversed(state.messages):
        if message.role is Role.ASSISTANT:
            return message
        if not has_pending_calls:
            return None
    return None


def read_output_retry_count(state: AgentState) -> int:
    """Return how often the model was asked again, if that is the last thing that happened."""
    retries = state.output_retries
    if retries is None or retries.message_count != len(state.messages):
        return 0
    return retries.count


def restore_cut_off_call_id(state: AgentState) -> AgentState:
    """Return the state with ``cut_off_call_id`` set, if an earlier version of Locus saved it."""
    calls = state.pending_calls()
    if not calls or state.cut_off_call_id is not None:
        return state
    message = next(one for one in reversed(state.messages) if one.role is Role.ASSISTANT)
    if not message.metadata.get(_CUT_OFF):
        return state
    return state.evolve(cut_off_call_id=message.tool_calls[-1].id)
