"""An answer of ``POST /chat/completions`` that comes in pieces.

The end is OpenAI's ``[DONE]``. Servers that leave it out are believed where they have given a
finish reason and closed the stream in order; anything else was cut short.
"""

from __future__ import annotations

from typing import Final

import msgspec

from locus.core.events import ModelChunkEvent, chunk_event
from locus.core.response import ModelResponse
from locus.wire.chat_completions.candidate import Answer
from locus.wire.chat_completions.json_types import Usage, reader
from locus.wire.chat_completions.response import assemble, check, response_of
from locus.wire.stream_decoder import StreamDecoder
from locus.wire.stream_framing import ServerSentEvents

_decode: Final = reader.decode


class ChatCompletionsDecoder(StreamDecoder):
    """The ``StreamDecoder`` of the chat completions format."""

    __slots__ = ("_answers", "_first", "_id", "_model", "_usage")

    def __init__(self) -> None:
        super().__init__(ServerSentEvents())
        self._first = Answer()
        self._answers = {0: self._first}
        self._usage: Usage | None = None
        self._id: str | int | None = None
        self._model: str | None = None

    @property
    def complete(self) -> bool:
        return all(answer.stop_reason is not None for answer in self._answers.values())

    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chunk = _decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            if frame.strip() == b"[DONE]":
                events.append(self.finish())
                return
            chunk = reader.read(frame)
        if not self._id or not self._model:  # Azure's first chunk has "" for both
            self._id = chunk.id or self._id
            self._model = chunk.model or self._model
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.error or not chunk.choices:
            # Token counts, some server's keep-alive, or an error.
            check(chunk, frame)
            return
        for choice in chunk.choices:
            index = choice.index or 0
            answer = self._first if index == 0 else self._answers.setdefault(index, Answer())
            if choice.finish_reason:  # some servers send "" until the end
                answer.stop_reason = choice.finish_reason
            if choice.logprobs is not None:
                answer.add_logprobs(choice.logprobs)
            said = choice.delta
            if said is None:
                continue
            text, thought = said.content, ""
            if text.__class__ is str and not (
                said.tool_calls
                or said.reasoning_content
                or said.reasoning
                or said.refusal
                or said.function_call
                or said.annotations
                or said.audio
            ):  # nearly always: what `add` would do with text alone, in a third of the time
                answer.text.append(text)
            else:
                text, thought = answer.add(said)
            if (text or thought) and answer is self._first:
                events.append(chunk_event(text, thought))

    def read_whole(self, body: bytes) -> ModelResponse:
        return response_of(reader.read(body), body)

    def whole(self) -> ModelResponse:
        answers = [self._answers[index] for index in sorted(self._answers)]
        return assemble(answers, self._usage, self._id, self._model)

    def partial(self) -> ModelResponse:
        for answer in self._answers.values():
            answer.keep_named_calls()
        return self.whole()
