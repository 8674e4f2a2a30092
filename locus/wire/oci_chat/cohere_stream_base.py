"""The base class of the stream decoders for Cohere's two formats.

``finishReason`` marks the end of a response. Token counts may follow it, so a stream is read until
``[DONE]``, or until the server closes it normally.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.response import ModelResponse
from locus.wire.oci_chat.envelope import ChatResult, raise_for_error
from locus.wire.provider_json import DECODING_ERRORS, StructDecoder
from locus.wire.stream_decoder import StreamDecoder
from locus.wire.stream_framing import SSEFraming

C_contra = TypeVar("C_contra", bound=ChatResult, contravariant=True)
C = TypeVar("C", bound=ChatResult)


class ChunkAccumulator(Protocol[C_contra]):
    """Collects the chunks of one response, and builds its value."""

    finish_reason: str | None

    def add_chunk(self, chunk: C_contra, body: bytes) -> tuple[str, str]:
        """Add a chunk; return the text and the reasoning that it adds."""
        ...

    def drop_unnamed_calls(self) -> None:
        """Remove the tool calls that have no name."""
        ...

    def build_response(self) -> ModelResponse:
        """Build the response from what was added."""
        ...


class CohereDecoder(StreamDecoder, Generic[C]):
    """The base of both decoders. They differ in the type of a chunk and in the accumulator."""

    __slots__ = ("_accumulator", "_chunk_decoder")

    def __init__(self, chunk_decoder: StructDecoder[C], accumulator: ChunkAccumulator[C]) -> None:
        super().__init__(SSEFraming())
        self._chunk_decoder = chunk_decoder
        self._accumulator = accumulator

    @property
    def is_complete_without_end_marker(self) -> bool:
        return self._accumulator.finish_reason is not None

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chunk = self._chunk_decoder.decode_strict(frame)
        except DECODING_ERRORS:
            unusual_chunk = self.decode_or_finish(frame, self._chunk_decoder, events)
            if unusual_chunk is None:
                return
            chunk = unusual_chunk
        raise_for_error(chunk, frame)
        text, reasoning = self._accumulator.add_chunk(chunk, frame)
        if self._accumulator.finish_reason is not None:
            self.keep_raw(frame)
        if text or reasoning:
            events.append(make_chunk_event(text, reasoning))

    def build_response(self) -> ModelResponse:
        return self._accumulator.build_response()

    def build_partial_response(self) -> ModelResponse:
        self._accumulator.drop_unnamed_calls()
        return self._accumulator.build_response()
