"""Joins the pieces of a provider's own JSON objects that arrive in several chunks of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_TEXT_MEMBERS: Final = frozenset({"data", "reasoning", "summary", "text", "thinking"})
"""Members of an object whose later pieces are appended; those of other names are replaced."""


def merge_members(target: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Merge a piece of an object into the object so far.

    Text is appended, objects are merged, lists are extended by :func:`merge_lists`. Anything else
    is replaced, but not by null or empty text: a signature comes once.
    """
    for name, value in piece.items():
        previous = target.get(name)
        if isinstance(previous, str) and isinstance(value, str) and name in _TEXT_MEMBERS:
            target[name] = previous + value
        elif isinstance(previous, dict) and isinstance(value, Mapping):
            merge_members(previous, value)
        elif isinstance(previous, list) and isinstance(value, list):
            merge_lists(previous, value)
        elif name not in target or value not in (None, ""):
            target[name] = copy_mutable(value)


def merge_lists(target: list[Any], pieces: Sequence[Any]) -> None:
    """Merge the pieces of the objects in a list into the objects so far.

    A piece with an ``index`` belongs to the object with the same index and type. One without
    belongs to the last object, if that has the same type and id, and no signature yet. See
    https://openrouter.ai/docs/use-cases/reasoning-tokens for such objects.
    """
    for piece in pieces:
        owner = _find_owner(target, piece) if isinstance(piece, Mapping) else None
        if owner is None:
            target.append(copy_mutable(piece))
        else:
            merge_members(owner, piece)


def _find_owner(target: list[Any], piece: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the object that a piece belongs to; None if it begins another one."""
    index, type_ = piece.get("index"), piece.get("type")
    if index is not None:
        for item in reversed(target):
            if isinstance(item, dict) and item.get("index") == index:
                return item if type_ in (None, item.get("type")) else None
        return None
    last = target[-1] if target else None
    if not isinstance(last, dict) or type_ is None or last.get("type") != type_:
        return None
    if last.get("signature") or last.get("index") is not None:
        return None
    ids = {last.get("id"), piece.get("id")} - {None}
    return last if len(ids) < 2 else None


def copy_mutable(value: Any) -> Any:
    """Copy a JSON value into new dictionaries and lists."""
    if isinstance(value, Mapping):
        return {name: copy_mutable(member) for name, member in value.items()}
    return [copy_mutable(item) for item in value] if isinstance(value, list) else value
