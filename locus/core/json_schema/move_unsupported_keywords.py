"""Moves the keywords that a provider rejects into the description, where the model reads them.

A schema's restrictions (``minimum``, ``pattern``, ``maxItems``, …) are checked by Locus when it
parses the response, whether the provider enforces them or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from locus.core.json_schema.subschemas import map_subschemas

IsSupported = Callable[[str, Any, Mapping[str, Any]], bool]
"""Whether a provider accepts a keyword with a value, in a schema."""


def move_unsupported_keywords(schema: Mapping[str, Any], is_supported: IsSupported) -> Any:
    """Return a copy of a schema without the keywords that a provider rejects.

    They are in the ``description`` instead: ``"A rating. (minimum: 1; maximum: 5)"``. Subschemas
    are treated alike.

    :param is_supported: is asked for each keyword, its value and the schema that it is in.
    """
    kept: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for keyword, value in schema.items():
        supported = keyword == "description" or is_supported(keyword, value, schema)
        (kept if supported else moved)[keyword] = value
    kept = map_subschemas(kept, lambda member: move_unsupported_keywords(member, is_supported))
    return add_keywords_to_description(kept, moved)


def add_keywords_to_description(
    schema: Mapping[str, Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a copy of a schema whose description ends with the keywords and their values."""
    if not keywords:
        return dict(schema)
    text = "; ".join(
        f"{keyword}: {msgspec.json.encode(value, enc_hook=_convert_to_dict).decode()}"
        for keyword, value in keywords.items()
    )
    description = schema.get("description")
    before = description if isinstance(description, str) else ""
    return {**schema, "description": f"{before} ({text})".strip()}


def _convert_to_dict(value: Any) -> Any:
    """Convert a mapping that is not a ``dict``, for the encoder."""
    return dict(value)
