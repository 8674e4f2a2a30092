"""Reads the arguments of calls in samples; and what decodes streams in every test."""

from __future__ import annotations

import json
from typing import Any

from locus.testing.formats.stream_reader import StreamReader, check_streaming_law

__all__ = ["StreamReader", "check_streaming_law", "parse_json_object"]


def parse_json_object(text: str) -> Any:
    """Parse a JSON object with the standard library; returns other text unchanged."""
    try:
        value = json.loads(text, parse_constant=_reject_constant)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _reject_constant(constant: str) -> Any:
    raise ValueError(constant)
