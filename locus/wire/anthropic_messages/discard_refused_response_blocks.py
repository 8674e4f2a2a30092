"""Removes what a response declined: calls that must not be run, and that must not be sent back.

A response that ended with ``refusal`` is no answer, so its calls are void. In a response with a
``fallback`` block another model took over: what the first one began before that block was declined,
its calls and its thinking included (Anthropic's pages "Handling stop reasons" and "Refusals and
fallback", https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from locus.wire.anthropic_messages.structured_output import RESPOND_TOOL_NAME

B = TypeVar("B", bound=Mapping[str, Any])

_CALL_TYPES: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_THINKING_TYPES: Final = frozenset({"thinking", "redacted_thinking"})


def remove_declined_blocks(blocks: Sequence[B], stop_reason: str | None) -> list[B]:
    """Return the blocks of a response without those that were declined.

    :param stop_reason: why the response ended.
    """
    last_fallback = max(
        (index for index, block in enumerate(blocks) if block.get("type") == "fallback"),
        default=-1,
    )
    if last_fallback < 0 and stop_reason != "refusal":
        return list(blocks)
    answered = {block.get("tool_use_id") for block in blocks}

    def is_declined(index: int, block: B) -> bool:
        type_ = block.get("type")
        if type_ in _CALL_TYPES:
            is_void = stop_reason == "refusal" or index < last_fallback
            is_answered = type_ != "tool_use" and block.get("id") in answered
            return is_void and not is_answered and block.get("name") != RESPOND_TOOL_NAME
        return type_ in _THINKING_TYPES and index < last_fallback

    return [block for index, block in enumerate(blocks) if not is_declined(index, block)]
