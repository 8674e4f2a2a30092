"""The base class of termination conditions, and their combinations by ``|`` and ``&``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Message

if TYPE_CHECKING:
    from locus.core.state import AgentState


@attrs.frozen
class RunSnapshot:
    """The data about a run that a condition can examine, after a step.

    :param state: the state after the step.
    :param elapsed: seconds since the run began.
    :param message: the model's last message, or None before the first.
    :param initial_state: the state with which the run began: what earlier runs of the thread did
        does not count towards the limits of this one. None if all of ``state`` is of this run.
    """

    state: AgentState
    elapsed: float = 0.0
    message: Message | None = None
    initial_state: AgentState | None = None

    @property
    def iterations(self) -> int:
        """The number of model calls in this run."""
        return self.state.iteration - (self.initial_state.iteration if self.initial_state else 0)

    @property
    def prompt_tokens(self) -> int:
        """Prompt tokens of this run, as far as the provider reports them."""
        return self._count_tokens("prompt_tokens")

    @property
    def completion_tokens(self) -> int:
        """Completion tokens of this run, as far as the provider reports them."""
        return self._count_tokens("completion_tokens")

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens of this run."""
        return self.prompt_tokens + self.completion_tokens

    def has_called_tool(self, tool_name: str) -> bool:
        """Whether the model has called the tool in this run, in its last message or before."""
        if self.message and any(call.name == tool_name for call in self.message.tool_calls):
            return True
        previous_count = len(self.initial_state.tool_executions) if self.initial_state else 0
        return any(
            execution.tool_name == tool_name
            for execution in islice(self.state.tool_executions, previous_count, None)
        )

    def _count_tokens(self, usage_key: str) -> int:
        previous = self.initial_state.usage.get(usage_key, 0) if self.initial_state else 0
        return self.state.usage.get(usage_key, 0) - previous


class TerminationCondition(ABC):
    """The base class of conditions. A subclass is an immutable value with a ``check``."""

    __slots__ = ()

    @abstractmethod
    def check(self, snapshot: RunSnapshot) -> str | None:
        """Return the reason to stop the run, or None to continue."""

    def __or__(self, other: TerminationCondition) -> TerminationCondition:
        """Stops when either condition is met."""
        return _combine(AnyOf, self, other)

    def __and__(self, other: TerminationCondition) -> TerminationCondition:
        """Stops when both conditions are met after the same step."""
        return _combine(AllOf, self, other)

    def __bool__(self) -> NoReturn:
        # Otherwise `a or b` would be `a`, without an error.
        raise TypeError("conditions are combined with | and &, not with `or` and `and`")


def _combine(
    cls: type[AnyOf] | type[AllOf], left: TerminationCondition, right: TerminationCondition
) -> TerminationCondition:
    if not isinstance(right, TerminationCondition):
        return NotImplemented
    combined = cls((left, right))
    return combined if len(combined.conditions) > 1 else combined.conditions[0]


def _iter_conditions(value: Iterable[TerminationCondition], cls: type[Any]) -> Iterator[Any]:
    for condition in value:
        if not isinstance(condition, TerminationCondition):
            raise TypeError(
                f"{cls.__name__} takes conditions, not {type(condition).__name__} {condition!r}"
            )
        if isinstance(condition, cls):
            yield from condition.conditions
        else:
            yield condition


def _flatten(value: Iterable[TerminationCondition], cls: type[Any]) -> tuple[Any, ...]:
    """The conditions, each once; those of the same class are replaced by their members."""
    if not isinstance(value, Iterable):
        raise TypeError(f"{cls.__name__} takes a sequence of conditions, not {value!r}")
    conditions: list[TerminationCondition] = []
    for condition in _iter_conditions(value, cls):
        if condition not in conditions:
            conditions.append(condition)
    if not conditions:
        raise ConfigurationError(f"{cls.__name__} needs at least one condition")
    return tuple(conditions)


def _to_anyof_conditions(value: Iterable[TerminationCondition]) -> tuple[TerminationCondition, ...]:
    return _flatten(value, AnyOf)


def _to_allof_conditions(value: Iterable[TerminationCondition]) -> tuple[TerminationCondition, ...]:
    return _flatten(value, AllOf)


@attrs.frozen(repr=False)
class AnyOf(TerminationCondition):
    """The result of ``|``. The reason is that of the first condition that is met."""

    conditions: tuple[TerminationCondition, ...] = attrs.field(converter=_to_anyof_conditions)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """The reason of the first condition that is met."""
        for condition in self.conditions:
            reason = condition.check(snapshot)
            if reason is not None:
                return reason
        return None

    def __repr__(self) -> str:
        return _format_conditions(self.conditions, " | ", AllOf)


@attrs.frozen(repr=False)
class AllOf(TerminationCondition):
    """The result of ``&``. The reason names every condition, for all of them are met."""

    conditions: tuple[TerminationCondition, ...] = attrs.field(converter=_to_allof_conditions)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """The reasons of all conditions, if all are met."""
        reasons = []
        for condition in self.conditions:
            reason = condition.check(snapshot)
            if reason is None:
                return None
            reasons.append(reason)
        return " and ".join(reasons)

    def __repr__(self) -> str:
        return _format_conditions(self.conditions, " & ", AnyOf)


def _format_conditions(
    conditions: Iterable[TerminationCondition], operator: str, other: type[Any]
) -> str:
    return operator.join(
        f"({condition!r})" if isinstance(condition, other) else repr(condition)
        for condition in conditions
    )
