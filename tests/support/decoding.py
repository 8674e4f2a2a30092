"""Reading streamed answers in the tests of every wire format, and the law that each has to keep."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from locus.core.errors import APIError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.models.base import ResponseParser
from locus.wire.stream_decoder import StreamDecoder


class Reading:
    """How the streams of one format are read."""

    def __init__(self, parser: ResponseParser) -> None:
        self._parser = parser

    def read(self, data: Iterable[bytes]) -> tuple[list[ModelChunkEvent], StreamDecoder]:
        """The events of a stream, and the decoder as it is after the end."""
        decoder = self._parser.decoder()
        assert isinstance(decoder, StreamDecoder)
        events = [event for piece in data for event in decoder.feed(piece)]
        return events + decoder.close(), decoder

    def answer_of(self, data: list[bytes] | bytes) -> ModelResponse:
        """The whole answer of a stream that keeps the streaming law."""
        events, decoder = self.read([data] if isinstance(data, bytes) else data)
        assert decoder.failure is None
        assert decoder.done
        return check_law(events)

    def failure_of(self, data: bytes) -> APIError:
        """Why a stream failed."""
        events, decoder = self.read([data])
        assert not any(event.done for event in events)
        assert not decoder.done
        assert decoder.failure is not None
        return decoder.failure


def check_law(events: list[ModelChunkEvent]) -> ModelResponse:
    """The streaming law within one stream; gives the whole answer."""
    assert [event.done for event in events] == [False] * (len(events) - 1) + [True]
    last = events[-1]
    whole = last.response
    assert whole is not None
    assert "".join(event.content or "" for event in events) == whole.content
    assert "".join(event.reasoning or "" for event in events) == (whole.reasoning or "")
    assert tuple(call for event in events for call in event.tool_calls) == whole.tool_calls
    assert (last.usage, last.stop_reason) == (whole.usage, whole.stop_reason)
    assert last.provider_state == whole.provider_state
    for event in events[:-1]:
        assert event.content or event.reasoning
        assert event.usage is event.stop_reason is event.response is None
    return whole


def object_in(written: str) -> Any:
    """The JSON object that a text holds, by the standard library; or the text."""
    try:
        value = json.loads(written, parse_constant=_refuse)
    except ValueError:
        return written
    return value if isinstance(value, dict) else written


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
