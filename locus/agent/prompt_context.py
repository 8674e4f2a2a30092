"""``PromptContext``: the run, as a function that makes its system prompt sees it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import attrs

from locus.core.errors import ConfigurationError
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


PromptFunction: TypeAlias = Callable[..., str | Awaitable[str | None] | None]
"""A function of the :class:`PromptContext`, or of nothing, which returns the system prompt of a
run, or None if it has none; blocking or async."""


def takes_prompt_context(function: PromptFunction) -> bool:
    """Return whether a function has a parameter for the context.

    :raises ConfigurationError: if it can be called neither with one argument nor without any.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions that are not written in Python have none
        return True
    for arguments in ([None], []):
        with suppress(TypeError):
            signature.bind(*arguments)
            return bool(arguments)
    raise ConfigurationError(
        "system_prompt is text, or a function of a PromptContext or of nothing, but "
        f"{function!r} has the parameters {signature}"
    )
