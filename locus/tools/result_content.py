"""Render a tool's result as the content of a message: text, or text and images in their order."""

from __future__ import annotations

from collections.abc import Iterator
from io import IOBase
from typing import Any

from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    ResultContent,
    TextPart,
    ToolResult,
    to_result_content,
)
from locus.tools.read_iterators import read_iterator
from locus.tools.result_renderer import (
    SCALAR_TYPES,
    explain_rendering_errors,
    render_result,
    render_result_and_find_images,
)


def render_result_content(result: Any) -> ResultContent:
    """Render a tool's result as text, or as parts if there are images in it.

    A part stays as it is, and a list (or an iterator) of strings and parts is those parts. Images
    inside of other values come after the JSON of the value, which describes them. A message, or
    the result of another tool, is what it holds.

    :raises TypeError: if a value cannot be represented in JSON; the message names its type.
    """
    if type(result) in SCALAR_TYPES:  # the usual case
        return render_result(result)
    with explain_rendering_errors(result):
        if isinstance(result, Iterator) and not isinstance(result, IOBase):
            result = read_iterator(result)
    if isinstance(result, ToolResult):
        return result.content_for_model
    if isinstance(result, Message):
        result = result.content or ""
    items = result if type(result) in (list, tuple) else (result,)
    if not any(isinstance(item, (TextPart, ImagePart)) for item in items):
        items = (result,)
    parts: list[str | Part] = []
    for item in items:
        if isinstance(item, (TextPart, ImagePart)):
            parts.append(item)
            continue
        text, images = render_result_and_find_images(item)
        parts += [text, *images]
    if len(parts) == 1 and not isinstance(parts[0], ImagePart):
        (only,) = parts
        return only.text if isinstance(only, TextPart) else str(only)
    return to_result_content(parts)
