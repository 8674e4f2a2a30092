"""``ModelResponse``: a model's complete response, in the same form for every provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Self, TypeAlias

import attrs

from locus.core.frozendict import EMPTY, FrozenDict, to_frozen_dict
from locus.core.messages import Message, ToolCall
from locus.core.raw_response import NO_SOURCE, JSONSource, RawResponse, find_request_id

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "other"]

# The stop reasons of many servers, in lower case. A word of one provider's own is no reason to add
# it here: its parser passes what it means (`stop_meaning`).
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
    "function_calls": "tool_calls",  # Alibaba's
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "content_filtered": "content_filter",
    "error_toxic": "content_filter",
    "sensitive": "content_filter",  # Zhipu's
    "image_safety": "content_filter",
    "image_prohibited_content": "content_filter",
    "image_recitation": "content_filter",
    "guardrail_intervened": "content_filter",  # Amazon's
    "eos_token": "stop",  # Hugging Face's
    "end_of_text": "stop",
    "finished": "stop",
    "max_length": "length",
    "max_token": "length",
    "token_limit": "length",
}


_BROKEN_OFF: Final = frozenset(
    {
        # Gemini's: https://ai.google.dev/api/generate-content#FinishReason
        *("malformed_function_call", "unexpected_tool_call", "too_many_tool_calls"),
        *("malformed_response", "missing_thought_signature", "no_image", "image_other"),
        *("language", "other", "function_call_filter"),  # the last is its compatible endpoint's
        "insufficient_system_resource",  # DeepSeek's
        "network_error",  # Zhipu's
        *("abort", "repetition"),  # vLLM's
        *("incomplete", "max_messages"),  # of the responses API
        *("timeout", "error", "failed", "cancelled", "canceled", "user_cancel"),
    }
)
"""The stop reasons of a response that is not finished, and for which there is no common word."""


def _normalize_stop_reason(stop_reason: str | None) -> str:
    # Gemini's compatible endpoint adds its own word: "content_filter: PROHIBITED_CONTENT".
    return (stop_reason or "").partition(":")[0].strip().lower().replace("-", "_")


def is_response_broken_off(stop_reason: str | None) -> bool:
    """Return whether the model or its server broke a response off.

    :param stop_reason: the provider's own word.
    """
    return _normalize_stop_reason(stop_reason) in _BROKEN_OFF


def _compute_finish_reason(
    stop_reason: str | None, stop_meaning: FinishReason | None, message: Message
) -> FinishReason:
    """Convert a provider's stop reason to the common vocabulary.

    Whether there are tool calls decides between ``stop`` and ``tool_calls``.
    """
    word = _normalize_stop_reason(stop_reason)
    finish_reason = stop_meaning or _FINISH_REASONS.get(word, "other")
    # Several servers report "stop" although the response has tool calls. Anthropic reports
    # "tool_use" where a tool was called only to get structured output. What the caller
    # has to do next decides.
    if message.tool_calls:
        return "tool_calls" if finish_reason == "stop" else finish_reason
    return "stop" if finish_reason == "tool_calls" else finish_reason


_PAUSED_STOP_REASONS: Final = frozenset({"pause_turn", "compaction"})
"""Anthropic's stop reasons of a turn that is not over: what it said so far is sent back, and
the model goes on (https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons)."""


def is_turn_paused(stop_reason: str | None) -> bool:
    """Return whether the model goes on when its response is sent back.

    :param stop_reason: the provider's own word.
    """
    return stop_reason in _PAUSED_STOP_REASONS


@attrs.frozen
class Candidate:
    """One of several responses to the same request (OpenAI's ``n``).

    Its fields are those of :class:`ModelResponse`.
    """

    message: Message
    stop_reason: str | None = None
    reasoning: str | None = None
    logprobs: Mapping[str, Any] | None = None
    stop_meaning: FinishReason | None = attrs.field(default=None, kw_only=True)

    @property
    def finish_reason(self) -> FinishReason:
        """The stop reason in one vocabulary for every provider."""
        return _compute_finish_reason(self.stop_reason, self.stop_meaning, self.message)


def _to_token_counts(value: Mapping[str, int] | None) -> FrozenDict[str, int]:
    """Convert the token counts to an immutable mapping."""
    return to_frozen_dict(value, "ModelResponse.usage")


@attrs.frozen
class ModelResponse:
    """A model's complete response.

    :param message: the model's message, ready to be added to the conversation.
    :param usage: tokens, under keys that mean the same for every provider. ``prompt_tokens`` is
        the whole input, what was read from a cache or written to it included;
        ``completion_tokens`` the whole output, reasoning included. Where the server reports them:
        ``total_tokens`` (its own sum), ``cached_tokens`` and ``cache_read_input_tokens`` (the
        same count: input that was read from a cache), ``cache_creation_input_tokens`` (input
        that was written to one), ``reasoning_tokens`` (a part of the output).
    :param stop_reason: why the response ended, in the provider's own words.
    :param provider_state: what a server that stores the conversation needs in the next call.
    :param reasoning: the model's thinking, where the provider shows it.
    :param model: the name of the model that responded, as the provider reports it.
    :param response_id: the provider's id of this response.
    :param logprobs: the provider's token probabilities, as sent.
    :param candidates: all responses, the first included, where more than one was requested.
    :param stop_meaning: what ``stop_reason`` means, where the word is this provider's alone and its
        parser knows; None looks it up among the words of many providers.
    :param source: what the response was made from; see :attr:`raw` and :attr:`headers`.
    """

    message: Message
    usage: Mapping[str, int] = attrs.field(default=EMPTY, converter=_to_token_counts)
    stop_reason: str | None = None
    provider_state: Mapping[str, Any] | None = None
    reasoning: str | None = None
    model: str | None = None
    response_id: str | None = None
    logprobs: Mapping[str, Any] | None = None
    candidates: tuple[Candidate, ...] = ()
    stop_meaning: FinishReason | None = attrs.field(default=None, kw_only=True)
    source: RawResponse = attrs.field(default=NO_SOURCE, eq=False, repr=False)

    @property
    def raw(self) -> Mapping[str, Any]:
        """The provider's JSON, with everything that has no member here; empty without a server.

        It is decoded when first read. A streamed response has what its chunks contain beside the
        deltas, the last value of each member; the deltas themselves are in :attr:`message`.
        """
        return self.source.raw

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the HTTP response, with lower-case names; rate limits are among them."""
        return self.source.headers

    @property
    def request_id(self) -> str | None:
        """The provider's id of the HTTP request; its support asks for it."""
        return find_request_id(self.source.headers)

    def with_source(self, *chunks: JSONSource, **options: Any) -> Self:
        """Return a copy with another :class:`~locus.core.raw_response.RawResponse`.

        The parameters are those of that class.
        """
        return self._replace_source(RawResponse(*chunks, **options))

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Return a copy with the headers of the HTTP response."""
        return self._replace_source(self.source.with_headers(headers))

    def with_stop_meanings(self, meanings: Mapping[str, FinishReason]) -> Self:
        """Return a copy that knows what its stop reason means, and each candidate's.

        :param meanings: what a provider's words mean, in its own spelling.
        """
        if not meanings:
            return self
        candidates = tuple(
            attrs.evolve(one, stop_meaning=meanings.get(one.stop_reason or ""))
            for one in self.candidates
        )
        meaning = meanings.get(self.stop_reason or "")
        return attrs.evolve(self, stop_meaning=meaning, candidates=candidates)

    def _replace_source(self, source: RawResponse) -> Self:
        new = object.__new__(type(self))  # a quarter of the time of `attrs.evolve`
        for name in _FIELD_NAMES:
            _set(new, name, getattr(self, name))
        _set(new, "source", source)
        return new

    @property
    def content(self) -> str:
        """The response's text; empty if there is none."""
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The model's tool calls."""
        return self.message.tool_calls

    @property
    def refusal(self) -> str | None:
        """The text of the model's refusal, or None if it did not refuse."""
        return self.message.refusal

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt; 0 if not reported."""
        return self.usage.get("prompt_tokens", 0)

    @property
    def completion_tokens(self) -> int:
        """Tokens of the response; 0 if not reported."""
        return self.usage.get("completion_tokens", 0)

    @property
    def total_tokens(self) -> int:
        """Tokens of the prompt and the response: the server's own sum, or else Locus's."""
        return self.usage.get("total_tokens", self.prompt_tokens + self.completion_tokens)

    @property
    def finish_reason(self) -> FinishReason:
        """The stop reason in one vocabulary for every provider."""
        return _compute_finish_reason(self.stop_reason, self.stop_meaning, self.message)


_FIELD_NAMES: Final = tuple(field.name for field in attrs.fields(ModelResponse))
_set: Final = object.__setattr__


def get_finished_text(response: ModelResponse) -> str:
    """Return the text of a response; empty if the model refused, or if it was held or broken off.

    What is said then is no answer to what was asked.
    """
    is_refused = response.message.refusal is not None or response.finish_reason == "content_filter"
    if is_refused or is_response_broken_off(response.stop_reason):
        return ""
    return response.content or ""
