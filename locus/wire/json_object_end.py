"""Finds the end of a JSON object that arrives in chunks, without decoding it at each chunk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_MARKS: Final = re.compile(r'[{}"]|\\.?', re.DOTALL)


class JsonObjectEnd:
    """Counts the braces of a text that arrives in chunks. Each chunk is read once."""

    __slots__ = ("_chunk_count", "_depth", "_ends_in_backslash", "_is_in_string", "_object_count")

    def __init__(self) -> None:
        self._chunk_count = 0
        self._depth = 0
        self._object_count = 0
        self._is_in_string = False
        self._ends_in_backslash = False

    def is_reached(self, chunks: Sequence[str]) -> bool:
        """Return whether the braces of the text are balanced for the first time, at its end.

        If not, the text is no complete JSON object. For no text is that true after more than one
        chunk, so the text may be decoded whenever it is.

        :param chunks: all chunks, those of the last time first.
        """
        for position in range(self._chunk_count, len(chunks)):
            self._read_chunk(chunks[position])
        self._chunk_count = len(chunks)
        if self._depth or self._is_in_string or self._object_count != 1:
            return False
        return chunks[-1].rstrip().endswith("}")

    def _read_chunk(self, chunk: str) -> None:
        if self._ends_in_backslash and chunk:
            chunk, self._ends_in_backslash = chunk[1:], False
        for match in _MARKS.finditer(chunk):
            mark = match[0]
            if mark == '"':
                self._is_in_string = not self._is_in_string
            elif mark == "\\":
                self._ends_in_backslash = True
            elif self._is_in_string:
                continue
            elif mark == "{":
                self._depth += 1
            elif mark == "}":
                self._depth -= 1
                self._object_count += self._depth == 0
