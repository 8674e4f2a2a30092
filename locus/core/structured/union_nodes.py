"""The node of the type tree for a union: it selects the member that a value is closest to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from locus.core.structured.leaf_nodes import ChoiceNode
from locus.core.structured.object_nodes import ObjectNode
from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.type_node import MAX_DISTANCE, TypeNode
from locus.core.structured.validation_context import ValidationContext, ValidationIssue, join_path
from locus.core.structured.wrapper_nodes import AnnotatedNode


@attrs.frozen(eq=False)
class UnionNode:
    """One of several types: the closest that is valid, and the first of those equally close."""

    members: Sequence[TypeNode]

    @property
    def expected(self) -> str:
        return " or ".join(dict.fromkeys(node.expected for node in self.members))

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        schemas: list[Schema] = []
        for node in self.members:
            schema = node.build_schema(defs)
            schemas += [schema] if schema not in schemas else []
        return {"anyOf": schemas} if len(schemas) > 1 else schemas[0]

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        key = (id(raw), id(self))
        value, issues = ctx.union_results.get(key) or self._validate_uncached(raw, path, ctx)
        if isinstance(raw, (dict, list)):
            ctx.union_results[key] = value, issues
        ctx.issues += issues
        return value

    def _validate_uncached(
        self, raw: Any, path: str, ctx: ValidationContext
    ) -> tuple[Any, list[ValidationIssue]]:
        """Validate ``raw`` against the members, the closest first; return a value and issues."""
        distances = {node: node.measure_distance(raw, ctx) for node in self.members}
        if (issues := self._find_discriminator_issues(raw, path, ctx)) is not None:
            return None, issues
        closest_issues: list[ValidationIssue] = []
        for node in sorted(self.members, key=distances.__getitem__):
            if distances[node] == MAX_DISTANCE:
                break
            trial = ctx.make_trial_context()
            value = node.validate(raw, path, trial)
            if not trial.issues:
                return value, []
            closest_issues = closest_issues or trial.issues
        if not closest_issues:
            ctx = ctx.make_trial_context()
            ctx.add_type_issue(path, self.expected, raw)
        return None, closest_issues or ctx.issues

    def _find_discriminator_issues(
        self, raw: Any, path: str, ctx: ValidationContext
    ) -> list[ValidationIssue] | None:
        """Return the issues of an object whose discriminator belongs to no class of the union.

        None if there is no such issue, or if not every class has a discriminator.
        """
        if not isinstance(raw, dict):
            return None
        nodes = [node.node if isinstance(node, AnnotatedNode) else node for node in self.members]
        discriminators = [node.discriminators for node in nodes if isinstance(node, ObjectNode)]
        if len(discriminators) < 2:
            return None
        others = [node for node in nodes if not isinstance(node, ObjectNode)]
        if any(node.measure_distance(raw, ctx) < MAX_DISTANCE for node in others):
            return None  # the object may be meant for a member that is not a class
        for name in discriminators[0]:
            choices = [by_name[name] for by_name in discriminators if name in by_name]
            if len(choices) < len(discriminators) or len({repr(c.choices) for c in choices}) < 2:
                continue
            any_choice = ChoiceNode([pair for node in choices for pair in node.choices])
            trial = ctx.make_trial_context()
            if name in raw:
                any_choice.validate(raw[name], join_path(path, name), trial)
            else:
                message = f"required, but missing: expected {any_choice.expected}"
                trial.add_issue(join_path(path, name), message)
            if trial.issues:
                return trial.issues
        return None

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        return min(node.measure_distance(raw, ctx) for node in self.members)
