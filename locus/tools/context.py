"""``ToolContext``: information for a tool about the call and the agent's run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from locus.core.frozendict import EMPTY, to_frozen_dict

if TYPE_CHECKING:
    from locus.core.state import AgentState


def _freeze_metadata(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return to_frozen_dict(value, "ToolContext.metadata")


@attrs.frozen
class ToolContext:
    """The tool call and the run that it belongs to.

    A tool gets one for each parameter that is annotated with this class.

    :param tool_call_id: the id of the call; empty if there is no call.
    :param tool_name: the name that the tool has for the model.
    :param thread_id: the name of the conversation, if it has one.
    :param iteration: how many times the model was called in this conversation, including the call
        that requested the tool.
    :param state: the agent's state before the tool call; None outside an agent.
    :param metadata: the metadata that the caller passed to the run.
    """

    tool_call_id: str
    tool_name: str
    thread_id: str | None = None
    iteration: int = 0
    state: AgentState | None = None
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_freeze_metadata)
    # The runs of agents that the tool has started, each with its ``usage`` so far: a tool that is
    # cancelled returns nothing.
    nested_runs: list[Any] = attrs.field(factory=list, init=False, eq=False, repr=False)
