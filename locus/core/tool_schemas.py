"""Tools as a model call sees them: OpenAI-format function schemas, whatever they came as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from locus.core.errors import ConfigurationError


@runtime_checkable
class SupportsOpenAISchema(Protocol):
    """Anything that can describe itself as an OpenAI-format tool."""

    def to_openai_schema(self) -> Mapping[str, Any]:
        """``{"type": "function", "function": {"name": …, "parameters": …}}``."""
        ...


Tool: TypeAlias = SupportsOpenAISchema | Mapping[str, Any]


def tool_schemas(tools: Iterable[Tool] | None) -> tuple[Mapping[str, Any], ...]:
    """Each tool as its OpenAI-format schema.

    :raises ConfigurationError: something is not a tool, or has no name; says which.
    """
    if not tools:
        return ()
    if isinstance(tools, (str, Mapping)):
        raise ConfigurationError("tools takes a sequence of tools, not a single one")
    if not isinstance(tools, Iterable):
        raise TypeError(f"tools takes a sequence of tools, not {type(tools).__name__}")
    return tuple(_schema(position, tool) for position, tool in enumerate(tools))


def _schema(position: int, tool: Tool) -> Mapping[str, Any]:
    # Most are mappings, and the look at a protocol costs some microseconds.
    if not isinstance(tool, Mapping) and isinstance(tool, SupportsOpenAISchema):
        tool = tool.to_openai_schema()
    if not isinstance(tool, Mapping):
        raise ConfigurationError(
            f"tools[{position}] is {type(tool).__name__}; a tool is a @tool object, anything with "
            "to_openai_schema(), or a mapping in OpenAI's format"
        )
    if tool.get("type", "function") != "function":
        return tool  # a provider's built-in kind, such as {"type": "custom", ...}
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ConfigurationError(
            f"tools[{position}] is not in OpenAI's format: "
            '{"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}'
        )
    return tool
