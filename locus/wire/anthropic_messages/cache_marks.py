"""Adds the marks of ``prompt_cache=`` to a request: where the API's prompt cache may end.

The API takes four marks at most, and those with a longer life before those with a shorter one; it
takes none on thinking and on tools that are loaded later (its page "Prompt caching",
https://platform.claude.com/docs/en/build-with-claude/prompt-caching). The caller's own marks come
first. What room they leave is for the end of the conversation, which the next turn reads, then for
the system prompt, then for the tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from locus.core.errors import ConfigurationError

CacheLife: TypeAlias = Literal["5m", "1h"]
Block: TypeAlias = dict[str, Any]

MAX_MARKS: Final = 4
_UNMARKABLE_TYPES: Final = frozenset({"thinking", "redacted_thinking", "fallback"})


def normalize_prompt_cache(value: Any) -> CacheLife | None:
    """Return the life of the marks; None for no marks.

    :raises ConfigurationError: if the value is none of those that ``prompt_cache`` takes.
    """
    if value in (None, False, True):
        return "5m" if value else None
    if value in ("5m", "1h"):
        life: CacheLife = value
        return life
    raise ConfigurationError(f"prompt_cache is True, False, '5m' or '1h'; not {value!r}")


def add_cache_marks(body: dict[str, Any], life: CacheLife) -> None:
    """Add marks to the tools, the system prompt and the messages of a request, in place.

    :raises ConfigurationError: if the caller's own marks are more than the API takes, or in an
        order that it does not take.
    """
    own_lives = _check_own_marks(body)
    room = MAX_MARKS - len(own_lives) - ("cache_control" in body)
    tools = body.get("tools") or []
    candidates = (
        _find_last_markable(body["messages"]),
        _find_system_block(body),
        next((tool for tool in reversed(tools) if not tool.get("defer_loading")), None),
    )
    for block in candidates:
        if room > 0 and block is not None and "cache_control" not in block:
            block["cache_control"] = {}  # its place among the others decides about its life
            room -= 1
    lives = _list_lives(body)
    for index, (block, own_life) in enumerate(lives):
        if own_life is not None:
            continue
        chosen: CacheLife = life
        if any(other == "1h" for _, other in lives[index + 1 :]):
            chosen = "1h"
        elif any(other == "5m" for _, other in lives[:index]):
            chosen = "5m"
        block["cache_control"] = _make_mark(chosen)


def _make_mark(life: CacheLife) -> dict[str, str]:
    return {"type": "ephemeral"} if life == "5m" else {"type": "ephemeral", "ttl": life}


def _check_own_marks(body: Mapping[str, Any]) -> list[str]:
    """Return the lives of the caller's own marks, in the order of the API."""
    lives = [life or "5m" for _, life in _list_lives(body)]
    if len(lives) > MAX_MARKS:
        raise ConfigurationError(
            f"there are {len(lives)} marks for the prompt cache (cache_control), and Anthropic's "
            f"API takes {MAX_MARKS}: leave out the earlier ones, as a later mark covers them"
        )
    if lives != sorted(lives):  # "1h" sorts before "5m"
        raise ConfigurationError(
            "a mark for the prompt cache with ttl='1h' stands behind one for 5 minutes (the "
            "default), and Anthropic's API takes longer ones first only"
        )
    return lives


def _list_lives(body: Mapping[str, Any]) -> list[tuple[Block, str | None]]:
    """Return the marked blocks in the order of the API, each with its life.

    The life is None where it is not chosen yet.
    """
    system = body.get("system")
    places: list[Any] = [*(body.get("tools") or ()), *(system if isinstance(system, list) else ())]
    for message in body["messages"]:
        content = message.get("content")
        places += content if isinstance(content, list) else ()
    marked = [
        (block, block["cache_control"])
        for block in places
        if isinstance(block, dict) and isinstance(block.get("cache_control"), Mapping)
    ]
    return [(block, mark.get("ttl", "5m") if mark else None) for block, mark in marked]


def _find_system_block(body: dict[str, Any]) -> Block | None:
    """Return the last block of the system prompt, which becomes a list of blocks."""
    system = body.get("system")
    if isinstance(system, str) and system:
        system = body["system"] = [{"type": "text", "text": system}]
    return system[-1] if isinstance(system, list) and system else None


def _find_last_markable(messages: list[dict[str, Any]]) -> Block | None:
    """Return the last block of the conversation that may have a mark.

    The content of its message becomes a list of blocks.
    """
    for message in reversed(messages):
        content = message.get("content")
        if isinstance(content, str) and content:
            content = message["content"] = [{"type": "text", "text": content}]
        blocks: list[Any] = content if isinstance(content, list) else []
        for block in reversed(blocks):
            if isinstance(block, dict) and block.get("type") not in _UNMARKABLE_TYPES:
                return block
    return None
