"""The grammar of JSON, one token at a time: which token may follow, which brackets are open.

Two modules use it: one searches text for JSON, the other reads JSON that is still incomplete.
Neither calls a JSON decoder at every brace, because that takes quadratic time.
"""

from __future__ import annotations

from typing import Final

import attrs

WHITESPACE: Final = " \t\n\r"
MIN_TOKENS: Final = 3
"""After so many valid tokens, text counts as JSON, and not as prose with a brace in it."""


@attrs.define(eq=False)
class JsonSyntaxChecker:
    """Checks the tokens of one object or array.

    :ivar open_brackets: the ``{`` and ``[`` that are not closed yet.
    :ivar expected: what has to follow; empty when the object or array is complete.
    :ivar token_count: how many tokens were accepted.
    """

    open_brackets: list[str] = attrs.Factory(list)
    expected: str = "value"
    token_count: int = 0

    def accept_token(self, token: str) -> bool:
        """Check the next token and go on; False if the token may not follow.

        :param token: one of ``{}[]:,``, or ``"`` for any string, or ``0`` for any other scalar.
        """
        expected = self._find_next_expected(token)
        if expected is None:
            return False
        self.expected = expected
        self.token_count += 1
        return True

    def _find_next_expected(self, token: str) -> str | None:
        """Return what has to follow ``token``; None if ``token`` itself may not follow."""
        expected = self.expected
        if token in "}]":
            if expected != {"}": "key or end", "]": "value or end"}[token] and (
                expected != "," or self.open_brackets[-1] + token not in ("{}", "[]")
            ):
                return None
            self.open_brackets.pop()
        elif token == ",":
            container = self.open_brackets[-1] if expected == "," else ""
            return {"{": "key", "[": "value"}.get(container)
        elif token == ":":
            return "value" if expected == ":" else None
        elif expected in ("key", "key or end"):
            return ":" if token == '"' else None
        elif expected not in ("value", "value or end"):
            return None
        elif token in "{[":
            self.open_brackets.append(token)
            return "key or end" if token == "{" else "value or end"
        return "," if self.open_brackets else ""
