"""Builds ``tools`` and ``tool_choice`` of a request in Anthropic's format.

The API describes them at https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.call_options import CallOptions
from locus.core.errors import ConfigurationError
from locus.wire.anthropic_messages.structured_output import (
    RESPOND_TOOL_NAME,
    with_default_object_type,
)
from locus.wire.request_parts import make_tool_choice_error

_COPIED_TOOL_MEMBERS: Final = ("description", "cache_control")
_MCP_TOOL_MEMBERS: Final = ("annotations", "execution", "icons", "_meta", "outputSchema", "title")
"""Members of a tool of the Model Context Protocol that Anthropic's API does not have."""
_OPENAI_TOOL_MEMBERS: Final = ("type", "function", "strict")


def build_tool(schema: Mapping[str, Any], *, takes_strict: bool) -> dict[str, Any]:
    """Convert a tool to the API's format.

    A tool that is not in OpenAI's format is sent unchanged. Members beside ``function``, such as
    ``defer_loading``, ``allowed_callers`` and ``eager_input_streaming``, are the API's own:
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool.

    :param takes_strict: whether the model accepts ``strict``; older ones reject it.
    :raises ConfigurationError: if the tool has the name that structured output uses.
    """
    function = schema.get("function")
    if schema.get("type", "function") != "function" or not isinstance(function, Mapping):
        tool = dict(schema)
    else:
        tool = {"name": function["name"]}
        for name in _COPIED_TOOL_MEMBERS:
            value = function.get(name, schema.get(name))
            if value is not None:
                tool[name] = value
        parameters = function.get("parameters") or {"properties": {}}
        tool["input_schema"] = with_default_object_type(parameters)
        if takes_strict and (function.get("strict") or schema.get("strict")):
            tool["strict"] = True
        skipped = {*tool, *_OPENAI_TOOL_MEMBERS, *_MCP_TOOL_MEMBERS}
        tool |= {name: value for name, value in schema.items() if name not in skipped}
    if tool.get("name") == RESPOND_TOOL_NAME:
        raise ConfigurationError(
            f"no tool may be named {RESPOND_TOOL_NAME!r}: Locus uses that name for structured "
            "output"
        )
    return tool


def build_tool_choice(
    call_options: CallOptions, tools: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Convert OpenAI's ``tool_choice`` and ``parallel_tool_calls`` to the API's ``tool_choice``.

    :param tools: the tools in the API's format.
    :raises ConfigurationError: if the choice names none of the tools.
    """
    choice = call_options.tool_choice
    single_call = call_options.parallel_tool_calls is False
    if isinstance(choice, Mapping):
        function = choice.get("function")
        if choice.get("type") == "function" and isinstance(function, Mapping):
            choice = function.get("name")  # OpenAI's format for one tool
        else:
            single_call = single_call and choice.get("type") != "none"  # has no such member
            return {**choice, "disable_parallel_tool_use": True} if single_call else {**choice}
    if choice in (None, "auto"):
        tool_choice = {"type": "auto"} if tools and (choice or single_call) else None
    elif choice == "none":
        return {"type": "none"} if tools else None
    elif choice == "required":
        if not tools:
            raise ConfigurationError("tool_choice='required', and there are no tools in this call")
        tool_choice = {"type": "any"}
    else:
        names = [str(tool.get("name")) for tool in tools]
        if choice not in names:
            raise make_tool_choice_error(choice, names)
        tool_choice = {"type": "tool", "name": choice}
    if tool_choice and single_call:
        return {**tool_choice, "disable_parallel_tool_use": True}
    return tool_choice
