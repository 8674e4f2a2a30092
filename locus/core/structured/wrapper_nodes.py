"""Nodes of the type tree that wrap another node: annotations, predicates, type aliases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from locus.core.structured.describe_invalid_values import describe_exception
from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.type_node import TypeNode
from locus.core.structured.validation_context import ValidationContext


@attrs.frozen(eq=False)
class AnnotatedNode:
    """A type with further keywords in its schema: a description, examples."""

    node: TypeNode
    schema_metadata: Schema

    @property
    def expected(self) -> str:
        return self.node.expected

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        return {**self.node.build_schema(defs), **self.schema_metadata}

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        return self.node.validate(raw, path, ctx)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return self.node.measure_distance(raw, ctx)


@attrs.frozen(eq=False)
class PredicateNode:
    """A type whose values have to satisfy predicates, each with a name; null is not tested."""

    node: TypeNode
    predicates: Sequence[tuple[str, Callable[[Any], Any]]]

    @property
    def expected(self) -> str:
        return self.node.expected

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        return self.node.build_schema(defs)

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        issues_before = len(ctx.issues)
        value = self.node.validate(raw, path, ctx)
        if value is None or len(ctx.issues) > issues_before:
            return value
        for name, predicate in self.predicates:
            try:
                message = "" if predicate(value) else f"does not satisfy the predicate {name}"
            except RecursionError:
                raise
            except Exception as exc:  # noqa: BLE001 - the predicate is the caller's own code
                message = f"the predicate {name} failed: {describe_exception(exc)}"
            if message:
                ctx.add_issue(path, message)
        return value

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return self.node.measure_distance(raw, ctx)


@attrs.define(eq=False)
class AliasNode:
    """A type alias, which may be recursive: ``type Tree = int | list[Tree]``."""

    name: str
    node: TypeNode = attrs.field(init=False)

    @property
    def expected(self) -> str:
        return self.name

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        return defs.define_and_reference(self, self.name, lambda: self.node.build_schema(defs))

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        return self.node.validate(raw, path, ctx)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return self.node.measure_distance(raw, ctx)
