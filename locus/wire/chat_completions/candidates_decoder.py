"""``CandidatesDecoder``: what the decoders of streams with several candidates have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.wire.chat_completions.candidate_accumulator import (
    CandidateAccumulator,
    make_candidate_sort_key,
)
from locus.wire.stream_decoder import StreamDecoder, make_final_event
from locus.wire.stream_framing import SSEFraming

A = TypeVar("A", bound=CandidateAccumulator)


class CandidatesDecoder(StreamDecoder, Generic[A]):
    """Base class of the decoders whose chunks name a candidate by its index.

    The response is that of the first candidate, which has the index 0. A gateway may count from 1:
    https://github.com/spring-projects/spring-ai/issues/6023.

    :param first: collects the candidate with the index 0.
    """

    __slots__ = ("_accumulators", "_first")

    def __init__(self, first: A) -> None:
        super().__init__(SSEFraming())
        self._first = first
        self._accumulators = {0: first}

    @property
    def is_complete_without_end_marker(self) -> bool:
        return all(a.stop_reason is not None for a in self._list_accumulators())

    def _list_accumulators(self) -> list[A]:
        """List the accumulators of the candidates in their order, after the end of the stream."""
        accumulators = self._list_all_accumulators()
        counts_from_one = len(accumulators) > 1 and not self._first.has_begun
        return accumulators[1:] if counts_from_one else accumulators

    def _list_all_accumulators(self) -> list[A]:
        indexes = sorted(self._accumulators, key=make_candidate_sort_key)
        return [self._accumulators[index] for index in indexes]

    @abstractmethod
    def build_response_of(self, accumulators: Sequence[A]) -> ModelResponse:
        """Build the response of some candidates, the first of which is its message.

        :raises APIError: if it is invalid.
        """

    def build_response(self) -> ModelResponse:
        return self.build_response_of(self._list_accumulators())

    def finish_response(self) -> ModelChunkEvent:
        event = super().finish_response()
        response = event.response
        if response is None or self._first.has_begun or len(self._accumulators) == 1:
            return event
        # The text was not given as it came: until the end, there might have been an earlier choice.
        return make_final_event(response, response.content or None, response.reasoning)

    def build_partial_response(self) -> ModelResponse:
        for accumulator in self._accumulators.values():
            accumulator.drop_unnamed_calls()
        # The first candidate may only not have begun yet: its text is what the caller has received.
        return self.build_response_of(self._list_all_accumulators())
