"""Validate a model's arguments for a tool, and build the JSON Schema that describes them.

One type tree (:mod:`locus.core.structured`) builds the schema and validates the values, so that the
two cannot disagree. There is a fast path: one call of msgspec converts all arguments that msgspec
validates just as the type tree does. If any argument is wrong, the type tree validates all of them
again and records every issue with its path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from locus.core.errors import ConfigurationError
from locus.core.json_schema.array_items import add_array_items
from locus.core.json_schema.references import inline_references
from locus.core.structured.describe_invalid_values import describe_unknown_name
from locus.core.structured.object_nodes import ObjectField
from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.strict_schema import convert_to_strict_schema
from locus.core.structured.type_node import TypeNode
from locus.core.structured.validation_context import ValidationContext, join_path
from locus.tools.errors import ToolArgumentsError
from locus.tools.msgspec_fast_path import build_msgspec_hint


class _InvalidArgumentsError(Exception):
    """The fast path found something wrong, and does not say what."""


@attrs.frozen(eq=False)
class ArgumentsValidator:
    """Validates the arguments of one tool.

    :param tool_name: the tool's name.
    :param fields: the arguments with a name.
    :param extra_node: the type of further arguments; None if the tool takes none.
    :param reserved_names: names that no further argument may have.
    """

    tool_name: str
    fields: tuple[ObjectField, ...]
    extra_node: TypeNode | None = None
    reserved_names: frozenset[str] = frozenset()
    _struct_type: Any = attrs.field(init=False)
    _struct_members: Mapping[str, str] = attrs.field(init=False)
    _converters: Mapping[str, Callable[[Any], Any]] = attrs.field(init=False)
    _required_names: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        hints = {field.name: build_msgspec_hint(field.node) for field in self.fields}
        struct_fields = [field for field in self.fields if hints[field.name] is not None]
        other_fields = [field for field in self.fields if field not in struct_fields]
        # The members have generated names, because a parameter may have a name that no member of a
        # struct can have: `__x`. A member with a default is only read if its argument is present.
        members = {field.name: f"_{position}" for position, field in enumerate(struct_fields)}
        struct_type = msgspec.defstruct(
            "Arguments",
            [
                (members[field.name], hints[field.name], *(() if field.required else (None,)))
                for field in struct_fields
            ],
            rename={member: name for name, member in members.items()},
            kw_only=True,
        )
        set_attribute = object.__setattr__
        set_attribute(self, "_struct_type", struct_type)
        set_attribute(self, "_struct_members", members)
        converters = {field.name: _make_argument_converter(field.node) for field in other_fields}
        set_attribute(self, "_converters", converters)
        required_names = frozenset(field.name for field in other_fields if field.required)
        set_attribute(self, "_required_names", required_names)

    def build_schema(self, strict: bool) -> Schema:
        """Build the JSON Schema of the object that holds the arguments.

        Each type is written where it is used; only one that contains itself is a reference.

        :param strict: build it in the strict subset that OpenAI enforces.
        :raises ConfigurationError: if the subset cannot express one of the arguments.
        """
        if strict and self.extra_node is not None:
            raise ConfigurationError(
                f"tool {self.tool_name!r} takes further arguments, which strict mode cannot "
                "express; take a list, or use strict=False"
            )
        defs = SchemaDefinitions(strict, forbid_extra=True)
        extra: Schema | bool = False
        if self.extra_node:
            extra = self.extra_node.build_schema(defs) or True
        root: Schema = {
            "type": "object",
            "properties": {field.name: field.build_schema(defs) for field in self.fields},
            "required": [field.name for field in self.fields if field.required],
            "additionalProperties": extra,
        }
        if definitions := defs.collect_used_definitions(root):
            root["$defs"] = definitions
        # Models and servers that do not follow references are many: Ollama, Gemini, OCI.
        root = inline_references(add_array_items(root))
        return convert_to_strict_schema(root, self.tool_name) if strict else root

    def validate(self, raw_arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Convert the arguments that are present to the types of the parameters.

        :raises ToolArgumentsError: if arguments are wrong; the error lists every issue.
        """
        try:
            return self._validate_with_msgspec(raw_arguments)
        except (
            _InvalidArgumentsError,
            msgspec.ValidationError,
            UnicodeError,
            SystemError,
            RecursionError,
        ):
            return self._validate_with_type_tree(raw_arguments)

    def find_invalid_paths(self, raw_arguments: Mapping[str, Any]) -> list[str]:
        """Return the paths of the values that are wrong."""
        ctx = ValidationContext(lossless=True)
        self._collect_values(raw_arguments, ctx)
        return [issue.path for issue in ctx.issues]

    def _validate_with_msgspec(self, raw_arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Validate the arguments by one fast call of msgspec, which stops at the first issue."""
        struct = msgspec.convert(raw_arguments, self._struct_type)
        values = {}
        for name, value in raw_arguments.items():
            if member := self._struct_members.get(name):
                values[name] = getattr(struct, member)
            elif converter := self._converters.get(name):
                values[name] = converter(value)
            else:
                raise _InvalidArgumentsError
        if not self._required_names <= values.keys():
            raise _InvalidArgumentsError
        return values

    def _validate_with_type_tree(self, raw_arguments: Mapping[Any, Any]) -> dict[str, Any]:
        """Validate the arguments by the type tree, which records every issue."""
        if not isinstance(raw_arguments, Mapping):
            raise ToolArgumentsError.from_issues(
                self.tool_name,
                [f"the arguments have to be an object, not {type(raw_arguments).__name__}"],
            )
        ctx = ValidationContext(lossless=True)
        values = self._collect_values(raw_arguments, ctx)
        if ctx.issues:
            raise ToolArgumentsError.from_issues(self.tool_name, map(str, ctx.issues))
        return values

    def _collect_values(
        self, raw_arguments: Mapping[Any, Any], ctx: ValidationContext
    ) -> dict[str, Any]:
        """Validate each argument by the type tree; issues are recorded in ``ctx``."""
        values = {}
        for field in self.fields:
            if field.name in raw_arguments:
                values[field.name] = _validate_argument(
                    field.node, raw_arguments[field.name], field.name, ctx
                )
            elif field.required:
                ctx.add_issue(field.name, "required, but missing")
        known_names = [field.name for field in self.fields]
        for name in raw_arguments:
            if name in values:
                continue
            is_identifier = isinstance(name, str) and name.isidentifier()
            path = name if is_identifier else json.dumps(str(name)[:60])
            if self.extra_node is None or not isinstance(name, str) or name in self.reserved_names:
                ctx.add_issue(path, describe_unknown_name(str(name), known_names, "argument"))
            else:
                values[name] = _validate_argument(self.extra_node, raw_arguments[name], path, ctx)
        return values


def _make_argument_converter(node: TypeNode) -> Callable[[Any], Any]:
    """Make the function that validates an argument which msgspec cannot validate alone."""

    def convert(raw: Any) -> Any:
        ctx = ValidationContext(lossless=True)
        value = _validate_argument(node, raw, "", ctx)
        if ctx.issues:
            raise _InvalidArgumentsError
        return value

    return convert


def _validate_argument(node: TypeNode, raw: Any, path: str, ctx: ValidationContext) -> Any:
    """Copy and validate one argument; issues are recorded in ``ctx``."""
    issues_before = len(ctx.issues)
    try:
        json_value = copy_json_value(raw, path, ctx)
        return node.validate(json_value, path, ctx) if len(ctx.issues) == issues_before else None
    except RecursionError:
        return ctx.add_issue(path, "nested too deeply")


def copy_json_value(raw: Any, path: str, ctx: ValidationContext) -> Any:
    """Copy a JSON value, with builtin dictionaries and lists, so that the tool may change it.

    A hook may have added values that cannot be represented in JSON. NaN, infinity and keys that are
    not strings are recorded as issues here; the type tree rejects the others.
    """
    if isinstance(raw, Mapping):
        copy = {}
        for name, value in raw.items():
            if not isinstance(name, str):
                ctx.add_issue(path, f"the keys of an object have to be strings, not {name!r}")
            else:
                copy[name] = copy_json_value(value, join_path(path, name), ctx)
        return copy
    if isinstance(raw, (list, tuple)):
        return [copy_json_value(value, f"{path}[{i}]", ctx) for i, value in enumerate(raw)]
    if isinstance(raw, float) and not math.isfinite(raw):
        ctx.add_issue(path, f"{raw} cannot be represented in JSON")
    return raw
