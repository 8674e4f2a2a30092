"""Strategies for text, names and JSON values.

Characters that are difficult for readers of lines, of bytes and of JSON are frequent: separators
that only Unicode knows, characters of two to four bytes, combining characters, control characters,
and those with a meaning in JSON.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

UNUSUAL_CHARACTERS = (
    "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e",  # line ends for str.splitlines, not for SSE or JSON
    "é€𝄞👩\u200d👩\u200d👧🏽",
    "e\u0301\u0327ä\ufeff\u200b\u202e",
    "\x01\x1b\x7f\t\r\n\r\n\n\n",
    "\"\\/{}[]:,'data: [DONE]\n\ndata:",
)


@cache
def texts(min_size: int = 0, max_size: int = 30) -> st.SearchStrategy[str]:
    """Text that UTF-8 can encode, without NUL."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
    odd = st.sampled_from("".join(UNUSUAL_CHARACTERS))
    return st.text(odd | characters, min_size=min_size, max_size=max_size)


@cache
def texts_with_lone_surrogates() -> st.SearchStrategy[str]:
    """Text that contains a lone surrogate, which UTF-8 cannot encode."""
    return st.builds(
        lambda before, surrogate, after: before + surrogate + after,
        texts(max_size=5),
        st.characters(categories=["Cs"]),
        texts(max_size=5),
    )


@cache
def names(max_size: int = 20) -> st.SearchStrategy[str]:
    """Names of tools that every provider accepts."""
    return st.from_regex(rf"\A[a-zA-Z_][a-zA-Z0-9_-]{{0,{max_size - 1}}}\Z")


@cache
def json_values(max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """JSON values that every decoder decodes to an equal value."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False, width=32)
        | texts(max_size=10)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=8), inner, max_size=3)
        ),
        max_leaves=max_leaves,
    )


@cache
def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects."""
    return st.dictionaries(texts(max_size=8), json_values(), max_size=3)


@cache
def arguments() -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a tool call."""
    return json_objects()


@cache
def malformed_arguments() -> st.SearchStrategy[str]:
    """Text in place of a tool call's arguments that is not a JSON object."""
    return st.sampled_from(
        [
            "[]",
            "3",
            '"x"',
            "{",
            '{"a": ',
            "{'a': 1}",
            '{"a": NaN}',
            '{"a": 1}{"b": 2}',
            "ls -l",
        ]
    ) | texts(max_size=10).filter(lambda text: not _is_object_or_none(text))


def _is_object_or_none(text: str) -> bool:
    """Whether a text is a JSON object, or stands for no arguments."""
    if text.strip() in ("", "null"):
        return True
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) or (isinstance(value, str) and _is_object_or_none(value))


@cache
def argument_texts() -> st.SearchStrategy[str]:
    """Arguments of a tool call as JSON text, in the styles of different servers."""
    return st.builds(
        lambda value, separators, is_ascii: json.dumps(
            value, separators=separators, ensure_ascii=is_ascii
        ),
        arguments(),
        st.sampled_from([(",", ":"), (", ", ": ")]),
        st.booleans(),
    )


@cache
def call_ids() -> st.SearchStrategy[str]:
    """Ids of tool calls, in the styles of different providers."""
    return st.from_regex(r"\A(call_|toolu_|chatcmpl-tool-)?[a-zA-Z0-9_-]{1,24}\Z")
