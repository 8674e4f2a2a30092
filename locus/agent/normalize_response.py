"""Normalizes the message of a model response so that the agent's state can store it.

Every tool call gets an id of its own, and arguments that can be saved as JSON. The calls of a
refused response are left out: they must not be run, and no provider accepts them without results.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import attrs

from locus.core.frozendict import EMPTY, is_too_deep
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse


def normalize_response_message(
    response: ModelResponse, taken_ids: Set[str] = frozenset(), *, has_calls: bool = True
) -> Message:
    """Return the message of a response, with tool calls that the state can store.

    :param taken_ids: ids that none of its calls may have.
    :param has_calls: False leaves all calls out: the model had no tools to call.
    """
    message, calls = response.message, response.tool_calls
    if calls and (response.finish_reason == "content_filter" or not has_calls):
        return attrs.evolve(message, tool_calls=())
    normalized = tuple(_limit_argument_depth(call) for call in calls)
    ids = {call.id for call in calls}
    if len(ids) < len(calls) or not ids.isdisjoint(taken_ids):
        normalized = _make_call_ids_unique(normalized, taken_ids)
    if any(new is not old for new, old in zip(normalized, calls, strict=True)):
        message = attrs.evolve(message, tool_calls=normalized)
    return message


def _limit_argument_depth(call: ToolCall) -> ToolCall:
    """Return the call; it is malformed if its arguments are nested too deep for a saved state."""
    if not is_too_deep(call.arguments):
        return call
    try:
        text = call.arguments_json()
    except (RecursionError, ValueError):
        text = "(nested too deep to be written down)"
    return attrs.evolve(call, arguments=EMPTY, malformed_arguments=text)


def _make_call_ids_unique(calls: Sequence[ToolCall], taken_ids: Set[str]) -> tuple[ToolCall, ...]:
    """Return the calls with unique ids: some providers give parallel calls the same one."""
    used_ids = set(taken_ids)
    unique_calls = []
    for call in calls:
        unique_id, number = call.id, 1
        while unique_id in used_ids:
            number += 1
            unique_id = f"{call.id}_{number}"
        used_ids.add(unique_id)
        unique_calls.append(call if unique_id == call.id else attrs.evolve(call, id=unique_id))
    return tuple(unique_calls)
