"""A model's message as the state keeps it.

Every call has an id of its own and arguments that can be saved, and it is noted whether the answer
ended at its token limit: whoever resumes the thread must know it, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from locus.core.frozendict import EMPTY, too_deep
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse

CUT_OFF: Final = "cut_off"
"""The key in a message's metadata which says that its answer ended at its token limit."""


def kept(response: ModelResponse) -> Message:
    """The message of an answer."""
    message, calls = response.message, response.tool_calls
    made = tuple(_writable(call) for call in calls)
    if len({call.id for call in calls}) < len(calls):
        made = _distinct(made)
    if any(one is not other for one, other in zip(made, calls, strict=True)):
        message = attrs.evolve(message, tool_calls=made)
    if calls and response.finish_reason == "length":  # who resumes the thread must know it, too
        message = attrs.evolve(message, metadata={**message.metadata, CUT_OFF: True})
    return message


def _writable(call: ToolCall) -> ToolCall:
    """The call; one whose arguments are nested deeper than a state can hold is malformed."""
    if not too_deep(call.arguments):
        return call
    try:
        text = call.arguments_json()
    except (RecursionError, ValueError):
        text = "(nested too deep to be written down)"
    return attrs.evolve(call, arguments=EMPTY, malformed_arguments=text)


def _distinct(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """The calls, no two with the same id: some providers give parallel calls one."""
    seen: set[str] = set()
    found = []
    for call in calls:
        fresh, number = call.id, 1
        while fresh in seen:
            number += 1
            fresh = f"{call.id}_{number}"
        seen.add(fresh)
        found.append(call if fresh == call.id else attrs.evolve(call, id=fresh))
    return tuple(found)
