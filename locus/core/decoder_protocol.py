"""What reads a streamed answer, whatever its format."""

from __future__ import annotations

from typing import Protocol

from locus.core.errors import APIError, StreamInterruptedError
from locus.core.events import ModelChunkEvent


class Decoder(Protocol):
    """Reads one streamed answer from its bytes; see ``locus.wire.stream_decoder.StreamDecoder``.

    It never raises: what goes wrong waits in ``failure``.
    """

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        ...

    @property
    def failure(self) -> APIError | None:
        """What went wrong, to be raised after the events given so far."""
        ...

    def feed(self, data: bytes) -> list[ModelChunkEvent]:
        """The events that ``data`` completes. The one that ends the answer has ``done``."""
        ...

    def close(self) -> list[ModelChunkEvent]:
        """The events left once the server has closed the stream in order."""
        ...

    def interrupted(self, where: str) -> StreamInterruptedError:
        """The error for a stream that was cut, with what had arrived."""
        ...
