"""HTTP/1.1 without I/O (RFC 9110 and 9112): a request becomes bytes, bytes become a response.

The grammar is left to llhttp, the parser of Node.js, by way of ``httptools``. What llhttp does not
decide is decided here: where a body ends that the end of the connection delimits, how long a head
may be, and whether the connection can be used again.

A :class:`ResponseReader` belongs to one connection. It is fed what arrives, however it is cut, and
asked for what can be read of it: first :attr:`~ResponseReader.head`, then pieces of the body. It
reports an error after everything before it, so that a response fails at the same place whether its
bytes arrive one at a time or all together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs
import httptools

from locus.transport.content_coding import ContentDecoder, make_content_decoder
from locus.transport.transport_errors import DecodingError, RemoteProtocolError, TransportError

MAX_HEAD_BYTES: Final = 102_400
"""How many bytes may arrive without one of the body among them: a head and the interim responses
before it, trailers, extensions of chunks."""

_FRAMING_HEADERS: Final = {b"content-encoding", b"content-length", b"transfer-encoding"}


class ResponseHeaders(Mapping[str, str]):
    """The headers of a response: names in lower case, values of a repeated one joined by a comma.

    They are decoded when somebody first asks for one: most callers never do.
    """

    __slots__ = ("_decoded", "_raw")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._decoded: dict[str, str] | None = None

    def _decode(self) -> dict[str, str]:
        if self._decoded is None:
            decoded: dict[str, str] = {}
            self._decoded = decoded
            for raw_name, raw_value in self._raw:
                name = raw_name.decode("latin-1").lower()
                try:
                    value = raw_value.decode().strip()
                except UnicodeDecodeError:
                    value = raw_value.decode("latin-1").strip()
                decoded[name] = f"{decoded[name]}, {value}" if name in decoded else value
        return self._decoded

    def __getitem__(self, name: str) -> str:
        return self._decode()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decode())

    def __len__(self) -> int:
        return len(self._decode())

    def __repr__(self) -> str:
        return repr(self._decode())


@attrs.frozen
class ResponseHead:
    """The beginning of a response."""

    status_code: int
    headers: Mapping[str, str]


def build_request_head(
    method: str, target: str, headers: Mapping[str, str], content_length: int
) -> bytes:
    """Build the bytes of a request up to its body. The headers have been checked.

    :param headers: all of the headers, ``host`` among them, without the framing of the body.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = f"{method} {target} HTTP/1.1\r\n{lines}content-length: {content_length}\r\n\r\n"
    return head.encode("ascii")


