"""What happens while a model answers or an agent runs: frozen values, in the order they occur."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.attrs_validators import string_or_none
from locus.core.frozendict import EMPTY, FrozenDict, frozen_dict
from locus.core.messages import ToolCall, tool_calls
from locus.core.response import ModelResponse


@attrs.frozen(slots=False)
class ModelChunkEvent:
    """A piece of an answer as it arrives.

    The pieces joined are the whole answer. Tool calls come complete, never in fragments. Exactly
    one event has ``done``, and it is the last; it alone carries ``usage``, ``stop_reason``,
    ``provider_state`` and ``response``, the same value that ``complete()`` would have given.
    """

    content: str | None = attrs.field(default=None, validator=string_or_none)
    reasoning: str | None = attrs.field(default=None, validator=string_or_none)
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=tool_calls)
    done: bool = False
    usage: Mapping[str, int] | None = None
    stop_reason: str | None = None
    provider_state: Mapping[str, Any] | None = None
    response: ModelResponse | None = None


# One is made for every token, so its price counts: 0.7 µs by the constructor, half of all that
# decoding a chunk costs. Defaults that stand on the class, too, let `chunk_event` set no more than
# the pieces, in 0.3 µs. This is why the class has no slots.
for _field in attrs.fields(ModelChunkEvent):
    setattr(ModelChunkEvent, _field.name, _field.default)
_new = object.__new__


def chunk_event(content: str, reasoning: str = "") -> ModelChunkEvent:
    """An event in the middle of an answer; the same value as by the constructor, made faster."""
    event = _new(ModelChunkEvent)
    pieces = event.__dict__
    if content:
        pieces["content"] = content
    if reasoning:
        pieces["reasoning"] = reasoning
    return event


@attrs.frozen
class ThinkEvent:
    """The model answered: its reasoning, and the tools it asks for."""

    iteration: int
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=tool_calls)


def _arguments(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    return frozen_dict(value, "ToolStartEvent.arguments")


@attrs.frozen
class ToolStartEvent:
    """A tool is about to run."""

    tool_name: str
    tool_call_id: str
    arguments: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_arguments)


@attrs.frozen
class ToolCompleteEvent:
    """A tool has run: its ``result`` as the model reads it, or the ``error``."""

    tool_name: str
    tool_call_id: str
    result: str | None = None
    error: str | None = None
    duration_ms: float | None = None


@attrs.frozen
class ReflectEvent:
    """The agent judged its last step.

    :param assessment: the judgement in a word or a sentence.
    :param confidence: from 0 to 1, after the judgement.
    :param guidance: what enters the next turn.
    """

    iteration: int
    assessment: str
    confidence: float
    guidance: str | None = None


@attrs.frozen
class GroundingEvent:
    """The claims of an answer were checked against what the tools said.

    :param score: from 0 (nothing is supported) to 1.
    :param claims: each claim with its verdict.
    """

    score: float
    claims: tuple[Mapping[str, Any], ...] = attrs.field(default=(), converter=tuple)
    decision: str | None = None


def _usage(value: Mapping[str, int] | None) -> FrozenDict[str, int]:
    return frozen_dict(value, "TerminateEvent.usage")


@attrs.frozen
class TerminateEvent:
    """A run ended. Always the last event, also where the run failed."""

    reason: str
    iterations_used: int
    total_tool_calls: int
    final_message: str | None = None
    usage: Mapping[str, int] = attrs.field(default=EMPTY, converter=_usage)
