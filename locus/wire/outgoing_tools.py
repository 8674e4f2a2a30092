"""Prepares the schemas of tools for a request: what most providers refuse at their root is moved.

OpenAI, Anthropic and those who copy them refuse alternatives at the root of a tool's parameters,
Gemini wants an object there, and Ollama and Cohere drop such keywords without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
from locus.core.json_schema.root_alternatives import merge_root_alternatives


def build_outgoing_tools(tools: Iterable[ToolLike] | None) -> tuple[Mapping[str, Any], ...]:
    """Build the OpenAI-format schema of each tool, with parameters that are one plain object.

    A tool that is no function, and one without such keywords, is the same object as before.

    :raises ConfigurationError: if a member is not a tool, or has no name; the message names its
        index.
    """
    return tuple(map(_merge_parameters, build_tool_schemas(tools)))


def _merge_parameters(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    function = schema.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("parameters"), Mapping):
        return schema
    parameters = merge_root_alternatives(function["parameters"])
    if parameters is function["parameters"]:
        return schema
    return {**schema, "function": {**function, "parameters": parameters}}
