"""Builds the OpenAI-format schemas of the tools that a model call takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict


@runtime_checkable
class SupportsOpenAISchema(Protocol):
    """An object that has an OpenAI-format tool schema."""

    def to_openai_schema(self) -> Mapping[str, Any]:
        """Return ``{"type": "function", "function": {"name": …, "parameters": …}}``."""
        ...


class ToolSchema(FrozenDict[str, Any]):
    """The schema of a tool that can be run, in OpenAI's format.

    It is equal to any mapping with the same contents. A pickled copy does not know the tool.

    :ivar tool: the tool.
    """

    __slots__ = ("tool",)

    tool: Any

    def __init__(self, function_schema: Mapping[str, Any], tool: Any) -> None:
        super().__init__(type="function", function=FrozenDict(function_schema))
        self.tool = tool


ToolLike: TypeAlias = SupportsOpenAISchema | Mapping[str, Any]


def build_tool_schemas(tools: Iterable[ToolLike] | None) -> tuple[Mapping[str, Any], ...]:
    """Build the OpenAI-format schema of each tool.

    A tool of a provider's server stays as it is. A mapping may be in the format of another API:
    ``name`` and ``description`` beside ``input_schema`` (Anthropic), ``inputSchema`` (MCP) or
    ``parameters`` (the responses API).

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
    if isinstance(tool, ToolSchema):
        return tool
    # Most are mappings, and the check of a protocol costs some microseconds.
    if not isinstance(tool, Mapping) and isinstance(tool, SupportsOpenAISchema):
        tool = tool.to_openai_schema()
    if not isinstance(tool, Mapping):
        raise ConfigurationError(
            f"tools[{position}] is {type(tool).__name__}; a tool is a @tool object, anything with "
            "to_openai_schema(), or a mapping in OpenAI's format"
        )
    if is_server_tool(tool):
        return tool
    function = tool.get("function")
    if function is None and isinstance(tool.get("name"), str):
        converted = _convert_flat_tool(tool)
        if converted is not None:
            return converted
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise ConfigurationError(
            f"tools[{position}] is not in OpenAI's format: "
            '{"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}'
        )
    return tool


def is_server_tool(tool: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a tool of the provider's server, and no function's schema.

    Such are ``{"type": "web_search_20250305", "name": "web_search"}`` and, with the type as the
    only member, Gemini's ``{"google_search": {}}``.
    """
    if tool.get("type", "function") != "function":
        return True
    (first, *others) = tool.items() or [("", None)]
    is_ours = first[0] == "function" or first[0] in _SCHEMA_MEMBERS
    return not others and not is_ours and isinstance(first[1], Mapping)


def find_server_tools(tools: Iterable[ToolLike]) -> list[Mapping[str, Any]]:
    """Return those of the tools that are the provider's, such as remote MCP servers."""
    return [tool for tool in tools if isinstance(tool, Mapping) and is_server_tool(tool)]


def get_tool_name(schema: Mapping[str, Any]) -> str:
    """Return the name of a tool from its schema; the type of a server's tool that has no name."""
    described = schema.get("function")
    if not isinstance(described, Mapping):
        described = schema
    return str(described.get("name") or schema.get("type") or next(iter(schema), ""))


_SCHEMA_MEMBERS: Final = ("input_schema", "inputSchema", "parameters")
"""The names that APIs have for the JSON Schema of a tool's parameters."""
_FUNCTION_MEMBERS: Final = ("name", "description", "strict")
"""The members that OpenAI's format has in ``function``."""


def _convert_flat_tool(tool: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Convert a tool whose members stand side by side to OpenAI's format.

    Return None if it has no schema of parameters. Other members stay beside ``function``.
    """
    member = next((name for name in _SCHEMA_MEMBERS if isinstance(tool.get(name), Mapping)), None)
    if member is None:
        return None
    function = {name: tool[name] for name in _FUNCTION_MEMBERS if name in tool}
    others = {
        name: value
        for name, value in tool.items()
        if name not in (*_FUNCTION_MEMBERS, member, "type")
    }
    return {
        "type": "function",
        "function": {**function, "parameters": tool[member]},
        **others,
    }
