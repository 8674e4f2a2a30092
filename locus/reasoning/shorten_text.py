"""Shortens what the agent's loop quotes to its model, which has the whole of it already."""

from __future__ import annotations

from typing import Final

_MAX_LENGTH: Final = 1000


def shorten_text(text: str) -> str:
    """Return a text, or the beginning and the end of a long one."""
    if len(text) <= _MAX_LENGTH:
        return text
    half = _MAX_LENGTH // 2
    return f"{text[:half]} … {text[-half:]}"
