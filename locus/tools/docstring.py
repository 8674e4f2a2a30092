"""Parse a docstring into the description of a function and those of its arguments.

The three common styles are supported: Google's (``Args:``), numpydoc's (``Parameters``, underlined)
and Sphinx's (``:param x:``). Only names of the function's own arguments count as arguments, so that
prose which looks like a section is not changed. (``docstring-parser`` and ``griffe`` were
considered. Both parse much that is not needed here, types, defaults and cross-references, and
neither is among the few packages that Locus installs.)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from typing import Final

import attrs

_ARGUMENT_SECTIONS: Final = frozenset(
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
_OMITTED_SECTIONS: Final = frozenset({"raises", "raise", "except", "exceptions"})
_OTHER_SECTIONS: Final = frozenset(
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
_GOOGLE_TITLE: Final = re.compile(r"^(?P<indent>[ \t]*)(?P<title>[A-Za-z][A-Za-z ]*):[ \t]*$")
_GOOGLE_ITEM: Final = re.compile(
    r"^(?P<names>\*{0,2}\w+)[ \t]*(?:\(.*?\))?[ \t]*:(?!:)(?P<text>.*)$"
)
_NUMPY_ITEM: Final = re.compile(
    r"^(?P<names>\*{0,2}\w+(?:[ \t]*,[ \t]*\*{0,2}\w+)*)[ \t]*(?::.*)?$"
)
_SPHINX_FIELD: Final = re.compile(
    r"^(?P<indent>[ \t]*)[:@](?P<type>[a-zA-Z]+)(?:[ \t]+(?P<subject>[^:\n]+?))?:(?P<text>.*)$"
)
_ARGUMENT_FIELDS: Final = frozenset(
    {"param", "parameter", "arg", "argument", "key", "keyword", "kwarg", "kwparam"}
)
_OMITTED_FIELDS: Final = frozenset(
    {"type", "rtype", "raises", "raise", "except", "exception", "vartype", "meta", "kwtype"}
)


@attrs.frozen
class ParsedDocstring:
    """A docstring in parts.

    :ivar description: all text except that about arguments and errors.
    :ivar arguments: the descriptions of arguments, by name; an argument without one is left out.
    """

    description: str
    arguments: Mapping[str, str]


def parse_docstring(text: str | None, argument_names: Collection[str]) -> ParsedDocstring:
    """Parse a docstring.

    :param argument_names: the arguments of the function.
    """
    first, *rest = inspect.cleandoc(text or "").splitlines() or [""]
    if _GOOGLE_TITLE.match(first) and rest and not rest[0].startswith(" "):
        # `cleandoc` removed the indentation, because it ignores that of the first line.
        rest = [f"    {line}" for line in rest]
    parser = _DocstringParser([first, *rest], frozenset(argument_names))
    parser.parse()
    description = re.sub(r"\n{3,}", "\n\n", "\n".join(parser.description_lines)).strip()
    return ParsedDocstring(description, parser.arguments)


@attrs.define(eq=False)
class _DocstringParser:
    """Parses line by line; ``index`` is the next line."""

    lines: list[str]
    argument_names: frozenset[str]
    index: int = 0
    description_lines: list[str] = attrs.Factory(list)
    arguments: dict[str, str] = attrs.Factory(dict)

    def parse(self) -> None:
        """Parse all lines into ``description_lines`` and ``arguments``."""
        while self.index < len(self.lines):
            line = self.lines[self.index]
            if title := self._find_underlined_title(self.index):
                self._parse_section(title, self._take_numpy_section())
            elif (match := _GOOGLE_TITLE.match(line)) and _is_section_title(match["title"]):
                section_lines = self._take_indented_block(len(match["indent"]))
                self._parse_section(match["title"].lower(), section_lines)
            elif match := _SPHINX_FIELD.match(line):
                self._parse_sphinx_field(match)
            else:
                self.description_lines.append(line)
                self.index += 1

    def _parse_section(self, title: str, lines: list[str]) -> None:
        """Parse a section, or add it to the description; ``lines`` begin with the title."""
        if title in _ARGUMENT_SECTIONS:
            is_underlined = not lines[0].rstrip().endswith(":")
            item_pattern = _NUMPY_ITEM if is_underlined else _GOOGLE_ITEM
            self._parse_argument_items(lines[1 + is_underlined :], item_pattern)
        elif title not in _OMITTED_SECTIONS:
            self.description_lines += lines

    def _parse_argument_items(self, lines: list[str], item_pattern: re.Pattern[str]) -> None:
        """Parse the lines of a section into descriptions of arguments."""
        margin = min((_measure_indent(line) for line in lines if line.strip()), default=0)
        names: list[str] = []
        for line in lines:
            is_at_margin = _measure_indent(line) == margin
            match = item_pattern.match(line.strip()) if is_at_margin else None
            if match and line.strip():
                names = [name.strip(" \t*") for name in match["names"].split(",")]
                self._add_argument_text(names, match.groupdict().get("text") or "")
            else:
                self._add_argument_text(names, line)

    def _parse_sphinx_field(self, match: re.Match[str]) -> None:
        """Parse a field such as ``:param x: text``, with the indented lines after it."""
        first, *rest = self._take_indented_block(len(match["indent"]))
        field_type = match["type"].lower()
        if field_type in _ARGUMENT_FIELDS and match["subject"]:
            name = match["subject"].split()[-1].strip("*")  # a type may precede the name
            self._add_argument_text([name], match["text"])
            for line in rest:
                self._add_argument_text([name], line)
        elif field_type not in _OMITTED_FIELDS:
            self.description_lines += [first, *rest]

    def _add_argument_text(self, names: list[str], text: str) -> None:
        """Add text to the descriptions of these arguments."""
        for name in names:
            if name in self.argument_names:
                description = f"{self.arguments.get(name, '')} {text.strip()}".strip()
                self.arguments |= {name: description} if description else {}

    def _take_indented_block(self, indent: int) -> list[str]:
        """Take this line, and the lines after it that are indented further."""
        start = self.index
        self.index += 1
        while self.index < len(self.lines):
            line = self.lines[self.index]
            if line.strip() and _measure_indent(line) <= indent:
                break
            self.index += 1
        return self.lines[start : self.index]

    def _take_numpy_section(self) -> list[str]:
        """Take the lines up to the next underlined title."""
        start = self.index
        self.index += 2
        while self.index < len(self.lines) and not self._find_underlined_title(self.index):
            self.index += 1
        return self.lines[start : self.index]

    def _find_underlined_title(self, index: int) -> str | None:
        """Return the title on this line; None if the next line does not underline it."""
        title = self.lines[index].strip().lower()
        underline = self.lines[index + 1].strip() if index + 1 < len(self.lines) else ""
        is_underlined = len(underline) >= 3 and not underline.strip("-")
        return title if is_underlined and _is_section_title(title) else None


def _is_section_title(title: str) -> bool:
    return title.lower() in _ARGUMENT_SECTIONS | _OMITTED_SECTIONS | _OTHER_SECTIONS


def _measure_indent(line: str) -> int:
    return len(line) - len(line.lstrip())
