"""Chooses the tools and builds the options of a model request: tool_choice, response_format, …"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from locus.agent.run_context import RunContext
from locus.core.agent_added_message import is_agent_added_message
from locus.core.frozendict import FrozenDict
from locus.core.messages import Role


def select_tool_schemas(run: RunContext) -> tuple[Mapping[str, Any], ...] | None:
    """Return the schemas of the tools that the model may call.

    None means the tools that are bound to the model, if any; empty means no tools at all.
    """
    schema = run.output_schema
    answer_tools = () if schema is None or schema.answer_tool is None else (schema.answer_tool,)
    if run.is_last_answer:
        return answer_tools
    if schema is not None and not schema.allows_tools and run.output_retry_count:
        return ()  # the provider rejects them beside a schema
    if answer_tools:
        return (*(run.settings.tool_schemas or run.bound_tools), *answer_tools)
    return run.settings.tool_schemas or None


def build_request_options(run: RunContext) -> Mapping[str, Any]:
    """Build the keyword options of the model call."""
    settings, state, schema = run.settings, run.state, run.output_schema
    options = dict(settings.model_options)
    if run.is_last_answer:  # the model has no tools that it could have to call
        options.pop("tool_choice", None)
    elif settings.tool_choice is not None and not run.output_retry_count:
        last = state.last_message
        # Not after a tool result, or what the loop says about it or about an answer: the model
        # could never give a final answer.
        if last is None or not (last.role is Role.TOOL or is_agent_added_message(last)):
            options["tool_choice"] = settings.tool_choice
    if run.is_incremental and state.provider_state is not None:
        options["provider_state"] = state.provider_state
    if schema is not None and (schema.enforced_always or run.output_retry_count):
        options.update(schema.options)
    return FrozenDict(options)
