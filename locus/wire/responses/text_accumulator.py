"""What a streamed answer says in one voice, in pieces, and then again in parts and items."""

from __future__ import annotations

from typing import TypeAlias

Place: TypeAlias = int | str | None
"""Where an item stands in the output; its id, where a server does not number them."""
Index: TypeAlias = int | str | None
"""Where a part stands in its item."""


class Strand:
    """The text, the reasoning, or the refusal of an answer.

    Pieces are kept in the order of their arrival, in runs of one part, and ``joint`` stands
    between two runs.
    """

    __slots__ = ("_items", "_joint", "_place", "_runs", "_settled", "key", "run")

    def __init__(self, joint: str = "") -> None:
        self._joint = joint
        self._runs: list[list[str]] = []
        self._items: dict[Place, list[tuple[Index, list[str]]]] = {}
        self._settled: set[tuple[Place, Index]] = set()
        self._place: Place = None
        self.key: tuple[Place, Index] | None = None
        """The part that is being said; None where the last one is whole."""
        self.run: list[str] = []
        """The pieces of the last run."""

    def add(self, key: tuple[Place, Index], piece: str) -> str:
        """Take in a piece that is not empty; gives what it adds to the whole."""
        joint = ""
        if key != self.key:
            joint = self._joint if self._runs else ""
            self.key, self._place, self.run = key, key[0], []
            self._runs.append(self.run)
            self._items.setdefault(key[0], []).append((key[1], self.run))
        self.run.append(piece)
        return joint + piece

    def settle(self, place: Place, index: Index, whole: object) -> str:
        """Take in a part that has come whole; gives what that adds to its pieces.

        :param index: None for an item with all its parts.
        """
        key = (place, index)
        if key == self.key:
            self.key = None  # where parts are not numbered, the next piece is of another one
        if not isinstance(whole, str) or not whole or key in self._settled:
            return ""
        self._settled.add(key)
        runs = ["".join(run) for at, run in self._items.get(place, ()) if index in (None, at)]
        have = ("" if index is not None else self._joint).join(runs)
        rest = whole[len(have) :] if whole.startswith(have) else ""
        if not rest:
            return ""
        if have and self._place == place:
            self.run.append(rest)  # of an item: with the joints that are in it
            return rest
        return self.add(key, rest.removeprefix(self._joint) if have else rest)

    def said(self) -> str:
        """All of it."""
        return self._joint.join("".join(run) for run in self._runs)

    def agree(self, whole: str) -> tuple[str, str, bool]:
        """What counts of all pieces and of ``whole``, what of it is new, and whether they agree.

        What has been handed out counts.
        """
        said = self.said()
        if whole.startswith(said):
            return whole, whole[len(said) :], True
        return said, "", False
