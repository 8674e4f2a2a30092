"""Finds tool calls that repeat an earlier idempotent call: same tool, same arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from locus.core.messages import ToolCall
from locus.core.state import ToolExecution

IdempotencyKey: TypeAlias = tuple[str, bytes]
"""The name of the tool, and its arguments as canonical JSON."""


def make_idempotency_key(call: ToolCall) -> IdempotencyKey | None:
    """Make a key that is the same for equal calls; None if the arguments are malformed."""
    if call.malformed_arguments is not None:
        return None
    return call.name, encode_canonical_json(call.arguments)


def encode_canonical_json(arguments: Any) -> bytes:
    """Encode arguments as JSON that is the same for equal arguments."""
    try:
        return msgspec.json.encode(arguments, order="sorted")
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()


def find_earlier_execution(
    executions: Iterable[ToolExecution], call: ToolCall, key: IdempotencyKey
) -> ToolExecution | None:
    """Find the first successful execution of an equal call. A call that failed may run again."""
    for execution in executions:
        if (
            execution.idempotent
            and execution.error is None
            and execution.tool_name == call.name
            and execution.arguments == call.arguments  # fast, but takes 1 and True for equal
            and encode_canonical_json(execution.arguments) == key[1]
        ):
            return execution
    return None
