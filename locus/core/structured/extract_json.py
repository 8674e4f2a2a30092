"""The JSON inside an answer: the whole of it, or what stands in fences or among prose.

Nothing is repaired. Where JSON is broken or cut off, what stands inside it is no answer either,
though it may well look like one. Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import attrs
import msgspec

from locus.core.structured.json_grammar import FEW, Grammar

_FENCE: Final = re.compile(r"^[ \t]*(?:(`{3,})[^`\n]*|(~{3,}).*)$", re.MULTILINE)
_BRACKET: Final = re.compile(r"[{}\[\]]")
_PLAIN: Final = r'[^"\\\x00-\x1f]*+'
_BEGUN_TEXT: Final = re.compile(rf'"{_PLAIN}(?:\\["\\/bfnrtu]{_PLAIN})*+')
_TOKEN: Final = re.compile(
    rf'[ \t\n\r]*+(?:(?P<mark>[{{}}\[\]:,])|(?P<text>"{_PLAIN}(?:\\["\\/bfnrtu]{_PLAIN})*+")'
    r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
)


@attrs.frozen
class Found:
    """The JSON values of an answer, the likeliest first; ``broken`` says what was wrong instead."""

    values: tuple[Any, ...]
    broken: str | None = None


def find_json(text: str) -> Found:
    """Every JSON value that ``text`` may be meant to say.

    If it is not JSON as a whole: what stands in fences, then every object and array in it, in both
    cases the last one first, for an answer follows its drafts.
    """
    whole = text.strip().removeprefix("\ufeff").strip()
    why = None if whole else "it is empty"
    try:
        return Found((msgspec.json.decode(whole),))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if whole[:1] in ("{", "[", '"'):
            why = f"it begins like JSON, but {error}"
    scan = _Scan(text)
    fenced, loose = list(_decoded(_fenced(text))), list(_decoded(scan.values()))
    return Found((*reversed(fenced), *reversed(loose)), scan.broken or why)


def _fenced(text: str) -> Iterator[str]:
    """What stands in fences, by CommonMark's rules for what ends one."""
    opening: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opening is None:
            opening = line
        elif (line[1] or line[2]).startswith(opening[1] or opening[2]):
            yield text[opening.end() : line.start()]
            opening = None


def _decoded(texts: Iterator[str]) -> Iterator[Any]:
    for text in texts:
        try:
            yield msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue  # not JSON after all


@attrs.define(eq=False)
class _Scan:
    text: str
    broken: str | None = None

    def values(self) -> Iterator[str]:
        """The objects and arrays of the text, none of them inside another."""
        at = depth = 0  # how deep in broken JSON
        while bracket := _BRACKET.search(self.text, at):
            start, at = bracket.span()
            if bracket[0] in "}]":
                depth = max(0, depth - 1)
                continue
            grammar, end = self._follow(start)
            if not grammar.want:
                at = end
                if not depth:
                    yield self.text[start:end]
            elif grammar.marks >= FEW:
                self.broken = self.broken or self._explain(start, end)
                at, depth = end, depth + len(grammar.stack)
            elif depth:
                depth += 1

    def _follow(self, at: int) -> tuple[Grammar, int]:
        """How far the JSON goes that begins here."""
        grammar = Grammar()
        while grammar.want and (token := _TOKEN.match(self.text, at)):
            if not grammar.accept(token["mark"] or ('"' if token["text"] else "0")):
                break
            at = token.end()
        return grammar, at

    def _explain(self, start: int, end: int) -> str:
        at = len(self.text) - len(self.text[end:].lstrip())
        if (begun := _BEGUN_TEXT.match(self.text, at)) and not _TOKEN.match(self.text, at):
            at = begun.end()  # where the text in quotes ends, or holds what it may not
        begins = f"the JSON that begins at character {start}"
        if at == len(self.text) or self.text[at:] == "\\":
            return f"{begins} is cut off"
        return f"{begins} is malformed at character {at}: {self.text[at : at + 20]!r}"
