"""``PromptContext``: the run, as a function that makes its system prompt sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from locus.core.frozendict import EMPTY
from locus.core.state import AgentState


@attrs.frozen
class PromptContext:
    """The run that a system prompt is for.

    :param thread_id: the name of the conversation, or None.
    :param metadata: the metadata that the caller passed to the run.
    :param state: the state at the beginning of the run, with its prompt.
    """

    thread_id: str | None = None
    metadata: Mapping[str, Any] = EMPTY
    state: AgentState = attrs.field(factory=AgentState)


PromptFunction: TypeAlias = Callable[[PromptContext], str | Awaitable[str | None] | None]
"""A function that returns the system prompt of a run, or None if it has none; blocking or async."""