class ResponseReader:
    """Reads the responses of one connection, one after the other.

    :ivar head: the head of the response, when all of it has arrived. Interim responses (1xx) are
        not reported.
    :ivar has_begun: whether a byte of the response has arrived.
    :ivar is_complete: whether the response has arrived to its end.
    """

    __slots__ = (
        "_bytes_without_body",
        "_decoder",
        "_ends_with_connection",
        "_failure",
        "_headers",
        "_is_reusable",
        "_parser",
        "_pieces",
        "has_begun",
        "head",
        "is_complete",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # What servers in the field do, and what cannot mislead the only reader of a response: lines
        # without CR, folded lines, padded sizes of chunks, a length beside chunks (chunks win), and
        # an interim response that announces the end.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_keep_alive=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._pieces: deque[bytes] = deque()
        self.begin_response()

    def begin_response(self) -> None:
        """Get ready for the response to the next request."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces.clear()
        self._decoder: ContentDecoder | None = None
        self._failure: TransportError | None = None
        self._bytes_without_body = 0
        self._ends_with_connection = self._is_reusable = False
        self.head: ResponseHead | None = None
        self.has_begun = self.is_complete = False

    @property
    def is_reusable(self) -> bool:
        """Whether the connection can be used for another request: RFC 9112, 9.3."""
        return self.is_complete and self._is_reusable and self._failure is None

    @property
    def is_answered(self) -> bool:
        """Whether :meth:`read_head` returns or raises something."""
        return self.head is not None or self._failure is not None

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        if self.is_complete:
            self._is_reusable = False  # nobody has asked for more
            return
        if self._failure is not None:
            return
        if not self.has_begun:
            self.has_begun = True
            if data[0] not in b"H\r\n":  # llhttp reads other protocols of this form as well
                self._fail("it does not begin with HTTP/")
                return
        self._bytes_without_body += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it changes to a protocol that nobody has asked for")
        except httptools.HttpParserError as exc:
            if not self.is_complete:
                self._fail(_describe_parser_error(exc))
            self._is_reusable = False
        if self._bytes_without_body > MAX_HEAD_BYTES:
            self._fail(f"more than {MAX_HEAD_BYTES} bytes came without any of the body")

    def feed_eof(self, *, is_clean: bool = True) -> None:
        """Say that the server has closed the connection.

        :param is_clean: False if it has closed a TLS connection without saying so before. Then
            somebody else may have cut it (RFC 9112, 9.8).
        """
        self._is_reusable = False
        if self.is_complete or self._failure is not None:
            return
        if not self.has_begun:
            self._fail_with("the server closed the connection without sending a response")
        elif self.head is None:
            self._fail_with("the server closed the connection within the head of its response")
        elif not self._ends_with_connection:
            self._fail_with("the server closed the connection within the body of its response")
        elif not is_clean:
            self._fail_with("the connection was cut within a body that its end delimits")
        else:
            self.is_complete = True

    def read_head(self) -> ResponseHead | None:
        """Return the head of the response; None if more has to be fed.

        :raises RemoteProtocolError: if it is not one of HTTP/1.1, or the connection has ended.
        """
        if self.head is None and self._failure is not None:
            raise self._failure
        return self.head

    def read_piece(self) -> bytes:
        """Return the next bytes of the body without its coding, at most those of one chunk.

        They are empty if more has to be fed, or, where :attr:`is_complete` says so, at the end.

        :raises TransportError: if the rest of the body cannot be read.
        """
        pieces, decoder = self._pieces, self._decoder
        if decoder is None:
            if pieces:
                return pieces.popleft()
        else:
            while not (data := decoder.read_piece()) and pieces:
                decoder.feed(pieces.popleft())
            if data:
                return data
            if self.is_complete and not decoder.is_complete:
                raise DecodingError("the body ends within its content coding")
        if self._failure is not None:
            raise self._failure
        return b""

    def _fail(self, reason: str) -> None:
        """Record that the rest of the response cannot be read."""
        self._fail_with(f"the response is not HTTP/1.1: {reason}")

    def _fail_with(self, message: str) -> None:
        if self._failure is None:
            self._failure = RemoteProtocolError(message)

    # The callbacks of the parser.

    def on_message_begin(self) -> None:
        """Refuse a second response."""
        if self.is_complete:
            raise RemoteProtocolError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Record a header; trailers are ignored."""
        if self.head is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Record the head, and how its body is framed: RFC 9112, 6.3."""
        status_code = self._parser.get_status_code()
        if status_code == 101:
            raise RemoteProtocolError("it changes to a protocol that nobody has asked for")
        if 100 <= status_code < 200:
            return
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise RemoteProtocolError(f"its version is {version}")
        if status_code < 100:
            raise RemoteProtocolError(f"its status is {status_code:03}")
        has_body = status_code not in (204, 304)
        framing: dict[bytes, bytes] = {}
        for name, value in self._headers:
            if (key := name.lower()) in _FRAMING_HEADERS:
                framing[key] = b"%b, %b" % (framing[key], value) if key in framing else value
            if b"\0" in value:
                raise RemoteProtocolError("a header holds a zero byte")  # RFC 9110, 5.5
        coding = framing.get(b"transfer-encoding")
        self._is_reusable = True
        if coding is not None and has_body:
            if coding.strip().lower() != b"chunked":
                raise RemoteProtocolError("its transfer coding is not chunked")
            # RFC 9112, 6.1 and 6.3: such a framing is faulty, whoever made it.
            self._is_reusable = version == "1.1" and b"content-length" not in framing
        elif has_body:
            self._ends_with_connection = b"content-length" not in framing
        if has_body and b"content-encoding" in framing:
            try:
                self._decoder = make_content_decoder(framing[b"content-encoding"].decode("latin-1"))
            except DecodingError as exc:
                self._failure = exc
        self.head = ResponseHead(status_code, ResponseHeaders(self._headers))

    def on_body(self, data: bytes) -> None:
        """Record a piece of the body."""
        self._bytes_without_body = 0
        if self._failure is None:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Record the end of the response; that of an interim response is not the end."""
        if self.head is None:
            self._headers = []
            return
        self.is_complete = True
        self._is_reusable = self._is_reusable and self._parser.should_keep_alive()


def _describe_parser_error(exc: httptools.HttpParserError) -> str:
    """Return the reason of an error of the parser, or of one of the callbacks above."""
    if isinstance(exc.__context__, RemoteProtocolError):
        return str(exc.__context__)
    return str(exc)
