"""Fits the description of a tool into what providers accept."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Final

from locus.tools.docstring import ParsedDocstring, join_blocks

MAX_DESCRIPTION_LENGTH: Final = 1024
"""Characters: OpenAI refuses a longer description of a function ("string too long")."""

# What a caller of the function needs least comes first.
_OPTIONAL_SECTIONS: Final = (
    {"example", "examples"},
    {"references", "see also", "todo", "attributes", "ivar", "cvar", "var"},
    {"return", "returns", "yield", "yields", "warns"},
    {"note", "notes", "warning", "warnings"},
)


def shorten_docstring(docstring: ParsedDocstring, tool_name: str) -> str:
    """Return the description in a docstring, without some sections if it is too long with them.

    Examples are left out first, then references, what the function returns, and notes. A
    description that is still too long is cut, with a warning.
    """
    blocks = docstring.blocks
    description = join_blocks(blocks)
    for titles in _OPTIONAL_SECTIONS:
        if len(description) <= MAX_DESCRIPTION_LENGTH:
            return description
        blocks = tuple(block for block in _remove_doctests(blocks) if block[0] not in titles)
        description = join_blocks(blocks)
    return cut_description(description, tool_name)


def _remove_doctests(blocks: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Remove the interactive examples that are outside of sections: up to an empty line."""
    is_example = False
    for title, text in blocks:
        is_example = not title and (
            text.lstrip().startswith(">>>") or (is_example and bool(text.strip()))
        )
        if not is_example:
            yield title, text


def cut_description(description: str, tool_name: str) -> str:
    """Return a description that is not too long: cut after a sentence if possible, with a warning.

    :param tool_name: the name of the tool, for the warning.
    """
    if len(description) <= MAX_DESCRIPTION_LENGTH:
        return description
    warnings.warn(
        f"tool {tool_name!r}: its description has {len(description)} characters, and OpenAI "
        f"accepts {MAX_DESCRIPTION_LENGTH}: the rest is cut off; pass a shorter description=",
        UserWarning,
        stacklevel=2,
    )
    beginning = description[: MAX_DESCRIPTION_LENGTH - 1]
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s)|\n\n", beginning)]
    if ends and ends[-1] > MAX_DESCRIPTION_LENGTH // 2:
        beginning = beginning[: ends[-1]]
    return beginning.rstrip() + "…"
