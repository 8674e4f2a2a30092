"""How large an event or a line of a streamed response may be."""

from __future__ import annotations

import pytest

from locus.core.errors import AnswerTooLargeError
from locus.core.events import ModelChunkEvent
from locus.wire.stream_decoder import StreamDecoder
from tests.support.formats import FORMATS, WireFormat

LIMIT = 5000


def make_decoder(wire: WireFormat) -> StreamDecoder:
    decoder = wire.parser.make_decoder()
    assert isinstance(decoder, StreamDecoder)
    decoder.limit_frames(LIMIT)
    return decoder


def feed(decoder: StreamDecoder, stream: bytes, size: int) -> list[ModelChunkEvent]:
    events = []
    for start in range(0, len(stream), size):
        events += decoder.feed(stream[start : start + size])
    return events


def get_text(events: list[ModelChunkEvent]) -> str:
    return "".join(event.content or "" for event in events)


@pytest.mark.parametrize("size", [1000, 10**6])
@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_an_event_that_is_too_large_is_an_error_after_those_before_it(
    wire: WireFormat, size: int
) -> None:
    decoder = make_decoder(wire)
    frames = wire.build_frames(wire.make_content("ab" + "x" * LIMIT), lambda text: (text,))
    first = wire.build_frames(wire.make_content("ab"), lambda text: (text,))
    long = next(n for n, frame in enumerate(frames) if "x" * LIMIT in str(frame))
    stream = wire.encode_frames(*first[: long + 1], *frames[long:])
    assert get_text(feed(decoder, stream, size)) == "ab"
    error = decoder.failure
    assert isinstance(error, AnswerTooLargeError)
    assert (error.max_bytes, error.partial and error.partial.content) == (LIMIT, "ab")
    assert f"max_answer_bytes={LIMIT}" in str(error)


@pytest.mark.parametrize("piece", [b"x", b"data: x\n", b": x\n", b"x\n\n"])
@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_what_never_becomes_an_event_is_limited_too(wire: WireFormat, piece: bytes) -> None:
    if wire.stream_type != "text/event-stream" and b"\n" in piece:
        pytest.skip("these are lines")
    decoder = make_decoder(wire)
    feed(decoder, piece * (LIMIT + 1), 100)
    assert isinstance(decoder.failure, AnswerTooLargeError)


@pytest.mark.parametrize("size", [100, 10**6])
@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_any_number_of_small_events_is_no_error(wire: WireFormat, size: int) -> None:
    decoder = make_decoder(wire)
    content = wire.make_content("word " * 400)
    frames = wire.build_frames(content, lambda text: [f"{word} " for word in text.split()])
    stream = wire.encode_frames(*frames)
    if wire.stream_type == "text/event-stream":
        stream = b": still here\n\n" * 1000 + stream
    assert len(stream) > 3 * LIMIT
    assert get_text(feed(decoder, stream, size)).startswith("word word")
    assert decoder.failure is None
