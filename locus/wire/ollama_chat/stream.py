"""Decodes a streamed response of ``POST /api/chat``: one JSON chunk per line.

The last chunk has ``"done": true``. A stream without it was cut off, whatever else it contains.
"""

from __future__ import annotations

from typing import Final

from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.response import ModelResponse
from locus.wire.ollama_chat.complete_response import (
    ResponseAccumulator,
    parse_response,
    raise_for_error,
    raise_for_oddly_named_error,
    response_decoder,
)
from locus.wire.provider_json import DECODING_ERRORS
from locus.wire.stream_decoder import StreamDecoder, is_keep_alive
from locus.wire.stream_framing import NDJSONFraming

_decode: Final = response_decoder.decode_strict


class OllamaChatDecoder(StreamDecoder):
    """The ``StreamDecoder`` of Ollama's chat API."""

    __slots__ = ("_accumulator",)

    def __init__(self) -> None:
        super().__init__(NDJSONFraming())
        self._accumulator = ResponseAccumulator()

    @property
    def is_complete_without_end_marker(self) -> bool:
        return False

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chunk = _decode(frame)
        except DECODING_ERRORS:
            if is_keep_alive(frame):
                return
            chunk = response_decoder.decode(frame)
        if chunk.error:
            raise_for_error(chunk, frame)
        if chunk.message is None and not chunk.done:
            raise_for_oddly_named_error(frame)
        text, thinking = self._accumulator.add_chunk(chunk)
        if text or thinking:
            events.append(make_chunk_event(text, thinking))
        if chunk.done:
            self.keep_raw(frame)
            events.append(self.finish_response())

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body)

    def build_response(self) -> ModelResponse:
        return self._accumulator.build_response()

    def build_partial_response(self) -> ModelResponse:
        self._accumulator.drop_unnamed_calls()
        return self._accumulator.build_response()
