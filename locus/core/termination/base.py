"""The base class of termination conditions, and their combinations by ``|`` and ``&``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import attrs

from locus.core.errors import ConfigurationError
from locus.core.termination.run_snapshot import RunSnapshot


class TerminationCondition(ABC):
    """The base class of conditions. A subclass is an immutable value with a ``check``."""

    __slots__ = ()

    @abstractmethod
    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason to stop the run, or None to continue."""

    def is_quick(self) -> bool:
        """Whether :meth:`check` takes so little time that an event loop may wait for it.

        False unless a subclass says so: a check may be of the user's own.
        """
        return False

    def __or__(self, other: TerminationCondition) -> TerminationCondition:
        """Make a condition that is met when either of the two is met."""
        return _combine_conditions(AnyOf, self, other)

    def __and__(self, other: TerminationCondition) -> TerminationCondition:
        """Make a condition that is met when both are met after the same step."""
        return _combine_conditions(AllOf, self, other)

    def __bool__(self) -> NoReturn:
        # Otherwise `a or b` would be `a`, without an error.
        raise TypeError("conditions are combined with | and &, not with `or` and `and`")


def _combine_conditions(
    cls: type[AnyOf] | type[AllOf], left: TerminationCondition, right: TerminationCondition
) -> TerminationCondition:
    """Combine two conditions; equal ones are one condition."""
    if not isinstance(right, TerminationCondition):
        return NotImplemented
    combined = cls((left, right))
    return combined if len(combined.conditions) > 1 else combined.conditions[0]


def _iter_flattened_conditions(
    conditions: Iterable[TerminationCondition], cls: type[Any]
) -> Iterator[Any]:
    """Iterate over the conditions; those of ``cls`` are replaced by their members."""
    for condition in conditions:
        if not isinstance(condition, TerminationCondition):
            raise TypeError(
                f"{cls.__name__} takes conditions, not {type(condition).__name__} {condition!r}"
            )
        if isinstance(condition, cls):
            yield from condition.conditions
        else:
            yield condition


def _flatten_conditions(value: Iterable[TerminationCondition], cls: type[Any]) -> tuple[Any, ...]:
    """Return the conditions, each once; those of ``cls`` are replaced by their members."""
    if not isinstance(value, Iterable):
        raise TypeError(f"{cls.__name__} takes a sequence of conditions, not {value!r}")
    conditions: list[TerminationCondition] = []
    for condition in _iter_flattened_conditions(value, cls):
        if condition not in conditions:
            conditions.append(condition)
    if not conditions:
        raise ConfigurationError(f"{cls.__name__} needs at least one condition")
    return tuple(conditions)


def _to_anyof_conditions(value: Iterable[TerminationCondition]) -> tuple[TerminationCondition, ...]:
    return _flatten_conditions(value, AnyOf)


def _to_allof_conditions(value: Iterable[TerminationCondition]) -> tuple[TerminationCondition, ...]:
    return _flatten_conditions(value, AllOf)


@attrs.frozen(repr=False)
class AnyOf(TerminationCondition):
    """The result of ``|``. The reason is that of the first condition that is met."""

    conditions: tuple[TerminationCondition, ...] = attrs.field(converter=_to_anyof_conditions)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason of the first condition that is met, or None."""
        for condition in self.conditions:
            reason = condition.check(snapshot)
            if reason is not None:
                return reason
        return None

    def is_quick(self) -> bool:
        """Whether all of the conditions are quick."""
        return all(condition.is_quick() for condition in self.conditions)

    def __repr__(self) -> str:
        return _format_conditions(self.conditions, " | ", AllOf)


@attrs.frozen(repr=False)
class AllOf(TerminationCondition):
    """The result of ``&``. The reason names every condition, because all of them are met."""

    conditions: tuple[TerminationCondition, ...] = attrs.field(converter=_to_allof_conditions)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reasons of all conditions if all are met, or None."""
        reasons = []
        for condition in self.conditions:
            reason = condition.check(snapshot)
            if reason is None:
                return None
            reasons.append(reason)
        return " and ".join(reasons)

    def is_quick(self) -> bool:
        """Whether all of the conditions are quick."""
        return all(condition.is_quick() for condition in self.conditions)

    def __repr__(self) -> str:
        return _format_conditions(self.conditions, " & ", AnyOf)


def _format_conditions(
    conditions: Iterable[TerminationCondition], operator: str, parenthesized_class: type[Any]
) -> str:
    """Join the reprs of conditions by an operator.

    :param parenthesized_class: conditions of this class are put in parentheses.
    """
    return operator.join(
        f"({condition!r})" if isinstance(condition, parenthesized_class) else repr(condition)
        for condition in conditions
    )
