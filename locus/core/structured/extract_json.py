"""Extract the JSON from a model's text: the entire text, or what is in code fences or in prose.

Nothing is repaired. JSON that is malformed or truncated is not a result, and neither is anything
inside it. The time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import attrs
import msgspec

from locus.core.structured.json_syntax_checker import MIN_TOKENS, JsonSyntaxChecker

_FENCE: Final = re.compile(r"^[ \t]*(?:(`{3,})[^`\n]*|(~{3,}).*)$", re.MULTILINE)
_BRACKET: Final = re.compile(r"[{}\[\]]")
_PLAIN_CHARACTERS: Final = r'[^"\\\x00-\x1f]*+'
_STRING_START: Final = re.compile(rf'"{_PLAIN_CHARACTERS}(?:\\["\\/bfnrtu]{_PLAIN_CHARACTERS})*+')
_TOKEN: Final = re.compile(
    r"[ \t\n\r]*+(?:(?P<mark>[{}\[\]:,])"
    rf'|(?P<string>"{_PLAIN_CHARACTERS}(?:\\["\\/bfnrtu]{_PLAIN_CHARACTERS})*+")'
    r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
)


@attrs.frozen
class ExtractedJson:
    """The JSON in a text.

    :param values: the decoded values, the most likely first.
    :param problem: what is wrong with JSON in the text that could not be decoded, if any.
    """

    values: tuple[Any, ...]
    problem: str | None = None


def extract_json_values(text: str) -> ExtractedJson:
    """Decode all JSON in a text.

    If the text as a whole is not JSON: first what is in code fences, then each object and array in
    the text. The last comes first in both cases, since the final value follows the drafts.
    """
    stripped = text.strip().removeprefix("\ufeff").strip()
    problem = None if stripped else "it is empty"
    try:
        return ExtractedJson((msgspec.json.decode(stripped),))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        if stripped[:1] in ("{", "[", '"'):
            problem = f"it begins like JSON, but {exc}"
    scanner = _JsonScanner(text)
    fenced = list(_iter_decoded_values(_iter_fenced_texts(text)))
    unfenced = list(_iter_decoded_values(scanner.iter_json_texts()))
    return ExtractedJson((*reversed(fenced), *reversed(unfenced)), scanner.problem or problem)


def _iter_fenced_texts(text: str) -> Iterator[str]:
    """Yield the text in each code fence; CommonMark says which line closes a fence."""
    opening: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opening is None:
            opening = line
        elif (line[1] or line[2]).startswith(opening[1] or opening[2]):
            yield text[opening.end() : line.start()]
            opening = None


def _iter_decoded_values(texts: Iterator[str]) -> Iterator[Any]:
    """Yield the decoded value of each text that is JSON, and skip the others."""
    for text in texts:
        try:
            yield msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue  # it only looked like JSON


@attrs.define(eq=False)
class _JsonScanner:
    """Searches a text for JSON and keeps the first problem."""

    text: str
    problem: str | None = None

    def iter_json_texts(self) -> Iterator[str]:
        """Yield the text of each object and array that is not inside another."""
        position = 0
        malformed_depth = 0  # how many brackets of malformed JSON are open
        while bracket := _BRACKET.search(self.text, position):
            start, position = bracket.span()
            if bracket[0] in "}]":
                malformed_depth = max(0, malformed_depth - 1)
                continue
            syntax_checker, end = self._scan_tokens(start)
            if not syntax_checker.expected:
                position = end
                if not malformed_depth:
                    yield self.text[start:end]
            elif syntax_checker.token_count >= MIN_TOKENS:
                self.problem = self.problem or self._format_problem(start, end)
                position, malformed_depth = end, malformed_depth + len(syntax_checker.open_brackets)
            elif malformed_depth:
                malformed_depth += 1

    def _scan_tokens(self, position: int) -> tuple[JsonSyntaxChecker, int]:
        """Read valid tokens from ``position``; returns the position after the last one."""
        syntax_checker = JsonSyntaxChecker()
        while syntax_checker.expected and (token := _TOKEN.match(self.text, position)):
            if not syntax_checker.accept_token(token["mark"] or ('"' if token["string"] else "0")):
                break
            position = token.end()
        return syntax_checker, position

    def _format_problem(self, start: int, end: int) -> str:
        """Format a message about malformed JSON from ``start``, with valid tokens up to ``end``."""
        position = len(self.text) - len(self.text[end:].lstrip())
        string = _STRING_START.match(self.text, position)
        if string and not _TOKEN.match(self.text, position):
            position = string.end()  # where the string is truncated or has an invalid character
        subject = f"the JSON that begins at character {start}"
        if position == len(self.text) or self.text[position:] == "\\":
            return f"{subject} is cut off"
        excerpt = self.text[position : position + 20]
        return f"{subject} is malformed at character {position}: {excerpt!r}"
