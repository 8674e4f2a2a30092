"""Parses OpenAI's ``response_format``, for the formats that have other members in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY

_SCHEMA_FORM = '{"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}'


@attrs.frozen
class JsonOutput:
    """A request for JSON.

    :param json_schema: the member ``json_schema``: ``schema``, ``name``, ``description`` and
        ``strict``. None if any JSON object will do.
    """

    json_schema: Mapping[str, Any] | None = None

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON Schema; None if there is none."""
        schema = (self.json_schema or EMPTY).get("schema")
        return schema if isinstance(schema, Mapping) else None


def parse_response_format(
    response_format: Mapping[str, Any] | None, *, requires_schema: bool = True
) -> JsonOutput | None:
    """Parse a ``response_format``. Return None if it asks for text.

    :param requires_schema: whether a ``json_schema`` without a schema is an error.
    :raises ConfigurationError: if the type is unknown, or the schema is missing.
    """
    if response_format is None:
        return None
    type_ = response_format.get("type")
    if type_ == "text":
        return None
    if type_ == "json_object":
        return JsonOutput()
    if type_ != "json_schema":
        raise ConfigurationError(
            f'response_format is {_SCHEMA_FORM}, {{"type": "json_object"}} or {{"type": "text"}}, '
            f"not {type_!r}"
        )
    json_schema = response_format.get("json_schema")
    output = JsonOutput(json_schema if isinstance(json_schema, Mapping) else EMPTY)
    if json_schema is not output.json_schema or (requires_schema and output.schema is None):
        raise ConfigurationError(f"response_format is {_SCHEMA_FORM}; this one lacks its schema")
    return output
