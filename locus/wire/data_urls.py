"""Images that travel inside the conversation, where providers want them spelt in their own way."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes


def in_address(url: str) -> tuple[str, bytes] | None:
    """The media type and the bytes that a ``data:`` address holds (RFC 2397).

    The media type is empty where the address names none; None for any other address.

    :raises ValueError: it is broken; says how.
    """
    if url[:5].lower() != "data:":
        return None
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise ValueError("there is no comma")
    media_type, *parameters = (word.strip().lower() for word in head.split(";"))
    data = unquote_to_bytes(body)
    if "base64" in parameters:
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as why:
            raise ValueError(str(why)) from None
    return media_type, data


def kind_of(media_type: str) -> str:
    """A media type without parameters, under its registered name (``image/jpg`` is none)."""
    kind = media_type.partition(";")[0].strip().lower()
    return "image/jpeg" if kind == "image/jpg" else kind
