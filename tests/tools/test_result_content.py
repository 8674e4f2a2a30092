"""Results of tools that hold images: text and images in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import attrs
import msgspec
import pytest

from locus.core.messages import ImagePart, Message, TextPart, ToolResult
from locus.tools import render_result
from locus.tools.result_content import render_result_content
from locus.tools.result_renderer import describe_image
from locus.tools.slow_rendering import is_slow_to_render

PNG = ImagePart(data=b"PNG", media_type="image/png")
GIF = ImagePart(url="https://example.com/a.gif")
PNG_TEXT, GIF_TEXT = "[image: image/png, 3 bytes]", "[image: https://example.com/a.gif]"


@attrs.frozen
class Screen:
    title: str
    picture: ImagePart


@dataclass
class Album:
    pictures: list[ImagePart]


class Shot(msgspec.Struct, tag=True, rename="pascal", omit_defaults=True, frozen=True):
    picture: Any
    note: str = ""
    more: list[int] = []


def give(*items: Any) -> Iterator[Any]:
    yield from items


@pytest.mark.parametrize(
    ("result", "content"),
    [
        (PNG, (PNG,)),
        ([PNG], (PNG,)),
        (["a", PNG, "b", GIF], (TextPart("a"), PNG, TextPart("b"), GIF)),
        (("a", PNG), (TextPart("a"), PNG)),
        (give("a", PNG), (TextPart("a"), PNG)),
        ([{"n": 1}, PNG, 2, None], (TextPart('{"n":1}'), PNG, TextPart("2"), TextPart("null"))),
        (TextPart("a"), "a"),
        (Message.user("a"), "a"),
        (Message.user(["a", PNG]), (TextPart("a"), PNG)),
        (ToolResult("1", "f", [PNG]), (PNG,)),
        (ToolResult("1", "f", "", error="gone"), "Error: gone"),
        ([TextPart("a"), "b"], (TextPart("a"), TextPart("b"))),
        # Without an image, everything is as it was.
        ("a", "a"),
        (["a", "b"], '["a","b"]'),
        (give(1, 2), "[1,2]"),
        ([], "[]"),
        ("[image: no image]", "[image: no image]"),
        # Inside of other values.
        (Screen("t", PNG), (TextPart(f'{{"title":"t","picture":"{PNG_TEXT}"}}'), PNG)),
        ({"a": [GIF, PNG]}, (TextPart(f'{{"a":["{GIF_TEXT}","{PNG_TEXT}"]}}'), GIF, PNG)),
        ({0: give(PNG), 1: GIF}, (TextPart(f'{{"0":["{PNG_TEXT}"],"1":"{GIF_TEXT}"}}'), PNG, GIF)),
        ([deque([PNG]), [GIF]], (TextPart(f'[["{PNG_TEXT}"],["{GIF_TEXT}"]]'), PNG, GIF)),
        (SimpleNamespace(a={"b": PNG}.values()), (TextPart(f'{{"a":["{PNG_TEXT}"]}}'), PNG)),
        (Shot(PNG), (TextPart(f'{{"type":"Shot","Picture":"{PNG_TEXT}"}}'), PNG)),
        ([Album([PNG]), GIF], (TextPart(f'{{"pictures":["{PNG_TEXT}"]}}'), PNG, GIF)),
    ],
)  # fmt: skip
def test_the_content_of_a_result(result: Any, content: Any) -> None:
    assert render_result_content(result) == content


def test_what_cannot_be_rendered_is_an_error_beside_an_image_too() -> None:
    def fail() -> Iterator[Any]:
        yield PNG
        raise LookupError("gone")

    with pytest.raises(TypeError, match="type generator cannot be written as JSON: LookupError"):
        render_result_content(fail())
    with pytest.raises(TypeError, match="a tool's result of type object"):
        render_result_content([PNG, object()])


def test_an_image_is_described_where_only_text_can_be() -> None:
    assert render_result(PNG) == f'"{PNG_TEXT}"'
    assert describe_image(GIF, "too far") == f"{GIF_TEXT[:-1]}; too far]"
    inline = ImagePart(url="data:image/png;base64," + "A" * 5000)
    assert describe_image(inline) == "[image: data:image/png;base64, 5022 characters]"


def test_a_large_image_is_slow() -> None:
    assert not is_slow_to_render([PNG] * 9)
    assert is_slow_to_render(ImagePart(data=bytes(600_000), media_type="image/png"))
