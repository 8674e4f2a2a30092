"""Structured output: responses that are values of a type.

:func:`build_response_format` asks a model for the type, :func:`parse_structured` parses the
response, and :func:`parse_partial` parses a streamed one while it arrives.
"""

from __future__ import annotations

from locus.core.errors import StructuredOutputError
from locus.core.structured.parse_response import StructuredOutput, parse_structured
from locus.core.structured.parse_stream import parse_partial
from locus.core.structured.response_format import build_response_format

__all__ = [
    "StructuredOutput",
    "StructuredOutputError",
    "build_response_format",
    "parse_partial",
    "parse_structured",
]
