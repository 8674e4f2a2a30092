"""Parses a complete response of ``POST /chat/completions``; streams share most functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.make_status_error import make_status_error
from locus.core.response import ModelResponse
from locus.wire.chat_completions.candidate_accumulator import CandidateAccumulator
from locus.wire.chat_completions.json_types import Completion, Usage, completion_decoder
from locus.wire.provider_json import convert_body_to_text
from locus.wire.usage_and_tool_calls import build_usage


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse the body of a complete response.

    :raises APIStatusError: if the body is an error object.
    :raises ResponseParseError: if the body does not follow the format.
    """
    return build_response(completion_decoder.decode(body), body)


def build_response(completion: Completion, body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Build the response from the decoded body; errors quote ``body``."""
    raise_for_error(completion, body)
    if not completion.choices:
        raise ResponseParseError("the response has no choices", body=convert_body_to_text(body))
    accumulators = []
    for position, choice in enumerate(
        sorted(completion.choices, key=lambda choice: choice.index or 0)
    ):
        if choice.message is None:
            raise ResponseParseError(
                f"choices[{position}] has no message", body=convert_body_to_text(body)
            )
        accumulator = CandidateAccumulator()
        accumulator.add_message(choice.message, is_complete=True)
        accumulator.stop_reason = choice.finish_reason or None
        if choice.logprobs is not None:
            accumulator.add_logprobs(choice.logprobs)
        accumulators.append(accumulator)
    return build_response_from_candidates(
        accumulators, completion.usage, completion.id or None, completion.model or None
    )


def raise_for_error(completion: Completion, body: bytes | str | Mapping[str, Any]) -> None:
    """Raise an ``APIStatusError`` if a response, or a chunk of a stream, is an error object.

    Most servers wrap it as ``{"error": …}``. OpenRouter does so too, but sends choices beside it;
    vLLM sends the error object without a wrapper.
    """
    if completion.error:
        raise make_status_error(convert_body_to_text(body), error_object=completion.error)
    if (
        completion.choices is None
        and completion.usage is None
        and completion.id is None
        and completion.model is None
    ):
        text = convert_body_to_text(body)
        if '"message"' in text:
            raise make_status_error(text)


def normalize_usage(usage: Usage | None) -> Mapping[str, int]:
    """Return the token counts under Locus's names."""
    if usage is None:
        return EMPTY
    prompt_details, completion_details = (
        usage.prompt_tokens_details,
        usage.completion_tokens_details,
    )
    return build_usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=prompt_details.cached_tokens if prompt_details else None,
        reasoning_tokens=completion_details.reasoning_tokens if completion_details else None,
    )


def build_response_from_candidates(
    accumulators: Sequence[CandidateAccumulator],
    usage: Usage | None,
    raw_id: str | int | None,
    model: str | None,
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
    )
