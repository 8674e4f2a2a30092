"""The protocol that the stream decoders of all wire formats implement."""

from __future__ import annotations

from typing import Protocol

from locus.core.errors import APIError, StreamInterruptedError
from locus.core.events import ModelChunkEvent


class Decoder(Protocol):
    """Decodes the bytes of one streamed response into events.

    A decoder never raises: it stores an error in ``failure``. The base class of Locus's own is
    ``locus.wire.stream_decoder.StreamDecoder``.
    """

    @property
    def done(self) -> bool:
        """Whether the response is complete."""
        ...

    @property
    def failure(self) -> APIError | None:
        """The error to raise after the events that were returned before it; None without error."""
        ...

    def limit_frames(self, max_bytes: int) -> None:
        """Set how large an event or a line may be. A larger one is a failure, and is not kept."""
        ...

    def feed(self, data: bytes) -> list[ModelChunkEvent]:
        """Decode more bytes, and return the events that they complete.

        The last event of the response has ``done``.
        """
        ...

    def close(self) -> list[ModelChunkEvent]:
        """Return the remaining events, after the server has closed the stream normally."""
        ...

    def make_interruption_error(self, detail: str) -> StreamInterruptedError:
        """Make the error for an incomplete stream; it holds the partial response.

        :param detail: completes the sentence "the stream ended …".
        """
        ...
