"""Accumulates the text of a stream that sends deltas, then full parts, then complete items."""

from __future__ import annotations

from typing import TypeAlias

ItemKey: TypeAlias = int | str | None
"""The index of an item in the output, or its id where a server sends no index."""
PartIndex: TypeAlias = int | str | None
"""The index of a part in its item."""


class TextAccumulator:
    """Accumulates the text, the reasoning, or the refusal of a response.

    Deltas are stored in the order in which they arrive. Consecutive deltas of one part form a run;
    the full text is the runs joined by ``separator``.
    """

    __slots__ = ("_completed", "_item_key", "_items", "_runs", "_separator", "key", "run")

    def __init__(self, separator: str = "") -> None:
        self._separator = separator
        self._runs: list[list[str]] = []
        self._items: dict[ItemKey, list[tuple[PartIndex, list[str]]]] = {}
        self._completed: set[tuple[ItemKey, PartIndex]] = set()
        self._item_key: ItemKey = None
        self.key: tuple[ItemKey, PartIndex] | None = None
        """The part that deltas are arriving for; None after a part was completed."""
        self.run: list[str] = []
        """The deltas of the last run."""

    def add_delta(self, key: tuple[ItemKey, PartIndex], delta: str) -> str:
        """Add a delta that is not empty; return what it adds to the full text."""
        separator = ""
        if key != self.key:
            separator = self._separator if self._runs else ""
            self.key, self._item_key, self.run = key, key[0], []
            self._runs.append(self.run)
            self._items.setdefault(key[0], []).append((key[1], self.run))
        self.run.append(delta)
        return separator + delta

    def finish_part(self, item_key: ItemKey, part_index: PartIndex, full_text: object) -> str:
        """Add the full text of a part; return what is new in comparison to its deltas.

        :param part_index: None for the text of an item, with all its parts.
        """
        key = (item_key, part_index)
        if key == self.key:
            self.key = None  # where parts have no index, the next delta belongs to another part
        if not isinstance(full_text, str) or not full_text or key in self._completed:
            return ""
        self._completed.add(key)
        runs = [
            "".join(run)
            for index, run in self._items.get(item_key, ())
            if part_index in (None, index)
        ]
        received = ("" if part_index is not None else self._separator).join(runs)
        rest = full_text[len(received) :] if full_text.startswith(received) else ""
        if not rest:
            return ""
        if received and self._item_key == item_key:
            self.run.append(rest)  # the text of an item contains its separators
            return rest
        return self.add_delta(key, rest.removeprefix(self._separator) if received else rest)

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
