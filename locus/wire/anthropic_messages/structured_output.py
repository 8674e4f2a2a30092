"""Answers of a given shape. The classic way on this API is a tool that the model is made to call.

Its name is known to the builder, which adds it, and to the parser, which takes its input for the
answer's text and never shows it among the tool calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from locus.core.errors import ConfigurationError

RESPOND: Final = "respond_with_schema"
"""The synthetic tool. No other tool may have its name."""

JSON_ONLY: Final = "Answer with one JSON object and nothing else: no other text, no code fence."
"""What the model is told where any JSON object will do: the API has no parameter for that."""

_DESCRIPTION: Final = "Gives the answer to the user. Call it once, with the whole answer."


def canonical(value: Any) -> str:
    """``value`` as the one JSON text that stands for it: members sorted by name, no white space.

    Text that is no JSON object, where a server sends text, stays as it is.
    """
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return str(value)
    if value is None:
        value = {}
    try:
        return msgspec.json.encode(value, order="deterministic").decode()
    except (TypeError, ValueError, RecursionError):  # half a surrogate pair, which JSON can escape
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=dict)


def schema_of(response_format: Mapping[str, Any]) -> tuple[Mapping[str, Any], str] | None:
    """The schema and its description in an OpenAI-style ``response_format``, where it has one.

    :raises ConfigurationError: it is of no kind that is known, or its schema is missing.
    """
    kind = response_format.get("type")
    if kind in ("text", "json_object"):
        return None
    if kind != "json_schema":
        raise ConfigurationError(
            f"response_format's type is 'json_schema', 'json_object' or 'text', not {kind!r}"
        )
    named = response_format.get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else None
    if not isinstance(named, Mapping) or not isinstance(schema, Mapping):
        raise ConfigurationError(
            'response_format lacks its schema: {"type": "json_schema", "json_schema": '
            '{"name": …, "schema": {…}}}'
        )
    return schema, str(named.get("description") or "")


def respond_tool(schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    """The synthetic tool whose input is the answer."""
    return {
        "name": RESPOND,
        "description": description or _DESCRIPTION,
        "input_schema": as_object(schema),
    }


def as_object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the ``type`` that the API insists on; one that only refers may lack it."""
    return {**schema} if "type" in schema else {"type": "object", **schema}
