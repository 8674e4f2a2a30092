"""The suite of streams on a format without an end marker: complete where the server closes it."""

from __future__ import annotations

from typing import Any

import attrs

from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.testing.formats.fault_suite import (  # noqa: F401
    test_wherever_a_stream_is_cut_the_error_holds_the_events_so_far,
)
from locus.testing.formats.stream_suite import *
from locus.wire.google_gemini import GeminiDecoder, GeminiParser
from locus.wire.google_gemini.complete_response import decode_chunk
from tests.support.formats.google_gemini import GoogleGemini


class OpenEndedDecoder(GeminiDecoder):
    """Reads Gemini's chunks, none of which ends the response."""

    @property
    def is_complete_without_end_marker(self) -> bool:
        return bool(self._raw_frames)

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        chunk = decode_chunk(frame)
        self._accumulator.add(chunk)
        text = "".join(part.text or "" for part in chunk.parts if not part.thought)
        thoughts = "".join(part.text or "" for part in chunk.parts if part.thought)
        if text or thoughts:
            events.append(make_chunk_event(text, thoughts))
        self.keep_raw(frame)


@attrs.frozen
class OpenEndedParser(GeminiParser):
    def make_decoder(self) -> OpenEndedDecoder:
        return OpenEndedDecoder()


class OpenEndedFormat(GoogleGemini):
    """Gemini, as if the reason why a response ended said nothing about its end."""

    name = "open_ended"
    parser = OpenEndedParser()
    has_end_marker = False

    def make_model(self, server: Any, **kw: Any) -> Any:
        return super().make_model(server, response_parser=self.parser, **kw)


FORMATS = [OpenEndedFormat()]
