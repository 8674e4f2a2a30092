"""What several formats read alike: token counts, and tool calls as servers really send them."""

from __future__ import annotations

import json
import math
from typing import Any

from locus.core.frozendict import FrozenDict
from locus.core.messages import ToolCall
from locus.wire.tool_call_ids import checksum


def token_counts(**counts: float | None) -> FrozenDict[str, int]:
    """The counts that a server gave, under Locus's names."""
    return FrozenDict(
        {
            name: int(count)
            for name, count in counts.items()
            if count is not None and math.isfinite(count)  # json.loads gives NaN for NaN
        }
    )


def made_id(source: str | None, position: int, name: str, arguments: str) -> str:
    """An id for a call that came without: made from the answer, so the same however it was read.

    :param source: what tells this answer from others.
    :param arguments: as text, in any form that is the same for the same call.
    """
    seed = f"{source}\0{position}\0{name}\0{arguments}"
    return f"call_{checksum(seed)}"


def tool_call(identity: str, name: str, arguments: Any) -> ToolCall:
    """The call with the arguments that arrived, well-formed or not."""
    if arguments is None:  # what an empty map becomes on some servers
        return ToolCall(identity, name)
    if isinstance(arguments, dict):
        return ToolCall(identity, name, arguments)
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall.from_json(identity, name, text)
