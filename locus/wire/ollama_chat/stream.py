"""An answer of ``POST /api/chat`` that comes in pieces, a line of JSON each.

The last piece says ``"done": true``. A stream without it was cut short, whatever else came.
"""

from __future__ import annotations

from typing import Final

import msgspec

from locus.core.events import ModelChunkEvent, chunk_event
from locus.core.response import ModelResponse
from locus.wire.ollama_chat.response import Answer, OllamaChatParser, check, reader
from locus.wire.stream_decoder import StreamDecoder
from locus.wire.stream_framing import JSONLines

_decode: Final = reader.decode


class OllamaChatDecoder(StreamDecoder):
    """The ``StreamDecoder`` of Ollama's chat format."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        super().__init__(JSONLines())
        self._answer = Answer()

    @property
    def complete(self) -> bool:
        return False

    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chat = _decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            chat = reader.read(frame)
        if chat.error:
            check(chat, frame)
        text, thought = self._answer.add(chat)
        if text or thought:
            events.append(chunk_event(text, thought))
        if chat.done:
            events.append(self.finish())

    def read_whole(self, body: bytes) -> ModelResponse:
        return OllamaChatParser().parse(body)

    def whole(self) -> ModelResponse:
        return self._answer.response()

    def partial(self) -> ModelResponse:
        self._answer.keep_named_calls()
        return self._answer.response()
