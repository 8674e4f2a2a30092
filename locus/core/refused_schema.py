"""Reads from an error whether a server has refused to hold its response to a schema.

Many servers have no ``json_schema``, or not beside tools, or not for this schema, and each says so
in words of its own. A caller that has another way to get the same answer may take it then.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from locus.core.errors import APIStatusError, ContentFilterError, ContextWindowExceededError
from locus.core.refused_parameters import find_parameter_paths
from locus.core.structured_output_support import StructuredOutputSupport

_STATUSES: Final = frozenset({200, 400, 404, 405, 415, 422, 500, 501})
"""200 is that of an error inside a response which does not say what it stands for."""
_SCHEMA_WORDS: Final = re.compile(
    r"(?:response|output)[ _.-]?(?:format|schema|json|mime|type|config)"
    r"|json[ _-]?(?:schema|mode|object|output|response)|structured[ _-]?(?:output|response|gen)"
    r"|text\.format|format\.schema|required for format|failed to (?:generate|validate) json"
    r"|grammar|(?:guided|constrained)[ _-]?(?:json|decod|gen|output|sampl)"
    r"|no endpoints found that (?:support|can handle) the requested parameters",
    re.I,
)
"""What servers call it that a response is held to a schema."""
_FORMAT_WORD: Final = re.compile(r"\.format\b|(?:invalid|unsupported|unknown) format\b", re.I)
"""What Ollama calls it, which may be another kind of format as well."""
_OTHER_FORMATS: Final = re.compile(r"image|audio|video|file|media|document|date|url|key", re.I)
_FUNCTION_SCHEMA: Final = re.compile(
    r"schema for function|function\W+parameters|tools?[.\[]+\d|input_schema", re.I
)
"""A complaint about the schema of a tool, and not about that of the response."""
_TOOL_WORDS: Final = re.compile(r"\btool|function[ _-]?(?:call|declar)|\bfunctions?\b", re.I)
_THIS_SCHEMA: Final = re.compile(
    r"invalid (?:json )?schema|json_validate_failed|failed to|nest|recurs|states for serving"
    r"|too (?:many|complex|deep|large|long)|keyword|additionalproperties|xgrammar|pars(?:e|ing)"
    r"|conver|\$ref",
    re.I,
)
"""A complaint about this schema, or about this one response, and not about schemas as such."""


@attrs.frozen
class SchemaRefusal:
    """A server's refusal to hold a response to a schema.

    :ivar support: what is left: ``"without_tools"`` if tools are in the way, else ``"never"``.
    :ivar is_lasting: whether it holds for the model; otherwise for this schema only.
    """

    support: StructuredOutputSupport
    is_lasting: bool


def read_schema_refusal(error: APIStatusError, *, has_tools: bool) -> SchemaRefusal | None:
    """Return what the error of a request with a schema says about that; None if nothing.

    It is read generously: if something else is wrong, the same request without the schema fails as
    well.

    :param has_tools: whether the request had tools, too.
    """
    if error.status_code not in _STATUSES or isinstance(
        error, (ContentFilterError, ContextWindowExceededError)
    ):
        return None
    text = " ".join((error.explanation or error.body, *error.codes, *find_parameter_paths(error)))
    if not _SCHEMA_WORDS.search(text) and (
        not _FORMAT_WORD.search(text) or _OTHER_FORMATS.search(text)
    ):
        return None
    if _FUNCTION_SCHEMA.search(text) and not re.search("response|output", text, re.I):
        return None
    support: StructuredOutputSupport = "never"
    if has_tools and _TOOL_WORDS.search(text):
        support = "without_tools"
    return SchemaRefusal(support, is_lasting=not _THIS_SCHEMA.search(text))
