"""What a tool may know about the run that it is called in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from locus.core.frozendict import EMPTY, frozen_dict

if TYPE_CHECKING:
    from locus.core.state import AgentState


def _metadata(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return frozen_dict(value, "ToolContext.metadata")


@attrs.frozen
class ToolContext:
    """The call, and the run around it. A parameter annotated with this class is given one.

    :param tool_call_id: the id of the call; empty where there is no call.
    :param tool_name: the tool, as the model knows it.
    :param thread_id: the conversation's name, where it has one.
    :param iteration: how many times the model was asked in this conversation, this time included.
    :param state: the agent's state before the call; None outside an agent.
    :param metadata: what the caller gave to the run.
    """

    tool_call_id: str
    tool_name: str
    thread_id: str | None = None
    iteration: int = 0
    state: AgentState | None = None
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_metadata)
