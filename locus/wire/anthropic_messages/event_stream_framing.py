"""How a stream of messages is framed: server-sent events, or Amazon's binary event stream.

Amazon Bedrock wraps each event's JSON in a binary message ("Amazon event stream encoding" in the
AWS SDK's documents): lengths, typed headers, a payload, and checksums over both. A stream of these
begins with a zero, the first byte of a length, where text never does: that tells the two apart.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from locus.wire.stream_framing import Framing, ServerSentEvents

_PRELUDE: Final = struct.Struct(">III")  # the whole length, that of the headers, a checksum
_CHECKSUM: Final = struct.Struct(">I")
_LONGEST: Final = 24 * 1024 * 1024  # bytes; Amazon's own readers take no longer message
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""How long a header's value is, by its type. Of types 6 and 7 the value says that itself."""

_WORDS: Final[Mapping[str, str]] = {
    "internalServerException": "api_error",
    "modelStreamErrorException": "api_error",
    "modelTimeoutException": "timeout_error",
    "serviceUnavailableException": "unavailable_error",
    "throttlingException": "rate_limit_error",
    "validationException": "invalid_request_error",
}
"""Bedrock's names for what can go wrong in a stream, and Anthropic's."""


class MessagesFraming:
    """Cuts a stream of either kind into the JSON of its events."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames: Framing | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The events that ``data`` completes."""
        frames = self._frames
        if frames is None:
            if not data:
                return []
            frames = self._frames = EventStream() if data[0] == 0 else ServerSentEvents()
        return frames.feed(data)

    def close(self) -> tuple[list[bytes], bytes]:
        """The events left at the end of the stream, and whatever was no event at all."""
        return ([], b"") if self._frames is None else self._frames.close()


class EventStream:
    """Amazon's event stream: the JSON inside each message."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The JSON of the messages that ``data`` completes."""
        rest = self._rest
        rest += data
        found: list[bytes] = []
        while len(rest) >= _PRELUDE.size:
            length, headers, checksum = _PRELUDE.unpack_from(rest)
            if zlib.crc32(rest[:8]) != checksum or not 16 + headers <= length <= _LONGEST:
                return [*found, self._damaged()]
            if len(rest) < length:
                break
            message = bytes(rest[:length])
            if zlib.crc32(message[:-4]) != _CHECKSUM.unpack(message[-4:])[0]:
                return [*found, self._damaged()]
            del rest[:length]
            event = _event(message[12 : 12 + headers], message[12 + headers : -4])
            if event is not None:
                found.append(event)
        return found

    def close(self) -> tuple[list[bytes], bytes]:
        """The start of a message whose rest never came."""
        return [], bytes(self._rest)

    def _damaged(self) -> bytes:
        self._rest.clear()
        return b"<a message of the event stream does not match its checksum>"


class _Chunk(msgspec.Struct):
    bytes: str = ""


class _Told(msgspec.Struct):
    message: str = ""


def _event(headers: bytes, payload: bytes) -> bytes | None:
    """The event in a message's payload; a message that stands for an error is made one."""
    said = _headers(headers)
    if said.get(":message-type", "event") == "event":
        try:
            return base64.b64decode(msgspec.json.decode(payload, type=_Chunk).bytes) or None
        except ValueError:
            return payload
    name = said.get(":exception-type") or said.get(":error-code") or "api_error"
    try:
        message = msgspec.json.decode(payload, type=_Told).message
    except ValueError:
        message = payload.decode(errors="replace")
    error = {
        "type": _WORDS.get(name, name),
        "message": f"{name}: {message or said.get(':error-message', '')}",
    }
    return msgspec.json.encode({"type": "error", "error": error})


def _headers(data: bytes) -> dict[str, str]:
    """The headers that hold text. Reading ends at whatever cannot be a header."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        start = at + 1
        at = start + data[at]
        name, kind = data[start:at].decode(errors="replace"), data[at : at + 1]
        at += 1
        if kind in (b"\6", b"\7"):
            size = int.from_bytes(data[at : at + 2])
            at += 2
        elif kind and kind[0] in _SIZES:
            size = _SIZES[kind[0]]
        else:
            break
        if kind == b"\7":
            found[name] = data[at : at + size].decode(errors="replace")
        at += size
    return found
