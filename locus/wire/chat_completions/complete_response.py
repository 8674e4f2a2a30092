"""Parses a complete response of ``POST /chat/completions``; streams share most functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.error_body import ErrorBody
from locus.core.frozendict import EMPTY
from locus.core.make_status_error import find_error_in_response, make_status_error
from locus.core.raw_response import NO_SOURCE, RawResponse
from locus.core.response import ModelResponse
from locus.wire.chat_completions.candidate_accumulator import (
    CandidateAccumulator,
    make_candidate_sort_key,
)
from locus.wire.chat_completions.response_structs import (
    Choice,
    Completion,
    CompletionDetails,
    PromptDetails,
    Usage,
    completion_decoder,
)
from locus.wire.provider_json import convert_body_to_text, make_parse_error
from locus.wire.response_parts import build_usage, to_token_count


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse the body of a complete response.

    :raises APIStatusError: if the body is an error object.
    :raises ResponseParseError: if the body does not follow the format.
    """
    return build_response(completion_decoder.decode(body), body)


def build_response(completion: Completion, body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Build the response from the decoded body; errors, and the response's ``raw``, quote it."""
    raise_for_error(completion, body)
    if not completion.choices:
        raise make_parse_error("the response has no choices", body)
    is_one_response = len(completion.choices) > 1 and _is_one_response(completion.choices)
    accumulators: list[CandidateAccumulator] = []
    choices = completion.choices
    if len(choices) > 1:
        choices = sorted(choices, key=lambda choice: make_candidate_sort_key(choice.index))
    for position, choice in enumerate(choices):
        raise_for_choice_error(choice, body)
        message = choice.message or choice.delta or choice.text_message
        if message is None and not find_stop_reason(choice):
            raise make_parse_error(f"choices[{position}] has no message", body)
        if not accumulators or not is_one_response:
            accumulators.append(CandidateAccumulator())
        accumulator = accumulators[-1]
        if message is not None:
            accumulator.add_message(message, is_complete=True)
        accumulator.stop_reason = find_stop_reason(choice) or accumulator.stop_reason
        if choice.logprobs is not None:
            accumulator.add_logprobs(choice.logprobs)
    return build_response_from_candidates(
        accumulators,
        find_usage(completion),
        completion.id or None,
        completion.model or None,
        RawResponse(body),
    )


def _is_one_response(choices: Sequence[Choice]) -> bool:
    """Return whether a server (GitHub Copilot's) spread one response over several choices.

    Such choices do not have indexes of their own, and at most one of them has a text.
    """
    texts = sum(bool(choice.message and choice.message.content) for choice in choices)
    return len({choice.index for choice in choices}) == 1 and texts <= 1


def raise_for_error(completion: Completion, body: bytes | str | Mapping[str, Any]) -> None:
    """Raise an ``APIStatusError`` if a response, or a chunk of a stream, is an error object.

    Most servers wrap it as ``{"error": …}``. OpenRouter does so too, but sends choices beside it;
    vLLM sends the error object without a wrapper. An ``error`` that says nothing, beside choices,
    is none (LiteLLM).
    """
    if completion.choices and not completion.error and not completion.base_resp:
        return
    is_response = completion.choices or completion.usage or completion.id or completion.model
    error = find_error_in_response(body, needs_certainty=bool(is_response))
    if error is not None:
        raise make_status_error(convert_body_to_text(body), error_object=error)


def raise_for_groq_error(completion: Completion, body: bytes | str | Mapping[str, Any]) -> None:
    """Raise an ``APIStatusError`` if Groq says why it has stopped a stream early."""
    error = None if completion.x_groq is None else completion.x_groq.error
    if error:
        raise make_status_error(convert_body_to_text(body), error_object={"error": error})


def raise_for_choice_error(choice: Choice, body: bytes | str | Mapping[str, Any]) -> None:
    """Raise an ``APIStatusError`` if a choice holds an error, or ended with one."""
    error: dict[str, Any] = {"error": choice.error}
    if not choice.error or ErrorBody.parse(error).is_empty:
        if "error" not in (choice.finish_reason, choice.native_finish_reason):
            return
        error = {"message": "the model failed (its finish_reason is error)", "status": 500}
    raise make_status_error(convert_body_to_text(body), error_object=error)


def find_stop_reason(choice: Choice) -> str | None:
    """Return the word for how a choice ended.

    OpenRouter says ``stop`` for a response that the provider behind it broke off.
    """
    if choice.native_finish_reason == "network_error":
        return "network_error"
    return choice.finish_reason or choice.camel_finish_reason


def find_usage(completion: Completion) -> Usage | None:
    """Return the token counts of a response, or of a chunk of a stream."""
    if completion.usage is not None:
        return completion.usage
    if completion.x_groq is not None and completion.x_groq.usage is not None:
        return completion.x_groq.usage
    return next((c.usage for c in completion.choices or () if c.usage is not None), None)


_NO_PROMPT_DETAILS: Final = PromptDetails()
_NO_COMPLETION_DETAILS: Final = CompletionDetails()


def normalize_usage(usage: Usage | None) -> Mapping[str, int]:
    """Return the token counts under Locus's names."""
    if usage is None:
        return EMPTY
    prompt_details = usage.prompt_tokens_details or _NO_PROMPT_DETAILS
    completion_details = usage.completion_tokens_details or _NO_COMPLETION_DETAILS
    return build_usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        cached_tokens=select_first_count(
            prompt_details.cached_tokens,
            usage.cache_read_input_tokens,
            usage.prompt_cache_hit_tokens,
            usage.cached_tokens,
        ),
        cache_creation_input_tokens=select_first_count(
            usage.cache_creation_input_tokens,
            prompt_details.cache_write_tokens,
            prompt_details.cache_creation_tokens,
        ),
        reasoning_tokens=select_first_count(
            completion_details.reasoning_tokens, usage.reasoning_tokens
        ),
        prompt_audio_tokens=prompt_details.audio_tokens,
        completion_audio_tokens=completion_details.audio_tokens,
        accepted_prediction_tokens=completion_details.accepted_prediction_tokens,
        rejected_prediction_tokens=completion_details.rejected_prediction_tokens,
    )


def select_first_count(*counts: Any) -> int | None:
    """Return the first count that is a number; one that is not 0 goes before one that is."""
    first: int | None = None
    for value in counts:
        if value is None:  # as most are: no call for them
            continue
        count = to_token_count(value)
        if count:
            return count
        if first is None:
            first = count
    return first


def build_response_from_candidates(
    accumulators: Sequence[CandidateAccumulator],
    usage: Usage | None,
    raw_id: str | int | None,
    model: str | None,
    source: RawResponse = NO_SOURCE,
) -> ModelResponse:
    """Build the response from all its candidates. Some servers send a number as the id."""
    response_id = None if raw_id is None else str(raw_id)
    candidates = tuple(accumulator.build_candidate(response_id) for accumulator in accumulators)
    first = candidates[0]
    return ModelResponse(
        message=first.message,
        usage=normalize_usage(usage),
        stop_reason=first.stop_reason,
        reasoning=first.reasoning,
        model=model,
        response_id=response_id,
        logprobs=first.logprobs,
        candidates=candidates if len(candidates) > 1 else (),
        source=source,
    )
