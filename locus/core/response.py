"""A model's whole answer, in one vocabulary for every provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from locus.core.frozendict import EMPTY, FrozenDict, frozen_dict
from locus.core.messages import Message, ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "other"]

# The providers' own words, in lower case, each with its meaning here.
_FINISH_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "error_limit": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "content_filtered": "content_filter",
    "error_toxic": "content_filter",
}


def _finish_reason(stop_reason: str | None, message: Message) -> FinishReason:
    meaning = _FINISH_REASONS.get((stop_reason or "").lower(), "other")
    # Several servers say "stop" where the answer is a call, and Anthropic says "tool_use" where a
    # call was the way to the answer's text: what is to be done next decides.
    if message.tool_calls:
        return "tool_calls" if meaning == "stop" else meaning
    return "stop" if meaning == "tool_calls" else meaning


@attrs.frozen
class Candidate:
    """One of several answers to the same request (OpenAI's ``n``)."""

    message: Message
    stop_reason: str | None = None
    reasoning: str | None = None
    logprobs: Mapping[str, Any] | None = None

    @property
    def finish_reason(self) -> FinishReason:
        """The stop reason in Locus's vocabulary."""
        return _finish_reason(self.stop_reason, self.message)


def _usage(value: Mapping[str, int] | None) -> FrozenDict[str, int]:
    return frozen_dict(value, "ModelResponse.usage")


@attrs.frozen
class ModelResponse:
    """One whole answer.

    :param message: what the model said, ready to be put back into the conversation.
    :param usage: tokens, under the same keys for every provider: ``prompt_tokens``,
        ``completion_tokens``, and where reported ``cached_tokens``, ``reasoning_tokens``,
        ``cache_creation_input_tokens``, ``cache_read_input_tokens``.
    :param stop_reason: the provider's own word for why the answer ended.
    :param provider_state: what a server that keeps the conversation wants to see again.
    :param reasoning: the model's thinking, where the provider shows it.
    :param model: who really answered.
    :param response_id: the provider's name for this answer.
    :param logprobs: the provider's token probabilities, as sent.
    :param candidates: every answer, the first included, where more than one was asked for.
    """

    message: Message
    usage: Mapping[str, int] = attrs.field(default=EMPTY, converter=_usage)
    stop_reason: str | None = None
    provider_state: Mapping[str, Any] | None = None
    reasoning: str | None = None
    model: str | None = None
    response_id: str | None = None
    logprobs: Mapping[str, Any] | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def content(self) -> str:
        """The answer's text; empty where there is none."""
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model asks for."""
        return self.message.tool_calls

    @property
    def refusal(self) -> str | None:
        """Why the model would not answer, or None where it did."""
        return self.message.refusal

    @property
    def prompt_tokens(self) -> int:
        """Tokens read, 0 where not reported."""
        return self.usage.get("prompt_tokens", 0)

    @property
    def completion_tokens(self) -> int:
        """Tokens written, 0 where not reported."""
        return self.usage.get("completion_tokens", 0)

    @property
    def total_tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def finish_reason(self) -> FinishReason:
        """The stop reason in one vocabulary for every provider."""
        return _finish_reason(self.stop_reason, self.message)
