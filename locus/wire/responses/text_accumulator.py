"""Accumulates the text of a stream that sends deltas, then full parts, then complete items.

By the specification, the deltas, the full text of a part and the complete item have the same
indexes. Not all servers keep to that, so a full text under an index that had no deltas is compared
with the deltas of items that are not complete: text that was received is never added again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeAlias

ItemKey: TypeAlias = int | str | None
"""The index of an item in the output, or its id where a server sends no index."""
PartIndex: TypeAlias = int | str | None
"""The index of a part in its item."""

_MAX_COMPARED_ITEMS: Final = 16
"""With how many items that are not complete a text under an unknown index is compared."""


class _Run:
    """Consecutive deltas of one part."""

    __slots__ = ("chunks", "part_index")

    def __init__(self, part_index: PartIndex, chunks: list[str]) -> None:
        self.part_index = part_index
        self.chunks = chunks


class _Item:
    """The deltas of one item."""

    __slots__ = ("_parts", "open_runs", "runs")

    def __init__(self) -> None:
        self.runs: list[_Run] = []
        """In the order in which they arrived."""
        self.open_runs: dict[_Run, None] = {}
        """Those of parts that were not received complete, in the same order."""
        self._parts: dict[PartIndex, list[_Run]] = {}

    def get_runs(self, part_index: PartIndex) -> list[_Run]:
        """Return the runs of a part, or of the item."""
        return self.runs if part_index is None else self._parts.get(part_index, [])

    def add_run(self, run: _Run, *, is_open: bool) -> None:
        """Add a run at the end.

        :param is_open: whether its part was not received complete.
        """
        self.runs.append(run)
        self._parts.setdefault(run.part_index, []).append(run)
        if is_open:
            self.open_runs[run] = None

    def finish_part(self, part_index: PartIndex) -> None:
        """Note that a part was received complete."""
        for run in self._parts.get(part_index, ()):
            self.open_runs.pop(run, None)

    def move_open_runs(self, part_index: PartIndex) -> list[_Run]:
        """Move the open runs to a part that was received complete, and return them."""
        moved = list(self.open_runs)
        self.open_runs.clear()
        for run in moved:
            self._parts.pop(run.part_index, None)
            run.part_index = part_index
        self._parts.setdefault(part_index, []).extend(moved)
        return moved


class TextAccumulator:
    """Accumulates the text, the reasoning, or the refusal of a response.

    Deltas are stored in the order in which they arrive. Consecutive deltas of one part form a run;
    the full text is the runs joined by ``separator``.
    """

    __slots__ = (
        "_announced",
        "_completed",
        "_item_key",
        "_items",
        "_open_items",
        "_runs",
        "_separator",
        "key",
        "run",
    )

    def __init__(self, separator: str = "") -> None:
        self._separator = separator
        self._runs: list[list[str]] = []
        self._items: dict[ItemKey, _Item] = {}
        self._open_items: dict[ItemKey, None] = {}
        """The items with text that were not received complete, in their order."""
        self._announced: dict[ItemKey, dict[PartIndex, str]] = {}
        self._completed: set[tuple[ItemKey, PartIndex]] = set()
        self._item_key: ItemKey = None
        self.key: tuple[ItemKey, PartIndex] | None = None
        """The part that deltas are arriving for; None after a part was completed."""
        self.run: list[str] = []
        """The deltas of the last run."""

    def announce(self, item_key: ItemKey, part_index: PartIndex, text: object) -> None:
        """Note the text with which a part begins: its deltas may repeat it, or continue it."""
        if isinstance(text, str) and text and not self._get_runs(item_key, part_index):
            self._announced.setdefault(item_key, {})[part_index] = text

    def add_delta(self, key: tuple[ItemKey, PartIndex], delta: str) -> str:
        """Add a delta that is not empty; return what it adds to the full text."""
        separator = ""
        if self._announced:
            announced = self._announced.get(key[0], {}).pop(key[1], "")
            if not (delta.startswith(announced) or announced.startswith(delta)):
                delta = announced + delta
        if key != self.key:
            separator = self._separator if self._runs else ""
            self.key, self._item_key, self.run = key, key[0], []
            self._runs.append(self.run)
            item = self._items.setdefault(key[0], _Item())
            item.add_run(_Run(key[1], self.run), is_open=key not in self._completed)
            self._open_items[key[0]] = None
        self.run.append(delta)
        return separator + delta

    def finish_part(self, item_key: ItemKey, part_index: PartIndex, full_text: object) -> str:
        """Add the full text of a part; return what is new in comparison to its deltas.

        :param part_index: None for the text of an item, with all its parts.
        """
        key = (item_key, part_index)
        if key == self.key:
            self.key = None  # where parts have no index, the next delta belongs to another part
        announced = self._pop_announced(item_key, part_index)
        text = (full_text if isinstance(full_text, str) else "") or announced
        if not text or key in self._completed:
            return ""
        self._completed.add(key)
        if item_key in self._items:
            self._items[item_key].finish_part(part_index)
        runs = self._get_runs(item_key, part_index) or self._claim_runs(item_key, part_index, text)
        if part_index is None:
            self._open_items.pop(item_key, None)
        received = self._measure_beginning(text, runs, part_index)
        rest = "" if received is None else text[received:]
        if not rest:
            return ""
        if received and self._item_key == item_key:
            self.run.append(rest)  # the text of an item contains its separators
            return rest
        added = self.add_delta(key, rest.removeprefix(self._separator) if received else rest)
        if part_index is None:
            self._open_items.pop(item_key, None)
        return added

    def join_text(self) -> str:
        """Join the deltas to the full text."""
        return self._separator.join("".join(run) for run in self._runs)

    def reconcile_with_final_text(self, final_text: str) -> tuple[str, str, bool]:
        """Compare the deltas with the text of the complete response.

        Return the text to use, the part of it that is new, and whether the two agree. If they do
        not, the deltas are used, because the caller has already received them.
        """
        received = self.join_text()
        if final_text.startswith(received):
            return final_text, final_text[len(received) :], True
        return received, "", False

    def _get_runs(self, item_key: ItemKey, part_index: PartIndex) -> list[_Run]:
        """Return the runs of a part, or of an item."""
        item = self._items.get(item_key)
        return [] if item is None else item.get_runs(part_index)

    def _iter_runs(self, item_keys: Iterable[ItemKey]) -> Iterator[_Run]:
        """Iterate over the runs of several items."""
        for key in item_keys:
            yield from self._items[key].runs

    def _measure_beginning(
        self, text: str, runs: Iterable[_Run], part_index: PartIndex
    ) -> int | None:
        """Return the length of the joined runs if ``text`` begins with them, else None.

        It ends where the two differ, so it takes time in proportion to the text at most: there may
        be any number of texts and of runs that are no part of each other.
        """
        separator = "" if part_index is not None else self._separator
        length = 0
        for position, run in enumerate(runs):
            for chunk in (separator, *run.chunks) if position and separator else run.chunks:
                if not text.startswith(chunk, length):
                    return None
                length += len(chunk)
        return length

    def _pop_announced(self, item_key: ItemKey, part_index: PartIndex) -> str:
        """Return the announced text of a part, or of all parts of an item, and forget it."""
        if part_index is None:
            return "".join(self._announced.pop(item_key, {}).values())
        return self._announced.get(item_key, {}).pop(part_index, "")

    def _claim_runs(self, item_key: ItemKey, part_index: PartIndex, text: str) -> list[_Run]:
        """Find the deltas of a text that came under other keys.

        They are those of other parts of the item, or of other items, that are not complete. The
        runs belong to this part from then on. The list is empty if there are none.
        """
        item = self._items.get(item_key)
        if item is not None and self._measure_beginning(text, item.open_runs, part_index):
            self.key = None
            return item.move_open_runs(part_index)
        latest = islice(
            (key for key in reversed(self._open_items) if key != item_key), _MAX_COMPARED_ITEMS
        )
        others = list(latest)[::-1]
        for keys in (others, *([key] for key in others)):
            if self._measure_beginning(text, self._iter_runs(keys), part_index):
                runs = list(self._iter_runs(keys))
                for key in keys:
                    del self._items[key], self._open_items[key]
                item = self._items.setdefault(item_key, _Item())
                for run in runs:
                    run.part_index = part_index
                    item.add_run(run, is_open=False)
                self._open_items[item_key] = None
                self.key, self._item_key = None, item_key
                return runs
        return []
