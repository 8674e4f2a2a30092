"""Encodes the frames of a stream as a server sends them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

T = TypeVar("T")


def encode_sse(*frames: dict[str, Any] | str) -> bytes:
    """Encode frames as server-sent events with data and nothing else; text is sent unchanged."""
    return "".join(f"data: {_to_text(frame)}\n\n" for frame in frames).encode(errors="replace")


def encode_ndjson(*frames: dict[str, Any] | str) -> bytes:
    """Encode frames as newline-delimited JSON; text is sent unchanged."""
    return "".join(f"{_to_text(frame)}\n" for frame in frames).encode(errors="replace")


def are_complete_frames(stream: bytes) -> bool:
    """Return whether bytes of either encoding hold a frame with JSON, and no half of one."""
    lines = (line.removeprefix(b"data: ") for line in stream.split(b"\n") if line)
    try:
        return bool([json.loads(line) for line in lines])
    except ValueError:
        return False


def interleave(*lists: Sequence[T]) -> list[T]:
    """Mix several lists: the first of each, then the second of each, and so on."""
    missing = object()
    mixed = chain.from_iterable(zip_longest(*lists, fillvalue=missing))
    return [item for item in mixed if item is not missing]  # type: ignore[misc]


def _to_text(frame: dict[str, Any] | str) -> str:
    return frame if isinstance(frame, str) else json.dumps(frame)
