"""Splitting bytes into frames: by the standard, for all sizes of reads, and in linear time."""

from __future__ import annotations

import json

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st

from locus.wire.stream_framing import Framing, NDJSONFraming, SSEFraming
from tests.support.strategies import byte_splits, texts


def feed_all(framing: Framing, reads: list[bytes]) -> list[bytes]:
    return [message for chunk in reads for message in framing.feed(chunk)]


def parse_with_httpx_sse(data: bytes) -> list[bytes]:
    """Parse a stream with httpx-sse.

    It differs from Locus in two ways. It does not strip a byte order mark at the start, as the
    standard says; and it yields events without data (only a name or an id), which have no meaning
    in any provider's format and which Locus skips.
    """
    line_decoder, event_decoder = SSELineDecoder(), SSEDecoder()
    events = []
    text = data.decode().removeprefix("\ufeff")
    for line in line_decoder.decode(text) + line_decoder.flush() if text else []:
        event = event_decoder.decode(line)
        if event is not None and event.data:
            events.append(event.data.encode())
    return events


LINES = ["\n", "\r", "\r\n", "\n\n", "data", "data:", "data: ", ": ", ":", " ", "x", "é", "\u2028"]
FIELDS = ["event: a", "id: 1", "id:\0", "retry: 5", "retry: x", "\ufeff", "\x85", "DATA:", "data :"]
EVENTS = ['data: {"a": "b"}\n\n', "data: y\r\n\r\n", ": ping\n\n", "data: \n\n", "data\n\n"]
TOKENS = st.sampled_from(LINES + FIELDS + EVENTS)
STREAMS = st.lists(TOKENS, max_size=25).map(lambda tokens: "".join(tokens).encode())


@given(STREAMS, st.data())
def test_random_streams_read_like_httpx_sse_reads_them(data: bytes, more: st.DataObject) -> None:
    assert feed_all(SSEFraming(), more.draw(byte_splits(data))) == parse_with_httpx_sse(data)


NAMED = 'event: a\ndata: {"a": "b"}\n\n'
SHAPES = [
    NAMED,
    "data: x\n\n",
    "event: b\ndata: y\ndata: z\n\n",
    "event: c\n\n",
    "event: d\ndata: \n\n",
    "event:e\ndata:x\n\n",
    "event: f\nid: 1\ndata: x\n\n",
    "data: x\nevent: g\n\n",
    "data: q event: h\ndata: x\n\n",
    ": ping\n\n",
    "\n",
]


@given(st.lists(st.sampled_from(SHAPES) | st.just(NAMED)), st.data())
def test_named_events_read_like_httpx_sse_reads_them(
    events: list[str], more: st.DataObject
) -> None:
    data = "".join([NAMED, *events]).encode()
    assert SSEFraming().feed(data) == parse_with_httpx_sse(data)
    assert feed_all(SSEFraming(), more.draw(byte_splits(data))) == parse_with_httpx_sse(data)


@given(STREAMS, st.data())
def test_the_end_is_the_same_for_all_sizes_of_reads(data: bytes, more: st.DataObject) -> None:
    expected, split_framing = SSEFraming(), SSEFraming()
    feed_all(expected, [data])
    feed_all(split_framing, more.draw(byte_splits(data)))
    assert split_framing.close() == expected.close()


@given(st.binary(max_size=60), st.data())
def test_any_bytes_can_be_cut_anywhere(noise: bytes, more: st.DataObject) -> None:
    data = b"data: a\n\n" + noise + b"\n\ndata: b\r\n\r\n"
    expected = feed_all(SSEFraming(), [data])
    assert feed_all(SSEFraming(), more.draw(byte_splits(data))) == expected
    assert expected[0] == b"a"
    assert expected[-1] == b"b"


