"""Strategies for the tools and the options of a call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from locus.testing.formats.strategies.basic_values import names, texts

_PROPERTY = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "enum": ["a", "b\u2028"]},
            {"type": "integer", "minimum": 0},
            {"type": "number"},
            {"type": "boolean"},
            {"type": ["string", "null"], "default": None},
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            {"$ref": "#/$defs/Point"},
        ]
    ),
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(
            lambda properties: {"type": "object", "properties": properties},
            st.dictionaries(names(), inner, max_size=2),
        )
    ),
    max_leaves=3,
)
_DESCRIBED = st.builds(
    lambda schema, text: schema if text is None else schema | {"description": text},
    _PROPERTY,
    st.none() | texts(),
)
_PROPERTIES = st.dictionaries(names(), _DESCRIBED, max_size=3)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """JSON Schemas of a tool's parameters."""
    properties = draw(_PROPERTIES)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = sorted(properties)[: draw(st.integers(0, 3))]
    if draw(st.booleans()):
        schema["additionalProperties"] = False
    if "$ref" in json.dumps(properties):
        schema["$defs"] = {"Point": {"type": "object", "properties": {"x": {"type": "number"}}}}
    return schema


@st.composite
def _tool(draw: st.DrawFn, name: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "parameters": draw(schemas())}
    if draw(st.booleans()):
        function["description"] = draw(texts())
    if draw(st.booleans()):
        function["strict"] = draw(st.booleans())
    return {"type": "function", "function": function}


@st.composite
def tools(draw: st.DrawFn, min_size: int = 0) -> list[dict[str, Any]]:
    """Tools in OpenAI's format, with unique names."""
    tool_names = draw(st.lists(names(), min_size=min_size, max_size=3, unique=True))
    return [draw(_tool(name)) for name in tool_names]


@st.composite
def options(draw: st.DrawFn, tools: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Options of a call, without ``model`` and those of the transport."""
    optional: dict[str, st.SearchStrategy[Any]] = {
        "max_tokens": st.integers(1, 100_000),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.01, 1),
        "stop": st.lists(texts(min_size=1, max_size=8), min_size=1, max_size=4),
        "seed": st.integers(-(2**31), 2**31),
        "frequency_penalty": st.floats(-2, 2),
        "presence_penalty": st.floats(-2, 2),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}])
        | st.builds(
            lambda name, schema: {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema, "strict": True},
            },
            names(),
            schemas(),
        ),
    }
    if tools:
        optional["tool_choice"] = st.sampled_from(
            ["auto", "none", "required", *(tool["function"]["name"] for tool in tools)]
        )
        optional["parallel_tool_calls"] = st.booleans()
    return draw(st.fixed_dictionaries({}, optional=optional))
