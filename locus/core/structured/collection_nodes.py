"""Nodes of the type tree for collections: arrays, tuples of a fixed length, mappings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from locus.core.json_schema.array_items import add_array_items
from locus.core.structured.describe_invalid_values import JSON_TYPE_LABELS
from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.type_node import MAX_DISTANCE, TypeNode
from locus.core.structured.validation_context import ValidationContext, construct_value, join_path


@attrs.frozen(eq=False)
class LengthBounds:
    """How many items a collection may have."""

    minimum: int | None = None
    maximum: int | None = None

    def build_schema_keywords(self, suffix: str) -> Schema:
        """Build the schema keywords, which end in ``suffix``: ``"Items"`` or ``"Properties"``."""
        bounds = {f"min{suffix}": self.minimum, f"max{suffix}": self.maximum}
        return {keyword: bound for keyword, bound in bounds.items() if bound is not None}

    def check_length(self, raw: Any, path: str, ctx: ValidationContext) -> None:
        """Record an issue if there are too few or too many items."""
        if self.minimum is not None and len(raw) < self.minimum:
            ctx.add_issue(
                path, f"expected at least {_format_item_count(self.minimum)}, got {len(raw)}"
            )
        if self.maximum is not None and len(raw) > self.maximum:
            ctx.add_issue(
                path, f"expected at most {_format_item_count(self.maximum)}, got {len(raw)}"
            )


def _format_item_count(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"


@attrs.frozen(eq=False)
class ArrayNode:
    """A list, set or tuple of any length."""

    item_node: TypeNode
    construct: Callable[[list[Any]], Any]
    length: LengthBounds

    expected = JSON_TYPE_LABELS["array"]

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        items = self.item_node.build_schema(defs)
        return {"type": "array", "items": items, **self.length.build_schema_keywords("Items")}

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        if not isinstance(raw, list):
            return ctx.add_type_issue(path, self.expected, raw)
        issues_before = len(ctx.issues)
        items = [self.item_node.validate(item, f"{path}[{i}]", ctx) for i, item in enumerate(raw)]
        self.length.check_length(raw, path, ctx)
        if len(ctx.issues) > issues_before:
            return None
        return construct_value(lambda: self.construct(items), path, ctx)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return 0 if isinstance(raw, list) else MAX_DISTANCE


@attrs.frozen(eq=False)
class TupleNode:
    """A tuple of a fixed length, each item with its own type."""

    item_nodes: Sequence[TypeNode]

    @property
    def expected(self) -> str:
        return f"an array of {_format_item_count(len(self.item_nodes))}"

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        items = [item.build_schema(defs) for item in self.item_nodes]
        return add_array_items(
            {
                "type": "array",
                "prefixItems": items,
                "minItems": len(items),
                "maxItems": len(items),
            }
        )

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        if not isinstance(raw, list):
            return ctx.add_type_issue(path, self.expected, raw)
        if len(raw) != len(self.item_nodes):
            return ctx.add_issue(path, f"expected {self.expected}, got {len(raw)}")
        pairs = enumerate(zip(self.item_nodes, raw, strict=True))
        return tuple(node.validate(item, f"{path}[{i}]", ctx) for i, (node, item) in pairs)

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        if not isinstance(raw, list):
            return MAX_DISTANCE
        return min(10 * abs(len(raw) - len(self.item_nodes)), MAX_DISTANCE - 1)


@attrs.frozen(eq=False)
class MappingNode:
    """A mapping whose keys are not known in advance."""

    key_node: TypeNode
    value_node: TypeNode
    length: LengthBounds

    expected = JSON_TYPE_LABELS["object"]

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        schema: Schema = {
            "type": "object",
            "additionalProperties": self.value_node.build_schema(defs),
        }
        keys = self.key_node.build_schema(defs)
        if "$ref" in keys or (keys.get("type") == "string" and len(keys) > 1):
            schema["propertyNames"] = keys
        return {**schema, **self.length.build_schema_keywords("Properties")}

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        if not isinstance(raw, dict):
            return ctx.add_type_issue(path, self.expected, raw)
        mapping = {}
        for name, item in raw.items():
            item_path = join_path(path, name)
            issues_before = len(ctx.issues)
            key = self.key_node.validate(name, f"{item_path} (the key)", ctx)
            value = self.value_node.validate(item, item_path, ctx)
            if len(ctx.issues) == issues_before:
                mapping[key] = value
        self.length.check_length(raw, path, ctx)
        return mapping

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return 1 if isinstance(raw, dict) else MAX_DISTANCE
