"""Images of requests: as bytes, or as a URL in the one form that APIs read."""

from __future__ import annotations

import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart
from locus.wire.outgoing_images import build_image_url, read_image, read_image_bytes

BYTES = ImagePart(data=b"\x00", media_type="image/JPG; q=1")


@pytest.mark.parametrize(
    ("image", "url", "found"),
    [
        (BYTES, "data:image/jpeg;base64,AA==", ("image/jpeg", b"\x00")),
        (
            ImagePart(url="DATA:image/png;name=a;base64,AA=="),
            "data:image/png;base64,AA==",
            ("image/png", b"\x00"),
        ),
        (
            ImagePart(url="data:image/png,%00"),
            "data:image/png;base64,AA==",
            ("image/png", b"\x00"),
        ),
        (ImagePart(url="https://example.com/a"), "https://example.com/a", None),
    ],
    ids=["bytes", "unusual", "percent", "elsewhere"],
)
def test_an_image_is_read_and_named(
    image: ImagePart, url: str, found: tuple[str, bytes] | None
) -> None:
    assert build_image_url("messages[1]", image) == url
    assert read_image("messages[1]", image) == found
    if found is None:
        message = r"^messages\[1\]: Acme does not fetch images, .* load 'https://example.com/a'"
        with pytest.raises(ConfigurationError, match=message):
            read_image_bytes("messages[1]", image, "Acme")
    else:
        assert read_image_bytes("messages[1]", image, "Acme") == found


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,%", "base64|Only|Incorrect|Invalid"),
        ("data:;base64,AA==", "does not name the media type"),
    ],
)
def test_a_data_url_that_no_api_could_read_is_an_error_by_position(url: str, reason: str) -> None:
    for read in (build_image_url, read_image):
        with pytest.raises(ConfigurationError, match=rf"^messages\[1\]: .*({reason})"):
            read("messages[1]", ImagePart(url=url))
    if reason.startswith("does"):
        assert read_image("messages[1]", ImagePart(url=url), needs_type=False) == ("", b"\x00")
