"""JSON's grammar, one mark at a time: what may come next, and what is still open.

Both who look for JSON inside other text and who read JSON that is not all there yet follow a value
mark by mark. Neither asks a JSON decoder, for one that is asked again at every brace takes time in
the square of the text.
"""

from __future__ import annotations

from typing import Final

import attrs

SPACE: Final = " \t\n\r"
FEW: Final = 3
"""Marks. After that many it was meant as JSON, and is no brace of the prose."""


@attrs.define(eq=False)
class Grammar:
    """Follows one object or array.

    :ivar stack: the braces and brackets that are open.
    :ivar want: what comes next; empty when the value is complete.
    :ivar marks: how many were accepted.
    """

    stack: list[str] = attrs.Factory(list)
    want: str = "value"
    marks: int = 0

    def accept(self, mark: str) -> bool:
        """Take the next of ``{}[]:,``; ``"`` stands for text and ``0`` for another scalar."""
        want = self._after(mark)
        if want is None:
            return False
        self.want = want
        self.marks += 1
        return True

    def _after(self, mark: str) -> str | None:
        want = self.want
        if mark in "}]":
            if want != {"}": "key or end", "]": "value or end"}[mark] and (
                want != "," or self.stack[-1] + mark not in ("{}", "[]")
            ):
                return None
            self.stack.pop()
        elif mark == ",":
            inside = self.stack[-1] if want == "," else ""
            return {"{": "key", "[": "value"}.get(inside)
        elif mark == ":":
            return "value" if want == ":" else None
        elif want in ("key", "key or end"):
            return ":" if mark == '"' else None
        elif want not in ("value", "value or end"):
            return None
        elif mark in "{[":
            self.stack.append(mark)
            return "key or end" if mark == "{" else "value or end"
        return "," if self.stack else ""
