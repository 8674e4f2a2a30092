"""A whole answer of ``POST /v1/messages``, and what streamed ones share with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.error_factory import make_status_error
from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Part, RefusalPart, Role, ThinkingPart
from locus.core.response import ModelResponse
from locus.wire.anthropic_messages.content_blocks import (
    KEPT,
    Block,
    content_of,
    read,
    text_in,
    to_keep,
)
from locus.wire.decoding import token_counts
from locus.wire.json import Read, Reader, text_of
from locus.wire.stream_decoder import StreamDecoder


class OutputDetails(Read):
    thinking_tokens: float | None = None


class Usage(Read):
    """Token counts; in a stream each count stands for all that came before it."""

    input_tokens: float | None = None
    output_tokens: float | None = None
    cache_creation_input_tokens: float | None = None
    cache_read_input_tokens: float | None = None
    output_tokens_details: OutputDetails | None = None


class Ending(Read):
    """Why an answer ended, and what is known of that."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None


class Whole(Ending):
    """A whole answer; or, with an ``error``, none."""

    id: str | None = None
    model: str | None = None
    content: list[dict[str, Any]] | None = None
    usage: Usage | None = None
    error: Any = None


_reader: Reader[Whole] = Reader(Whole)


@attrs.frozen
class AnthropicMessagesParser:
    """The ``ResponseParser`` of the messages format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds.

        :raises APIStatusError: the body is an error object.
        :raises ResponseParseError: it is not what the format promises.
        """
        return response_of(_reader.read(response), response)

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.anthropic_messages.stream import AnthropicMessagesDecoder

        return AnthropicMessagesDecoder()


def read_whole(body: bytes) -> ModelResponse:
    """The answer of a server that was asked to stream and did not."""
    return response_of(_reader.read(body), body)


def response_of(whole: Whole, body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """The answer in a decoded body; ``body`` is quoted in errors."""
    if whole.error:
        raise make_status_error(text_of(body), error=whole.error)
    if whole.content is None:
        text = text_of(body)
        if '"message"' in text:  # Amazon's gateways name an error by nothing else
            raise make_status_error(text)
        raise ResponseParseError("the answer has no content", body=text)
    answer = Answer()
    answer.begin(whole)
    answer.end(whole)
    answer.blocks = whole.content
    try:
        return answer.response()
    except ResponseParseError as error:
        error.body = text_of(body)[:2000]
        raise


class Answer:
    """An answer as it is read: at once, or piece by piece."""

    __slots__ = ("_counts", "_notes", "blocks", "id", "model", "stop_reason")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.id: str | None = None
        self.model: str | None = None
        self.stop_reason: str | None = None
        self._counts: dict[str, float] = {}
        self._notes: dict[str, Any] = {}

    def begin(self, whole: Whole) -> None:
        """Take in who answers."""
        self.id = whole.id or self.id
        self.model = whole.model or self.model
        self.count(whole.usage)

    def end(self, ending: Ending) -> None:
        """Take in why the answer ended."""
        self.stop_reason = ending.stop_reason or self.stop_reason
        for name in ("stop_sequence", "stop_details", "container"):
            value = getattr(ending, name)
            if value is not None:
                self._notes[name] = value

    def count(self, usage: Usage | None) -> None:
        """Take in token counts. The later ones count; what they leave out still holds."""
        if usage is None:
            return
        details = usage.output_tokens_details
        counts = {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "reasoning_tokens": details.thinking_tokens if details else None,
            "cache_creation_input_tokens": usage.cache_creation_input_tokens,
            "cache_read_input_tokens": usage.cache_read_input_tokens,
        }
        self._counts.update((name, count) for name, count in counts.items() if count is not None)

    def response(self) -> ModelResponse:
        """The value that has been read.

        :raises ResponseParseError: a tool call has no name.
        """
        parts, calls = read(self.blocks)
        thoughts = "".join(part.text for part in parts if isinstance(part, ThinkingPart))
        content = content_of((*parts, *self._refusal()), calls)
        notes = dict(self._notes)
        kept = to_keep(self.blocks, content, calls)
        if kept:
            notes[KEPT] = kept
        return ModelResponse(
            message=Message(Role.ASSISTANT, content, calls, metadata=notes or EMPTY),
            usage=token_counts(**self._counts),
            stop_reason=self.stop_reason,
            reasoning=thoughts or None,
            model=self.model,
            response_id=self.id,
        )

    def _refusal(self) -> tuple[Part, ...]:
        """The API's explanation of why it cut the answer off, where it gives one."""
        details = self._notes.get("stop_details")
        if self.stop_reason != "refusal" or details is None:
            return ()
        explanation = text_in(details, "explanation")
        return (RefusalPart(explanation),) if explanation else ()
