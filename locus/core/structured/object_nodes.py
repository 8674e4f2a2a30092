"""Nodes of the type tree for objects with known fields: attrs classes, dataclasses, structs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import attrs

from locus.core.structured.describe_invalid_values import describe_unknown_name
from locus.core.structured.leaf_nodes import ChoiceNode
from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.type_node import MAX_DISTANCE, TypeNode
from locus.core.structured.validation_context import ValidationContext, construct_value, join_path

_MAX_LISTED_NAMES: Final = 5


@attrs.frozen(eq=False)
class ObjectField:
    """A field of an :class:`ObjectNode`.

    :param name: the name of the member in JSON.
    :param keyword: the constructor's keyword; empty if the constructor does not take the member.
    :param required: the field has no default.
    :param may_be_absent: the value itself may lack the member, as with ``NotRequired``.
    :param schema_metadata: further keywords of its schema: the description, the default.
    """

    name: str
    keyword: str
    node: TypeNode
    required: bool = True
    may_be_absent: bool = False
    schema_metadata: Schema = attrs.Factory(dict)

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        """Build the schema of the member."""
        schema = self.node.build_schema(defs)
        if self.may_be_absent and defs.strict:
            schema = {"anyOf": [schema, {"type": "null"}]}
        return {**schema, **self.schema_metadata}

    def is_absent(self, raw: dict[str, Any], ctx: ValidationContext) -> bool:
        """Return whether the object lacks the member; in strict mode null means that it does."""
        if self.name not in raw:
            return True
        is_null = self.may_be_absent and raw[self.name] is None
        return is_null and self.node.measure_distance(None, ctx) > 0


@attrs.define(eq=False, slots=False)
class ObjectNode:
    """A class with fields, or a ``TypedDict``.

    Members that are not fields are ignored, unless the validation is lossless or the class forbids
    them.
    """

    name: str
    construct: Callable[..., Any]
    description: str | None = None
    fields: Sequence[ObjectField] = ()
    forbid_extra: bool = False

    @cached_property
    def discriminators(self) -> dict[str, ChoiceNode]:
        """The required fields that are choices: these often tell one class from another."""
        return {
            f.name: f.node for f in self.fields if isinstance(f.node, ChoiceNode) and f.required
        }

    @property
    def expected(self) -> str:
        return f"an object ({self.name})"

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        return defs.define_and_reference(self, self.name, lambda: self._build_definition(defs))

    def _build_definition(self, defs: SchemaDefinitions) -> Schema:
        schema: Schema = {"description": self.description} if self.description else {}
        schema["type"] = "object"
        schema["properties"] = {field.name: field.build_schema(defs) for field in self.fields}
        schema["required"] = [field.name for field in self.fields if field.required]
        if defs.forbid_extra or self.forbid_extra:
            schema["additionalProperties"] = False
        return schema

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        if not isinstance(raw, dict):
            return ctx.add_type_issue(path, self.expected, raw)
        issues_before = len(ctx.issues)
        values = {}
        extra_names_hint: str | None = None
        for field in self.fields:
            field_path = join_path(path, field.name)
            if not field.is_absent(raw, ctx):
                value = field.node.validate(raw[field.name], field_path, ctx)
                if field.keyword:
                    values[field.keyword] = value
            elif field.required:
                if extra_names_hint is None:
                    extra_names_hint = self._format_extra_names_hint(raw, ctx)
                ctx.add_issue(field_path, f"required, but missing{extra_names_hint}")
        if ctx.lossless or self.forbid_extra:
            self._report_extra_members(raw, path, ctx)
        if len(ctx.issues) > issues_before:
            return None
        return construct_value(lambda: self.construct(**values), path, ctx)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        if not isinstance(raw, dict):
            return MAX_DISTANCE
        distance = len(raw.keys() - {field.name for field in self.fields})
        for field in self.fields:
            if field.name not in raw:
                distance += 10 * field.required
            elif isinstance(field.node, ChoiceNode):  # it often tells one class from another
                distance += 100 * (field.node.measure_distance(raw[field.name], ctx) > 0)
        return min(distance, MAX_DISTANCE - 1)

    def _report_extra_members(self, raw: dict[str, Any], path: str, ctx: ValidationContext) -> None:
        """Record an issue for each member that is not a field."""
        known_names = [field.name for field in self.fields]
        for name in raw:
            if name not in known_names:
                message = describe_unknown_name(name, known_names, "member")
                ctx.add_issue(join_path(path, name), message)

    def _format_extra_names_hint(self, raw: dict[str, Any], ctx: ValidationContext) -> str:
        """Format a hint about members that are not fields: one may be a misspelled field."""
        if ctx.lossless or self.forbid_extra:
            return ""  # each of them is an issue itself
        names = sorted(raw.keys() - {field.name for field in self.fields})
        omitted = len(names) - _MAX_LISTED_NAMES
        more = f" and {omitted} more" if omitted > 0 else ""
        listed = ", ".join(repr(name[:60]) for name in names[:_MAX_LISTED_NAMES])
        return f" (no field is named {listed}{more})" if names else ""
