"""Bytes as they arrive, cut into the messages they carry.

:class:`ServerSentEvents` follows the WHATWG HTML standard, section 9.2.6 ("Interpreting an event
stream"): lines end in LF, CR LF or CR and in nothing else (a raw U+2028 inside a JSON string is
text), comments and unknown fields are skipped, several ``data`` lines are joined by LF. It works
on bytes, so that a character cut in half by a read is whole again before anybody decodes it.

``httpx-sse`` was measured first: it decodes to text, splits into lines and builds an object for
every event, which costs three times as much per chunk as all the rest of the decode path. The
tests compare the two on random streams.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

_BOM: Final = b"\xef\xbb\xbf"

# Nearly every stream is made of events of one data line, all without a name or all with one.
_named: Final = re.compile(rb"^event: [^\n]*+\ndata: ([^\n]++)(?:\n\n|\Z)", re.MULTILINE).findall


class Framing(Protocol):
    """Cuts a byte stream into messages; one for each answer."""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes, without their framing."""
        ...

    def close(self) -> tuple[list[bytes], bytes]:
        """The messages left at the end of the stream, and whatever was no message at all."""
        ...


class _Unfinished:
    """The bytes after the last delimiter, kept in pieces so that tiny reads stay linear."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def join(self, data: bytes) -> bytes:
        if not self.pieces:
            return data
        self.pieces.append(data)
        data = b"".join(self.pieces)
        self.pieces.clear()
        return data

    def keep(self, data: bytes) -> None:
        if data:
            self.pieces.append(data)

    @property
    def ends_line(self) -> bool:
        return bool(self.pieces) and self.pieces[-1].endswith(b"\n")


class ServerSentEvents:
    """The ``data`` of each server-sent event; event names and ids are not used by any provider."""

    __slots__ = ("_after_cr", "_rest", "_started", "_stray", "_stray_size")

    _STRAY_KEPT = 1 << 24  # bytes: room for the whole answer of a server that does not stream

    def __init__(self) -> None:
        self._rest = _Unfinished()
        self._after_cr = False
        self._started = False
        self._stray: list[bytes] = []
        self._stray_size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that ``data`` completes; events without any are skipped."""
        if self._after_cr or b"\r" in data:
            data = self._unify(data)
        if b"\n\n" not in data and not (data.startswith(b"\n") and self._rest.ends_line):
            self._rest.keep(data)
            return []
        data = self._rest.join(data)
        if not self._started:
            self._started = True
            data = data.removeprefix(_BOM)
        end = data.rfind(b"\n\n")
        self._rest.keep(data[end + 2 :])
        data = data[:end]
        # Where events of the usual shape account for every line end, they were all like that, and
        # there is nothing to look at one by one.
        if data.startswith(b"data: "):
            found = data[6:].split(b"\n\ndata: ")
            if data.count(b"\n") == 2 * (len(found) - 1) and b"" not in found:
                return found
        elif data.startswith(b"event: "):
            found = _named(data)
            if data.count(b"\n") == 3 * len(found) - 2:
                return found
        found = []
        for block in data.split(b"\n\n"):
            if len(block) > 6 and block.startswith(b"data: ") and b"\n" not in block:
                found.append(block[6:])
            elif (message := self._parse(block)) is not None:
                found.append(message)
        return found

    def close(self) -> tuple[list[bytes], bytes]:
        """A last event whose blank line never came, and what was not an event stream.

        A line that was cut before it said anything is none either.
        """
        rest = self._rest.join(b"")
        if not self._started:
            rest = rest.removeprefix(_BOM)
        message = self._parse(rest) if rest else None
        stray = b"".join(self._stray)
        if message is not None:
            return [message], stray
        return [], stray or (b"" if rest.endswith(b"\n") else rest.strip(b"\n"))

    def _unify(self, data: bytes) -> bytes:
        # A CR ends its line at once; should a LF come next, it belongs to that CR.
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
            if b"\r" not in data:
                return data
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _parse(self, block: bytes) -> bytes | None:
        found: list[bytes] = []
        known = unknown = False
        for line in block.split(b"\n"):
            if not line:
                continue
            name, _, value = line.partition(b":")
            if name == b"data":
                found.append(value.removeprefix(b" "))
            if name in (b"", b"data", b"event", b"id", b"retry"):
                known = True
            else:
                unknown = True
        if unknown and not known and self._stray_size < self._STRAY_KEPT:  # not an event stream
            block = block.strip(b"\n")  # how many blank lines stand here depends on the reads
            self._stray.append(block[: self._STRAY_KEPT - self._stray_size])
            self._stray_size += len(block)
        return b"\n".join(found) or None


class JSONLines:
    """Newline-delimited JSON: a message a line, blank lines skipped."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = _Unfinished()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes."""
        if b"\n" not in data:
            self._rest.keep(data)
            return []
        *lines, rest = self._rest.join(data).split(b"\n")
        self._rest.keep(rest)
        return [line for line in lines if not line.isspace() and line]

    def close(self) -> tuple[list[bytes], bytes]:
        """The last line, where nothing ended it; of a web page it is no JSON that was cut."""
        rest = self._rest.join(b"").strip()
        if rest.startswith(b"<"):
            return [], rest
        return ([rest] if rest else []), b""
