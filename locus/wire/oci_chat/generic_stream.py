"""Decodes a streamed response in the generic format, sent as server-sent events.

Each chunk is a choice with what is new in it. The last chunk of a choice has its ``finishReason``.
One more chunk may follow with the token counts, and some models end with ``[DONE]``. So a stream is
complete at ``[DONE]``, or if every choice has its finish reason and the server has closed the
stream normally; any other stream was cut off. A tool call arrives complete, or in deltas, of which
only the first has an id and a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.raw_response import merge_json_chunks
from locus.core.response import ModelResponse
from locus.wire.chat_completions.candidates_decoder import CandidatesDecoder
from locus.wire.chat_completions.complete_response import build_response_from_candidates
from locus.wire.oci_chat.envelope import raise_for_error_members
from locus.wire.oci_chat.generic_complete_response import (
    ChatChoice,
    GenericCandidateAccumulator,
    Usage,
    convert_usage_to_openai,
    parse_response,
)
from locus.wire.provider_json import DECODING_ERRORS, StructDecoder

_chunk_decoder: Final = StructDecoder(ChatChoice)
_decode: Final = _chunk_decoder.decode_strict


def merge_choice_chunks(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge chunks without the parts of the message in them."""
    merged = merge_json_chunks(chunks)
    merged.pop("message", None)
    return merged


class GenericChatDecoder(CandidatesDecoder[GenericCandidateAccumulator]):
    """The ``StreamDecoder`` of the generic format."""

    __slots__ = ("_usage",)

    def __init__(self) -> None:
        super().__init__(GenericCandidateAccumulator())
        self._usage: Usage | None = None

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            chunk = _decode(frame)
        except DECODING_ERRORS:
            unusual_chunk = self.decode_or_finish(frame, _chunk_decoder, events)
            if unusual_chunk is None:
                return
            chunk = unusual_chunk
        message = chunk.message
        if chunk.code or chunk.error or isinstance(message, str):
            raise_for_error_members(chunk.code, message, chunk.error, frame)
            if isinstance(message, str):
                return
        if chunk.usage is not None:
            self._usage = chunk.usage
            self.keep_raw(frame)
        elif chunk.finish_reason:
            self.keep_raw(frame)
            if message is None and not chunk.finish_reason:
                return
        index = chunk.index or 0
        accumulator = (
            self._first
            if index == 0
            else self._accumulators.setdefault(index, GenericCandidateAccumulator())
        )
        if (
            message is not None
            and isinstance(message.content, list)
            and len(message.content) == 1
            and not (
                message.tool_calls
                or message.reasoning_content
                or message.refusal
                or message.annotations
                or chunk.finish_reason
                or chunk.logprobs is not None
                or chunk.grounding_metadata is not None
            )
            and (text := message.content[0].text)
        ):  # nearly always: the same as `add_choice` for a chunk of text, in a third of the time
            accumulator.text_chunks.append(text)
            reasoning = ""
        else:
            text, reasoning = accumulator.add_choice(chunk, message)
        if (text or reasoning) and accumulator is self._first:
            events.append(make_chunk_event(text, reasoning))

    merge_raw = staticmethod(merge_choice_chunks)

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body)

    def build_response_of(
        self, accumulators: Sequence[GenericCandidateAccumulator]
    ) -> ModelResponse:
        return build_response_from_candidates(
            accumulators, convert_usage_to_openai(self._usage), None, None
        )
