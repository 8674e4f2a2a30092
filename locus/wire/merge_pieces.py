"""Joins the pieces of a provider's own JSON objects that arrive in several chunks of a stream.

A stream may have a piece for each token. So the pieces of a text are kept in a list until the
object is built, and the object that a piece belongs to is found by its index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

_TEXT_MEMBERS: Final = frozenset({"data", "reasoning", "summary", "text", "thinking"})
"""Members of an object whose later pieces are appended; those of other names are replaced."""


class ObjectMerger:
    """Merges the pieces of one object."""

    __slots__ = ("_members",)

    def __init__(self, piece: Mapping[str, Any] | None = None) -> None:
        self._members: dict[str, Any] = {}
        if piece is not None:
            self.add(piece)

    def __bool__(self) -> bool:
        return bool(self._members)

    def get(self, name: str) -> Any:
        """Return a member that is neither text to append to, nor an object, nor a list."""
        return self._members.get(name)

    def add(self, piece: Mapping[str, Any]) -> None:
        """Add a piece.

        Text is appended, objects and lists are merged. Anything else is replaced, but not by null
        or empty text: a signature comes once.
        """
        members = self._members
        for name, value in piece.items():
            previous = members.get(name)
            if _add_piece(previous, value):
                continue
            if name not in members or value not in (None, ""):
                is_text = name in _TEXT_MEMBERS and isinstance(value, str)
                members[name] = _Text(value) if is_text else _make_mutable(value)

    def build(self) -> dict[str, Any]:
        """Build the object so far."""
        return {name: _build(value) for name, value in self._members.items()}


class ListMerger:
    """Merges the pieces of the objects in a list.

    A piece with an ``index`` belongs to the latest object with the same index, if the type is the
    same. One without belongs to the last object, if that has the same type and id, and no signature
    yet. See https://openrouter.ai/docs/use-cases/reasoning-tokens for such objects.

    :param items: the list to begin with; these are not pieces of each other.
    """

    __slots__ = ("_items", "_latest_by_index")

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._items: list[Any] = []
        self._latest_by_index: dict[Any, ObjectMerger] = {}
        for item in items:
            self._append(item)

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, pieces: Iterable[Any]) -> None:
        """Add the pieces of a chunk."""
        for piece in pieces:
            owner = self._find_owner(piece) if isinstance(piece, Mapping) else None
            if owner is None:
                self._append(piece)
            else:
                owner.add(piece)

    def build(self) -> list[Any]:
        """Build the list so far."""
        return [_build(item) for item in self._items]

    def _append(self, item: Any) -> None:
        item = _make_mutable(item)
        self._items.append(item)
        if isinstance(item, ObjectMerger) and _has_index(item):
            self._latest_by_index[item.get("index")] = item

    def _find_owner(self, piece: Mapping[str, Any]) -> ObjectMerger | None:
        """Return the object that a piece belongs to; None if it begins another one."""
        type_ = piece.get("type")
        if _has_index(piece):
            owner = self._latest_by_index.get(piece.get("index"))
            return owner if owner and type_ in (None, owner.get("type")) else None
        last = self._items[-1] if self._items else None
        if not isinstance(last, ObjectMerger) or type_ is None or last.get("type") != type_:
            return None
        if last.get("signature") or _has_index(last):
            return None
        last_id, piece_id = last.get("id"), piece.get("id")
        return last if last_id is None or piece_id is None or last_id == piece_id else None


class _Text:
    """A text, in the chunks in which it has arrived."""

    __slots__ = ("chunks",)

    def __init__(self, text: str) -> None:
        self.chunks = [text]


def _add_piece(previous: Any, value: Any) -> bool:
    """Add a value to the one before it; return whether the two can be joined."""
    match previous:
        case _Text() if isinstance(value, str):
            previous.chunks.append(value)
        case ObjectMerger() if isinstance(value, Mapping):
            previous.add(value)
        case ListMerger() if isinstance(value, list):
            previous.add(value)
        case _:
            return False
    return True


def _has_index(item: Mapping[str, Any] | ObjectMerger) -> bool:
    return isinstance(item.get("index"), (int, float, str))


def _make_mutable(value: Any) -> Any:
    """Return what a later piece can be added to: a merger in place of an object or a list."""
    if isinstance(value, Mapping):
        return ObjectMerger(value)
    return ListMerger(value) if isinstance(value, list) else value


def _build(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value.chunks)
    return value.build() if isinstance(value, (ObjectMerger, ListMerger)) else value
