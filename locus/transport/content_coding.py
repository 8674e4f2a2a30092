"""Takes the content coding off a body: RFC 9110, 8.4; gzip is RFC 1952, deflate RFC 1950 and 1951.

A few bytes can hold gigabytes, so the body is inflated in pieces of bounded size, and no further
than somebody reads. A chain of codings is refused: nobody offers one, and each link multiplies.
"""

from __future__ import annotations

import zlib
from typing import Final

from locus.transport.transport_errors import DecodingError

ACCEPTED_CODINGS: Final = ("gzip", "deflate")
"""The codings that Locus offers to servers."""
MAX_PIECE_BYTES: Final = 65_536
"""How much of a body is inflated at once."""

_WINDOW_BITS: Final = {
    "gzip": 16 + zlib.MAX_WBITS,
    "x-gzip": 16 + zlib.MAX_WBITS,  # RFC 9110, 8.4.1.3: the same
    "deflate": zlib.MAX_WBITS,
}
_GZIP_MAGIC: Final = b"\x1f\x8b"


def make_content_decoder(content_encoding: str) -> ContentDecoder | None:
    """Make the decoder for the value of a ``content-encoding``; None if there is no coding.

    :raises DecodingError: if Locus cannot take this coding off; the error names it.
    """
    codings = [name.strip().lower() for name in content_encoding.split(",")]
    codings = [name for name in codings if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _WINDOW_BITS:
        raise DecodingError(
            f"the body has the content coding {', '.join(codings)[:100]!r}, and Locus reads only "
            f"one coding, {' or '.join(ACCEPTED_CODINGS)}"
        )
    return ContentDecoder(codings[0])


class ContentDecoder:
    """Inflates one body. Feed it what arrives, and read the pieces."""

    __slots__ = ("_coding", "_has_more", "_input", "_is_fed", "_state")

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._state = zlib.decompressobj(_WINDOW_BITS[coding])
        self._input = b""
        self._has_more = self._is_fed = False

    @property
    def is_complete(self) -> bool:
        """Whether the body may end here. A body of no bytes at all may, too."""
        return self._state.eof or not (self._is_fed or self._input)

    def feed(self, data: bytes) -> None:
        """Add bytes of the body, in the order of their arrival."""
        self._input += data

    def read_piece(self) -> bytes:
        """Return the next piece, at most ``MAX_PIECE_BYTES``; empty if more has to be fed.

        :raises DecodingError: if the bytes are not in this coding.
        """
        while self._input or self._has_more:
            if self._state.eof and not self._begin_next_member():
                break
            if not self._is_fed and self._coding == "deflate":
                if len(self._input) < 2:
                    break
                # Some servers mean the bare format of RFC 1951, without the frame of RFC 1950.
                if self._input[0] & 15 != 8 or int.from_bytes(self._input[:2]) % 31:
                    self._state = zlib.decompressobj(-zlib.MAX_WBITS)
            self._is_fed = True
            try:
                piece = self._state.decompress(self._input, MAX_PIECE_BYTES)
            except zlib.error as exc:
                raise DecodingError(f"the body is not {self._coding}: {exc}") from None
            self._input = self._state.unused_data or self._state.unconsumed_tail
            # Output may be left inside although all of the input was taken.
            self._has_more = len(piece) == MAX_PIECE_BYTES and not self._state.eof
            if piece:
                return piece
        return b""

    def _begin_next_member(self) -> bool:
        """Begin with the next member of a gzip body (RFC 1952, 2.2); return whether there is one.

        What follows the last member, such as padding with zeros, is ignored.
        """
        self._has_more = False
        if self._coding == "deflate" or not _GZIP_MAGIC.startswith(self._input[:2]):
            self._input = b""
            return False
        self._state = zlib.decompressobj(_WINDOW_BITS[self._coding])
        return True
