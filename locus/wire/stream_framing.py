"""Splits a byte stream into frames: the data of server-sent events, or lines of JSON.

:class:`SSEFraming` follows the WHATWG HTML standard, section 9.2.6 ("Interpreting an event
stream"): lines end in LF, CR LF or CR and in nothing else (a raw U+2028 inside a JSON string is
text), comments and unknown fields are skipped, several ``data`` lines are joined by LF. It works
on bytes, so that a character which two reads split is complete before it is decoded.

``httpx-sse`` was measured first: it decodes to text, splits into lines and builds an object for
every event, which costs three times as much per chunk as the rest of the decoding. The tests
compare the two on random streams.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

_BOM: Final = b"\xef\xbb\xbf"

# In nearly every stream each event has one data line, and either all events have names or none.
_find_named_events: Final = re.compile(
    rb"^event: (?!(?:ping|heartbeat|keep-?alive|error)\n)[^\n]*+\ndata: ([^\n]++)(?:\n\n|\Z)",
    re.MULTILINE,
).findall
_KEEP_ALIVE_EVENTS: Final = frozenset({b"ping", b"heartbeat", b"keepalive", b"keep-alive"})
"""The names of events that only keep the connection alive, whatever their data is."""


class Framing(Protocol):
    """Splits one byte stream into frames. Each stream needs its own object."""

    @property
    def error_frame(self) -> bytes | None:
        """The data of an event named ``error``, which ends the stream; None so far."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of frames that are not complete are kept."""
        ...

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes, and return the frames that they complete."""
        ...

    def close(self) -> tuple[list[bytes], bytes]:
        """Return the frames left at the end of the stream, and the bytes outside of frames."""
        ...


class _Buffer:
    """The bytes after the last delimiter, in a list, so that many small reads take linear time."""

    __slots__ = ("chunks", "size")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0

    def join_and_clear(self, data: bytes) -> bytes:
        """Return the buffered bytes followed by ``data``, and empty the buffer."""
        if not self.chunks:
            return data
        self.chunks.append(data)
        data = b"".join(self.chunks)
        self.chunks.clear()
        self.size = 0
        return data

    def append(self, data: bytes) -> None:
        if data:
            self.chunks.append(data)
            self.size += len(data)

    @property
    def ends_with_newline(self) -> bool:
        return bool(self.chunks) and self.chunks[-1].endswith(b"\n")


class SSEFraming:
    """Splits server-sent events into their ``data``.

    Of the names of events only two matter: a ``ping`` is skipped, and an ``error`` ends the stream.
    """

    __slots__ = ("_after_cr", "_buffer", "_started", "_unframed", "_unframed_size", "error_frame")

    _MAX_UNFRAMED_BYTES = 1 << 24  # enough for the body of a server that does not stream

    def __init__(self) -> None:
        self._buffer = _Buffer()
        self._after_cr = False
        self._started = False
        self._unframed: list[bytes] = []
        self._unframed_size = 0
        self.error_frame: bytes | None = None

    @property
    def buffered_bytes(self) -> int:
        """How many bytes are kept: of an event that is not complete, or outside of events."""
        return self._buffer.size + self._unframed_size

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that these bytes complete; skip events without data."""
        if self._after_cr or b"\r" in data:
            data = self._normalize_newlines(data)
        if b"\n\n" not in data and not (data.startswith(b"\n") and self._buffer.ends_with_newline):
            self._buffer.append(data)
            return []
        data = self._buffer.join_and_clear(data)
        if not self._started:
            self._started = True
            data = data.removeprefix(_BOM)
        end = data.rfind(b"\n\n")
        self._buffer.append(data[end + 2 :])
        data = data[:end]
        # If events of the usual form account for every newline, all events have that form, and they
        # need not be parsed one by one.
        if data.startswith(b"data: "):
            frames = data[6:].split(b"\n\ndata: ")
            if data.count(b"\n") == 2 * (len(frames) - 1) and b"" not in frames:
                return frames
        elif data.startswith(b"event: "):
            frames = _find_named_events(data)
            if data.count(b"\n") == 3 * len(frames) - 2:
                return frames
        frames = []
        for block in data.split(b"\n\n"):
            if len(block) > 6 and block.startswith(b"data: ") and b"\n" not in block:
                frames.append(block[6:])
            elif (frame := self._extract_event_data(block)) is not None:
                frames.append(frame)
            elif self.error_frame is not None:
                break
        return frames

    def close(self) -> tuple[list[bytes], bytes]:
        """Return the last event, if its blank line is missing, and the bytes outside of events.

        A last line without data belongs to those bytes.
        """
        rest = self._buffer.join_and_clear(b"")
        if not self._started:
            rest = rest.removeprefix(_BOM)
        frame = self._extract_event_data(rest) if rest else None
        unframed = b"".join(self._unframed)
        if frame is not None:
            return [frame], unframed
        return [], unframed or (b"" if rest.endswith(b"\n") else rest.strip(b"\n"))

    def _normalize_newlines(self, data: bytes) -> bytes:
        # A CR ends its line at once; if the next byte is an LF, it belongs to that CR.
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
            if b"\r" not in data:
                return data
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _extract_event_data(self, block: bytes) -> bytes | None:
        """Return the data of an event, or None if it has none.

        A block without any known field is no event: it is kept as unframed bytes.
        """
        data_lines: list[bytes] = []
        has_known_field = has_unknown_field = False
        event_name = b""
        for line in block.split(b"\n"):
            if not line:
                continue
            name, _, value = line.partition(b":")
            if name == b"data":
                data_lines.append(value.removeprefix(b" "))
            elif name == b"event":
                event_name = value.strip()
            if name in (b"", b"data", b"event", b"id", b"retry"):
                has_known_field = True
            else:
                has_unknown_field = True
        if (
            has_unknown_field
            and not has_known_field
            and self._unframed_size < self._MAX_UNFRAMED_BYTES
        ):  # not an event stream
            block = block.strip(b"\n")  # the number of blank lines here depends on the reads
            self._unframed.append(block[: self._MAX_UNFRAMED_BYTES - self._unframed_size])
            self._unframed_size += len(block)
        frame = b"\n".join(data_lines)
        if event_name == b"error":
            self.error_frame = frame
            return None
        return None if event_name in _KEEP_ALIVE_EVENTS else frame or None


class NDJSONFraming:
    """Splits newline-delimited JSON: each line is a frame, blank lines are skipped."""

    __slots__ = ("_buffer", "error_frame")

    def __init__(self) -> None:
        self._buffer = _Buffer()
        self.error_frame: bytes | None = None

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of a line that is not complete are kept."""
        return self._buffer.size

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes."""
        if b"\n" not in data:
            self._buffer.append(data)
            return []
        *lines, rest = self._buffer.join_and_clear(data).split(b"\n")
        self._buffer.append(rest)
        return [line for line in lines if not line.isspace() and line]

    def close(self) -> tuple[list[bytes], bytes]:
        """Return the last line, if it has no newline.

        The last line of a web page belongs to no frame.
        """
        rest = self._buffer.join_and_clear(b"").strip()
        if rest.startswith(b"<"):
            return [], rest
        return ([rest] if rest else []), b""
