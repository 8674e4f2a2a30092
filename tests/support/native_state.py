"""Native state as tests expect it, and values without it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from locus.core.messages import Message, ToolCall
from locus.core.native_state import Maker, NativeState
from locus.core.response import ModelResponse

T = TypeVar("T", ModelResponse, Message, ToolCall)

_COMMON_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")


def make_state(
    wire_format: str,
    data: Mapping[str, Any] | None = None,
    *,
    address: str | None = None,
    model: str | None = None,
    bound_to_history: bool = False,
) -> NativeState:
    """Make native state; without an address it is as a parser makes it."""
    return NativeState(Maker(wire_format, address, model), data or {}, bound_to_history)


def with_expected_call_state(call: ToolCall, wire_format: str | None, **data: Any) -> ToolCall:
    """Return a call that a server has made, with the state that it is expected to have.

    :param wire_format: None for a format that accepts every id.
    """
    if wire_format is None:
        return call
    if not _COMMON_ID.fullmatch(call.id):
        data["id"] = call.id
    return attrs.evolve(call, native_state=make_state(wire_format, data)) if data else call


def get_data(message: Message) -> Mapping[str, Any]:
    """Return the data of a message's native state; empty if it has none."""
    return {} if message.native_state is None else message.native_state.data


def strip_native_state(value: T) -> T:
    """Return a response, a message or a call without native state."""
    if isinstance(value, ToolCall):
        return attrs.evolve(value, native_state=None)
    if isinstance(value, Message):
        calls = tuple(map(strip_native_state, value.tool_calls))
        return attrs.evolve(value, tool_calls=calls, native_state=None)
    candidates = tuple(
        attrs.evolve(candidate, message=strip_native_state(candidate.message))
        for candidate in value.candidates
    )
    return attrs.evolve(value, message=strip_native_state(value.message), candidates=candidates)
