"""What stands beside a type in ``Annotated``: bounds, and notes for its schema.

``msgspec.Meta`` says both; plain text, and ``Doc`` of :pep:`727`, describe. What
``annotated_types`` and pydantic's ``Field`` say is taken over where it means the same here. A type
with anything else of pydantic's (validators, a discriminator) is left to pydantic, which reads it
by its own rules. A ``Predicate`` is called. What nobody here knows is passed over, as :pep:`593`
wants.
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
_NOTES: Final = ("title", "description", "examples")
_PYDANTIC: Final = ("pydantic", "pydantic_core")


@attrs.define(eq=False)
class Said:
    """What was found.

    :ivar bounds: arguments of ``msgspec.Meta``.
    :ivar notes: members of the schema.
    :ivar checks: what has to be true of the value, each with its name.
    :ivar for_pydantic: some of it only pydantic can read.
    """

    bounds: dict[str, Any] = attrs.Factory(dict)
    notes: Schema = attrs.Factory(dict)
    checks: list[tuple[str, Callable[[Any], Any]]] = attrs.Factory(list)
    for_pydantic: bool = False

    def hear(self, extra: Any) -> None:
        """Take in one thing of those beside the type."""
        home = type(extra).__module__.partition(".")[0]
        if isinstance(extra, str):
            self.notes["description"] = extra
        elif isinstance(extra, msgspec.Meta):
            self._hear_bounds(extra)
            self._hear_notes(extra, extra.extra_json_schema)
        elif home in _PYDANTIC:
            self._hear_pydantic(extra)
        elif _is_made_of(extra, "Predicate"):
            self.checks.append((_name(extra.func), extra.func))
        elif home == "annotated_types":
            self._hear_bounds(extra)
        elif _is_made_of(extra, "GroupedMetadata"):
            for part in extra:
                self.hear(part)
        if isinstance(said := getattr(extra, "documentation", None), str):
            self.notes["description"] = said

    def _hear_bounds(self, extra: Any) -> None:
        for name in _BOUNDS:
            if (value := getattr(extra, name, None)) is not None:
                self.bounds[name] = _plain(value) if isinstance(value, Decimal) else value

    def _hear_notes(self, extra: Any, more: Any) -> None:
        for name in _NOTES:
            if (value := getattr(extra, name)) is not None:
                self.notes[name] = value
        if isinstance(more, Mapping):
            self.notes |= more

    def _hear_pydantic(self, extra: Any) -> None:
        if type(extra).__name__ == "FieldInfo":
            self._hear_notes(extra, extra.json_schema_extra)
            self.for_pydantic |= extra.discriminator is not None
            for part in extra.metadata:
                self.hear(part)
        elif getattr(extra, "__dict__", {"?": None}).keys() <= {*_BOUNDS, "strict"}:
            self._hear_bounds(extra)  # how a Field holds its pattern
        else:
            self.for_pydantic = True


def _is_made_of(extra: Any, name: str) -> bool:
    """Whether it is what ``annotated_types`` calls so, or of a class made of that."""
    bases = type(extra).__mro__
    return any(base.__module__ == "annotated_types" and base.__name__ == name for base in bases)


def _name(function: Any) -> str:
    """What a fault calls a check: ``Not(isdigit)`` holds another."""
    if type(function).__name__ == "Not" and hasattr(function, "func"):
        return f"not {_name(function.func)}"
    return str(getattr(function, "__qualname__", None) or repr(function))


def _plain(bound: Decimal) -> int | float | Decimal:
    """A bound as JSON Schema has it, a number."""
    if not bound.is_finite():
        return bound  # which msgspec refuses
    return int(bound) if bound == bound.to_integral_value() else float(bound)


def said_beside(extras: Iterable[Any], where: str) -> Said:
    """What the further arguments of an ``Annotated`` say.

    :param where: the way to the type, for errors.
    :raises ConfigurationError: a bound is none that JSON Schema has.
    """
    said = Said()
    for extra in extras:
        said.hear(extra)
    try:
        msgspec.Meta(**said.bounds)
    except (TypeError, ValueError) as error:
        if any(type(extra).__module__.startswith("pydantic") for extra in extras):
            said.for_pydantic = True
        else:
            raise ConfigurationError(f"{where}: {error}") from error
    return said
