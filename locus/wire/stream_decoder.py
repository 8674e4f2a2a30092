"""The base class of all stream decoders: framing, the end of the stream, and errors inside it.

A decoder is fed bytes and returns events. It never raises. An error inside a stream must follow the
events before it, however the bytes were split, so it is stored in ``failure``, and the driver
raises it after it has delivered those events.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import takewhile
from typing import Final, TypeVar

from locus.core.errors import (
    DEFAULT_MAX_ANSWER_BYTES,
    APIError,
    ResponseParseError,
    StreamInterruptedError,
    make_answer_too_large_error,
)
from locus.core.events import ModelChunkEvent
from locus.core.make_status_error import find_error_in_response, make_status_error
from locus.core.raw_response import merge_json_chunks
from locus.core.response import ModelResponse
from locus.wire.provider_json import StructDecoder, convert_body_to_text, shorten_body
from locus.wire.response_errors import make_nesting_error
from locus.wire.split_characters import SplitCharacterJoiner
from locus.wire.stream_framing import Framing

T = TypeVar("T")


class StreamDecoder(ABC):
    """Decodes one streamed response. Use each decoder for one stream, in one thread at a time."""

    __slots__ = (
        "_character_joiner",
        "_framing",
        "_last_frames",
        "_max_buffered_bytes",
        "_max_frame_bytes",
        "_raw_frames",
        "done",
        "failure",
        "transform_response",
    )

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._character_joiner = SplitCharacterJoiner()
        self._last_frames: list[bytes] = []
        self._raw_frames: list[bytes] = []
        self._max_frame_bytes = DEFAULT_MAX_ANSWER_BYTES
        self._max_buffered_bytes = 0
        """How many bytes of frames that are not complete the framing keeps at most."""
        self.done = False
        """Whether the response is complete."""
        self.failure: APIError | None = None
        """The error to raise after the events returned so far."""
        self.transform_response: Callable[[ModelResponse], ModelResponse] | None = None
        """Changes the response, complete or partial, before anybody receives it; None changes
        nothing."""

    def limit_frames(self, max_bytes: int) -> None:
        """Set how large an event or a line may be. A larger one is a failure, and is not kept."""
        self._max_frame_bytes = max_bytes

    def feed(self, data: bytes) -> list[ModelChunkEvent]:
        """Return the events that ``data`` completes.

        The last event of the response has ``done``.
        """
        events: list[ModelChunkEvent] = []
        if not self.done and self.failure is None:
            # What the framing keeps is asked for only where it may be too much: this is done often.
            size = self._max_buffered_bytes + len(data)
            framing = self._framing
            frames = framing.feed(data)
            self._max_buffered_bytes = len(data) if frames else size
            is_too_large = False
            if size > self._max_frame_bytes:
                frames, is_too_large = self._drop_long_frames(frames)
            if frames:
                self._last_frames = frames
                self._read_frames(frames, events)
            if is_too_large and not self.done and self.failure is None:
                self._set_failure(
                    make_answer_too_large_error("an event of the stream", self._max_frame_bytes)
                )
            error_frame = framing.error_frame
            if error_frame is not None and not self.done and self.failure is None:
                self._read_error_frame(error_frame, events)
        return events

    def _drop_long_frames(self, frames: list[bytes]) -> tuple[list[bytes], bool]:
        """Return the frames before the first that is too large, and whether there is such a one."""
        limit = self._max_frame_bytes
        fitting = list(takewhile(lambda frame: len(frame) <= limit, frames))
        self._max_buffered_bytes = self._framing.buffered_bytes
        return fitting, len(fitting) < len(frames) or self._max_buffered_bytes > limit

    def close(self) -> list[ModelChunkEvent]:
        """Return the remaining events, after the server has closed the stream normally.

        ``failure`` is a ``StreamInterruptedError`` if the response is not complete.
        """
        events: list[ModelChunkEvent] = []
        if self.done or self.failure is not None:
            return events
        frames, unframed = self._framing.close()
        self._read_frames(frames, events)
        if not self.done and self.failure is None:
            self._read_frames(self._character_joiner.flush(), events)
        if self._framing.error_frame is not None and not self.done and self.failure is None:
            self._read_error_frame(self._framing.error_frame, events)
        elif isinstance(
            self.failure, ResponseParseError
        ):  # half a frame: the stream was interrupted there
            detail = "in the middle of a chunk"
            if not self.failure.body.lstrip().startswith(("{", "[")):
                detail += f"; the server sent: {shorten_body(self.failure.body)}"
            self.failure = self.make_interruption_error(detail)
        elif not self.done and self.failure is None:
            if not (self._last_frames or frames) and unframed.lstrip()[:1] in (b"{", b"[", b"<"):
                self._parse_unframed_body(unframed, events)
            elif unframed.strip() or not self.is_complete_without_end_marker:
                # llama.cpp sends a line `error: {…}`, which is no field of an event.
                unframed_body = unframed.strip().removeprefix(b"error:")
                for body in (unframed_body, *reversed(frames), *reversed(self._last_frames)):
                    is_frame = body is not unframed_body
                    error = find_error_in_response(body, needs_certainty=is_frame)
                    if error is not None:  # in a form that is not this format's own
                        text = convert_body_to_text(body)
                        self._set_failure(make_status_error(text, error_object=error))
                        return events
                detail = "before the end of the response"
                if unframed.strip():
                    detail += f"; the server sent: {shorten_body(unframed)}"
                self.failure = self.make_interruption_error(detail)
            else:
                try:
                    events.append(self.finish_response())
                except APIError as exc:
                    self._set_failure(exc)
                except RecursionError:
                    self._set_failure(make_nesting_error(b""))
        return events

    def decode_or_finish(
        self, frame: bytes, decoder: StructDecoder[T], events: list[ModelChunkEvent]
    ) -> T | None:
        """Decode a frame that strict decoding rejected.

        The result is None for OpenAI's end marker, which ends the response and whose event is
        appended to ``events``, and for a frame that only keeps the connection alive.

        :raises APIError: if the frame is invalid, or the response is.
        """
        if is_done_marker(frame):
            events.append(self.finish_response())
            return None
        return None if is_keep_alive(frame) else decoder.decode(frame)

    def make_interruption_error(self, detail: str) -> StreamInterruptedError:
        """Make the error for an interrupted stream, with the partial response.

        :param detail: completes the sentence "the stream ended …".
        """
        return StreamInterruptedError(
            f"the stream ended {detail}", partial=self._build_partial_or_none()
        )

    def finish_response(self) -> ModelChunkEvent:
        """Mark the response as complete, and return the final event, which contains it.

        :raises APIError: if the response is invalid.
        """
        # Half of a character that waited for the other half: none comes after the end.
        late_events: list[ModelChunkEvent] = []
        for frame in self._character_joiner.flush():
            self.read_frame(frame, late_events)
        response = self._transform(
            self.build_response().with_source(*self._raw_frames, merge=self.merge_raw)
        )
        self.done = True
        content = "".join(event.content or "" for event in late_events)
        reasoning = "".join(event.reasoning or "" for event in late_events)
        return make_final_event(response, content or None, reasoning or None)

    def keep_raw(self, frame: bytes) -> None:
        """Keep a frame for the ``raw`` of the response: one that holds more than deltas."""
        self._raw_frames.append(frame)

    merge_raw = staticmethod(merge_json_chunks)
    """Makes the ``raw`` of the response of the frames that were kept."""

    @property
    @abstractmethod
    def is_complete_without_end_marker(self) -> bool:
        """Whether the response is complete although the end marker is missing."""

    @abstractmethod
    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        """Decode one frame, and append its events to ``events``.

        :raises APIError: if the frame is invalid or reports an error.
        """

    @abstractmethod
    def parse_body(self, body: bytes) -> ModelResponse:
        """Parse a complete body, which a server sent instead of a stream.

        :raises APIError: if the body is invalid or an error object.
        """

    @abstractmethod
    def build_response(self) -> ModelResponse:
        """Build the complete response, after the end of the stream.

        :raises APIError: if it is invalid.
        """

    @abstractmethod
    def build_partial_response(self) -> ModelResponse:
        """Build a response from what has been received so far."""

    def _read_frames(self, frames: list[bytes], events: list[ModelChunkEvent]) -> None:
        """Decode frames, and append their events; stop at the end of the response or an error."""
        read_frame, joiner = self.read_frame, self._character_joiner
        halves = joiner.halves
        try:
            for frame in frames:
                if halves or b"\\u" in frame:  # half of a character may be escaped in it
                    for joined_frame in joiner.join(frame):
                        read_frame(joined_frame, events)
                        if self.done:
                            return
                    continue
                read_frame(frame, events)
                if self.done:
                    return
        except APIError as exc:
            self._set_failure(exc)
        except RecursionError:
            self._set_failure(make_nesting_error(frame))

    def _parse_unframed_body(self, body: bytes, events: list[ModelChunkEvent]) -> None:
        """Parse a body that is not a stream, and append its only event."""
        try:
            response = self._transform(self.parse_body(body))
        except APIError as exc:
            self._set_failure(exc)
            return
        except RecursionError:
            self._set_failure(make_nesting_error(body))
            return
        self.done = True
        events.append(make_final_event(response, response.content or None, response.reasoning))

    def _read_error_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        """Store the error that an event named ``error`` reports, in the form of the format or not.

        (https://html.spec.whatwg.org/multipage/server-sent-events.html: the name is the sender's.)
        """
        self._read_frames([frame], events)
        if not self.done and (self.failure is None or isinstance(self.failure, ResponseParseError)):
            self.failure = None
            self._set_failure(make_status_error(convert_body_to_text(frame)))

    def _set_failure(self, error: APIError) -> None:
        """Store the error, with the partial response."""
        if error.partial is None:
            error.partial = self._build_partial_or_none()
        self.failure = error

    def _build_partial_or_none(self) -> ModelResponse | None:
        """Build the partial response; None if something in it is nested too deeply."""
        try:
            return self._transform(self.build_partial_response())
        except RecursionError:
            return None

    def _transform(self, response: ModelResponse) -> ModelResponse:
        """Return the response as the model wants it to be handed out."""
        transform = self.transform_response
        return response if transform is None else transform(response)


def is_done_marker(frame: bytes) -> bool:
    """Return whether a frame is ``[DONE]``, which ends the streams of OpenAI's chat completions."""
    return frame.strip() == b"[DONE]"


_KEEP_ALIVE: Final = re.compile(
    rb"\s*(?::.*|\[(?!DONE\])[A-Z][\w -]*\]|\"?(?:ping|pong|heartbeat|keep-?alive|processing)\"?"
    rb"|null|\"\"|\[\]|\{\})?\s*",
    re.IGNORECASE | re.DOTALL,
)


def is_keep_alive(frame: bytes) -> bool:
    """Return whether a frame says nothing: a comment that came as data, or a word in brackets.

    Gateways send such frames between the chunks of a provider, so that the connection stays open.
    """
    return _KEEP_ALIVE.fullmatch(frame) is not None


def make_final_event(
    response: ModelResponse, content: str | None = None, reasoning: str | None = None
) -> ModelChunkEvent:
    """Make the event that ends a response.

    :param content: the text, if no event before this one contains it.
    :param reasoning: the reasoning, if no event before this one contains it.
    """
    return ModelChunkEvent(
        content=content,
        reasoning=reasoning,
        tool_calls=response.tool_calls,
        done=True,
        usage=response.usage,
        stop_reason=response.stop_reason,
        provider_state=response.provider_state,
        response=response,
    )
