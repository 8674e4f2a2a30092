"""A whole answer of ``POST /chat/completions``, and what streamed ones share with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from locus.core.error_factory import make_status_error
from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.response import ModelResponse
from locus.wire.chat_completions.candidate import Answer
from locus.wire.chat_completions.json_types import Completion, Usage, reader
from locus.wire.decoding import token_counts
from locus.wire.json import text_of
from locus.wire.stream_decoder import StreamDecoder


@attrs.frozen
class ChatCompletionsParser:
    """The ``ResponseParser`` of the chat completions format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds.

        :raises APIStatusError: the body is an error object.
        :raises ResponseParseError: it is not what the format promises.
        """
        return response_of(reader.read(response), response)

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.chat_completions.stream import ChatCompletionsDecoder

        return ChatCompletionsDecoder()


def response_of(whole: Completion, body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """The answer in a decoded body; ``body`` is quoted in errors."""
    check(whole, body)
    if not whole.choices:
        raise ResponseParseError("the answer has no choices", body=text_of(body))
    answers = []
    for position, choice in enumerate(sorted(whole.choices, key=lambda choice: choice.index or 0)):
        if choice.message is None:
            raise ResponseParseError(f"choices[{position}] has no message", body=text_of(body))
        answer = Answer()
        answer.add(choice.message, whole=True)
        answer.stop_reason = choice.finish_reason or None
        if choice.logprobs is not None:
            answer.add_logprobs(choice.logprobs)
        answers.append(answer)
    return assemble(answers, whole.usage, whole.id or None, whole.model or None)


def check(whole: Completion, body: bytes | str | Mapping[str, Any]) -> None:
    """Refuse an answer, or a chunk of one, that is an error object.

    Most servers wrap it as ``{"error": …}``, OpenRouter beside choices, and vLLM sends it bare.
    """
    if whole.error:
        raise make_status_error(text_of(body), error=whole.error)
    if whole.choices is None and whole.usage is None and whole.id is None and whole.model is None:
        text = text_of(body)
        if '"message"' in text:
            raise make_status_error(text)


def usage_of(usage: Usage | None) -> Mapping[str, int]:
    """Token counts under Locus's names."""
    if usage is None:
        return EMPTY
    details, spent = usage.prompt_tokens_details, usage.completion_tokens_details
    return token_counts(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=details.cached_tokens if details else None,
        reasoning_tokens=spent.reasoning_tokens if spent else None,
    )


def assemble(
    answers: Sequence[Answer], usage: Usage | None, number: str | int | None, model: str | None
) -> ModelResponse:
    """The whole response from its candidates; ``number`` is the answer's id."""
    source = None if number is None else str(number)
    candidates = tuple(answer.candidate(source) for answer in answers)
    first = candidates[0]
    return ModelResponse(
        message=first.message,
        usage=usage_of(usage),
        stop_reason=first.stop_reason,
        reasoning=first.reasoning,
        model=model,
        response_id=source,
        logprobs=first.logprobs,
        candidates=candidates if len(candidates) > 1 else (),
    )
