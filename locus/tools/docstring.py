"""What a docstring says about a function and about each of its arguments.

The three common styles are read: Google's (``Args:``), numpydoc's (``Parameters`` underlined) and
Sphinx's (``:param x:``). Only names that the function has are taken for arguments, so that prose
which merely looks like a section does no harm. (``docstring-parser`` and ``griffe`` were looked at.
Both read far more than is wanted here, types, defaults and cross-references, and neither is among
the few packages that Locus installs.)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from typing import Final

import attrs

_OF_ARGUMENTS: Final = frozenset(
    {
        "args",
        "arguments",
        "parameters",
        "params",
        "other parameters",
        "keyword args",
        "keyword arguments",
    }
)
_LEFT_OUT: Final = frozenset({"raises", "raise", "except", "exceptions"})
_OTHERS: Final = frozenset(
    {
        "attributes",
        "example",
        "examples",
        "note",
        "notes",
        "references",
        "return",
        "returns",
        "see also",
        "todo",
        "warning",
        "warnings",
        "warns",
        "yield",
        "yields",
    }
)
_GOOGLE: Final = re.compile(r"^(?P<indent>[ \t]*)(?P<title>[A-Za-z][A-Za-z ]*):[ \t]*$")
_GOOGLE_ITEM: Final = re.compile(
    r"^(?P<names>\*{0,2}\w+)[ \t]*(?:\(.*?\))?[ \t]*:(?!:)(?P<text>.*)$"
)
_NUMPY_ITEM: Final = re.compile(
    r"^(?P<names>\*{0,2}\w+(?:[ \t]*,[ \t]*\*{0,2}\w+)*)[ \t]*(?::.*)?$"
)
_FIELD: Final = re.compile(
    r"^(?P<indent>[ \t]*)[:@](?P<kind>[a-zA-Z]+)(?:[ \t]+(?P<about>[^:\n]+?))?:(?P<text>.*)$"
)
_FIELDS_OF_ARGUMENTS: Final = frozenset(
    {"param", "parameter", "arg", "argument", "key", "keyword", "kwarg", "kwparam"}
)
_FIELDS_LEFT_OUT: Final = frozenset(
    {"type", "rtype", "raises", "raise", "except", "exception", "vartype", "meta", "kwtype"}
)


@attrs.frozen
class Docstring:
    """What a docstring says.

    :ivar description: all of it but the arguments and the errors.
    :ivar arguments: what is said about each argument, where something is.
    """

    description: str
    arguments: Mapping[str, str]


def read_docstring(text: str | None, names: Collection[str]) -> Docstring:
    """Take a docstring apart.

    :param names: the arguments that the function has.
    """
    first, *rest = inspect.cleandoc(text or "").splitlines() or [""]
    if _GOOGLE.match(first) and rest and not rest[0].startswith(" "):
        rest = [f"    {line}" for line in rest]  # how far in they stood was lost with the margin
    reader = _Reader([first, *rest], frozenset(names))
    reader.read()
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(reader.kept)).strip()
    return Docstring(description, reader.arguments)


@attrs.define(eq=False)
class _Reader:
    lines: list[str]
    names: frozenset[str]
    at: int = 0
    kept: list[str] = attrs.Factory(list)
    arguments: dict[str, str] = attrs.Factory(dict)

    def read(self) -> None:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if title := self._underlined(self.at):
                self._section(title, self._numpy_body())
            elif (found := _GOOGLE.match(line)) and _known(found["title"]):
                self._section(found["title"].lower(), self._indented(len(found["indent"])))
            elif found := _FIELD.match(line):
                self._field(found)
            else:
                self.kept.append(line)
                self.at += 1

    def _section(self, title: str, body: list[str]) -> None:
        """Read or keep what stands under a title, with which ``body`` begins."""
        if title in _OF_ARGUMENTS:
            underlined = not body[0].rstrip().endswith(":")
            self._items(body[1 + underlined :], _NUMPY_ITEM if underlined else _GOOGLE_ITEM)
        elif title not in _LEFT_OUT:
            self.kept += body

    def _items(self, lines: list[str], form: re.Pattern[str]) -> None:
        margin = min((_indent(line) for line in lines if line.strip()), default=0)
        names: list[str] = []
        for line in lines:
            begins = form.match(line.strip()) if _indent(line) == margin else None
            if begins and line.strip():
                names = [name.strip(" \t*") for name in begins["names"].split(",")]
                self._say(names, begins.groupdict().get("text") or "")
            else:
                self._say(names, line)

    def _field(self, found: re.Match[str]) -> None:
        first, *more = self._indented(len(found["indent"]))
        kind = found["kind"].lower()
        if kind in _FIELDS_OF_ARGUMENTS and found["about"]:
            name = found["about"].split()[-1].strip("*")  # its type may stand before it
            self._say([name], found["text"])
            for line in more:
                self._say([name], line)
        elif kind not in _FIELDS_LEFT_OUT:
            self.kept += [first, *more]

    def _say(self, names: list[str], text: str) -> None:
        for name in names:
            if name in self.names:
                said = f"{self.arguments.get(name, '')} {text.strip()}".strip()
                self.arguments |= {name: said} if said else {}

    def _indented(self, indent: int) -> list[str]:
        """This line and those under it that stand further in."""
        start = self.at
        self.at += 1
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and _indent(line) <= indent:
                break
            self.at += 1
        return self.lines[start : self.at]

    def _underlined(self, at: int) -> str | None:
        """The title that begins here, if its line is one that is underlined."""
        title = self.lines[at].strip().lower()
        under = self.lines[at + 1].strip() if at + 1 < len(self.lines) else ""
        return title if len(under) >= 3 and not under.strip("-") and _known(title) else None

    def _numpy_body(self) -> list[str]:
        start = self.at
        self.at += 2
        while self.at < len(self.lines) and not self._underlined(self.at):
            self.at += 1
        return self.lines[start : self.at]


def _known(title: str) -> bool:
    return title.lower() in _OF_ARGUMENTS | _LEFT_OUT | _OTHERS


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
