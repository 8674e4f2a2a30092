"""Accumulates the text of a stream that sends deltas, then full parts, then complete items.

By the specification, the deltas, the full text of a part and the complete item have the same
indexes. Not all servers keep to that, so a full text under an index that had no deltas is compared
with the deltas of items that are not complete: text that was received is never added again.
"""

from __future__ import annotations

from collections.abc import Iterable
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
        self._items: dict[ItemKey, list[_Run]] = {}
        self._open_items: dict[ItemKey, None] = {}
        """The items with text that were not received complete, in their order."""
        self._announced: dict[tuple[ItemKey, PartIndex], str] = {}
        self._completed: set[tuple[ItemKey, PartIndex]] = set()
        self._item_key: ItemKey = None
        self.key: tuple[ItemKey, PartIndex] | None = None
        """The part that deltas are arriving for; None after a part was completed."""
        self.run: list[str] = []
        """The deltas of the last run."""

    def announce(self, item_key: ItemKey, part_index: PartIndex, text: object) -> None:
        """Note the text with which a part begins: its deltas may repeat it, or continue it."""
        if isinstance(text, str) and text and not self._get_runs(item_key, part_index):
            self._announced[item_key, part_index] = text

    def add_delta(self, key: tuple[ItemKey, PartIndex], delta: str) -> str:
        """Add a delta that is not empty; return what it adds to the full text."""
        separator = ""
        if self._announced:
            announced = self._announced.pop(key, "")
            if not (delta.startswith(announced) or announced.startswith(delta)):
                delta = announced + delta
        if key != self.key:
            separator = self._separator if self._runs else ""
            self.key, self._item_key, self.run = key, key[0], []
            self._runs.append(self.run)
            self._items.setdefault(key[0], []).append(_Run(key[1], self.run))
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
        runs = self._get_runs(item_key, part_index) or self._claim_runs(item_key, part_index, text)
        if part_index is None:
            self._open_items.pop(item_key, None)
        received = self._join_runs(runs, part_index)
        rest = text[len(received) :] if text.startswith(received) else ""
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
        runs = self._items.get(item_key, [])
        return [run for run in runs if part_index in (None, run.part_index)]

    def _join_runs(self, runs: Iterable[_Run], part_index: PartIndex) -> str:
        separator = "" if part_index is not None else self._separator
        return separator.join("".join(run.chunks) for run in runs)

    def _pop_announced(self, item_key: ItemKey, part_index: PartIndex) -> str:
        """Return the announced text of a part, or of all parts of an item, and forget it."""
        if not self._announced:
            return ""
        keys = [
            key for key in self._announced if key[0] == item_key and part_index in (None, key[1])
        ]
        return "".join(self._announced.pop(key) for key in keys)

    def _claim_runs(self, item_key: ItemKey, part_index: PartIndex, text: str) -> list[_Run]:
        """Find the deltas of a text that came under other keys.

        They are those of other parts of the item, or of other items, that are not complete. The
        runs belong to this part from then on. The list is empty if there are none.
        """
        own = [
            run
            for run in self._items.get(item_key, [])
            if (item_key, run.part_index) not in self._completed
        ]
        received = self._join_runs(own, part_index)
        if received and text.startswith(received):
            for run in own:
                run.part_index = part_index
            self.key = None
            return own
        others = [key for key in self._open_items if key != item_key][-_MAX_COMPARED_ITEMS:]
        for keys in (others, *([key] for key in others)):
            runs = [run for key in keys for run in self._items[key]]
            received = self._join_runs(runs, part_index)
            if received and text.startswith(received):
                for key in keys:
                    del self._items[key], self._open_items[key]
                for run in runs:
                    run.part_index = part_index
                self._items.setdefault(item_key, []).extend(runs)
                self._open_items[item_key] = None
                self.key, self._item_key = None, item_key
                return runs
        return []
