"""Formats evidence, such as the results of tools, as text for a judge model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from locus.core.state import ToolExecution

NO_EVIDENCE: Final = "(There is no evidence.)"


def format_evidence(evidence: Any) -> str:
    """Format evidence as labelled items, one paragraph each.

    The label of a tool execution is the id of its call, that of a member of a mapping its key,
    and that of anything else its number, counted from 1. Text stays as it is.
    """
    if evidence is None:
        return NO_EVIDENCE
    if isinstance(evidence, str):
        return evidence or NO_EVIDENCE
    if isinstance(evidence, Mapping):
        items = [_format_item(str(label), value) for label, value in evidence.items()]
    elif isinstance(evidence, Iterable) and not isinstance(evidence, (bytes, ToolExecution)):
        items = [_format_item(str(number), item) for number, item in enumerate(evidence, 1)]
    else:
        items = [_format_item("1", evidence)]
    return "\n\n".join(items) or NO_EVIDENCE


def _format_item(label: str, item: Any) -> str:
    """Format one item of the evidence, after its label in brackets."""
    if isinstance(item, ToolExecution):
        outcome = item.result if item.error is None else f"failed: {item.error}"
        return (
            f"[{item.tool_call_id}] {item.tool_name}({format_as_json(item.arguments)}): {outcome}"
        )
    return f"[{label}] {item if isinstance(item, str) else format_as_json(item)}"


def format_as_json(value: Any) -> str:
    """Format a value as JSON, or by ``str`` if it cannot be represented in JSON."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError, UnicodeError):
        return str(value)
