"""What an agent knows between two steps: one frozen value, which JSON keeps whole.

Everything that a run needs to go on stands in :class:`AgentState`, so a checkpoint is the state and
nothing else. A step makes a new state out of the last one: :meth:`AgentState.evolve` and the
``with_`` methods look at what is new and take over the rest unseen, so that a step after ten
thousand messages costs what the first one did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import attrs

from locus.core.attrs_validators import boolean, string, string_or_none
from locus.core.errors import LocusError
from locus.core.frozendict import EMPTY, FrozenDict, frozen_dict, snapshot
from locus.core.messages import Message, Role, ToolCall

VERSION: Final = 1
"""The format of :meth:`AgentState.to_json`. New fields leave it as it is, because older versions of
Locus skip what they do not know; it goes up where they would read something wrong."""


class StateFormatError(LocusError, ValueError):
    """This is not a state that was saved whole by this version of Locus or an older one.

    :ivar newer: it was saved by a newer version, in a format that this one does not know.
    """

    def __init__(self, message: str, *, newer: bool = False) -> None:
        super().__init__(message)
        self.newer = newer


def _own(value: Mapping[str, Any] | None, name: str) -> FrozenDict[str, Any]:
    """The caller's JSON, apart from what the caller may still change."""
    try:
        return frozen_dict(snapshot(frozen_dict(value, name)))
    except RecursionError:
        raise ValueError(f"{name} is nested too deep, or contains itself") from None


def _arguments(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    return _own(value, "ToolExecution.arguments")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not _is_whole(value):
        raise TypeError(f"{type(owner).__name__}.{field.name} is a whole number, not {value!r}")


def _duration(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, float) and not _is_whole(value):
        raise TypeError(f"ToolExecution.{field.name} is a number or None, not {value!r}")


@attrs.frozen
class ToolExecution:
    """A tool that ran, and what came of it.

    :param tool_name: the tool.
    :param tool_call_id: the ``id`` of the call.
    :param arguments: what it ran with, as JSON.
    :param result: its output as the model reads it, or None where it failed.
    :param error: why it failed, or None.
    :param duration_ms: how long it ran, in milliseconds; None where nothing ran.
    :param iteration: the model call that asked for it, counted from 1.
    :param idempotent: whether a repeat with the same arguments may be given this result.
    """

    tool_name: str = attrs.field(validator=string)
    tool_call_id: str = attrs.field(validator=string)
    arguments: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_arguments)
    result: str | None = attrs.field(default=None, validator=string_or_none)
    error: str | None = attrs.field(default=None, validator=string_or_none)
    duration_ms: float | None = attrs.field(default=None, validator=_duration)
    iteration: int = attrs.field(default=0, validator=_whole)
    idempotent: bool = attrs.field(default=False, validator=boolean)

    @property
    def success(self) -> bool:
        """Whether the tool ran without an error."""
        return self.error is None


def _messages(value: Iterable[Message]) -> tuple[Message, ...]:
    return _all_of(Message, value, "messages")


def _executions(value: Iterable[ToolExecution]) -> tuple[ToolExecution, ...]:
    return _all_of(ToolExecution, value, "tool_executions")


def _all_of(kind: type[Any], value: Iterable[Any], name: str) -> tuple[Any, ...]:
    if type(value) is not tuple and (
        isinstance(value, (str, Mapping)) or not isinstance(value, Iterable)
    ):
        raise TypeError(
            f"AgentState.{name} is a sequence of {kind.__name__}, not {type(value).__name__}"
        )
    items = tuple(value)
    for position, item in enumerate(items):
        if not isinstance(item, kind):
            raise TypeError(
                f"AgentState.{name}[{position}] is {type(item).__name__}, not {kind.__name__}"
            )
    return items


def _provider_state(value: Mapping[str, Any] | None) -> FrozenDict[str, Any] | None:
    return None if value is None else _own(value, "AgentState.provider_state")


