"""Builds the token counts and the tool calls of a response, for several formats."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from locus.core.digest import compute_digest
from locus.core.frozendict import FrozenDict
from locus.core.messages import ToolCall
from locus.core.tool_names import UNNAMED_TOOL_NAME as UNNAMED_TOOL_NAME

_NO_ARGUMENTS: Final = ("", "{}", "null")


def is_empty_call(name: str | None, arguments: Any) -> bool:
    """Return whether a call has neither a name nor arguments: a server only filled a member."""
    if name:
        return False
    return arguments.strip() in _NO_ARGUMENTS if isinstance(arguments, str) else not arguments


def build_usage(
    *,
    prompt_tokens: Any = None,
    completion_tokens: Any = None,
    total_tokens: Any = None,
    cached_tokens: Any = None,
    cache_creation_input_tokens: Any = None,
    reasoning_tokens: Any = None,
    **other_counts: Any,
) -> FrozenDict[str, int]:
    """Build ``usage`` from the token counts that a server sent, as they are in its JSON.

    A count that is missing, or is not a number, is left out.

    :param prompt_tokens: the whole input, what was read from a cache or written to it included.
    :param completion_tokens: the output. Servers that do not count reasoning in it, but in the
        total (xAI), are recognised by their total; the reasoning is added then.
    :param cached_tokens: the part of the input that was read from a cache.
    """
    prompt = to_token_count(prompt_tokens)
    completion = to_token_count(completion_tokens)
    total = to_token_count(total_tokens)
    cached = to_token_count(cached_tokens)
    reasoning = to_token_count(reasoning_tokens)
    if reasoning and total is not None and total == (prompt or 0) + (completion or 0) + reasoning:
        completion = (completion or 0) + reasoning
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "cached_tokens": cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": to_token_count(cache_creation_input_tokens),
        "reasoning_tokens": reasoning,
    }
    for name, value in other_counts.items():
        if value is not None:
            counts[name] = to_token_count(value)
    return FrozenDict({name: count for name, count in counts.items() if count is not None})


def to_token_count(value: Any) -> int | None:
    """Convert a count in a server's JSON: a number, or text that is one; None for anything else."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, float) and math.isfinite(value):  # json.loads gives NaN for NaN
        return int(value)
    return None


def add_token_counts(*counts: Any) -> int | None:
    """Add counts in a server's JSON; None if none of them is a number."""
    known = [count for count in map(to_token_count, counts) if count is not None]
    return sum(known) if known else None


def make_tool_call_id(response_id: str | None, position: int, name: str, arguments: str) -> str:
    """Make an id for a tool call that has none.

    The id depends on the response only, so a complete response and a streamed one give the same.

    :param response_id: distinguishes this response from others.
    :param position: the index of the call in the response.
    :param arguments: the arguments as text, in any form that is always the same for equal
        arguments.
    """
    seed = f"{response_id}\0{position}\0{name}\0{arguments}"
    return f"call_{compute_digest(seed)}"


def make_tool_call(call_id: str, name: str, arguments: Any) -> ToolCall:
    """Build a call from its arguments: an object, JSON text, or malformed text."""
    if arguments is None or arguments == []:
        return ToolCall(call_id, name)  # what some servers send for an empty object
    if isinstance(arguments, dict):
        return ToolCall.from_object(call_id, name, arguments)
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall.from_json(call_id, name, remove_repeated_objects(text))


def remove_repeated_objects(text: str) -> str:
    """Return the arguments of a call without objects that were sent more than once.

    Some servers send the arguments in deltas, and then once more as a whole; others begin with an
    empty object, and then send the real one, or begin anew in the middle of one. Text of any other
    form is returned unchanged.
    """
    if not text.lstrip().startswith("{"):
        return text
    if "}" not in text[:-1]:
        return _remove_repeated_beginning(text)
    decoder = json.JSONDecoder()
    objects: list[tuple[Any, str]] = []
    position, length = 0, len(text)
    try:
        while position < length:
            start = position
            value, position = decoder.raw_decode(text, start)
            objects.append((value, text[start:position]))
            while position < length and text[position] in " \t\r\n":
                position += 1
    except (ValueError, RecursionError):
        return _remove_repeated_beginning(text)
    filled = [(value, part) for value, part in objects if value] or objects[-1:]
    if len(objects) < 2 or any(value != filled[0][0] for value, _ in filled):
        return text
    return filled[0][1]


_BEGINNING_CHARACTERS: Final = 6
"""How much of an object's beginning is looked for again."""


def _remove_repeated_beginning(text: str) -> str:
    """Return the object that follows its own beginning, ``{"a": "x{"a": "xy"}``; else the text.

    SGLang sends this for some models: https://github.com/sgl-project/sglang/issues/23071.
    """
    start = text.find(text[:_BEGINNING_CHARACTERS], 1)
    if start < 0 or not text.startswith(text[:start], start):
        return text
    try:
        json.loads(text[start:])
    except (ValueError, RecursionError):
        return text
    return text[start:]
