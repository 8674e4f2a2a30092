"""Structured output on the Messages API: a synthetic tool that the model is forced to call.

The request builder adds the tool. The parser recognizes it by its name: it takes the tool's input
as the text of the response and does not list it among the tool calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from locus.wire.parse_output_format import parse_response_format
from locus.wire.provider_json import convert_mapping_to_dict

RESPOND_TOOL_NAME: Final = "respond_with_schema"
"""The name of the synthetic tool. No other tool may have it."""

JSON_ONLY_INSTRUCTION: Final = (
    "Answer with one JSON object and nothing else: no other text, no code fence."
)
"""The instruction for the model if any JSON object will do: the API has no parameter for that."""

_DESCRIPTION: Final = "Gives the answer to the user. Call it once, with the whole answer."


def canonicalize_tool_input(tool_input: Any) -> str:
    """Encode a tool's input as canonical JSON text: members sorted by name, no white space.

    A string is decoded as JSON first. If it is not valid JSON, it is returned unchanged. None
    counts as an empty object.
    """
    if isinstance(tool_input, str):
        try:
            tool_input = msgspec.json.decode(tool_input)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return str(tool_input)
    if tool_input is None:
        tool_input = {}
    try:
        return msgspec.json.encode(tool_input, order="deterministic").decode()
    except (TypeError, ValueError, RecursionError):  # half a surrogate pair, which JSON can escape
        return json.dumps(tool_input, sort_keys=True, separators=(",", ":"), default=dict)


def find_output_schema_and_description(
    response_format: Mapping[str, Any],
) -> tuple[Mapping[str, Any], str] | None:
    """Find the schema and its description in an OpenAI-style ``response_format``.

    Return None for the types ``text`` and ``json_object``, which have no schema.

    :raises ConfigurationError: if its type is unknown, or its schema is missing.
    """
    output = parse_response_format(response_format)
    if output is None or output.json_schema is None or output.schema is None:
        return None
    return output.schema, str(output.json_schema.get("description") or "")


def build_respond_tool(schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    """Build the synthetic tool whose input is the model's response."""
    return {
        "name": RESPOND_TOOL_NAME,
        "description": description or _DESCRIPTION,
        "input_schema": with_default_object_type(schema),
    }


def build_schema_instruction(schema: Mapping[str, Any], description: str) -> str:
    """Build the instruction for the model to respond with JSON of a schema."""
    text = msgspec.json.encode(schema, enc_hook=convert_mapping_to_dict).decode()
    return "\n".join(
        filter(
            None,
            (
                "Answer with JSON that fits this JSON Schema, and nothing else: no other text, no "
                "code fence.",
                description,
                text,
            ),
        )
    )


def with_default_object_type(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a schema with the type ``object`` if it has no ``type``.

    The API requires one, and some schemas are only a ``$ref``.
    """
    return {**schema} if "type" in schema else {"type": "object", **schema}
