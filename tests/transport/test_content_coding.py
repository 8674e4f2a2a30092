"""Content codings are taken off in pieces of bounded size."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.transport.content_coding import MAX_PIECE_BYTES, ContentDecoder, make_content_decoder
from locus.transport.transport_errors import DecodingError


def deflate_bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate, bare": deflate_bare,
}


def decode(decoder: ContentDecoder, *pieces: bytes) -> bytes:
    data = b""
    for piece in pieces:
        decoder.feed(piece)
        while found := decoder.read_piece():
            assert len(found) <= MAX_PIECE_BYTES
            data += found
    return data


@given(
    st.lists(st.binary(max_size=100) | st.integers(0, 200_000).map(bytes), max_size=3),
    st.sampled_from(list(PACKERS)),
    st.sampled_from([1, 7, 100_000]),
)
def test_what_was_coded_is_decoded(parts: list[bytes], coding: str, size: int) -> None:
    """The parts of a gzip body are its members; those of another one are joined before."""
    members = parts if "gzip" in coding else [b"".join(parts)]
    packed = b"".join(PACKERS[coding](member) for member in members)
    pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
    decoder = ContentDecoder(coding.partition(",")[0])
    assert decode(decoder, *pieces) == b"".join(parts)
    assert decoder.is_complete


def test_no_more_is_inflated_than_is_read() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    decoder = ContentDecoder("gzip")
    decoder.feed(bomb)
    for _ in range(10):
        assert len(decoder.read_piece()) == MAX_PIECE_BYTES
    assert not decoder.is_complete


def test_a_cut_body_is_not_complete_and_padding_is_no_member() -> None:
    packed = gzip.compress(b"hello")
    for cut in range(1, len(packed)):
        decoder = ContentDecoder("gzip")
        decode(decoder, packed[:cut])
        assert not decoder.is_complete
    decoder = ContentDecoder("gzip")
    assert decode(decoder, packed, bytes(100), b"anything") == b"hello"
    assert decoder.is_complete


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_other_bytes_are_an_error(coding: str) -> None:
    with pytest.raises(DecodingError, match=f"not {coding}"):
        decode(ContentDecoder(coding), b"this is not coded at all")
    with pytest.raises(DecodingError, match="not gzip"):
        decode(ContentDecoder("gzip"), gzip.compress(b"a") + b"\x1f\x8bx" + bytes(20))


def test_which_codings_are_known() -> None:
    assert make_content_decoder("") is make_content_decoder(" Identity ") is None
    assert make_content_decoder("GZIP") is not None
    assert make_content_decoder("identity, gzip") is not None
    for name in ("br", "zstd", "gzip, gzip", "gzip,deflate"):
        with pytest.raises(DecodingError, match="gzip or deflate"):
            make_content_decoder(name)
