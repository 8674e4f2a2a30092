"""Detects that a model repeats its tool calls: one round again and again, or a cycle of rounds.

A round is the set of tool calls of one model response. So equal calls within one response, which
run at the same time, are no loop.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec

from locus.core.messages import ToolCall


def make_round_digest(calls: Iterable[ToolCall]) -> str:
    """Make a digest that is the same for rounds with the same tools and arguments, in any order."""
    keys = sorted((call.name, _encode_arguments(call)) for call in calls)
    return blake2b(repr(keys).encode(), digest_size=8).hexdigest()


def _encode_arguments(call: ToolCall) -> bytes:
    """Encode the arguments of a call in a form that is the same for equal arguments."""
    if call.malformed_arguments is not None:
        return call.malformed_arguments.encode(errors="backslashreplace")
    try:
        return msgspec.json.encode(call.arguments, order="sorted")
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(call.arguments, sort_keys=True).encode()


def find_cycle_length(rounds: Sequence[str], threshold: int) -> int | None:
    """Return the length of the shortest cycle that the rounds end with; None if there is none.

    A single round is a loop when it occurs ``threshold`` times in a row; a cycle of several rounds
    when it has occurred twice, and has ``threshold`` rounds or more in all.
    """
    for length in range(1, len(rounds) // 2 + 1):
        repeats = max(2, -(-threshold // length))
        size = length * repeats
        if size > len(rounds):
            continue
        tail = rounds[len(rounds) - size :]
        if all(tail[index] == tail[index - length] for index in range(length, size)):
            return length
    return None
