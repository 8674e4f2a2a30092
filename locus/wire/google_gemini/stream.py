"""Decodes Gemini's streams: the server-sent events of ``streamGenerateContent?alt=sse``."""

from __future__ import annotations

from locus.core.errors import ResponseParseError
from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.make_status_error import find_error_in_response, make_status_error
from locus.core.response import ModelResponse
from locus.wire.google_gemini.complete_response import Accumulator, decode_chunk, parse_response
from locus.wire.provider_json import convert_body_to_text
from locus.wire.stream_decoder import StreamDecoder, is_keep_alive
from locus.wire.stream_framing import SSEFraming


class GeminiDecoder(StreamDecoder):
    """The ``StreamDecoder`` of Gemini's streams.

    The chunk with the ``finishReason`` is the last one, and has the final token counts. Gemini 1,
    which Google no longer runs, sent the reason in each chunk
    (https://github.com/BerriAI/litellm/issues/2195).
    """

    def __init__(self) -> None:
        super().__init__(SSEFraming())
        self._accumulator = Accumulator()

    @property
    def is_complete_without_end_marker(self) -> bool:
        return False

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chunk = decode_chunk(frame)
        except ResponseParseError:
            # Gateways send them between the chunks, so that the connection stays open.
            if is_keep_alive(frame):
                return
            raise
        if not chunk.candidates and chunk.usage_metadata is None and chunk.stop_reason is None:
            error_object = find_error_in_response(frame)
            if error_object is not None:
                raise make_status_error(convert_body_to_text(frame), error_object=error_object)
        self._accumulator.add(chunk)
        text = "".join(part.text or "" for part in chunk.parts if not part.thought)
        thoughts = "".join(part.text or "" for part in chunk.parts if part.thought)
        if text or thoughts:
            events.append(make_chunk_event(text, thoughts))
        self.keep_raw(frame)
        if chunk.stop_reason is not None:
            events.append(self.finish_response())

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body)

    def build_response(self) -> ModelResponse:
        return self._accumulator.build()

    def build_partial_response(self) -> ModelResponse:
        return self._accumulator.build_partial()
