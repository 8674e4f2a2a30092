"""``TypeNode``: the protocol that every node of the type tree implements.

A type is a tree of nodes. The same tree builds the JSON Schema and validates the values, so that
the two cannot disagree. Validation is as strict as JSON: no number is read from a string, and no
string from a number, except where JSON has no other form (a date, bytes in base64). All issues are
recorded with their path, not only the first. :mod:`locus.core.structured.type_node_builder` builds
the tree of a type.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from locus.core.structured.schema_definitions import Schema, SchemaDefinitions
from locus.core.structured.validation_context import ValidationContext

MAX_DISTANCE: Final = 1000
"""The distance of a value whose JSON type is wrong."""


class TypeNode(Protocol):
    """A node of the type tree."""

    @property
    def expected(self) -> str:
        """The expected value in a message: ``an integer``."""
        ...

    def build_schema(self, defs: SchemaDefinitions) -> Schema:
        """Build the JSON Schema of the type; the schema of a named type is added to ``defs``."""
        ...

    def validate(self, raw: Any, path: str, ctx: ValidationContext) -> Any:
        """Convert decoded JSON to a value of the type.

        Issues are recorded in ``ctx``; if there are any, the result has no meaning.
        """
        ...

    def measure_distance(self, raw: Any, ctx: ValidationContext) -> int:
        """Estimate how far ``raw`` is from the type, from 0 (no difference) to ``MAX_DISTANCE``."""
        ...


def is_valid_value(node: TypeNode, raw: Any, ctx: ValidationContext) -> bool:
    """Return whether ``raw`` is a value of the node's type, by validating it completely."""
    trial = ctx.make_trial_context()
    node.validate(raw, "", trial)
    return not trial.issues
