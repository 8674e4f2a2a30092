"""Accumulates the output items of a stream, whatever indexes and ids its events have.

By the specification, an item has one ``output_index`` and one id in all of its events. Servers and
gateways differ from that: several items come under one index, an item's index differs between
events, there are no indexes at all, or every event has an id of its own. So an event belongs to the
item with its id; else to the latest open item with its index; else, without an index, to the latest
open item. An item is open until it was received complete.
"""

from __future__ import annotations

from typing import Any

from locus.wire.responses.output_items import Item

_TEXT_MEMBERS = {"custom_tool_call": "input"}


class ItemAccumulator:
    """Collects the items, and the deltas of their arguments."""

    __slots__ = ("_entries", "_entries_by_id", "_open_entries")

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._entries_by_id: dict[str, _Entry] = {}
        self._open_entries: list[_Entry] = []

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
            or self._find_open(output_index, item.get("type"))
            or self._append_entry(output_index)
        )
        self._update_entry(entry, item)
        if entry in self._open_entries:
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
        entry = self._find_by_id(*ids) or self._find_open(
            output_index, "function_call", "custom_tool_call"
        )
        if entry is None:
            entry = self._append_entry(output_index)
            for known_id in ids:
                self._entries_by_id[known_id] = entry
        return entry

    def _append_entry(self, output_index: int | None) -> _Entry:
        entry = _Entry(output_index)
        self._entries.append(entry)
        self._open_entries.append(entry)
        return entry

    def _update_entry(self, entry: _Entry, item: Item) -> None:
        """Store an item in place of what has arrived of it before."""
        entry.item = item
        for item_id in _get_ids(item):
            self._entries_by_id[item_id] = entry

    def _find_by_id(self, *ids: str) -> _Entry | None:
        return next(filter(None, map(self._entries_by_id.get, ids)), None)

    def _find_open(self, output_index: int | None, *types: Any) -> _Entry | None:
        """Return the latest open item with this index, of one of these types or of none yet.

        Without an index, it is the latest open item of all.
        """
        for entry in reversed(self._open_entries):
            if output_index in (None, entry.output_index) and (
                entry.item is None or entry.item.get("type") in types
            ):
                return entry
        return None


class _Entry:
    """One item, as far as it has arrived."""

    __slots__ = ("argument_chunks", "item", "output_index")

    def __init__(self, output_index: int | None) -> None:
        self.output_index = output_index
        self.item: Item | None = None
        self.argument_chunks: list[str] | None = None
        """The arguments received so far, of a call that is not complete."""

    def build_item(self) -> Item:
        """Return the item, with the arguments received so far."""
        item = self.item or {}
        if self.argument_chunks is None:
            return item
        name = _TEXT_MEMBERS.get(str(item.get("type")), "arguments")
        return {**item, name: "".join(self.argument_chunks)}


def _get_ids(item: Item) -> list[str]:
    """Return the ids by which events may name an item."""
    ids = (item.get("id"), item.get("call_id"))
    return [value for value in ids if isinstance(value, str) and value]
