"""An answer in the generic format that comes in pieces: server-sent events.

Each event is a choice with what is new in it. The one that ends a choice has its
``finishReason``, one more may follow with the token counts, and some models end on ``[DONE]``. So
a stream is believed at ``[DONE]``, or where every choice that has begun has its finish reason and
the server has closed the stream in order; anything else was cut short. A call comes whole, or in
fragments of which the first alone has id and name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from locus.core.events import ModelChunkEvent, chunk_event
from locus.core.response import ModelResponse
from locus.wire.chat_completions.response import assemble
from locus.wire.json import Reader
from locus.wire.oci_chat.envelope import check_members
from locus.wire.oci_chat.generic_response import (
    Answer,
    Choice,
    GenericChatParser,
    Usage,
    counts_of,
)
from locus.wire.stream_decoder import StreamDecoder
from locus.wire.stream_framing import ServerSentEvents

_reader: Final = Reader(Choice)
_decode: Final = _reader.decode


class GenericChatDecoder(StreamDecoder):
    """The ``StreamDecoder`` of the generic format."""

    __slots__ = ("_answers", "_first", "_usage")

    def __init__(self) -> None:
        super().__init__(ServerSentEvents())
        self._first = Answer()
        self._answers = {0: self._first}
        self._usage: Usage | None = None

    @property
    def complete(self) -> bool:
        return all(answer.stop_reason is not None for answer in self._answers.values())

    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            event = _decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            if frame.strip() == b"[DONE]":
                events.append(self.finish())
                return
            event = _reader.read(frame)
        said = event.message
        if event.code or event.error or isinstance(said, str):
            check_members(event.code, said, event.error, frame)
            return
        if event.usage is not None:
            self._usage = event.usage
            if said is None and not event.finish_reason:
                return
        index = event.index or 0
        answer = self._first if index == 0 else self._answers.setdefault(index, Answer())
        if (
            said is not None
            and isinstance(said.content, list)
            and len(said.content) == 1
            and not (
                said.tool_calls
                or said.reasoning_content
                or said.refusal
                or said.annotations
                or event.finish_reason
                or event.logprobs is not None
                or event.grounding_metadata is not None
            )
            and (text := said.content[0].text)
        ):  # nearly always: what `take` would do with text alone, in a third of the time
            answer.text.append(text)
            thought = ""
        else:
            text, thought = answer.take(event, said)
        if (text or thought) and answer is self._first:
            events.append(chunk_event(text, thought))

    def read_whole(self, body: bytes) -> ModelResponse:
        return GenericChatParser().parse(body)

    def whole(self) -> ModelResponse:
        answers = [self._answers[index] for index in sorted(self._answers)]
        return assemble(answers, counts_of(self._usage), None, None)

    def partial(self) -> ModelResponse:
        for answer in self._answers.values():
            answer.keep_named_calls()
        return self.whole()
