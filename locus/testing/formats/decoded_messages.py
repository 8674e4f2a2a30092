"""What a request says, in no format: the readers of all formats return the same values.

A reader of a format (``WireFormat.read_request``) takes the bytes of a request, checks them as the
provider would, and returns :class:`ReadMessage`s. It shares no code with the format's builder; the
functions here help to write one.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs


@attrs.frozen
class ReadImage:
    """An image: its URL, or its bytes, with their media type if the format has one."""

    url: str | None = None
    data: bytes | None = None
    media_type: str | None = None


@attrs.frozen
class ReadCall:
    """A tool call. ``text`` holds arguments that are no object.

    If the format has no ids, the reader makes a unique one for each call.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] | None = None
    text: str | None = None


@attrs.frozen
class ReadThinking:
    """Thinking that is sent back to the provider."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None


@attrs.frozen
class ReadMessage:
    """One message; each result of a tool is a message of the role ``tool``."""

    role: str
    parts: tuple[str | ReadImage, ...] = ()
    calls: tuple[ReadCall, ...] = ()
    thinking: tuple[ReadThinking, ...] = ()
    refusal: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    failed: bool = False


def decode_base64(encoded: str) -> bytes:
    """Decode the bytes in a request."""
    return base64.b64decode(encoded, validate=True)


def parse_json_object(text: str) -> dict[str, Any] | None:
    """Parse JSON text; None if it is no object."""
    try:
        value = json.loads(text, parse_constant=_reject_constant)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _reject_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def join_texts(*texts: str | None) -> tuple[str, ...]:
    """Join texts to one part, or none if they are empty."""
    text = "".join(text or "" for text in texts)
    return (text,) if text else ()


def check_call_results(messages: Sequence[ReadMessage]) -> None:
    """Check that each call has one result directly after it, and that all ids are different."""
    seen_ids: set[str] = set()
    pending_ids: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id in pending_ids, (message, pending_ids)
            pending_ids.remove(message.tool_call_id)
            continue
        assert not pending_ids, (message, pending_ids)
        pending_ids = [call.id for call in message.calls]
        assert len(set(pending_ids)) == len(pending_ids)
        assert not seen_ids & set(pending_ids)
        seen_ids |= set(pending_ids)
    assert not pending_ids


def read_image_url(url: str) -> ReadImage:
    """Read an image's URL; a ``data:`` URL has one form only."""
    if not url.startswith("data:"):
        return ReadImage(url)
    match = re.fullmatch(r"data:([a-z]+/[a-z.+-]+);base64,(.*)", url)
    assert match
    return ReadImage(None, decode_base64(match[2]), match[1])
