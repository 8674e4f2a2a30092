"""Tests of the forms in which a tool may be written."""

from __future__ import annotations

from typing import Any

import pytest

from locus.core.build_tool_schemas import build_tool_schemas
from locus.core.errors import ConfigurationError

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}


@pytest.mark.parametrize("member", ["input_schema", "inputSchema", "parameters"])
@pytest.mark.parametrize("type_", [{}, {"type": "function"}])
def test_tool_of_another_api_is_converted(member: str, type_: Any) -> None:
    tool = {**type_, "name": "f", "description": "d", member: SCHEMA}
    assert build_tool_schemas([tool]) == ({"type": "function", "function": FUNCTION},)


def test_other_members_stay_beside_the_function() -> None:
    tool = {"name": "f", "input_schema": SCHEMA, "strict": True, "cache_control": {"type": "x"}}
    (converted,) = build_tool_schemas([tool])
    assert converted["function"] == {"name": "f", "strict": True, "parameters": SCHEMA}
    assert converted["cache_control"] == {"type": "x"}


@pytest.mark.parametrize(
    "tool",
    [{"name": "f"}, {"input_schema": SCHEMA}, {"name": "f", "parameters": "x"}, {}, {"a": 1}],
)
def test_what_is_no_tool_is_reported(tool: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"tools\[0\] is not in OpenAI's format"):
        build_tool_schemas([tool])


@pytest.mark.parametrize(
    "tool", [{"type": "web_search"}, {"type": "custom", "name": "x"}, {"google_search": {}}]
)
def test_tool_of_another_type_is_unchanged(tool: Any) -> None:
    assert build_tool_schemas([tool]) == (tool,)