@given(st.lists(texts()), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_json_events_arrive_complete_under_every_line_end(
    strings: list[str], end: str, more: st.DataObject
) -> None:
    frames = [json.dumps({"x": text}, ensure_ascii=False).encode() for text in strings]
    mark = end.encode()
    data = b"".join(b"data: " + frame + mark + mark for frame in frames)
    assert feed_all(SSEFraming(), more.draw(byte_splits(data))) == frames


def test_separators_of_unicode_end_no_line() -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
    assert SSEFraming().feed(f"data: {text}\n\n".encode()) == [text.encode()]
    assert NDJSONFraming().feed(f"{text}\n".encode()) == [text.encode()]


def test_the_space_after_the_colon_is_optional_and_one_only() -> None:
    assert SSEFraming().feed(b"data:x\n\ndata: x\n\ndata:  x\n\n") == [b"x", b"x", b" x"]


def test_several_data_lines_are_one_frame() -> None:
    stream = b'event: delta\ndata: {"a":\nid: 7\ndata:  1}\nretry: 5\n\n'
    assert SSEFraming().feed(stream) == [b'{"a":\n 1}']


def test_a_byte_order_mark_is_stripped_at_the_start_alone() -> None:
    mark = "\ufeff".encode()
    assert feed_all(SSEFraming(), [mark[:1], mark[1:], b"data: x\n\n"]) == [b"x"]
    framing = SSEFraming()
    assert feed_all(framing, [b"data: x\n\n", mark + b"data: y\n\n", b"data: z\n\n"]) == [
        b"x",
        b"z",
    ]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_an_event_comes_with_its_blank_line_and_no_later(end: bytes) -> None:
    framing = SSEFraming()
    assert framing.feed(b"data: x" + end) == []
    assert framing.feed(end) == [b"x"]


def test_a_line_feed_after_a_carriage_return_belongs_to_it() -> None:
    framing = SSEFraming()
    reads = [b"data: a\r", b"\ndata: b\r", b"", b"\n", b"\r", b"\n", b"data: c\r\r\n", b"\n"]
    assert feed_all(framing, reads) == [b"a\nb", b"c"]
    assert feed_all(framing, [b"data: d\r", b"\n", b"\n"]) == [b"d"]
    assert feed_all(framing, [b"data: e\r", b"\n: x", b"\n", b"\r"]) == [b"e"]


@pytest.mark.parametrize(
    "empty", [b"data:\n\n", b"data: \n\n", b"data\n\n", b"event: ping\n\n", b":\n\n", b"\n\n\n"]
)
def test_events_without_data_are_skipped(empty: bytes) -> None:
    stream = b"data: a\n\n" + empty + b"data: b\n\n"
    assert feed_all(SSEFraming(), [stream]) == [b"a", b"b"]
    assert feed_all(SSEFraming(), [empty, stream]) == [b"a", b"b"]


# The end.


@pytest.mark.parametrize("rest", [b"data: x", b"data: x\n", b"data:x\r", b"id: 1\ndata: x\r\n"])
def test_a_last_event_without_its_blank_line_comes_at_the_end(rest: bytes) -> None:
    framing = SSEFraming()
    assert framing.feed(rest) == []
    assert framing.close() == ([b"x"], b"")


@pytest.mark.parametrize("rest", [b"d", b"data", b"data:", b"data: ", b"event: x", b"id", b": pin"])
def test_a_line_that_was_cut_before_its_data_is_unframed(rest: bytes) -> None:
    framing = SSEFraming()
    framing.feed(b"data: x\n\n" + rest)
    assert framing.close() == ([], rest)


@pytest.mark.parametrize("rest", [b"", b"\n", b": ping\n", b"event: x\r\n", b"data:\n"])
def test_a_stream_that_ends_between_lines_leaves_nothing(rest: bytes) -> None:
    framing = SSEFraming()
    framing.feed(b"data: x\n\n" + rest)
    assert framing.close() == ([], b"")


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no"}}',
        b'{\n  "error": {\n    "message": "no"\n  }\n}',
        b'{\r\n\r\n  "error": "no"\r\n}',
        b"<html>\n\n<body>502</body></html>",
    ],
)
def test_bytes_that_are_no_event_stream_are_returned(body: bytes, end: bytes) -> None:
    for reads in ([body + end], [body[:5], body[5:] + end]):
        framing = SSEFraming()
        assert feed_all(framing, reads) == []
        events, unframed = framing.close()
        assert events == []
        assert b"".join(unframed.split()) == b"".join(body.split())


def test_a_complete_response_of_any_usual_size_is_returned() -> None:
    body = json.dumps({"content": "x" * 1_000_000}, indent=1).encode()
    framing = SSEFraming()
    framing.feed(body)
    assert json.loads(framing.close()[1]) == json.loads(body)


def test_the_bytes_that_are_no_event_stream_are_bounded() -> None:
    framing = SSEFraming()
    for _ in range(3):
        framing.feed(b"x" * 10_000_000 + b"\n\n")
    assert len(framing.close()[1]) == 1 << 24


# Small reads of large events: if each read cost as much as all bytes before it, these would take
# minutes.


@pytest.mark.parametrize("line", [b"x" * 1_000_000, b"\ndata: ".join([b"y"] * 40_000)])
def test_a_large_event_in_single_bytes_is_read_in_linear_time(line: bytes) -> None:
    framing = SSEFraming()
    data = b"data: " + line + b"\n\n"
    frames = [
        message for index in range(len(data)) for message in framing.feed(data[index : index + 1])
    ]
    assert frames == [line.replace(b"\ndata: ", b"\n")]


# JSON lines.


@given(st.lists(texts()), st.sampled_from(["\n", "\r\n", "\n\n", " \n"]), st.data())
def test_json_lines_arrive_complete(strings: list[str], end: str, more: st.DataObject) -> None:
    lines = [json.dumps({"x": text}, ensure_ascii=False) for text in strings]
    data = "".join(line + end for line in lines).encode()
    framing = NDJSONFraming()
    frames = feed_all(framing, more.draw(byte_splits(data)))
    assert [json.loads(line) for line in frames] == [json.loads(line) for line in lines]
    assert framing.close() == ([], b"")


def test_a_web_page_is_no_json_line() -> None:
    framing = NDJSONFraming()
    assert framing.feed(b"<html>") == []
    assert framing.close() == ([], b"<html>")


@given(st.lists(texts(), min_size=1), st.data())
def test_a_last_line_without_a_newline_comes_at_the_end(
    strings: list[str], more: st.DataObject
) -> None:
    lines = [json.dumps({"x": text}, ensure_ascii=False).encode() for text in strings]
    framing = NDJSONFraming()
    assert feed_all(framing, more.draw(byte_splits(b"\n".join(lines)))) == lines[:-1]
    assert framing.close() == ([lines[-1]], b"")
