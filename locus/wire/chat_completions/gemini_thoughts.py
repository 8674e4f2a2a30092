"""Separates the thoughts in the content of Gemini's OpenAI-compatible endpoint from the answer.

With ``include_thoughts``, the content begins with ``<thought>…</thought>``. The deltas of a stream
that hold thoughts are marked, ``extra_content.google.thought``, and so is a complete message:
https://ai.google.dev/gemini-api/docs/openai#thinking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_OPENING: Final = "<thought>"
_CLOSING: Final = "</thought>"


def is_marked_as_thought(extra_content: object) -> bool:
    """Return whether ``extra_content`` marks its content as a thought."""
    if extra_content is None:  # as in most messages: looking a type up in an ABC takes longer
        return False
    return isinstance(extra_content, Mapping) and any(
        isinstance(members, Mapping) and members.get("thought") is True
        for members in extra_content.values()
    )


class ThoughtSeparator:
    """Separates the thoughts in the content of one response, or of the deltas of one stream."""

    __slots__ = ("is_open",)

    def __init__(self) -> None:
        self.is_open = False
        """Whether the content so far ends inside of a thought."""

    def split(self, content: str, *, is_marked: bool) -> tuple[str, str]:
        """Return the text of the answer in ``content``, and that of the thoughts."""
        if is_marked:
            if not self.is_open:
                content = content.removeprefix(_OPENING)
            thought, closing, text = content.partition(_CLOSING)
            self.is_open = not closing
            return text, thought
        if self.is_open and content:
            self.is_open = False
            content = content.removeprefix(_CLOSING)
        return content, ""
