"""The metadata of an ``Annotated`` type: bounds, predicates, descriptions.

``msgspec.Meta`` may have bounds and descriptions. Plain text, and ``Doc`` of :pep:`727`, are
descriptions. ``annotated_types`` and pydantic's ``Field`` are supported as far as they mean the
same as in msgspec. A type with any other metadata of pydantic's (validators, a discriminator) is
left to pydantic, which validates it by its own rules. A ``Predicate`` is called. Unknown metadata
is ignored, as :pep:`593` asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import attrs
import msgspec

from locus.core.errors import ConfigurationError
from locus.core.structured.schema_definitions import Schema

_BOUNDS: Final = (
    "gt",
    "ge",
    "lt",
    "le",
    "multiple_of",
    "pattern",
    "min_length",
    "max_length",
    "tz",
)
_SCHEMA_METADATA: Final = ("title", "description", "examples")
_PYDANTIC_PACKAGES: Final = ("pydantic", "pydantic_core")


@attrs.define(eq=False)
class AnnotatedMetadata:
    """The metadata of one ``Annotated`` type, parsed.

    :ivar bounds: arguments of ``msgspec.Meta``.
    :ivar schema_metadata: further keywords of the schema.
    :ivar predicates: what has to be true of the value, each with its name.
    :ivar needs_pydantic: some of the metadata is understood by pydantic only.
    """

    bounds: dict[str, Any] = attrs.Factory(dict)
    schema_metadata: Schema = attrs.Factory(dict)
    predicates: list[tuple[str, Callable[[Any], Any]]] = attrs.Factory(list)
    needs_pydantic: bool = False

    def add_item(self, item: Any) -> None:
        """Parse one item of the metadata."""
        package = type(item).__module__.partition(".")[0]
        if isinstance(item, type) and hasattr(item, "__get_pydantic_core_schema__"):
            package = item.__module__.partition(".")[0]  # pydantic.Json[...] has the class itself
        if isinstance(item, str):
            self.schema_metadata["description"] = item
        elif isinstance(item, msgspec.Meta):
            self._add_bounds(item)
            self._add_schema_metadata(item, item.extra_json_schema)
        elif package in _PYDANTIC_PACKAGES:
            self._add_pydantic_item(item)
        elif _is_annotated_types_instance(item, "Predicate"):
            self.predicates.append((_format_predicate_name(item.func), item.func))
        elif package == "annotated_types":
            self._add_bounds(item)
        elif _is_annotated_types_instance(item, "GroupedMetadata"):
            for member in item:
                self.add_item(member)
        if isinstance(documentation := getattr(item, "documentation", None), str):
            self.schema_metadata["description"] = documentation

    def _add_bounds(self, item: Any) -> None:
        """Add the attributes of ``item`` that are bounds: ``gt``, ``pattern``, ``max_length``."""
        for name in _BOUNDS:
            if (value := getattr(item, name, None)) is not None:
                is_decimal = isinstance(value, Decimal)
                self.bounds[name] = _convert_decimal_bound(value) if is_decimal else value

    def _add_schema_metadata(self, item: Any, schema_extra: Any) -> None:
        """Add the title, description and examples of ``item``, and further schema keywords."""
        for name in _SCHEMA_METADATA:
            if (value := getattr(item, name)) is not None:
                self.schema_metadata[name] = value
        if isinstance(schema_extra, Mapping):
            self.schema_metadata |= schema_extra

    def _add_pydantic_item(self, item: Any) -> None:
        """Add what a pydantic item has in common with msgspec; the rest needs pydantic."""
        if type(item).__name__ == "FieldInfo":
            self._add_schema_metadata(item, item.json_schema_extra)
            self.needs_pydantic |= item.discriminator is not None
            for member in item.metadata:
                self.add_item(member)
        elif (members := getattr(item, "__dict__", {})) and members.keys() <= {*_BOUNDS, "strict"}:
            self._add_bounds(item)  # the class in which a Field stores its pattern
        else:
            self.needs_pydantic = True


def _is_annotated_types_instance(item: Any, class_name: str) -> bool:
    """Return whether ``item`` is an instance of this class of ``annotated_types``."""
    bases = type(item).__mro__
    return any(
        base.__module__ == "annotated_types" and base.__name__ == class_name for base in bases
    )


def _format_predicate_name(predicate: Any) -> str:
    """Format the name of a predicate for an issue; ``Not(str.isdigit)`` wraps another predicate."""
    if type(predicate).__name__ == "Not" and hasattr(predicate, "func"):
        return f"not {_format_predicate_name(predicate.func)}"
    return str(getattr(predicate, "__qualname__", None) or repr(predicate))


def _convert_decimal_bound(bound: Decimal) -> int | float | Decimal:
    """Convert a bound to a number that JSON Schema can hold."""
    if not bound.is_finite():
        return bound  # msgspec rejects it with an error
    return int(bound) if bound == bound.to_integral_value() else float(bound)


def parse_annotated_metadata(metadata_items: Iterable[Any], path: str) -> AnnotatedMetadata:
    """Parse the metadata of an ``Annotated`` type.

    :param metadata_items: the arguments of ``Annotated`` after the type.
    :param path: where the type is, for errors.
    :raises ConfigurationError: if JSON Schema has no such bound.
    """
    metadata = AnnotatedMetadata()
    for item in metadata_items:
        metadata.add_item(item)
    try:
        msgspec.Meta(**metadata.bounds)
    except (TypeError, ValueError) as exc:
        if any(type(item).__module__.startswith("pydantic") for item in metadata_items):
            metadata.needs_pydantic = True
        else:
            raise ConfigurationError(f"{path}: {exc}") from exc
    return metadata