def _metadata(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    return _own(value, "AgentState.metadata")


def _usage(value: Mapping[str, int] | None) -> FrozenDict[str, int]:
    usage = frozen_dict(value, "AgentState.usage")
    for name, count in usage.items():
        if not isinstance(name, str) or not _is_whole(count):
            raise TypeError(
                f"AgentState.usage has whole numbers under names, not {name!r}: {count!r}"
            )
    return usage


def _confidence(value: float) -> float:
    if not isinstance(value, (int, float)):
        raise TypeError(f"AgentState.confidence is a number, not {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"AgentState.confidence is between 0 and 1, not {value!r}")
    return float(value)


@attrs.frozen
class AgentState:
    """All that a run has come to.

    :param messages: the conversation.
    :param tool_executions: every tool that ran, in the order of the calls.
    :param iteration: how many times the model was called.
    :param provider_state: what a server that keeps the conversation wants to see again.
    :param metadata: the caller's own notes; JSON.
    :param usage: tokens of all model calls together, under the keys of ``ModelResponse.usage``.
    :param confidence: how sure the agent is of its answer, from 0 to 1. It is 0 until something
        (reflexion, a hook) has judged, so no condition on it is met by not having looked.
    """

    messages: tuple[Message, ...] = attrs.field(default=(), converter=_messages)
    tool_executions: tuple[ToolExecution, ...] = attrs.field(default=(), converter=_executions)
    iteration: int = attrs.field(default=0, validator=_whole)
    provider_state: Mapping[str, Any] | None = attrs.field(default=None, converter=_provider_state)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_metadata)
    usage: Mapping[str, int] = attrs.field(default=EMPTY, converter=_usage)
    confidence: float = attrs.field(default=0.0, converter=_confidence)

    def evolve(self, **changes: Any) -> Self:
        """This state with other values in some fields.

        Does what :func:`attrs.evolve` does, but checks the fields that change and no others.
        """
        fields = attrs.fields_dict(type(self))
        for name, value in changes.items():
            if name not in fields:
                raise TypeError(f"AgentState has no field {name!r}; it has {', '.join(fields)}")
            convert, check = fields[name].converter, fields[name].validator
            if callable(convert):
                changes[name] = convert(value)
            if check is not None:
                check(self, fields[name], value)
        return self._with(**changes)

    def with_messages(self, *messages: Message) -> Self:
        """This state with more messages at the end."""
        return self._with(messages=self.messages + _messages(messages))

    def with_execution(self, *executions: ToolExecution) -> Self:
        """This state after more tools have run."""
        return self._with(tool_executions=self.tool_executions + _executions(executions))

    def with_usage(self, usage: Mapping[str, int]) -> Self:
        """This state with the tokens of another model call, added up key by key."""
        total = dict(self.usage)
        for name, count in _usage(usage).items():
            total[name] = total.get(name, 0) + count
        return self._with(usage=frozen_dict(total))

    def _with(self, **checked: Any) -> Self:
        new = object.__new__(type(self))
        for name in _FIELDS:
            value = checked[name] if name in checked else getattr(self, name)
            object.__setattr__(new, name, value)  # past the constructor, which checks everything
        return new

    @property
    def last_message(self) -> Message | None:
        """The end of the conversation; None where there is none yet."""
        return self.messages[-1] if self.messages else None

    def pending_calls(self) -> tuple[ToolCall, ...]:
        """The calls of the last assistant message that no tool message answers yet.

        They are what a run that was interrupted between two tools has still to do. One tool
        message answers one call, also where a model has given two calls the same id.
        """
        answered: Counter[str | None] = Counter()
        for message in reversed(self.messages):
            if message.role is Role.TOOL:
                answered[message.tool_call_id] += 1
            elif message.role is Role.ASSISTANT:
                pending = []
                for call in message.tool_calls:
                    if answered[call.id]:
                        answered[call.id] -= 1
                    else:
                        pending.append(call)
                return tuple(pending)
        return ()

    def to_json(self) -> bytes:
        """The state as JSON, which :meth:`from_json` reads back equal, in any process.

        :raises ConfigurationError: something in it (arguments, metadata, provider state) is not
            JSON; says what.
        """
        from locus.core.state_json import write_state  # cattrs costs 45 ms to import

        return write_state(self)

    @staticmethod
    def from_json(data: bytes | str) -> AgentState:
        """The state that :meth:`to_json` wrote, now or in an older version of Locus.

        Fields that a newer version has added are skipped.

        :raises StateFormatError: this is something else, is damaged, or was written in a format
            that this version does not know; says which, and where.
        """
        from locus.core.state_json import read_state

        return read_state(data)


_FIELDS: Final = tuple(field.name for field in attrs.fields(AgentState))
