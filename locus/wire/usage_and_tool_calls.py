"""Builds the token counts and the tool calls of a response, for several formats."""

from __future__ import annotations

import json
import math
from typing import Any

from locus.core.digest import compute_digest
from locus.core.frozendict import FrozenDict
from locus.core.messages import ToolCall


def build_usage(**counts: float | None) -> FrozenDict[str, int]:
    """Build ``usage`` from the token counts that a server sent; missing counts are left out."""
    return FrozenDict(
        {
            name: int(count)
            for name, count in counts.items()
            if count is not None and math.isfinite(count)  # json.loads gives NaN for NaN
        }
    )


def make_tool_call_id(response_id: str | None, position: int, name: str, arguments: str) -> str:
    """Make an id for a tool call that has none.

    The id depends on the response only, so a complete response and a streamed one give the same.

    :param response_id: distinguishes this response from others.
    :param position: the index of the call in the response.
    :param arguments: the arguments as text, in any form that is always the same for equal
        arguments.
    """
    seed = f"{response_id}\0{position}\0{name}\0{arguments}"
    return f"call_{compute_digest(seed)}"


def make_tool_call(call_id: str, name: str, arguments: Any) -> ToolCall:
    """Build a call from its arguments: an object, JSON text, or malformed text."""
    if arguments is None:  # some servers send null for an empty object
        return ToolCall(call_id, name)
    if isinstance(arguments, dict):
        return ToolCall(call_id, name, arguments)
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall.from_json(call_id, name, text)
