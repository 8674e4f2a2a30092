"""Leaf nodes of the type tree: scalars and other types of msgspec, decimals, keys, choices."""

from __future__ import annotations

import datetime
import json
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

import attrs
import msgspec

from locus.core.structured.describe_invalid_values import (
    JSON_TYPE_LABELS,
    describe_exception,
    describe_value,
    get_json_type,
)
from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.type_node import MAX_DISTANCE, is_valid_value
from locus.core.structured.validation_context import ValidationContext, is_invalid_value_error


@attrs.frozen(eq=False)
class MsgspecNode:
    """A type whose schema and values are left to msgspec: a scalar, ``Any``, a ``NamedTuple``."""

    hint: Any

    @property
    def expected(self) -> str:
        if names := getattr(self.hint, "_fields", None):
            return f"an array ({', '.join(names)})"  # a NamedTuple
        defs = SchemaDefinitions()
        schema = defs.resolve_reference(self.build_schema(defs))
        label = JSON_TYPE_LABELS.get(str(schema.get("type")), "a value of another type")
        return f"{label} ({schema['format']})" if "format" in schema else label

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        (schema,), definitions = msgspec.json.schema_components([self.hint])
        # msgspec adds the format only if an offset is required; a model always needs to know it.
        if self.hint in (datetime.datetime, datetime.time):
            schema["format"] = "date-time" if self.hint is datetime.datetime else "time"
        return defs.move_definitions_from({**schema, "$defs": definitions})

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        try:
            return _convert_with_msgspec(raw, self.hint, ctx.lossless)
        except msgspec.ValidationError as exc:
            message, _, inner_path = str(exc).partition(" - at `$")
            if inner_path:
                return ctx.add_issue(path + inner_path.rstrip("`"), message)
            if " got `" in message:
                return ctx.add_type_issue(path, self.expected, raw)
            message = message[:1].lower() + message[1:].replace("`", "")
            got = "" if isinstance(raw, (dict, list)) else f", got {describe_value(raw)}"
            return ctx.add_issue(path, message + got)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        try:
            value = _convert_with_msgspec(raw, self.hint, ctx.lossless)
        except msgspec.ValidationError as exc:
            return MAX_DISTANCE if " got `" in str(exc) else MAX_DISTANCE - 1
        return int(type(raw) in (int, float) and type(value) is not type(raw))


def _convert_with_msgspec(raw: Any, hint: Any, lossless: bool = False) -> Any:
    """Convert decoded JSON to the type ``hint``. Every invalid value is a ``ValidationError``."""
    if lossless and type(raw) is float:
        raw = _normalize_decoded_float(raw, getattr(hint, "__origin__", hint))
    try:
        return msgspec.convert(raw, hint, strict=True)
    except SystemError as exc:  # msgspec before 0.22, for a number that is too large for a float
        raise msgspec.ValidationError("Number out of range") from exc
    except (msgspec.ValidationError, RecursionError):
        raise
    except Exception as exc:  # raised by a struct's own code, which may raise anything
        if not is_invalid_value_error(exc, lossless):
            raise
        raise msgspec.ValidationError(f"its class raised: {describe_exception(exc)}") from exc


def _normalize_decoded_float(raw: float, hint: Any) -> Any:
    """Return 3.0 as 3 for an integer; reject a float for a ``Decimal`` if digits may be lost."""
    if hint is int and raw.is_integer():
        return int(raw)
    if hint is Decimal and len(Decimal(repr(raw)).as_tuple().digits) > sys.float_info.dig:
        raise msgspec.ValidationError("a number with so many digits has to be a string")
    return raw


@attrs.frozen(eq=False)
class KeyNode(MsgspecNode):
    """A key of an object. Keys are always strings in JSON: ``"1"`` is the key 1."""

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        dict_hint: Any = dict[self.hint, None]  # type: ignore[name-defined]
        try:
            (key,) = msgspec.convert({raw: None}, dict_hint, str_keys=True)
        except (msgspec.ValidationError, UnicodeError):
            return ctx.add_type_issue(path, self.expected, raw)
        return key

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return 0 if is_valid_value(self, raw, ctx) else MAX_DISTANCE


