"""Parses ``data:`` URLs and normalizes the media types of images."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes


def parse_if_data_url(url: str) -> tuple[str, bytes] | None:
    """Parse a ``data:`` URL (RFC 2397) into its media type and its bytes.

    The media type is empty if the URL names none. Every other URL gives None.

    :raises ValueError: if it is a malformed ``data:`` URL; the message names the reason.
    """
    if url[:5].lower() != "data:":
        return None
    head, comma, body = url[5:].partition(",")
    if not comma:
        raise ValueError("there is no comma")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    data = unquote_to_bytes(body)
    if "base64" in parameters:
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as exc:
            raise ValueError(str(exc)) from None
    return media_type, data


def normalize_media_type(media_type: str) -> str:
    """Return the media type in lower case, without parameters.

    ``image/jpg``, which is not registered, becomes ``image/jpeg``.
    """
    name = media_type.partition(";")[0].strip().lower()
    return "image/jpeg" if name == "image/jpg" else name
