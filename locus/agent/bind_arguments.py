"""Binds the arguments of a tool call to the parameters of its function."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from typing import Any

from locus.agent.effects import CallFunction, EffectGenerator
from locus.agent.settings import RunnableTool
from locus.core.messages import ToolCall
from locus.tools.context import ToolContext
from locus.tools.slow_rendering import is_slow_to_render


def bind_arguments_in_steps(
    tool: RunnableTool, call: ToolCall, context: ToolContext, variables: Context
) -> EffectGenerator[Mapping[str, Any]]:
    """Return the arguments as the tool's function takes them.

    Converting many values takes as long as rendering them, and does not happen in the event loop.

    :param variables: the context that constructors of the user's run in, if it is done elsewhere.
    :raises ToolArgumentsError: if they do not fit.
    """
    if not is_slow_to_render(call.arguments):
        return tool.bind_call(call, context)
    arguments: Mapping[str, Any] = yield CallFunction(tool.bind_call, (call, context), variables)
    return arguments
