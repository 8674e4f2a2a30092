"""The bytes the loopback server sends: one whole answer and one streamed answer in each format.

They say the same in every format, and have the shape and size of what its own servers send (ids,
null fields, usage at the end, a dozen response headers), because decoding is what is measured.
Everything is made once, from a fixed seed: each subject reads the same bytes in every run.

A format is a module here, named like the SDK that was made for it, with

- ``ROOT`` and ``PATH``: what a client's base URL ends in, and what clients add to it;
- ``HEADERS`` of every answer, and ``STREAM_TYPE``, the content type of a streamed one;
- ``whole()``, the JSON body of the answer to a request that asks for no stream;
- ``stream(chunks)``, the pieces of the streamed answer, one item an event;
- ``EXTRA_CHUNKS``, how many pieces of a stream the caller sees besides the ones with text.
"""

from __future__ import annotations

import random

CHUNKS = 1000
"""Chunks with text in the packed stream (a few without come on top)."""

PACKED = 32
"""Events a write in the packed stream, about 10 kB. The ratios depend on it: with 8 a write, what
httpx does for each read already puts the floor itself at a twentieth of the OpenAI SDK's time."""

CHUNKS_ALONE = 200
"""Chunks with text in the stream that sends each one alone."""

_VOCABULARY = (
    " the", " of", " a", " model", " is", " value", " request", " and", " stream", " from",
    " bytes", ",", ".", " which", " runtime", " answer", " without", " waiting", " café", "\n\n",
    ' "', "quoted", '"', " über", "'s", " 42", " tokens", " arrive", " one", " by",
)  # fmt: skip


def words(count: int) -> list[str]:
    """The pieces of text that the answer consists of."""
    return random.Random(1).choices(_VOCABULARY, k=count)


WHOLE_TEXT = "".join(words(300))


def stream_length(chunks: int) -> int:
    """How many characters the streamed answer of so many chunks has."""
    return sum(map(len, words(chunks)))


def header_lines(*lines: bytes) -> bytes:
    """The lines as they stand in an answer's head."""
    return b"".join(line + b"\r\n" for line in lines)
