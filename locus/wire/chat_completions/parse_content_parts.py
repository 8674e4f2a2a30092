"""Parses content that is a list of typed parts, as some servers send it when the model thinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def parse_content_parts(parts: Sequence[Any]) -> tuple[str, str]:
    """Return the text and the thinking in a list of parts.

    Mistral's thinking is a part of the type ``thinking`` that holds parts
    (https://docs.mistral.ai/capabilities/reasoning/); Databricks' is one of the type ``reasoning``
    whose ``summary`` holds parts.
    """
    text = thinking = ""
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        thought = part.get("thinking") or part.get("summary")
        if isinstance(thought, (list, tuple)):
            thinking += parse_content_parts(thought)[0]
        elif isinstance(thought, str):
            thinking += thought
        elif isinstance(part.get("text"), str):
            text += part["text"]
    return text, thinking


def is_other_than_text(part: Any) -> bool:
    """Return whether a part is of another type than text."""
    return isinstance(part, Mapping) and part.get("type") not in (None, "text")
