"""Decodes the streams of a format in tests, and checks the streaming law."""

from __future__ import annotations

from collections.abc import Iterable

from locus.core.errors import APIError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.models.base import ResponseParser
from locus.wire.stream_decoder import StreamDecoder


class StreamReader:
    """Decodes the streams of one format."""

    def __init__(self, parser: ResponseParser) -> None:
        self._parser = parser

    def read_stream(self, data: Iterable[bytes]) -> tuple[list[ModelChunkEvent], StreamDecoder]:
        """Decode a stream; returns its events, and the decoder after the end."""
        decoder = self._parser.make_decoder()
        assert isinstance(decoder, StreamDecoder)
        events = [event for chunk in data for event in decoder.feed(chunk)]
        return events + decoder.close(), decoder

    def decode_response(self, data: list[bytes] | bytes) -> ModelResponse:
        """Decode a stream, check the streaming law, and return the response."""
        events, decoder = self.read_stream([data] if isinstance(data, bytes) else data)
        assert decoder.failure is None
        assert decoder.done
        return check_streaming_law(events)

    def decode_failure(self, data: bytes) -> APIError:
        """Decode a stream that fails, and return the error."""
        events, decoder = self.read_stream([data])
        assert not any(event.done for event in events)
        assert not decoder.done
        assert decoder.failure is not None
        return decoder.failure


def check_streaming_law(events: list[ModelChunkEvent]) -> ModelResponse:
    """Check the streaming law for one stream; returns the complete response."""
    assert [event.done for event in events] == [False] * (len(events) - 1) + [True]
    last = events[-1]
    response = last.response
    assert response is not None
    assert "".join(event.content or "" for event in events) == response.content
    assert "".join(event.reasoning or "" for event in events) == (response.reasoning or "")
    assert tuple(call for event in events for call in event.tool_calls) == response.tool_calls
    assert (last.usage, last.stop_reason) == (response.usage, response.stop_reason)
    assert last.provider_state == response.provider_state
    for event in events[:-1]:
        assert event.content or event.reasoning
        assert (event.usage, event.stop_reason, event.response) == (None, None, None)
    return response


def join_text(events: Iterable[ModelChunkEvent]) -> str:
    """Join the text of the events."""
    return "".join(event.content or "" for event in events)
