"""Parse a docstring into the description of a function and those of its arguments.

The three common styles are supported: Google's (``Args:``), numpydoc's (``Parameters``, underlined)
and Sphinx's (``:param x:``), also with the names in a list, in backticks, or before a dash. What is
said about a name that is no argument of the function stays in the description.
(``docstring-parser`` and ``griffe`` were considered. Both parse much that is not needed here:
types, defaults, cross-references. Neither is among the few packages that Locus installs.)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
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
_NAMES: Final = r"(?:[-*+•][ \t]+)?(?P<names>[`*]*\w+[`*]*(?:[ \t]*,[ \t]*[`*]*\w+[`*]*)*)"
_GOOGLE_ITEM: Final = re.compile(rf"^{_NAMES}[ \t]*(?:\(.*?\))?[ \t]*:(?!:|//)(?P<text>.*)$")
_DASH_ITEM: Final = re.compile(
    rf"^{_NAMES}[ \t]*(?:\(.*?\))?[ \t]+[-\u2013\u2014][ \t]+(?P<text>.*)$"
)
_NUMPY_ITEM: Final = re.compile(rf"^{_NAMES}(?:[ \t]+:.*|[ \t]*:?)$")
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
    :ivar blocks: the description in parts: the title of each section, ``""`` outside of sections,
        and its text with the title.
    """

    arguments: Mapping[str, str]
    blocks: tuple[tuple[str, str], ...]

    @property
    def description(self) -> str:
        return join_blocks(self.blocks)


def join_blocks(blocks: Iterable[tuple[str, str]]) -> str:
    """Join the parts of a description, with at most one empty line between two of them."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(text for _, text in blocks)).strip()


def parse_docstring(
    text: str | None, argument_names: Collection[str], hidden_names: Collection[str] = ()
) -> ParsedDocstring:
    """Parse a docstring. All text about arguments that the function does not have stays in the
    description.

    :param argument_names: the arguments of the function.
    :param hidden_names: the parameters that the model does not pass; what is said about them is
        left out.
    """
    first, *rest = inspect.cleandoc(text or "").splitlines() or [""]
    if _GOOGLE_TITLE.match(first) and rest and not rest[0].startswith(" "):
        # `cleandoc` removed the indentation, because it ignores that of the first line.
        rest = [f"    {line}" for line in rest]
    parser = _DocstringParser([first, *rest], frozenset(argument_names), frozenset(hidden_names))
    parser.parse()
    return ParsedDocstring(parser.arguments, tuple(parser.blocks))


@attrs.define(eq=False)
class _DocstringParser:
    """Parses line by line; ``index`` is the next line."""

    lines: list[str]
    argument_names: frozenset[str]
    hidden_names: frozenset[str]
    index: int = 0
    blocks: list[tuple[str, str]] = attrs.Factory(list)
    arguments: dict[str, str] = attrs.Factory(dict)

    def parse(self) -> None:
        """Parse all lines into ``blocks`` and ``arguments``."""
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
                self.blocks.append(("", line))
                self.index += 1

    def _parse_section(self, title: str, lines: list[str]) -> None:
        """Parse a section, or add it to the description; ``lines`` begin with the title."""
        if title in _ARGUMENT_SECTIONS:
            is_underlined = not lines[0].rstrip().endswith(":")
            self._parse_argument_items(lines[1 + is_underlined :], is_underlined)
        elif title not in _OMITTED_SECTIONS:
            self.blocks.append((title, "\n".join(lines)))

    def _parse_argument_items(self, lines: list[str], is_underlined: bool) -> None:
        """Parse the lines of a section into descriptions of arguments.

        Lines that do not belong to an argument of the function go to the description.
        """
        margin = min((_measure_indent(line) for line in lines if line.strip()), default=0)
        names: list[str] = []
        for line in lines:
            is_at_margin = bool(line.strip()) and _measure_indent(line) == margin
            match = self._match_item(line.strip(), is_underlined) if is_at_margin else None
            if match is not None:
                names = _split_names(match["names"])
            if not any(map(self._is_known, names)):
                self.blocks.append(("", line[margin:]))
            elif match is not None:
                self._add_argument_text(names, match.groupdict().get("text") or "")
            else:
                self._add_argument_text(names, line)

    def _match_item(self, line: str, is_underlined: bool) -> re.Match[str] | None:
        """Match the line with which the description of an argument begins."""
        match = _NUMPY_ITEM.match(line) if is_underlined else None
        match = match or _GOOGLE_ITEM.match(line)
        if match is None and (dash := _DASH_ITEM.match(line)):
            # A dash is more often a part of a sentence.
            match = dash if all(map(self._is_known, _split_names(dash["names"]))) else None
        return match

    def _is_known(self, name: str) -> bool:
        return name in self.argument_names or name in self.hidden_names

    def _parse_sphinx_field(self, match: re.Match[str]) -> None:
        """Parse a field such as ``:param x: text``, with the indented lines after it."""
        first, *rest = self._take_indented_block(len(match["indent"]))
        field_type = match["type"].lower()
        if field_type in _ARGUMENT_FIELDS and match["subject"]:
            subject = match["subject"]
            names = _split_names(subject)
            if not any(map(self._is_known, names)):
                names = _split_names(subject.split()[-1])  # a type may precede the name
            if not any(map(self._is_known, names)):
                text = f"{subject}:{match['text']}"
                self.blocks += [("", text), *(("", line) for line in rest)]
            self._add_argument_text(names, match["text"])
            for line in rest:
                self._add_argument_text(names, line)
        elif field_type not in _OMITTED_FIELDS:
            self.blocks.append((field_type, "\n".join([first, *rest])))

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


def _split_names(text: str) -> list[str]:
    """Return the names in ``text``, which may be marked as code or as emphasized."""
    return [name.strip(" \t*`") for name in text.split(",")]


def _is_section_title(title: str) -> bool:
    return title.lower() in _ARGUMENT_SECTIONS | _OMITTED_SECTIONS | _OTHER_SECTIONS


def _measure_indent(line: str) -> int:
    return len(line) - len(line.lstrip())
