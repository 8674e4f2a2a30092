"""Accumulates the output items of a stream, whatever indexes and ids its events have.

By the specification, an item has one ``output_index`` and one id in all of its events. Servers and
gateways differ from that: several items come under one index, an item's index differs between
events, there are no indexes at all, or every event has an id of its own. So an event belongs to the
item with its id; else to the latest open item with its index; else, without an index, to the latest
open item. An item is open until it was received complete.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from locus.wire.responses.output_items import Item

_TEXT_MEMBERS = {"custom_tool_call": "input"}
_UNKNOWN_TYPE: Final = "(unknown)"


class ItemAccumulator:
    """Collects the items, and the deltas of their arguments."""

    __slots__ = ("_entries", "_entries_by_id", "_open_entries")

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._entries_by_id: dict[str, _Entry] = {}
        self._open_entries = _OpenEntries()

    def knows_id(self, item_id: str | None) -> bool:
        """Return whether an item with this id has begun."""
        return item_id in self._entries_by_id

    def add_item(self, output_index: int | None, item: Item) -> None:
        """Add an item that begins."""
        entry = self._find_by_id(*_get_ids(item)) or self._append_entry(output_index)
        self._update_entry(entry, item)

    def finish_item(self, output_index: int | None, item: Item, has_arguments: bool) -> None:
        """Add a complete item, or complete one that has begun.

        :param has_arguments: whether the item is a call with its arguments; then they replace the
            deltas.
        """
        entry = (
            self._find_by_id(*_get_ids(item))
            or self._open_entries.find_latest(output_index, _get_type(item))
            or self._append_entry(output_index)
        )
        self._update_entry(entry, item)
        self._open_entries.remove(entry)
        if has_arguments:
            entry.argument_chunks = None

    def add_arguments(self, output_index: int | None, item_id: str | None, delta: str) -> None:
        """Add a delta of the arguments of a call."""
        entry = self._find_call(output_index, item_id)
        if entry.argument_chunks is None:
            entry.argument_chunks = []
        entry.argument_chunks.append(delta)

    def finish_arguments(self, output_index: int | None, item_id: str | None, text: str) -> None:
        """Replace the deltas of a call's arguments by the complete text."""
        self._find_call(output_index, item_id).argument_chunks = [text]

    def build_items(self) -> list[Item]:
        """Return the items received so far; calls have the arguments received so far."""
        entries = [entry for entry in self._entries if entry.item is not None]
        if all(entry.output_index is not None for entry in entries):
            entries.sort(key=lambda entry: entry.output_index or 0)
        return [entry.build_item() for entry in entries]

    def _find_call(self, output_index: int | None, item_id: str | None) -> _Entry:
        """Return the entry of a call; add one if none has begun."""
        ids = [item_id] if item_id else []
        entry = self._find_by_id(*ids) or self._open_entries.find_latest(
            output_index, "function_call", "custom_tool_call"
        )
        if entry is None:
            entry = self._append_entry(output_index)
            for known_id in ids:
                self._entries_by_id[known_id] = entry
        return entry

    def _append_entry(self, output_index: int | None) -> _Entry:
        entry = _Entry(output_index, len(self._entries))
        self._entries.append(entry)
        self._open_entries.add(entry)
        return entry

    def _update_entry(self, entry: _Entry, item: Item) -> None:
        """Store an item in place of what has arrived of it before."""
        entry.item = item
        self._open_entries.update(entry)
        for item_id in _get_ids(item):
            self._entries_by_id[item_id] = entry

    def _find_by_id(self, *ids: str) -> _Entry | None:
        return next(filter(None, map(self._entries_by_id.get, ids)), None)


class _Entry:
    """One item, as far as it has arrived."""

    __slots__ = ("argument_chunks", "item", "output_index", "position")

    def __init__(self, output_index: int | None, position: int) -> None:
        self.output_index = output_index
        self.position = position
        """How many items have begun before this one."""
        self.item: Item | None = None
        self.argument_chunks: list[str] | None = None
        """The arguments received so far, of a call that is not complete."""

    @property
    def type(self) -> str | None:
        """The type of the item; ``_UNKNOWN_TYPE`` before it has arrived."""
        return _UNKNOWN_TYPE if self.item is None else _get_type(self.item)

    def __lt__(self, other: _Entry) -> bool:
        """Whether this item began later: the first one of a heap is the latest."""
        return self.position > other.position

    def build_item(self) -> Item:
        """Return the item, with the arguments received so far."""
        item = self.item or {}
        if self.argument_chunks is None:
            return item
        name = _TEXT_MEMBERS.get(str(item.get("type")), "arguments")
        return {**item, name: "".join(self.argument_chunks)}


class _OpenEntries:
    """The entries of the items that are not complete, to be found by index and type.

    For each index and type there is a heap with the latest entry first. An entry whose type changes
    goes into another heap as well, and one that is no longer open stays in its heaps until it
    comes first there.
    """

    __slots__ = ("_entries", "_heaps")

    def __init__(self) -> None:
        self._entries: set[_Entry] = set()
        self._heaps: dict[tuple[int | None, str | None], list[_Entry]] = {}

    def add(self, entry: _Entry) -> None:
        """Add an entry, in which no item is yet."""
        self._entries.add(entry)
        self._push(entry)

    def update(self, entry: _Entry) -> None:
        """Note that there is an item in an entry, or another one."""
        if entry in self._entries:
            self._push(entry)

    def remove(self, entry: _Entry) -> None:
        """Remove an entry, if it is open."""
        self._entries.discard(entry)

    def find_latest(self, output_index: int | None, *types: str | None) -> _Entry | None:
        """Return the latest entry with this index whose item is of one of these types, or unknown.

        Without an index, it is the latest of all.
        """
        found = [
            entry
            for type_ in {_UNKNOWN_TYPE, *types}
            if (entry := self._find_first(output_index, type_)) is not None
        ]
        return max(found, key=lambda entry: entry.position, default=None)

    def _push(self, entry: _Entry) -> None:
        for output_index in {entry.output_index, None}:
            heap = self._heaps.setdefault((output_index, entry.type), [])
            heappush(heap, entry)

    def _find_first(self, output_index: int | None, type_: str | None) -> _Entry | None:
        heap = self._heaps.get((output_index, type_), [])
        while heap:
            entry = heap[0]
            if entry in self._entries and entry.type == type_:
                return entry
            heappop(heap)
        return None


def _get_type(item: Item) -> str | None:
    type_ = item.get("type")
    return type_ if isinstance(type_, str) else None


def _get_ids(item: Item) -> list[str]:
    """Return the ids by which events may name an item."""
    ids = (item.get("id"), item.get("call_id"))
    return [value for value in ids if isinstance(value, str) and value]
