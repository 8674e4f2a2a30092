"""Joins characters that a server has cut in two between the frames of a stream.

A character above U+FFFF may be escaped as two halves of a surrogate pair, and a server that cuts
its text between them sends each half in a frame of its own (elizaOS/eliza, issue 30904). A half at
the end of a text is kept until the next text of the same place begins with the other half. If none
does, it becomes U+FFFD, as every half does that stands elsewhere.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from locus.core.surrogate_halves import REPLACEMENT, repair_json, repair_text

_find_surrogate: Final = re.compile(rb"\\u[dD][89a-fA-F]").search
_PLACE_MEMBERS: Final = ("index", "output_index", "content_index", "summary_index")
"""The members that tell the texts of one stream apart. Ids do not: some change with every frame."""
_KEPT_MEMBERS: Final = (*_PLACE_MEMBERS, "type", "id", "item_id")
"""The members of a frame that a frame with the rest of its text needs."""

_Place = tuple[Any, ...]


class SplitCharacterJoiner:
    """Reads the frames of one stream, and gives those to decode in their place."""

    __slots__ = ("_frame_type", "halves")

    def __init__(self) -> None:
        self.halves: dict[_Place, tuple[str, dict[str, Any]]] = {}
        """The halves that wait, by their place, each with the frame to put the rest into."""
        self._frame_type: str | None = None

    def join(self, frame: bytes) -> list[bytes]:
        """Return the frames to decode in place of a frame."""
        if not self.halves and _find_surrogate(frame) is None:
            return [frame]
        try:
            value = json.loads(frame)
        except (ValueError, RecursionError):  # an end marker, or nothing that can be repaired
            return [*self.flush(), frame]
        if not isinstance(value, dict):
            return [*self.flush(), frame]
        frame_type = value.get("type")
        frames: list[bytes] = []
        if isinstance(frame_type, str) and frame_type != "ping":
            if self.halves and frame_type != self._frame_type:
                frames += self.flush()
            self._frame_type = frame_type
        may_wait = not isinstance(frame_type, str) or "delta" in frame_type
        repaired = self._repair(value, (), [], may_wait)
        if value.get("done") is True:  # the last frame of Ollama's streams
            frames += self.flush()
        return [*frames, frame if repaired == value else msgspec.json.encode(repaired)]

    def flush(self) -> list[bytes]:
        """Return frames that have U+FFFD for each half that waits; no other half will come."""
        if not self.halves:
            return []
        frames = [msgspec.json.encode(repair_json(rest)) for _, rest in self.halves.values()]
        self.halves.clear()
        return frames

    def _repair(
        self, value: Any, place: _Place, parents: list[tuple[Any, Any]], may_wait: bool
    ) -> Any:
        """Repair the texts in a JSON value.

        :param place: where the value is, the same in every frame.
        :param parents: the objects and lists around it, each with the name or index in it.
        """
        if isinstance(value, str):
            return self._repair_text(value, place, parents, may_wait)
        if isinstance(value, dict):
            numbers = tuple(
                number if isinstance(number := value.get(name), (int, str)) else None
                for name in _PLACE_MEMBERS
            )
            return {
                repair_text(name): self._repair(
                    member, (*place, numbers, name), [*parents, (value, name)], may_wait
                )
                for name, member in value.items()
            }
        if isinstance(value, list):
            return [
                self._repair(
                    item,
                    # Objects with an index say themselves which they are.
                    (*place, None if isinstance(item, dict) and "index" in item else position),
                    [*parents, (value, position)],
                    may_wait,
                )
                for position, item in enumerate(value)
            ]
        return value

    def _repair_text(
        self, text: str, place: _Place, parents: list[tuple[Any, Any]], may_wait: bool
    ) -> str:
        if not text:
            return text
        waiting = self.halves.pop(place, None)
        if waiting is not None:
            text = waiting[0] + text
        if may_wait and "\ud800" <= text[-1] <= "\udbff":
            self.halves[place] = (text[-1], _build_rest(parents))
            text = text[:-1]
        return repair_text(text)


def _build_rest(parents: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Build a frame that has U+FFFD at a place, and of the other members what names the place."""
    rest: Any = REPLACEMENT
    for parent, name in reversed(parents):
        if isinstance(parent, list):
            rest = [rest]
        else:
            kept = {key: parent[key] for key in _KEPT_MEMBERS if key in parent}
            rest = {**kept, name: rest}
    frame: dict[str, Any] = rest
    return frame
