"""An incremental parser for JSON that is still incomplete: it builds the value while text arrives.

Each character is read once. To return a value, the parser copies the containers that are still open
and shares those that are closed. So a value that was returned never changes, and returning one
takes time in proportion to the members of the open containers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import attrs
import msgspec

from locus.core.structured.json_grammar import MIN_TOKENS, WHITESPACE, JsonGrammar
from locus.core.structured.schema_definitions import REF_PREFIX, Schema

NO_VALUE: Final = object()
"""Returned if there is no new value."""

_SCALAR: Final = re.compile(r"[-+.0-9a-zA-Z]+")
_INCOMPLETE: Final = -1
_LITERALS: Final = ("true", "false", "null")
_PLAIN_CHARACTERS: Final = re.compile(r'[^"\\\x00-\x1f]+')
_ESCAPE: Final = re.compile(
    r'\\(?:["\\/bfnrt]|u(?:(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))"
)
_MAX_ESCAPE_LENGTH: Final = 12
_MAX_SCALAR_LENGTH: Final = 400
_RESTRICTING_KEYWORDS: Final = frozenset({"enum", "const", "format", "pattern", "contentEncoding"})


@attrs.define(eq=False)
class _Container:
    """An object or array that is still open.

    :param value: the members so far.
    :param schemas: the schemas that it may have.
    :param key: the last key of an object.
    """

    value: Any
    schemas: list[Schema]
    key: str = ""

    def add(self, member: Any) -> None:
        _add_member(self.value, self.key, member)

    def copy_with(self, member: Any) -> Any:
        """A copy of the value, with ``member`` added unless it is ``NO_VALUE``."""
        copy = self.value.copy()
        if member is not NO_VALUE:
            _add_member(copy, self.key, member)
        return copy


def _add_member(container: Any, key: str, member: Any) -> None:
    if isinstance(container, dict):
        container[key] = member
    else:
        container.append(member)


class PartialJsonParser:
    """Parses one object or array in a text that may also contain prose.

    :param schemas: the schemas that the object or array may have. They say which strings are free
        text: only these are returned while they are incomplete.
    :param definitions: the definitions that the schemas refer to.
    :param opening_brackets: the brackets with which it may begin.
    """

    def __init__(
        self, schemas: Iterable[Schema], definitions: Schema, opening_brackets: str
    ) -> None:
        self._definitions = definitions
        self._schemas = self._expand_schemas(schemas)
        self._opening = re.compile(f"[{re.escape(opening_brackets)}]")
        self._unparsed = ""  # text that cannot be parsed before more text arrives
        self._finished = False
        self._reset()

    def _reset(self) -> None:
        self._grammar = JsonGrammar()
        self._containers: list[_Container] = []
        self._string_parts: list[str] | None = None  # the parts of the string that is open
        self._is_string_shown = False  # whether that string is part of the value already
        self._changed = False

    def feed(self, text: str) -> Any:
        """Parse more text and return the value so far.

        ``NO_VALUE`` if the value is unchanged, if it is complete, or if the text is not JSON.
        """
        text, position = self._unparsed + text, 0
        while not self._finished and position < len(text):
            next_position = self._parse_token(text, position)
            if next_position == _INCOMPLETE:
                break
            position = next_position
        self._unparsed = text[position:]
        if self._finished or not self._changed or self._grammar.token_count < MIN_TOKENS:
            return NO_VALUE
        self._changed = False
        return self._build_value()

    def _build_value(self) -> Any:
        value: Any = NO_VALUE
        if self._string_parts is not None and self._is_string_shown:
            self._string_parts = ["".join(self._string_parts)]
            value = self._string_parts[0]
        for container in reversed(self._containers):
            value = container.copy_with(value)
        return value

    def _parse_token(self, text: str, position: int) -> int:
        """Parse one token; returns the position after it, or ``_INCOMPLETE``."""
        if self._string_parts is not None:
            return self._parse_string_part(self._string_parts, text, position)
        if not self._grammar.token_count:
            opening = self._opening.search(text, position)
            return self._accept_mark(opening[0], opening.end()) if opening else len(text)
        mark = text[position]
        if mark in WHITESPACE:
            return position + 1
        if mark == '"':
            return self._begin_string(position + 1)
        if mark in "{}[],:":
            return self._accept_mark(mark, position + 1)
        scalar = _SCALAR.match(text, position)
        if scalar is None or scalar.end() - position > _MAX_SCALAR_LENGTH:
            return self._reject(position)
        if scalar.end() == len(text) and scalar[0] not in _LITERALS:
            return _INCOMPLETE
        return self._accept_scalar(scalar[0], position)

    def _accept_mark(self, mark: str, next_position: int) -> int:
        if not self._grammar.accept(mark):
            return self._reject(next_position - 1)
        if mark in "{[":
            schemas = self._get_next_schemas()
            self._containers.append(_Container({} if mark == "{" else [], schemas))
            self._changed = True
        elif mark in "}]":
            value = self._containers.pop().value
            if self._containers:
                self._containers[-1].add(value)  # no change: the value was shown while open
            else:
                self._finished = bool(value)  # an empty one may be part of the prose
                self._reset()
        return next_position

    def _accept_scalar(self, scalar: str, position: int) -> int:
        try:
            value = msgspec.json.decode(scalar)
        except msgspec.DecodeError:
            return self._reject(position)
        if not self._grammar.accept("0"):
            return self._reject(position)
        self._containers[-1].add(value)
        self._changed = True
        return position + len(scalar)

    def _begin_string(self, next_position: int) -> int:
        if not self._grammar.accept('"'):
            return self._reject(next_position - 1)
        self._string_parts = []
        is_key = self._grammar.expected == ":"
        self._is_string_shown = not is_key and any(map(_is_free_text, self._get_next_schemas()))
        self._changed |= self._is_string_shown
        return next_position

    def _parse_string_part(self, parts: list[str], text: str, position: int) -> int:
        if text[position] == '"':
            self._string_parts = None
            if self._grammar.expected == ":":
                self._containers[-1].key = "".join(parts)
            else:
                self._containers[-1].add("".join(parts))
                self._changed |= not self._is_string_shown
            return position + 1
        if match := _PLAIN_CHARACTERS.match(text, position):
            parts.append(match[0])
        elif match := _ESCAPE.match(text, position):
            parts.append(msgspec.json.decode(f'"{match[0]}"'))
        elif text[position] == "\\" and len(text) - position < _MAX_ESCAPE_LENGTH:
            return _INCOMPLETE
        else:
            return self._reject(position)
        self._changed |= self._is_string_shown
        return match.end()

    def _reject(self, position: int) -> int:
        """The text is not JSON. Unless it had looked like JSON, go on with the text after it."""
        self._finished = self._grammar.token_count >= MIN_TOKENS
        self._reset()
        return position

    # The schemas of the value that comes next.

    def _get_next_schemas(self) -> list[Schema]:
        if not self._containers:
            return self._schemas
        parent = self._containers[-1]
        key = parent.key if isinstance(parent.value, dict) else len(parent.value)
        return self._expand_schemas(_get_member_schema(schema, key) for schema in parent.schemas)

    def _expand_schemas(self, schemas: Iterable[Any]) -> list[Schema]:
        """The schemas themselves, the members of their unions, and what they refer to."""
        expanded: dict[int, Schema] = {}
        pending = list(schemas)
        while pending:
            schema = pending.pop()
            if not isinstance(schema, dict) or id(schema) in expanded:
                continue
            expanded[id(schema)] = schema
            for keyword in ("anyOf", "oneOf", "allOf"):
                pending += schema.get(keyword, ())
            if "$ref" in schema:
                pending.append(self._definitions[schema["$ref"].removeprefix(REF_PREFIX)])
        return list(expanded.values())


def _get_member_schema(schema: Schema, key: str | int) -> Any:
    """The schema of a member; None if the schema says nothing about it."""
    if not schema:
        return schema  # it accepts anything, and so does each member
    if isinstance(key, str):
        return schema.get("properties", {}).get(key, schema.get("additionalProperties"))
    prefix_items = schema.get("prefixItems", ())
    return prefix_items[key] if key < len(prefix_items) else schema.get("items")


def _is_free_text(schema: Schema) -> bool:
    """Whether the schema accepts any string, so that a part of it means something."""
    if not schema:
        return True
    return schema.get("type") == "string" and not _RESTRICTING_KEYWORDS & schema.keys()
