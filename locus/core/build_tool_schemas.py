"""Builds the OpenAI-format schemas of the tools that a model call takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from locus.core.errors import ConfigurationError


@runtime_checkable
class SupportsOpenAISchema(Protocol):
    """An object that has an OpenAI-format tool schema."""

    def to_openai_schema(self) -> Mapping[str, Any]:
        """Return ``{"type": "function", "function": {"name": …, "parameters": …}}``."""
        ...


ToolLike: TypeAlias = SupportsOpenAISchema | Mapping[str, Any]


def build_tool_schemas(tools: Iterable[ToolLike] | None) -> tuple[Mapping[str, Any], ...]:
    """Build the OpenAI-format schema of each tool.

    :raises ConfigurationError: if a member is not a tool, or has no name; the message names its
        index.
    """
    if not tools:
        return ()
    if isinstance(tools, (str, Mapping)):
        raise ConfigurationError("tools takes a sequence of tools, not a single one")
    if not isinstance(tools, Iterable):
        raise TypeError(f"tools takes a sequence of tools, not {type(tools).__name__}")
    return tuple(_build_tool_schema(position, tool) for position, tool in enumerate(tools))


def _build_tool_schema(position: int, tool: ToolLike) -> Mapping[str, Any]:
    """Build the schema of one tool, or return it if it is a mapping already.

    :param position: the index of the tool, for error messages.
    """
    # Most are mappings, and the check of a protocol costs some microseconds.
    if not isinstance(tool, Mapping) and isinstance(tool, SupportsOpenAISchema):
        tool = tool.to_openai_schema()
    if not isinstance(tool, Mapping):
        raise ConfigurationError(
            f"tools[{position}] is {type(tool).__name__}; a tool is a @tool object, anything with "
            "to_openai_schema(), or a mapping in OpenAI's format"
        )
    if tool.get("type", "function") != "function":
        return tool  # a provider's built-in tool, such as {"type": "custom", ...}
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ConfigurationError(
            f"tools[{position}] is not in OpenAI's format: "
            '{"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}'
        )
    return tool
