"""A whole answer in the generic format, and what streamed ones share with it.

It is a chat completion in Oracle's spelling, so it is read by what reads those. A choice of a whole
answer and an event of a stream have the same members (``ChatChoice``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from locus.core.messages import Message, Part, TextPart, ThinkingPart, fresh_call_id
from locus.core.response import Candidate, ModelResponse
from locus.wire.chat_completions import json_types as openai
from locus.wire.chat_completions.candidate import Answer as OpenAIAnswer
from locus.wire.chat_completions.response import assemble
from locus.wire.json import Reader
from locus.wire.oci_chat.envelope import Read, Wrapped, check, without
from locus.wire.stream_decoder import StreamDecoder


class PromptDetails(Read):
    cached_tokens: float | None = None


class CompletionDetails(Read):
    reasoning_tokens: float | None = None


class Usage(Read):
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Content(Read):
    """A part of what is said: text, or the address of something else."""

    type: str | None = None
    text: str | None = None
    image_url: dict[str, Any] | None = None
    document_url: dict[str, Any] | None = None
    video_url: dict[str, Any] | None = None
    audio_url: dict[str, Any] | None = None

    @property
    def attachment(self) -> dict[str, Any] | None:
        """What is no text, as it came."""
        if self.text:
            return None
        places = {
            "imageUrl": self.image_url,
            "documentUrl": self.document_url,
            "videoUrl": self.video_url,
            "audioUrl": self.audio_url,
        }
        held = {name: place for name, place in places.items() if place is not None}
        return {"type": self.type, **held} if held else None


class Call(Read):
    """A tool call, or a fragment of one."""

    id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    index: int | None = None
    """Not by the book; some gateways keep OpenAI's."""

    @property
    def says_something(self) -> bool:
        """Whether it is more than the empty call that ends some streams."""
        return bool(self.id or self.name or self.arguments)


class Said(Read):
    content: list[Content] | str | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None


class Choice(Read):
    """A choice of a whole answer, or an event of a stream; or an error, whose message is text."""

    index: int | None = 0
    message: Said | str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: dict[str, Any] | None = None
    grounding_metadata: dict[str, Any] | None = None
    code: str | int | None = None
    error: Any = None


class Chat(Read):
    choices: list[Choice] | None = None
    usage: Usage | None = None


class Whole(Wrapped):
    chat_response: Chat | None = None


_reader: Final = Reader(Whole)


@attrs.frozen
class GenericChatParser:
    """The ``ResponseParser`` of the generic format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds. A tool call that came without an id gets a fresh one.

        :raises APIStatusError: the body is an error object.
        :raises ResponseParseError: it is not what the format promises.
        """
        whole = _reader.read(response)
        if whole.chat_response is None:
            check(whole, response)
            raise without("chatResponse", response)
        choices = whole.chat_response.choices
        if not choices:
            raise without("choices", response)
        answers = []
        for choice in sorted(choices, key=lambda choice: choice.index or 0):
            if not isinstance(choice.message, Said):
                raise without("message in one of its choices", response)
            answer = Answer()
            answer.take(choice, choice.message, whole=True)
            answers.append(answer)
        usage = whole.chat_response.usage or next(
            (choice.usage for choice in choices if choice.usage), None
        )
        return assemble(answers, counts_of(usage), None, whole.model_id or None)

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.oci_chat.generic_stream import GenericChatDecoder

        return GenericChatDecoder()


def counts_of(usage: Usage | None) -> openai.Usage | None:
    """Token counts under OpenAI's names."""
    if usage is None:
        return None
    read, spent = usage.prompt_tokens_details, usage.completion_tokens_details
    return openai.Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        None if read is None else openai.PromptDetails(read.cached_tokens),
        None if spent is None else openai.CompletionDetails(spent.reasoning_tokens),
    )


class Answer(OpenAIAnswer):
    """One candidate as it is read: at once, or piece by piece."""

    __slots__ = ("attachments", "grounding")

    def __init__(self) -> None:
        super().__init__()
        self.attachments: list[dict[str, Any]] = []
        self.grounding: dict[str, Any] | None = None

    def take(self, choice: Choice, said: Said | None, *, whole: bool = False) -> tuple[str, str]:
        """Take in a choice or an event; gives the text and the reasoning that it adds."""
        if choice.finish_reason:
            self.stop_reason = choice.finish_reason
        if choice.logprobs is not None:
            self.add_logprobs(choice.logprobs)
        if choice.grounding_metadata is not None:
            self.grounding = choice.grounding_metadata
        if said is None:
            return "", ""
        text = said.content
        if isinstance(text, list):
            self.attachments += filter(None, (part.attachment for part in text))
            text = "".join(part.text or "" for part in text)
        calls = said.tool_calls or []
        if not whole:
            calls = self._left_of(calls)
        return self.add(
            openai.Said(
                content=text,
                tool_calls=[
                    openai.Call(call.index, call.id, openai.Function(call.name, call.arguments))
                    for call in calls
                ],
                reasoning_content=said.reasoning_content,
                refusal=said.refusal,
                annotations=said.annotations,
            ),
            whole=whole,
        )

    def _left_of(self, calls: list[Call]) -> list[Call]:
        """The fragments whose calls are still to be found.

        Several at once that say neither index, id nor name belong to as many calls, in order.
        """
        known = self.calls[-len(calls) :] if len(calls) > 1 else []
        if len(known) < len(calls) or any(
            call.index is not None or call.id or call.name for call in calls
        ):
            return [call for call in calls if call.says_something]
        for begun, call in zip(known, calls, strict=True):
            begun.add_function(openai.Function(None, call.arguments))
        return []

    def candidate(self, source: str | None) -> Candidate:
        """The value that has been read.

        Nothing in an answer tells it from others, so ids that are missing are made afresh: the
        same call in a later turn is another call.
        """
        if not all(call.id for call in self.calls):
            source = fresh_call_id()
        made = super().candidate(source)
        message = made.message
        if made.reasoning is not None:
            message = attrs.evolve(message, content=_thoughtful(message, made.reasoning))
        notes: dict[str, Any] = {}
        if self.attachments:
            notes["attachments"] = self.attachments
        if self.grounding is not None:
            notes["grounding_metadata"] = self.grounding
        if notes:
            message = attrs.evolve(message, metadata={**message.metadata, **notes})
        return made if message is made.message else attrs.evolve(made, message=message)


def _thoughtful(message: Message, reasoning: str) -> tuple[Part, ...]:
    # In the message too: models that think before they call a tool want to see it again.
    said = message.content
    if not isinstance(said, tuple):
        said = (TextPart(said),) if said else ()
    return (ThinkingPart(reasoning), *said)
