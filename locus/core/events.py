"""The events of a model's stream and of an agent's run, as frozen classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from locus.core.attrs_validators import validate_optional_string
from locus.core.frozendict import EMPTY, FrozenDict, to_frozen_dict
from locus.core.messages import ToolCall, to_tool_calls
from locus.core.response import ModelResponse


@attrs.frozen(slots=False)
class ModelChunkEvent:
    """A part of a streamed response.

    The events' texts, joined, are the text of the whole response. Each tool call is complete in one
    event. Exactly one event has ``done``, and it is the last; only it has ``usage``,
    ``stop_reason``, ``provider_state`` and ``response``, the :class:`ModelResponse` that
    ``complete()`` would have returned.
    """

    content: str | None = attrs.field(default=None, validator=validate_optional_string)
    reasoning: str | None = attrs.field(default=None, validator=validate_optional_string)
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=to_tool_calls)
    done: bool = False
    usage: Mapping[str, int] | None = None
    stop_reason: str | None = None
    provider_state: Mapping[str, Any] | None = None
    response: ModelResponse | None = None


# One event is created for every token, so its cost matters: 0.7 µs by the constructor, half of the
# cost of decoding a chunk. With the defaults as class attributes `make_chunk_event` need not set
# them, and takes 0.3 µs. This is why the class has no slots.
for _field in attrs.fields(ModelChunkEvent):
    setattr(ModelChunkEvent, _field.name, _field.default)
_new = object.__new__


def make_chunk_event(content: str, reasoning: str = "") -> ModelChunkEvent:
    """Create an event of text, not the last one; faster than the constructor, and equal to it."""
    event = _new(ModelChunkEvent)
    fields = event.__dict__
    if content:
        fields["content"] = content
    if reasoning:
        fields["reasoning"] = reasoning
    return event


@attrs.frozen
class ThinkEvent:
    """The model has responded: its reasoning, and its tool calls."""

    iteration: int
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=to_tool_calls)


def _to_frozen_arguments(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    """Convert the arguments to an immutable mapping."""
    return to_frozen_dict(value, "ToolStartEvent.arguments")


@attrs.frozen
class ToolStartEvent:
    """A tool call is about to run."""

    tool_name: str
    tool_call_id: str
    arguments: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_to_frozen_arguments)


@attrs.frozen
class ToolCompleteEvent:
    """A tool call has ended: its ``result`` as the model reads it, or the ``error``."""

    tool_name: str
    tool_call_id: str
    result: str | None = None
    error: str | None = None
    duration_ms: float | None = None


@attrs.frozen
class SubAgentEvent:
    """An event of an agent that is a tool of this one (``as_tool``), or of one of its own tools.

    A round of tools ends before there are events about it, so these come together, right before the
    :class:`ToolCompleteEvent` of their call.

    :param event: the event; again a ``SubAgentEvent`` if it is that of a tool of that agent.
    """

    tool_name: str
    tool_call_id: str
    event: Any


@attrs.frozen
class ReflectEvent:
    """The agent has assessed its last step (``reflexion=``).

    :param iteration: the number of the model call whose tool calls were assessed.
    :param assessment: the assessment in a sentence.
    :param guidance: the advice that the model reads in the next step, or None.
    :param confidence: from 0 to 1, after the step.
    :param loop_detected: whether the model repeats its calls.
    """

    iteration: int
    assessment: str
    guidance: str | None = None
    confidence: float = 0.0
    loop_detected: bool = False


def _to_text_tuple(value: Iterable[str]) -> tuple[str, ...]:
    """Convert the texts to a tuple."""
    return tuple(value)


@attrs.frozen
class GroundingEvent:
    """The claims of an answer were checked against tool results (``grounding=`` or ``gsar=``).

    :param score: from 0 (nothing is supported) to 1.
    :param grounded: the claims that are supported; with GSAR, the complementary ones, too.
    :param ungrounded: the claims that are not; with GSAR, the contradicted ones, too.
    :param accepted: whether the answer is good enough. If not, the model may be asked for another.
    """

    score: float
    grounded: tuple[str, ...] = attrs.field(default=(), converter=_to_text_tuple)
    ungrounded: tuple[str, ...] = attrs.field(default=(), converter=_to_text_tuple)
    accepted: bool = True


def _to_token_counts(value: Mapping[str, int] | None) -> FrozenDict[str, int]:
    """Convert the token counts to an immutable mapping."""
    return to_frozen_dict(value, "TerminateEvent.usage")


@attrs.frozen
class TerminateEvent:
    """The run has ended. Always the last event, also when the run failed.

    :param reason: the same as ``AgentResult.stop_reason``; ``"error: …"`` if the run failed.
    :param finish_reason: why the model's last response ended, in the words of
        ``ModelResponse.finish_reason``; None if there is none.
    """

    reason: str
    iterations_used: int
    total_tool_calls: int
    final_message: str | None = None
    usage: Mapping[str, int] = attrs.field(default=EMPTY, converter=_to_token_counts)
    finish_reason: str | None = None
