"""Rewrites JSON Schemas for Ollama: of the parameters of tools, and of ``format``.

Ollama drops the definitions of a tool's parameters (its issue 10091), and its grammars do not
follow every reference (8063). A grammar is made by llama.cpp's ``json-schema-to-grammar``, which
rejects the whole request for a ``pattern`` that is not anchored at both ends, or that has escapes
and groups of regular expressions (Ollama's issues 8325, 12726 and 18226), and for large repetitions
(llama.cpp's issue 25746).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from locus.core.json_schema.move_unsupported_keywords import move_unsupported_keywords
from locus.core.json_schema.references import inline_references

_PLAIN_PATTERN: Final = re.compile(r"\^[^\\(^$]*\$")
"""Patterns of literals, character classes and repetitions, anchored at both ends."""
_REPETITIONS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength"})
_MAX_REPETITIONS: Final = 1000
"""llama.cpp takes up to 2000 in one place, and counts nested ones together."""


def convert_schema(schema: Mapping[str, Any]) -> Any:
    """Return a schema without references, whose rejected keywords are in the descriptions."""
    return move_unsupported_keywords(inline_references(schema), _is_supported)


def convert_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool in OpenAI's format with its parameters converted; others are unchanged."""
    function = tool.get("function")
    if isinstance(function, Mapping) and isinstance(function.get("parameters"), Mapping):
        return {
            **tool,
            "function": {**function, "parameters": convert_schema(function["parameters"])},
        }
    return tool


def _is_supported(keyword: str, value: Any, schema: Mapping[str, Any]) -> bool:
    if keyword == "pattern":
        return isinstance(value, str) and _PLAIN_PATTERN.fullmatch(value) is not None
    if keyword in _REPETITIONS:
        return isinstance(value, (int, float)) and value <= _MAX_REPETITIONS
    return True
