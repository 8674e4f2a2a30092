"""The fixed bytes that the loopback server sends: a complete and a streamed response per format.

The text is the same in every format. Fields and size are those of the provider's own servers (ids,
null fields, usage at the end, a dozen response headers), because decoding is what is measured.
Everything is generated once from a fixed seed: all subjects read the same bytes in every run.

A format is a module here, named after the provider's SDK, with

- ``ROOT`` and ``PATH``: the end of a client's base URL, and what clients add to it;
- ``HEADERS`` of every response, and ``STREAM_TYPE``, the content type of a streamed one;
- ``build_body()``, the JSON body of the response to a request without streaming;
- ``build_stream(chunks)``, the events of the streamed response;
- ``EXTRA_CHUNKS``, how many chunks without text the caller of a stream sees.
"""

from __future__ import annotations

import random

CHUNKS = 1000
"""Chunks with text in the packed stream (there are a few more without text)."""

PACKED = 32
"""Events in each write of the packed stream, about 10 kB. The ratios depend on it: with 8 events,
httpx's work for each read makes the floor itself a twentieth of the OpenAI SDK's time."""

CHUNKS_ALONE = 200
"""Chunks with text in the stream that sends each event separately."""


def get_lone_chunks(streams: int) -> tuple[int, int]:
    """Return how many chunks with text the streams have whose chunks arrive alone: two lengths.

    The time of a chunk is their difference: connecting and the head of the response are in both.
    """
    return 10, 10 + max(40, 4000 // streams)


_VOCABULARY = (
    " the", " of", " a", " model", " is", " value", " request", " and", " stream", " from",
    " bytes", ",", ".", " which", " runtime", " answer", " without", " waiting", " café", "\n\n",
    ' "', "quoted", '"', " über", "'s", " 42", " tokens", " arrive", " one", " by",
)  # fmt: skip


def make_text_chunks(count: int) -> list[str]:
    """Make the chunks of text of the response."""
    return random.Random(1).choices(_VOCABULARY, k=count)


WHOLE_TEXT = "".join(make_text_chunks(300))


def count_characters(chunks: int) -> int:
    """Return how many characters the streamed response with this number of chunks has."""
    return sum(map(len, make_text_chunks(chunks)))


def format_headers(*lines: bytes) -> bytes:
    """Format the lines as they are in the head of a response."""
    return b"".join(line + b"\r\n" for line in lines)
