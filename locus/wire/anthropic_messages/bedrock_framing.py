"""Framing of streamed responses: server-sent events, or Amazon's binary event stream (Bedrock).

Amazon Bedrock wraps the JSON of each event in a binary message ("Amazon event stream encoding" in
the documentation of the AWS SDKs): lengths, typed headers, a payload, and checksums over both. Such
a stream begins with a zero byte, the first byte of a length. A text stream never does, so the first
byte tells which of the two it is.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from locus.wire.stream_framing import Framing, SSEFraming

_PRELUDE: Final = struct.Struct(">III")  # message length, length of the headers, a checksum
_CHECKSUM: Final = struct.Struct(">I")
_MAX_MESSAGE_SIZE: Final = 24 * 1024 * 1024  # bytes; Amazon's own clients accept no longer message
_HEADER_VALUE_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""The size of a header's value in bytes, by its type. Values of types 6 and 7 begin with their
size."""

_ANTHROPIC_ERROR_TYPES: Final[Mapping[str, str]] = {
    "internalServerException": "api_error",
    "modelStreamErrorException": "api_error",
    "modelTimeoutException": "timeout_error",
    "serviceUnavailableException": "unavailable_error",
    "throttlingException": "rate_limit_error",
    "validationException": "invalid_request_error",
}
"""Bedrock's exception types for errors in a stream, and Anthropic's error types."""


class AnthropicMessagesFraming:
    """Splits a stream of either framing into the JSON of its events."""

    __slots__ = ("_framing",)

    def __init__(self) -> None:
        self._framing: Framing | None = None

    @property
    def error_frame(self) -> bytes | None:
        """The data of an event named ``error``; None so far."""
        return None if self._framing is None else self._framing.error_frame

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of frames that are not complete are kept."""
        return 0 if self._framing is None else self._framing.buffered_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes."""
        framing = self._framing
        if framing is None:
            if not data:
                return []
            framing = self._framing = AmazonEventStreamFraming() if data[0] == 0 else SSEFraming()
        return framing.feed(data)

    def close(self) -> tuple[list[bytes], bytes]:
        """Return the frames left at the end of the stream, and the bytes that were no frame."""
        return ([], b"") if self._framing is None else self._framing.close()


class AmazonEventStreamFraming:
    """Amazon's binary event stream: gives the JSON inside each message."""

    __slots__ = ("_buffer", "error_frame")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.error_frame: bytes | None = None

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of a message that is not complete are kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the JSON of the messages that ``data`` completes."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        while len(buffer) >= _PRELUDE.size:
            length, headers_length, checksum = _PRELUDE.unpack_from(buffer)
            if (
                zlib.crc32(buffer[:8]) != checksum
                or not 16 + headers_length <= length <= _MAX_MESSAGE_SIZE
            ):
                return [*frames, self._clear_buffer_and_make_invalid_frame()]
            if len(buffer) < length:
                break
            message = bytes(buffer[:length])
            if zlib.crc32(message[:-4]) != _CHECKSUM.unpack(message[-4:])[0]:
                return [*frames, self._clear_buffer_and_make_invalid_frame()]
            del buffer[:length]
            frame = _extract_event(
                message[12 : 12 + headers_length], message[12 + headers_length : -4]
            )
            if frame is not None:
                frames.append(frame)
        return frames

    def close(self) -> tuple[list[bytes], bytes]:
        """Return no frames, and the beginning of a message that never arrived completely."""
        return [], bytes(self._buffer)

    def _clear_buffer_and_make_invalid_frame(self) -> bytes:
        """Discard the buffer, and return a frame that is no JSON, so that decoding it fails."""
        self._buffer.clear()
        return b"<a message of the event stream does not match its checksum>"


class _ChunkPayload(msgspec.Struct):
    bytes: str = ""


class _ExceptionPayload(msgspec.Struct):
    message: str = ""


def _extract_event(headers_data: bytes, payload: bytes) -> bytes | None:
    """Return the event in a message's payload.

    An exception becomes one of Anthropic's error events.
    """
    headers = _parse_text_headers(headers_data)
    if headers.get(":message-type", "event") == "event":
        try:
            return base64.b64decode(msgspec.json.decode(payload, type=_ChunkPayload).bytes) or None
        except ValueError:
            return payload
    name = headers.get(":exception-type") or headers.get(":error-code") or "api_error"
    try:
        message = msgspec.json.decode(payload, type=_ExceptionPayload).message
    except ValueError:
        message = payload.decode(errors="replace")
    error = {
        "type": _ANTHROPIC_ERROR_TYPES.get(name, name),
        "message": f"{name}: {message or headers.get(':error-message', '')}",
    }
    return msgspec.json.encode({"type": "error", "error": error})


def _parse_text_headers(data: bytes) -> dict[str, str]:
    """Parse the headers that hold text.

    Parsing stops at the first byte that cannot begin a header.
    """
    headers: dict[str, str] = {}
    offset = 0
    while offset < len(data):
        start = offset + 1
        offset = start + data[offset]
        name, value_type = data[start:offset].decode(errors="replace"), data[offset : offset + 1]
        offset += 1
        if value_type in (b"\6", b"\7"):
            size = int.from_bytes(data[offset : offset + 2])
            offset += 2
        elif value_type and value_type[0] in _HEADER_VALUE_SIZES:
            size = _HEADER_VALUE_SIZES[value_type[0]]
        else:
            break
        if value_type == b"\7":
            headers[name] = data[offset : offset + size].decode(errors="replace")
        offset += size
    return headers
