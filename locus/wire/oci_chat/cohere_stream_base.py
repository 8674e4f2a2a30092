"""What the streams of Cohere's two formats have in common.

``finishReason`` ends the answer. Token counts may come after it; a stream is read up to
``[DONE]``, or until the server closes it in order.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from locus.core.events import ModelChunkEvent, chunk_event
from locus.core.response import ModelResponse
from locus.wire.json import Reader
from locus.wire.oci_chat.envelope import Wrapped, check
from locus.wire.stream_decoder import StreamDecoder
from locus.wire.stream_framing import ServerSentEvents

C_contra = TypeVar("C_contra", bound=Wrapped, contravariant=True)
C = TypeVar("C", bound=Wrapped)


class AnswerInPieces(Protocol[C_contra]):
    """What an answer is read into."""

    reason: str | None

    def add(self, chat: C_contra, body: bytes) -> tuple[str, str]:
        """Take in an event; gives the text and the reasoning that it adds."""
        ...

    def keep_named_calls(self) -> None:
        """Drop the calls whose name has not arrived."""
        ...

    def response(self) -> ModelResponse:
        """The value that has been read."""
        ...


class CohereDecoder(StreamDecoder, Generic[C]):
    """The base of both decoders. They differ in the shape of an event, and in what takes it in."""

    __slots__ = ("_answer", "_reader")

    def __init__(self, reader: Reader[C], answer: AnswerInPieces[C]) -> None:
        super().__init__(ServerSentEvents())
        self._reader = reader
        self._answer = answer

    @property
    def complete(self) -> bool:
        return self._answer.reason is not None

    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chat = self._reader.decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            if frame.strip() == b"[DONE]":
                events.append(self.finish())
                return
            chat = self._reader.read(frame)
        check(chat, frame)
        text, thought = self._answer.add(chat, frame)
        if text or thought:
            events.append(chunk_event(text, thought))

    def whole(self) -> ModelResponse:
        return self._answer.response()

    def partial(self) -> ModelResponse:
        self._answer.keep_named_calls()
        return self._answer.response()