_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# For each argument of msgspec.Meta: the schema keyword, what a message expects, the comparison.
_DECIMAL_BOUNDS: Final[Mapping[str, tuple[str, str, Callable[[Any, Any], bool]]]] = {
    "gt": ("exclusiveMinimum", "a number above {}", operator.gt),
    "ge": ("minimum", "a number of at least {}", operator.ge),
    "lt": ("exclusiveMaximum", "a number below {}", operator.lt),
    "le": ("maximum", "a number of at most {}", operator.le),
    "multiple_of": ("multipleOf", "a multiple of {}", lambda value, factor: value % factor == 0),
}
DECIMAL_BOUNDS: Final = frozenset(_DECIMAL_BOUNDS)
"""The bounds that a ``Decimal`` may have, as arguments of ``msgspec.Meta``."""


@attrs.frozen(eq=False)
class DecimalNode:
    """A ``Decimal``: a number, or a string with a number as JSON writes it."""

    bounds: Mapping[str, Any]

    expected = "a decimal number"

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        schema = _DECIMAL.build_schema(defs)
        # JSON Schema does not check the range of a string: the keywords only inform the model.
        for name, bound in self.bounds.items():
            schema[_DECIMAL_BOUNDS[name][0]] = bound
        return schema

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        if isinstance(raw, str) and not _JSON_NUMBER.fullmatch(raw):
            return ctx.add_type_issue(path, self.expected, raw)
        issues_before = len(ctx.issues)
        value = _DECIMAL.validate(raw, path, ctx)
        if len(ctx.issues) > issues_before:
            return None
        if not value.is_finite():
            return ctx.add_type_issue(path, self.expected, raw)
        for name, bound in self.bounds.items():
            _, expected, compare = _DECIMAL_BOUNDS[name]
            try:
                is_within = compare(value, Decimal(repr(bound)))
            except ArithmeticError:  # the number is too large for a remainder
                is_within = False
            if not is_within:
                ctx.add_type_issue(path, expected.format(bound), raw)
        return value

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        if isinstance(raw, str):
            return 0 if _JSON_NUMBER.fullmatch(raw) else MAX_DISTANCE - 1
        return _DECIMAL.measure_distance(raw, ctx)


_DECIMAL: Final = MsgspecNode(Decimal)


@attrs.frozen(eq=False)
class PathNode:
    """The path of a file or directory, a string in JSON."""

    path_type: type[PurePath]

    expected = "a string (path)"

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        return {"type": "string", "format": "path"}

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        if not isinstance(raw, str):
            return ctx.add_type_issue(path, self.expected, raw)
        return self.path_type(raw)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return 0 if isinstance(raw, str) else MAX_DISTANCE


@attrs.frozen(eq=False)
class ChoiceNode:
    """One of several values: an enum or a ``Literal``.

    :param choices: pairs of a value in JSON and the value in Python that it means.
    :param name: the enum's name; None for a ``Literal``.
    """

    choices: Sequence[tuple[Any, Any]]
    name: str | None = None
    description: str | None = None

    @property
    def expected(self) -> str:
        one_of = "one of " if len(self.choices) > 1 else ""
        return one_of + ", ".join(json.dumps(choice) for choice, _ in self.choices)

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        return defs.define_and_reference(self, self.name, self._build_definition)

    def _build_definition(self) -> Schema:
        choices = [choice for choice, _ in self.choices]
        types = list(dict.fromkeys(map(get_json_type, choices)))
        schema: Schema = {"type": types[0] if len(types) == 1 else types, "enum": choices}
        return {"description": self.description, **schema} if self.description else schema

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        for choice, value in self.choices:
            if choice == raw and (type(choice) is bool) == (type(raw) is bool):
                return value
        return ctx.add_type_issue(path, self.expected, raw)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return 0 if is_valid_value(self, raw, ctx) else MAX_DISTANCE
