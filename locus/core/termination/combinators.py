"""What a condition is, what it sees of a run, and how ``|`` and ``&`` make one of several."""

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
    """A run as the conditions see it, after a step.

    :param state: the state after the step.
    :param elapsed: seconds since the run began.
    :param message: the model's last answer, or None before the first.
    :param before: the state with which the run began. What a thread did in earlier runs does not
        count towards the limits of this one. None where everything in ``state`` is this run's.
    """

    state: AgentState
    elapsed: float = 0.0
    message: Message | None = None
    before: AgentState | None = None

    @property
    def iterations(self) -> int:
        """The model calls of this run."""
        return self.state.iteration - (self.before.iteration if self.before else 0)

    @property
    def prompt_tokens(self) -> int:
        """Tokens that the model read in this run, as far as its provider reports them."""
        return self._tokens("prompt_tokens")

    @property
    def completion_tokens(self) -> int:
        """Tokens that the model wrote in this run, as far as its provider reports them."""
        return self._tokens("completion_tokens")

    @property
    def total_tokens(self) -> int:
        """Tokens read and written in this run."""
        return self.prompt_tokens + self.completion_tokens

    def called(self, tool: str) -> bool:
        """Whether the model asked for ``tool`` in this run, in its last answer or before."""
        if self.message and any(call.name == tool for call in self.message.tool_calls):
            return True
        earlier = len(self.before.tool_executions) if self.before else 0
        return any(
            execution.tool_name == tool
            for execution in islice(self.state.tool_executions, earlier, None)
        )

    def _tokens(self, kind: str) -> int:
        earlier = self.before.usage.get(kind, 0) if self.before else 0
        return self.state.usage.get(kind, 0) - earlier


class TerminationCondition(ABC):
    """The base of every condition. A subclass is an immutable value with a ``check``."""

    __slots__ = ()

    @abstractmethod
    def check(self, snapshot: RunSnapshot) -> str | None:
        """Why the run should stop, or None to go on."""

    def __or__(self, other: TerminationCondition) -> TerminationCondition:
        """Stops where either condition says so."""
        return _combined(AnyOf, self, other)

    def __and__(self, other: TerminationCondition) -> TerminationCondition:
        """Stops where both conditions say so, after the same step."""
        return _combined(AllOf, self, other)

    def __bool__(self) -> NoReturn:
        # `a or b` would be `a` alone, and nobody would notice.
        raise TypeError("conditions are combined with | and &, not with `or` and `and`")


def _combined(
    kind: type[AnyOf] | type[AllOf], left: TerminationCondition, right: TerminationCondition
) -> TerminationCondition:
    if not isinstance(right, TerminationCondition):
        return NotImplemented
    both = kind((left, right))
    return both if len(both.conditions) > 1 else both.conditions[0]


def _members(value: Iterable[TerminationCondition], kind: type[Any]) -> Iterator[Any]:
    for condition in value:
        if not isinstance(condition, TerminationCondition):
            raise TypeError(
                f"{kind.__name__} takes conditions, not {type(condition).__name__} {condition!r}"
            )
        if isinstance(condition, kind):
            yield from condition.conditions
        else:
            yield condition


def _flat(value: Iterable[TerminationCondition], kind: type[Any]) -> tuple[Any, ...]:
    """The conditions, those of nested ones of the same kind among them, each once."""
    if not isinstance(value, Iterable):
        raise TypeError(f"{kind.__name__} takes a sequence of conditions, not {value!r}")
    members: list[TerminationCondition] = []
    for condition in _members(value, kind):
        if condition not in members:
            members.append(condition)
    if not members:
        raise ConfigurationError(f"{kind.__name__} needs at least one condition")
    return tuple(members)


def _anyof(value: Iterable[TerminationCondition]) -> tuple[TerminationCondition, ...]:
    return _flat(value, AnyOf)


def _allof(value: Iterable[TerminationCondition]) -> tuple[TerminationCondition, ...]:
    return _flat(value, AllOf)


@attrs.frozen(repr=False)
class AnyOf(TerminationCondition):
    """What ``|`` makes. The first condition that fires, in the order written, is the reason."""

    conditions: tuple[TerminationCondition, ...] = attrs.field(converter=_anyof)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """The reason of the first that fires."""
        for condition in self.conditions:
            reason = condition.check(snapshot)
            if reason is not None:
                return reason
        return None

    def __repr__(self) -> str:
        return _written(self.conditions, " | ", AllOf)


@attrs.frozen(repr=False)
class AllOf(TerminationCondition):
    """What ``&`` makes. The reason names every condition, for all of them fired."""

    conditions: tuple[TerminationCondition, ...] = attrs.field(converter=_allof)

    def check(self, snapshot: RunSnapshot) -> str | None:
        """The reasons of all, where all fire."""
        reasons = []
        for condition in self.conditions:
            reason = condition.check(snapshot)
            if reason is None:
                return None
            reasons.append(reason)
        return " and ".join(reasons)

    def __repr__(self) -> str:
        return _written(self.conditions, " & ", AnyOf)


def _written(conditions: Iterable[TerminationCondition], sign: str, other: type[Any]) -> str:
    return sign.join(
        f"({condition!r})" if isinstance(condition, other) else repr(condition)
        for condition in conditions
    )
