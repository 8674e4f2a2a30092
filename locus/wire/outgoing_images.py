"""Prepares the images of messages for a request: as bytes, or as a URL in the form that APIs read.

A ``data:`` URL of the caller's may have any valid form. Providers accept one form of it only, or
want the bytes apart.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart
from locus.wire.data_urls import normalize_media_type, parse_if_data_url

_PLAIN_DATA_URL: Final = re.compile(r"data:image/[a-z.+-]+;base64,[A-Za-z0-9+/\s]*={0,2}\s*")


def read_image(path: str, image: ImagePart, *, needs_type: bool = True) -> tuple[str, bytes] | None:
    """Return the media type and the bytes of an image; None if they are at another address.

    :param path: the position of the image in the conversation, for error messages.
    :param needs_type: whether a ``data:`` URL has to name its media type.
    :return: the media type in lower case, without parameters; empty if nothing names it.
    :raises ConfigurationError: if the image is a malformed ``data:`` URL.
    """
    if image.data is not None:
        return normalize_media_type(image.media_type or ""), image.data
    try:
        parsed = parse_if_data_url(image.url or "")
        if needs_type and parsed is not None and not parsed[0]:
            raise ValueError("it does not name the media type")
    except ValueError as exc:
        raise ConfigurationError(
            f"{path}: the data: URL of an image cannot be read: {exc}"
        ) from None
    return None if parsed is None else (normalize_media_type(parsed[0]), parsed[1])


def read_image_bytes(
    path: str, image: ImagePart, api: str, *, needs_type: bool = True
) -> tuple[str, bytes]:
    """Do the same for an API that wants the bytes of each image.

    :param api: the API's name, for the error message.
    :raises ConfigurationError: if only a URL is known, or a ``data:`` URL is malformed.
    """
    found = read_image(path, image, needs_type=needs_type)
    if found is None:
        raise ConfigurationError(
            f"{path}: {api} does not fetch images, it needs their bytes: load {image.url!r} and "
            "pass ImagePart(data=…, media_type=…)"
        )
    return found


def build_image_url(path: str, image: ImagePart) -> str:
    """Build the URL of an image. Its bytes go into a ``data:`` URL, in base64.

    :raises ConfigurationError: if the image is a malformed ``data:`` URL.
    """
    url = image.url or ""
    if image.data is None and _PLAIN_DATA_URL.fullmatch(url):
        return url
    found = read_image(path, image)
    if found is None:
        return url
    media_type, data = found
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
