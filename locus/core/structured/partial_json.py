"""An incremental parser for JSON that is still incomplete: it builds the value while text arrives.

Each character is read once. To return a value, the parser copies the containers and the string that
are still open, and shares those that are closed. So a value that was returned never changes. To
return one after every chunk would take time with the square of the length of a long text or list.
So each chunk pays for a certain amount of copying: a value that costs more than was saved up is
returned after a later chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import attrs
import msgspec

from locus.core.structured.json_syntax_checker import MIN_TOKENS, WHITESPACE, JsonSyntaxChecker
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
_COPYING_PER_CHUNK: Final = 1 << 15
"""How much copying a chunk pays for at least, in bytes. A string or list of that size is returned
after each chunk, and copying it takes no longer than reading the chunk."""
_MEMBER_BYTES: Final = 16
_CONTAINER_BYTES: Final = 1024
"""What copying a member of a container, and a container, cost: bytes of a string that take as
long."""
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

    @property
    def copying_bytes(self) -> int:
        """What a copy costs."""
        return _CONTAINER_BYTES + len(self.value) * _MEMBER_BYTES

    def add_member(self, member: Any) -> None:
        """Add a member to the value: to an object under ``key``, to an array at its end."""
        _add_member(self.value, self.key, member)

    def copy_with_member(self, member: Any) -> Any:
        """Return a copy of the value, with ``member`` added unless it is ``NO_VALUE``."""
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
        self._saved_copying = 0  # in bytes; what the chunks so far have paid for, and was not used
        self._has_returned_value = False
        self._reset_state()

    def _reset_state(self) -> None:
        """Forget the JSON that was parsed so far, as if none had begun."""
        self._syntax_checker = JsonSyntaxChecker()
        self._containers: list[_Container] = []
        self._string_parts: list[str] | None = None  # the parts of the string that is open
        self._is_string_shown = False  # whether that string is part of the value already
        self._string_length = 0
        self._copying_bytes = 0  # what copying the open containers costs
        self._changed = False

    def feed(self, text: str) -> Any:
        """Parse more text and return the value so far.

        ``NO_VALUE`` if the value is unchanged, if it is complete, or if the text is not JSON.
        """
        text, position = self._unparsed + text, 0
        while not self._finished and position < len(text):
            next_position = self._consume_token(text, position)
            if next_position == _INCOMPLETE:
                break
            position = next_position
        self._unparsed = text[position:]
        self._saved_copying += max(_COPYING_PER_CHUNK, len(text) * _MEMBER_BYTES)
        if self._finished or not self._changed or self._syntax_checker.token_count < MIN_TOKENS:
            return NO_VALUE
        cost = self._copying_bytes
        if self._string_parts is not None and self._is_string_shown:
            cost += self._string_length
        if cost > self._saved_copying and self._has_returned_value:
            return NO_VALUE  # the next value has what is new in this one
        self._saved_copying = max(0, self._saved_copying - cost)
        self._has_returned_value = True
        self._changed = False
        return self._build_partial_value()

    def _build_partial_value(self) -> Any:
        """Build the value so far from the open containers and the open string."""
        value: Any = NO_VALUE
        if self._string_parts is not None and self._is_string_shown:
            self._string_parts = ["".join(self._string_parts)]
            value = self._string_parts[0]
        for container in reversed(self._containers):
            value = container.copy_with_member(value)
        return value

    def _consume_token(self, text: str, position: int) -> int:
        """Add one token to the state; return the position after it, or ``_INCOMPLETE``."""
        if self._string_parts is not None:
            return self._consume_string_part(self._string_parts, text, position)
        if not self._syntax_checker.token_count:
            opening = self._opening.search(text, position)
            return self._consume_mark(opening[0], opening.end()) if opening else len(text)
        mark = text[position]
        if mark in WHITESPACE:
            return position + 1
        if mark == '"':
            return self._consume_opening_quote(position + 1)
        if mark in "{}[],:":
            return self._consume_mark(mark, position + 1)
        scalar = _SCALAR.match(text, position)
        if scalar is None or scalar.end() - position > _MAX_SCALAR_LENGTH:
            return self._discard_malformed_json(position)
        if scalar.end() == len(text) and scalar[0] not in _LITERALS:
            return _INCOMPLETE
        return self._consume_scalar(scalar[0], position)

    def _consume_mark(self, mark: str, next_position: int) -> int:
        """Add one of ``{}[],:`` to the state; return the position after it."""
        if not self._syntax_checker.accept_token(mark):
            return self._discard_malformed_json(next_position - 1)
        if mark in "{[":
            schemas = self._find_next_schemas()
            self._containers.append(_Container({} if mark == "{" else [], schemas))
            self._copying_bytes += self._containers[-1].copying_bytes
            self._changed = True
        elif mark in "}]":
            container = self._containers.pop()
            self._copying_bytes -= container.copying_bytes
            if self._containers:
                self._add_member(container.value)  # no change: the value was shown while open
            else:
                self._finished = bool(container.value)  # an empty one may be part of the prose
                self._reset_state()
        return next_position

    def _consume_scalar(self, scalar: str, position: int) -> int:
        """Add a number or literal to the state; return the position after it."""
        try:
            value = msgspec.json.decode(scalar)
        except msgspec.DecodeError:
            return self._discard_malformed_json(position)
        if not self._syntax_checker.accept_token("0"):
            return self._discard_malformed_json(position)
        self._add_member(value)
        self._changed = True
        return position + len(scalar)

    def _consume_opening_quote(self, next_position: int) -> int:
        """Begin a key or a string; return the position after its quotation mark."""
        if not self._syntax_checker.accept_token('"'):
            return self._discard_malformed_json(next_position - 1)
        self._string_parts, self._string_length = [], 0
        is_key = self._syntax_checker.expected == ":"
        self._is_string_shown = not is_key and any(
            map(_is_free_text_schema, self._find_next_schemas())
        )
        self._changed |= self._is_string_shown
        return next_position

    def _consume_string_part(self, parts: list[str], text: str, position: int) -> int:
        """Add a part of the open string, or its end; return the position after it."""
        if text[position] == '"':
            self._string_parts = None
            if self._syntax_checker.expected == ":":
                self._containers[-1].key = "".join(parts)
            else:
                self._add_member("".join(parts))
                self._changed |= not self._is_string_shown
            return position + 1
        if match := _PLAIN_CHARACTERS.match(text, position):
            parts.append(match[0])
        elif match := _ESCAPE.match(text, position):
            parts.append(msgspec.json.decode(f'"{match[0]}"'))
        elif text[position] == "\\" and len(text) - position < _MAX_ESCAPE_LENGTH:
            return _INCOMPLETE
        else:
            return self._discard_malformed_json(position)
        self._string_length += len(parts[-1])
        self._changed |= self._is_string_shown
        return match.end()

    def _add_member(self, member: Any) -> None:
        """Add a member to the innermost open container."""
        container = self._containers[-1]
        self._copying_bytes -= container.copying_bytes
        container.add_member(member)
        self._copying_bytes += container.copying_bytes

    def _discard_malformed_json(self, position: int) -> int:
        """Discard the state, since the text is not JSON; return the position to go on at."""
        self._finished = self._syntax_checker.token_count >= MIN_TOKENS
        self._reset_state()
        return position

    # The schemas of the value that comes next.

    def _find_next_schemas(self) -> list[Schema]:
        """Return the schemas that the next value may have."""
        if not self._containers:
            return self._schemas
        parent = self._containers[-1]
        key = parent.key if isinstance(parent.value, dict) else len(parent.value)
        return self._expand_schemas(_find_member_schema(schema, key) for schema in parent.schemas)

    def _expand_schemas(self, schemas: Iterable[Any]) -> list[Schema]:
        """Return the schemas, the members of their unions, and what they refer to."""
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


def _find_member_schema(schema: Schema, key: str | int) -> Any:
    """Return the schema of a member; None if the schema does not restrict it."""
    if not schema:
        return schema  # it accepts anything, and so does each member
    if isinstance(key, str):
        return schema.get("properties", {}).get(key, schema.get("additionalProperties"))
    prefix_items = schema.get("prefixItems", ())
    return prefix_items[key] if key < len(prefix_items) else schema.get("items")


def _is_free_text_schema(schema: Schema) -> bool:
    """Return whether the schema accepts any string, so that a part of it is useful."""
    if not schema:
        return True
    return schema.get("type") == "string" and not _RESTRICTING_KEYWORDS & schema.keys()
