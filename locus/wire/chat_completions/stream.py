"""Decodes a streamed response of ``POST /chat/completions``.

The stream ends with OpenAI's ``[DONE]``. Where a server leaves that out, the response still counts
as complete if every choice has a finish reason and the server closed the stream in order. In every
other case the stream was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.frozendict import EMPTY
from locus.core.raw_response import merge_json_chunks
from locus.core.response import FinishReason, ModelResponse
from locus.wire.chat_completions.candidate_accumulator import CandidateAccumulator
from locus.wire.chat_completions.candidates_decoder import CandidatesDecoder
from locus.wire.chat_completions.complete_response import (
    build_response_from_candidates,
    find_stop_reason,
    find_usage,
    parse_response,
    raise_for_choice_error,
    raise_for_error,
    raise_for_groq_error,
)
from locus.wire.chat_completions.response_structs import (
    Usage,
    completion_decoder,
    decode_plain_chunk,
)
from locus.wire.provider_json import DECODING_ERRORS

_decode: Final = completion_decoder.decode_strict
_MAX_FRAMES_TO_SKIP: Final = 63


def merge_chat_completion_chunks(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge chunks without their deltas: the members of each choice, and those beside them."""
    merged = merge_json_chunks(chunks)
    choices: dict[Any, list[Mapping[str, Any]]] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            choices.setdefault(choice.get("index"), []).append(choice)
    merged["choices"] = [merge_json_chunks(group) for group in choices.values()]
    for choice in merged["choices"]:
        choice.pop("delta", None)
    return merged


class ChatCompletionsDecoder(CandidatesDecoder[CandidateAccumulator]):
    """The ``StreamDecoder`` of the chat completions format.

    :param stop_meanings: what the stop reasons of a host mean that only this host has.
    """

    __slots__ = (
        *("_id", "_model", "_stop_meanings", "_usage"),
        *("_frames_to_skip", "_last_skip"),
    )

    def __init__(self, stop_meanings: Mapping[str, FinishReason] = EMPTY) -> None:
        super().__init__(CandidateAccumulator())
        self._stop_meanings = stop_meanings
        self._usage: Usage | None = None
        self._id: str | int | None = None
        self._model: str | None = None
        # How many frames are not tried as plain chunks: the first two, which have the id and the
        # model, and more after each failure in a row, because a try costs as much as it saves.
        self._frames_to_skip, self._last_skip = 2, 0

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        if self._frames_to_skip:
            self._frames_to_skip -= 1
        elif not self._first.is_in_thought:
            try:
                plain_chunk = decode_plain_chunk(frame)
            except DECODING_ERRORS:
                self._last_skip = min(2 * self._last_skip + 1, _MAX_FRAMES_TO_SKIP)
                self._frames_to_skip = self._last_skip
            else:
                self._last_skip = 0
                text = plain_chunk.choices[0].delta.content
                if text:
                    self._first.text_chunks.append(text)
                    events.append(make_chunk_event(text))
                return
        self._read_any_frame(frame, events)

    def _read_any_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        """Decode a frame that may be anything, not a plain chunk only."""
        try:
            chunk = _decode(frame)
        except DECODING_ERRORS:
            unusual_chunk = self.decode_or_finish(frame, completion_decoder, events)
            if unusual_chunk is None:
                return
            chunk = unusual_chunk
        if not self._id or not self._model:  # Azure's first chunk has "" for both
            self._id = chunk.id or self._id
            self._model = chunk.model or self._model
            if not self._raw_frames:
                self.keep_raw(frame)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.error or not chunk.choices or chunk.base_resp:
            # Token counts, a keep-alive of some servers, or an error.
            raise_for_error(chunk, frame)
            self.keep_raw(frame)
            if not chunk.choices:
                return
        if chunk.x_groq is not None:
            self._usage = find_usage(chunk) or self._usage
            self.keep_raw(frame)
            raise_for_groq_error(chunk, frame)
        for choice in chunk.choices:
            index = choice.index or 0
            accumulator = (
                self._first
                if index == 0
                else self._accumulators.setdefault(index, CandidateAccumulator())
            )
            # Some servers send "" until the end.
            if choice.finish_reason or choice.camel_finish_reason:
                accumulator.stop_reason = find_stop_reason(choice)
                self._usage = choice.usage or self._usage
                self.keep_raw(frame)
                raise_for_choice_error(choice, frame)
            if choice.logprobs is not None:
                accumulator.add_logprobs(choice.logprobs)
            delta = choice.delta
            if delta is None:
                raise_for_choice_error(choice, frame)
                delta = accumulator.make_delta(choice.message) or choice.text_message
                if delta is None:
                    continue
            text, reasoning = accumulator.add_message(delta)
            if (text or reasoning) and accumulator is self._first:
                events.append(make_chunk_event(text, reasoning))

    merge_raw = staticmethod(merge_chat_completion_chunks)

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body).with_stop_meanings(self._stop_meanings)

    def build_response_of(self, accumulators: Sequence[CandidateAccumulator]) -> ModelResponse:
        response = build_response_from_candidates(accumulators, self._usage, self._id, self._model)
        return response.with_stop_meanings(self._stop_meanings)
