"""HTTP/1.1 without I/O, against bytes and against ``h11``, which shares no code with llhttp."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locus.transport import http1
from locus.transport.http1 import ResponseReader, build_request_head
from locus.transport.transport_errors import DecodingError, RemoteProtocolError, TransportError
from tests.support.effort import THOROUGH

HEAD = b"HTTP/1.1 200 OK\r\n"
SIMPLE = HEAD + b"Content-Length: 5\r\nX-One: 1\r\n\r\nhello"


def read_all(reader: ResponseReader, *pieces: bytes, ends: bool = False) -> bytes:
    """Feed the pieces, and then the end of the connection; return the body."""
    body = b""
    for piece in pieces:
        reader.feed(piece)
        while data := reader.read_piece():
            body += data
    if ends:
        reader.feed_eof()
        reader.read_head()
        while data := reader.read_piece():
            body += data
    return body


def split(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


FRAMINGS = {
    "length": b"content-length: 5\r\n\r\nhello",
    "length in spaces": b"content-length: \t 5 \r\n\r\nhello",
    "chunks": b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "chunks, however written": (
        b'Transfer-Encoding: Chunked\r\n\r\n02;a="b\xc3\xbc"\r\nhe\r\n3  \r\nllo\r\n000\r\n\r\n'
    ),
    "chunks with trailers": (
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-one: 2\r\nX-Two: 3\r\n\r\n"
    ),
    "lines without CR": b"content-length: 5\n\nhello",
    "folded lines": b"x-folded: a\r\n b\r\ncontent-length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_is_read_however_it_is_cut(framing: str, size: int) -> None:
    reader = ResponseReader()
    for _ in range(2):  # one connection has many responses
        assert read_all(reader, *split(HEAD + FRAMINGS[framing], size)) == b"hello"
        assert reader.is_complete
        assert reader.is_reusable
        assert reader.head is not None
        assert reader.head.status_code == 200
        assert "x-two" not in reader.head.headers  # a trailer
        reader.begin_response()


def test_the_end_of_the_connection_ends_a_body_of_no_length() -> None:
    reader = ResponseReader()
    assert read_all(reader, HEAD + b"\r\nhel", b"lo") == b"hello"
    assert not reader.is_complete
    reader.feed_eof()
    assert (reader.read_piece(), reader.is_complete, reader.is_reusable) == (b"", True, False)


def test_a_cut_tls_connection_does_not_end_a_body() -> None:
    reader = ResponseReader()
    read_all(reader, HEAD + b"\r\nhello")
    reader.feed_eof(is_clean=False)
    with pytest.raises(RemoteProtocolError, match="was cut"):
        reader.read_piece()
    reader = ResponseReader()
    read_all(reader, SIMPLE)
    reader.feed_eof(is_clean=False)
    assert reader.is_complete


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_some_statuses_have_no_body(status: bytes) -> None:
    reader = ResponseReader()
    assert read_all(reader, b"HTTP/1.1 " + status + b"\r\ncontent-length: 5\r\n\r\n") == b""
    assert reader.is_reusable


def test_interim_responses_are_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nx-one: 2\r\nlink: a\r\nconnection: close\r\n\r\n"
    for size in (1, 10_000):
        reader = ResponseReader()
        assert read_all(reader, *split(interim * 3 + SIMPLE, size)) == b"hello"
        assert reader.head is not None
        assert reader.head.headers == {"content-length": "5", "x-one": "1"}


def test_repeated_headers_are_joined_and_any_text_is_read() -> None:
    reader = ResponseReader()
    reader.feed(HEAD + b"A: 1\r\na:2\r\nB: \xc3\xbc\r\nC: \xfc\r\nD:\r\n\r\n")
    assert reader.head is not None
    assert reader.head.headers == {"a": "1, 2", "b": "ü", "c": "ü", "d": ""}


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (SIMPLE, True),
        (SIMPLE.replace(b"X-One: 1", b"Connection: close"), False),
        (SIMPLE.replace(b"1.1", b"1.0", 1), False),
        (SIMPLE.replace(b"1.1", b"1.0", 1).replace(b"X-One: 1", b"Connection: keep-alive"), True),
        (SIMPLE + b"more", False),  # which would be taken for the next response
        (SIMPLE + SIMPLE, False),
        (HEAD + b"content-length: 9\r\n" + FRAMINGS["chunks"], False),  # one of both is wrong
    ],
)
def test_whether_the_connection_can_be_used_again(data: bytes, reusable: bool) -> None:
    reader = ResponseReader()
    assert read_all(reader, data) == b"hello"
    assert reader.is_complete
    assert reader.is_reusable is reusable


def test_bytes_after_the_end_spoil_the_connection() -> None:
    reader = ResponseReader()
    read_all(reader, SIMPLE)
    reader.feed(b"HTTP/1.1 200 OK\r\n")
    assert reader.is_complete
    assert not reader.is_reusable


ERRORS = {
    "nothing": (b"", "without sending a response"),
    "half a head": (HEAD + b"Conte", "within the head"),
    "half a body": (SIMPLE[:-1], "within the body"),
    "no last chunk": (HEAD + FRAMINGS["chunks"][:-5], "within the body"),
    "another protocol": (b"\x16\x03\x01\x02", "does not begin with HTTP/"),
    "a like protocol": (b"RTSP/1.0 200 OK\r\n\r\n", "does not begin with HTTP/"),
    "no protocol": (b"HTML is nice\r\n\r\n", "not HTTP/1.1"),
    "a later version": (b"HTTP/2.0 200 OK\r\n\r\n", "2.0"),
    "an upgrade": (b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nab", "protocol"),
    "a bare upgrade": (b"HTTP/1.1 101 S\r\n\r\n", "protocol"),
    "no status": (b"HTTP/1.1 012 S\r\n\r\n", "status is 012"),
    "two lengths": (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n", "Content-Length"),
    "no length": (HEAD + b"content-length: five\r\n\r\n", "Content-Length"),
    "a coding": (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n", "transfer coding"),
    "a coding alone": (HEAD + b"transfer-encoding: gzip\r\n\r\n", "transfer coding"),
    "a chunk of no size": (HEAD + b"transfer-encoding: chunked\r\n\r\nx\r\n", "chunk size"),
    "a zero byte": (HEAD + b"a: \x00\r\n\r\n", "zero byte"),
    "no name": (HEAD + b": a\r\n\r\n", "not HTTP/1.1"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_everything_else_is_an_error_that_says_what(name: str) -> None:
    data, words = ERRORS[name]
    for size in (1, 10_000):
        with pytest.raises(RemoteProtocolError, match=words) as exc_info:
            read_all(ResponseReader(), *split(data, size), ends=True)
        assert exc_info.value.__cause__ is exc_info.value.__context__ is None


def test_an_error_comes_after_what_is_before_it() -> None:
    reader = ResponseReader()
    reader.feed(HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\nwrong")
    assert reader.read_head() is not None
    assert reader.read_piece() == b"he"
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            reader.read_piece()
    reader.feed(b"0\r\n\r\n")
    assert not reader.is_complete


ENDLESS = {
    "a header": (HEAD + b"a: ", b"x"),
    "headers": (HEAD, b"a: b\r\n"),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "an extension": (HEAD + b"transfer-encoding: chunked\r\n\r\n1;", b"x"),
    "trailers": (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "empty lines": (b"", b"\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_comes_without_end_is_bounded(name: str) -> None:
    first, again = ENDLESS[name]
    reader = ResponseReader()
    read_all(reader, first + again)
    more = [again * (1000 // len(again) + 1)] * (http1.MAX_HEAD_BYTES // 1000 + 1)
    with pytest.raises(RemoteProtocolError, match="bytes came without"):
        read_all(reader, *more)


def test_a_body_in_gzip_is_inflated_however_it_is_cut() -> None:
    packed = gzip.compress(b"hello ") + gzip.compress(b"you")
    data = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
    for size in (1, 10_000):
        reader = ResponseReader()
        assert read_all(reader, *split(data, size)) == b"hello you"
        assert reader.is_complete
        assert reader.is_reusable
    reader = ResponseReader()
    data = HEAD + b"content-encoding: gzip\r\n\r\n" + packed[:-12]
    with pytest.raises(DecodingError, match="within its content coding"):
        read_all(reader, data, ends=True)


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, gzip", "gzip,br"])
def test_a_coding_that_cannot_be_taken_off_is_named(coding: str) -> None:
    reader = ResponseReader()
    reader.feed(HEAD + b"content-length: 5\r\ncontent-encoding: %s\r\n\r\nhello" % coding.encode())
    assert reader.read_head() is not None
    with pytest.raises(DecodingError, match=coding.partition(",")[0]):
        reader.read_piece()


def test_a_request_is_what_another_parser_reads() -> None:
    headers = {"host": "a.test:80", "x-empty": "", "x-one": "1, 2"}
    head = build_request_head("POST", "/v1/chat?a=b%20c", headers, 7)
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(head + b"content")
    event: Any = peer.next_event()
    assert (event.method, event.target) == (b"POST", b"/v1/chat?a=b%20c")
    expected = {**headers, "content-length": "7"}
    assert [(n.decode(), v.decode()) for n, v in event.headers] == list(expected.items())
    assert bytes(getattr(peer.next_event(), "data", b"")) == b"content"
    assert isinstance(peer.next_event(), h11.EndOfMessage)


# -- against h11 -------------------------------------------------------------------------------


def read_with_h11(pieces: Iterable[bytes]) -> tuple[int, bytes] | str:
    """Return the status and the body that h11 reads, or what it says is wrong."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
    peer.send(h11.EndOfMessage())
    status, body = 0, bytearray()
    try:
        for piece in (*pieces, b""):
            peer.receive_data(piece)
            while (event := peer.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return status, bytes(body)
                elif not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                    return "the connection has ended, or changes its protocol"
    except h11.RemoteProtocolError as exc:
        return str(exc)
    return "incomplete"


def read_with_locus(pieces: Iterable[bytes]) -> tuple[int, bytes] | str:
    """Return the status and the body that Locus reads, or what it says is wrong."""
    reader = ResponseReader()
    try:
        body = read_all(reader, *pieces, ends=True)
    except TransportError as exc:
        return str(exc)
    assert reader.head is not None
    assert reader.is_complete
    return reader.head.status_code, body


# What only one of the two accepts. Where both accept something they always read the same.
ONLY_H11 = ("version", "chunk extensions", "Content-Length", "zero byte", "chunk size")
ONLY_LOCUS = (
    "Only Transfer-Encoding: chunked",  # where there is no body anyway: 204, 304
    "continuation line",
    "illegal chunk header",  # spaces before an extension; lines without CR
    "illegal status line",  # control characters in the reason
    "illegal header line",
    "illegal request line",
    "peer unexpectedly closed",
)

header_lines = st.sampled_from(
    [
        *(b"X-A: 1", b"x-b:2", b"X-C:   a b  ", b"X-D:", b"X-E: \xe9", b"X-F: a\r\n b", b"X-G : 1"),
        *(b"Connection: close", b"Connection: keep-alive", b"Set-Cookie: a=b", b"Upgrade: h2c"),
        *(b"X-H: a\x00b", b"X-I: a\x01b", b"X-J: a\rb", b" X-K: 1", b"bad header", b": x"),
    ]
)
bodies = st.one_of(st.binary(max_size=40), st.text("abc0\r\n;", max_size=40).map(str.encode))
codings = st.sampled_from([b"chunked"] * 6 + [b"Chunked ", b"gzip, chunked", b"identity"])
extensions = st.sampled_from([b""] * 8 + [b";a=b", b'; a="b"', b"  ", b";", b" ;x", b"g"])
trailers = st.sampled_from([b""] * 6 + [b"X-T: 1\r\n", b"bad\r\n"])


@st.composite
def framed_bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Headers that frame a body, often wrongly, and the body as it is sent."""
    body = draw(bodies)
    framing = draw(st.sampled_from(["length", "chunked", "both", "close"]))
    headers: list[bytes] = []
    if framing in ("length", "both"):
        length = max(0, len(body) + draw(st.sampled_from([0, 0, 0, 0, 1, -1])))
        form = draw(st.sampled_from([b"%d"] * 6 + [b"0%d", b"+%d", b"%d, %d", b"-%d", b" %d\t"]))
        value = form.replace(b"%d", str(length).encode())
        headers.append(b"Content-Length: " + value)
    if framing in ("chunked", "both"):
        headers.append(b"Transfer-Encoding: " + draw(codings))
        sent = b""
        while body:
            size = draw(st.integers(1, len(body)))
            form = draw(st.sampled_from([b"%x", b"%X", b"0%x"]))
            sent += form % size + draw(extensions) + b"\r\n" + body[:size] + b"\r\n"
            body = body[size:]
        body = sent + b"0" + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n"
    return headers, body


@st.composite
def wire_responses(draw: st.DrawFn) -> bytes:
    """What a server sends to one request, right or wrong."""
    interims = st.sampled_from(
        [b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103\r\nLink: x\r\n\r\n"]
    )
    version = draw(st.sampled_from([b"1.1"] * 8 + [b"1.0", b"1.2", b"2.0", b"0.9"]))
    status = draw(st.sampled_from([b"200"] * 6 + [b"404", b"204", b"304", b"101", b"20", b"600"]))
    reason = draw(st.sampled_from([b" OK", b"", b" ", b" Very Fine", b" \xe9"]))
    framing, body = draw(framed_bodies())
    lines = draw(st.permutations([*framing, *draw(st.lists(header_lines, max_size=2))]))
    head = b"HTTP/" + version + b" " + status + reason + b"\r\n"
    data = draw(interims) + head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
    if draw(st.integers(0, 4)) == 0:
        data += draw(st.sampled_from([b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"xx"]))
    if draw(st.integers(0, 4)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.integers(0, 4)) == 0 and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]
    return data


def check_against_h11(data: bytes, size: int) -> None:
    pieces = split(data, size)
    ours, theirs = read_with_locus(pieces), read_with_h11(pieces)
    whole = read_with_locus([data] if data else [])
    assert ours == whole or (isinstance(ours, str) and isinstance(whole, str))
    if isinstance(ours, str) and not isinstance(theirs, str):
        assert any(words in ours for words in ONLY_H11), (ours, theirs)
    elif isinstance(theirs, str) and not isinstance(ours, str):
        assert any(words in theirs for words in ONLY_LOCUS), (ours, theirs)
    elif not isinstance(ours, str):
        assert ours == theirs


@given(wire_responses(), st.sampled_from([1, 2, 5, 50, 10_000]))
@settings(max_examples=5000 if THOROUGH else 60)
def test_random_responses_are_read_as_h11_reads_them(data: bytes, size: int) -> None:
    check_against_h11(data, size)
