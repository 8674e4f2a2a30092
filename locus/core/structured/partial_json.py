"""JSON that is not all there yet, built up while it arrives.

Each character is read once. To show a value, the containers that are still open are copied, and
those that are closed are shared: what was shown never changes afterwards, and showing it costs as
much as the open containers have members.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import attrs
import msgspec

from locus.core.structured.json_grammar import FEW, SPACE, Grammar
from locus.core.structured.schema_definitions import PREFIX, Schema

NOTHING: Final = object()
"""Where there is nothing to show."""

_SCALAR: Final = re.compile(r"[-+.0-9a-zA-Z]+")
_MORE: Final = -1
_WORDS: Final = ("true", "false", "null")
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f]+')
_ESCAPE: Final = re.compile(
    r'\\(?:["\\/bfnrt]|u(?:(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))"
)
_LONGEST_ESCAPE: Final = 12
_LONGEST_SCALAR: Final = 400
_NOT_FREE: Final = frozenset({"enum", "const", "format", "pattern", "contentEncoding"})


@attrs.define(eq=False)
class _Container:
    """An object or array that is open, and what schemas it may have; ``key`` is the last key."""

    value: Any
    schemas: list[Schema]
    key: str = ""

    def add(self, value: Any) -> None:
        _put(self.value, self.key, value)

    def with_(self, value: Any) -> Any:
        """A copy, with one more member if there is one."""
        copy = self.value.copy()
        if value is not NOTHING:
            _put(copy, self.key, value)
        return copy


def _put(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
    else:
        container.append(value)


class FillingJson:
    """One object or array, somewhere in a text that may not be JSON.

    :param schemas: what it may be; they tell which texts may be shown in part, those that may say
        anything.
    :param parts: the definitions that the schemas refer to.
    :param opening: the braces and brackets it may begin with.
    """

    def __init__(self, schemas: Iterable[Schema], parts: Schema, opening: str) -> None:
        self._parts = parts
        self._schemas = self._expanded(schemas)
        self._opening = re.compile(f"[{re.escape(opening)}]")
        self._rest = ""  # what cannot be read before more has come
        self._over = False
        self._begin()

    def _begin(self) -> None:
        self._grammar = Grammar()
        self._open: list[_Container] = []
        self._text: list[str] | None = None  # the pieces of a text that is open
        self._grows = False  # whether that text is shown
        self._changed = False

    def feed(self, text: str) -> Any:
        """The value so far; ``NOTHING`` where it is the same as before, complete, or no JSON."""
        text, at = self._rest + text, 0
        while not self._over and at < len(text):
            after = self._step(text, at)
            if after == _MORE:
                break
            at = after
        self._rest = text[at:]
        if self._over or not self._changed or self._grammar.marks < FEW:
            return NOTHING
        self._changed = False
        return self._shown()

    def _shown(self) -> Any:
        value: Any = NOTHING
        if self._text is not None and self._grows:
            self._text = ["".join(self._text)]
            value = self._text[0]
        for container in reversed(self._open):
            value = container.with_(value)
        return value

    def _step(self, text: str, at: int) -> int:
        """Read one thing; the position after it, or ``_MORE`` where it is not all there."""
        if self._text is not None:
            return self._in_text(self._text, text, at)
        if not self._grammar.marks:
            found = self._opening.search(text, at)
            return self._mark(found[0], found.end()) if found else len(text)
        mark = text[at]
        if mark in SPACE:
            return at + 1
        if mark == '"':
            return self._begin_text(at + 1)
        if mark in "{}[],:":
            return self._mark(mark, at + 1)
        scalar = _SCALAR.match(text, at)
        if scalar is None or scalar.end() - at > _LONGEST_SCALAR:
            return self._fail(at)
        if scalar.end() == len(text) and scalar[0] not in _WORDS:
            return _MORE
        return self._scalar(scalar[0], at)

    def _mark(self, mark: str, after: int) -> int:
        if not self._grammar.accept(mark):
            return self._fail(after - 1)
        if mark in "{[":
            schemas = self._next_schemas()
            self._open.append(_Container({} if mark == "{" else [], schemas))
            self._changed = True
        elif mark in "}]":
            value = self._open.pop().value
            if self._open:
                self._open[-1].add(value)  # which shows nothing new
            else:
                self._over = bool(value)  # an empty one may be of the prose
                self._begin()
        return after

    def _scalar(self, said: str, at: int) -> int:
        try:
            value = msgspec.json.decode(said)
        except msgspec.DecodeError:
            return self._fail(at)
        if not self._grammar.accept("0"):
            return self._fail(at)
        self._open[-1].add(value)
        self._changed = True
        return at + len(said)

    def _begin_text(self, after: int) -> int:
        if not self._grammar.accept('"'):
            return self._fail(after - 1)
        self._text = []
        is_key = self._grammar.want == ":"
        self._grows = not is_key and any(map(_is_free, self._next_schemas()))
        self._changed |= self._grows
        return after

    def _in_text(self, pieces: list[str], text: str, at: int) -> int:
        if text[at] == '"':
            self._text = None
            if self._grammar.want == ":":
                self._open[-1].key = "".join(pieces)
            else:
                self._open[-1].add("".join(pieces))
                self._changed |= not self._grows
            return at + 1
        if found := _PLAIN.match(text, at):
            pieces.append(found[0])
        elif found := _ESCAPE.match(text, at):
            pieces.append(msgspec.json.decode(f'"{found[0]}"'))
        elif text[at] == "\\" and len(text) - at < _LONGEST_ESCAPE:
            return _MORE
        else:
            return self._fail(at)
        self._changed |= self._grows
        return found.end()

    def _fail(self, at: int) -> int:
        """It is no JSON. If it never looked like any, what follows may be."""
        self._over = self._grammar.marks >= FEW
        self._begin()
        return at

    # What the schema says about what comes next.

    def _next_schemas(self) -> list[Schema]:
        if not self._open:
            return self._schemas
        last = self._open[-1]
        step = last.key if isinstance(last.value, dict) else len(last.value)
        return self._expanded(_inside(schema, step) for schema in last.schemas)

    def _expanded(self, schemas: Iterable[Any]) -> list[Schema]:
        """Each schema that one of these stands for."""
        found: dict[int, Schema] = {}
        waiting = list(schemas)
        while waiting:
            schema = waiting.pop()
            if not isinstance(schema, dict) or id(schema) in found:
                continue
            found[id(schema)] = schema
            for keyword in ("anyOf", "oneOf", "allOf"):
                waiting += schema.get(keyword, ())
            if "$ref" in schema:
                waiting.append(self._parts[schema["$ref"].removeprefix(PREFIX)])
        return list(found.values())


def _inside(schema: Schema, step: str | int) -> Any:
    """What a schema says about a member; None where that is nothing."""
    if not schema:
        return schema  # it may be anything, and so may whatever is in it
    if isinstance(step, str):
        return schema.get("properties", {}).get(step, schema.get("additionalProperties"))
    row = schema.get("prefixItems", ())
    return row[step] if step < len(row) else schema.get("items")


def _is_free(schema: Schema) -> bool:
    """Whether it is a text that may say anything, so that a part of it means something."""
    return not schema or (schema.get("type") == "string" and not _NOT_FREE & schema.keys())
