"""Formats evidence, such as the results of tools, as text for a judge model or for rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.core.state import ToolExecution

_CLOSING_TAG: Final = re.compile(r"<(?=/\s*(?:evidence|last_step|report|task)\b)", re.IGNORECASE)
NO_EVIDENCE: Final = "(There is no evidence.)"


@attrs.frozen
class EvidenceItem:
    """One item of evidence.

    :param text: the item as text.
    :param label: the id of the call of a tool execution, the key of a member of a mapping, the
        number of anything else; None if the evidence is one text, which is shown as it is.
    :param is_label_evidence: whether the label says something, as a key does.
    """

    text: str
    label: str | None
    is_label_evidence: bool = False


def split_evidence(evidence: Any) -> tuple[EvidenceItem, ...]:
    """Split evidence into items; none if there is no evidence.

    Text stays as it is. The label of an item is the id of the tool call, the key in a mapping, or
    otherwise its number, counted from 1.
    """
    if isinstance(evidence, (bytes, bytearray)):
        evidence = _to_text(evidence)
    if evidence is None or (isinstance(evidence, str) and not evidence.strip()):
        return ()
    if isinstance(evidence, str):
        return (EvidenceItem(evidence, None),)
    if isinstance(evidence, Mapping):
        pairs: Iterable[tuple[Any, Any]] = evidence.items()
    elif isinstance(evidence, Iterable) and not isinstance(evidence, ToolExecution):
        pairs = enumerate(evidence, 1)
    else:
        pairs = [(1, evidence)]
    has_keys = isinstance(evidence, Mapping)
    return tuple(_make_item(str(label), item, has_keys) for label, item in pairs)


def _make_item(label: str, item: Any, is_key: bool) -> EvidenceItem:
    """Make an item of a tool execution or of anything else."""
    if isinstance(item, ToolExecution):
        outcome = item.result if item.error is None else f"failed: {item.error}"
        text = f"{item.tool_name}({format_as_json(item.arguments)}): {outcome}"
        return EvidenceItem(text, item.tool_call_id)
    return EvidenceItem(_to_text(item), label, is_key)


def format_evidence(evidence: Any) -> str:
    """Format evidence as labelled items, one paragraph each."""
    return format_items(split_evidence(evidence))


def format_items(items: Iterable[EvidenceItem]) -> str:
    """Format items, one paragraph each, after their labels in brackets."""
    paragraphs = [
        item.text if item.label is None else f"[{item.label}] {item.text}" for item in items
    ]
    return "\n\n".join(paragraphs) or NO_EVIDENCE


def join_evidence(items: Iterable[EvidenceItem]) -> str:
    """Join the texts of items, with the labels that are keys and without the others."""
    return "\n\n".join(
        f"{item.label}: {item.text}" if item.is_label_evidence else item.text for item in items
    )


def enclose_in_tag(tag: str, text: str) -> str:
    """Enclose data for a judge model in a tag, which no data can close."""
    text = _CLOSING_TAG.sub(r"<\\", text)
    return f"<{tag}>\n{text}\n</{tag}>"


def _to_text(value: Any) -> str:
    """Convert a value to text: bytes as UTF-8, and anything else as JSON."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else format_as_json(value)


def format_as_json(value: Any) -> str:
    """Format a value as JSON, or by ``str`` if it cannot be represented in JSON."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError, UnicodeError):
        return str(value)
