"""What every stream decoder shares: framing, the end, and errors that keep their place.

A decoder is fed bytes and gives events. It never raises: an error inside a stream comes after
the events before it, however the bytes were cut, so it waits in ``failure`` until the driver has
handed those out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from locus.core.errors import APIError, ResponseParseError, StreamInterruptedError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.wire.stream_framing import Framing


class StreamDecoder(ABC):
    """Reads one streamed answer. Make one for each, and use it from one thread at a time."""

    __slots__ = ("_begun", "_frames", "done", "failure")

    def __init__(self, frames: Framing) -> None:
        self._frames = frames
        self._begun = False
        self.done = False
        """Whether the answer is complete."""
        self.failure: APIError | None = None
        """What went wrong, to be raised after the events given so far."""

    def feed(self, data: bytes) -> list[ModelChunkEvent]:
        """The events that ``data`` completes. The one that ends the answer has ``done``."""
        events: list[ModelChunkEvent] = []
        if not self.done and self.failure is None:
            frames = self._frames.feed(data)
            if frames:
                self._begun = True
                self._read_all(frames, events)
        return events

    def close(self) -> list[ModelChunkEvent]:
        """The events left once the server has closed the stream in order.

        ``failure`` is a ``StreamInterruptedError`` if that was before the end of the answer.
        """
        events: list[ModelChunkEvent] = []
        if self.done or self.failure is not None:
            return events
        frames, stray = self._frames.close()
        self._read_all(frames, events)
        if isinstance(self.failure, ResponseParseError):  # half a frame: the stream was cut there
            self.failure = self.interrupted("in the middle of a chunk")
        elif not self.done and self.failure is None:
            if not self._begun and stray.lstrip()[:1] in (b"{", b"[", b"<"):
                self._read_unframed(stray, events)
            elif stray.strip() or not self.complete:
                self.failure = self.interrupted("before the end of the answer")
            else:
                try:
                    events.append(self.finish())
                except APIError as failure:
                    self._fail(failure)
        return events

    def interrupted(self, where: str) -> StreamInterruptedError:
        """The error for a stream that was cut, with what had arrived."""
        return StreamInterruptedError(f"the stream ended {where}", partial=self.partial())

    def finish(self) -> ModelChunkEvent:
        """The last event, with the whole answer."""
        last = last_event(self.whole())
        self.done = True
        return last

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether a stream that ends here, without the end marker, can be believed."""

    @abstractmethod
    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        """Take in one frame, and append the events it makes. May raise an ``APIError``."""

    @abstractmethod
    def read_whole(self, body: bytes) -> ModelResponse:
        """The answer of a server that was asked to stream and did not. May raise likewise."""

    @abstractmethod
    def whole(self) -> ModelResponse:
        """The answer, once it is complete. May raise likewise."""

    @abstractmethod
    def partial(self) -> ModelResponse:
        """What has arrived so far."""

    def _read_all(self, frames: list[bytes], events: list[ModelChunkEvent]) -> None:
        read = self.read
        try:
            for frame in frames:
                read(frame, events)
                if self.done:
                    return
        except APIError as failure:
            self._fail(failure)

    def _read_unframed(self, body: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            whole = self.read_whole(body)
        except APIError as failure:
            self._fail(failure)
            return
        self.done = True
        events.append(last_event(whole, whole.content or None, whole.reasoning))

    def _fail(self, failure: APIError) -> None:
        if failure.partial is None:
            failure.partial = self.partial()
        self.failure = failure


def last_event(
    whole: ModelResponse, content: str | None = None, reasoning: str | None = None
) -> ModelChunkEvent:
    """The event that ends an answer; with the text too where the answer came in one piece."""
    return ModelChunkEvent(
        content=content,
        reasoning=reasoning,
        tool_calls=whole.tool_calls,
        done=True,
        usage=whole.usage,
        stop_reason=whole.stop_reason,
        provider_state=whole.provider_state,
        response=whole,
    )
