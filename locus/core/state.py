"""The state of an agent's run: one immutable value that can be saved as JSON and loaded again.

:class:`AgentState` holds everything that a run needs to continue, so a checkpoint is a saved state
and nothing else. Each step of a run makes a new state from the last one. :meth:`AgentState.evolve`
and the ``with_`` methods check only the fields that change, so that a step costs the same after ten
thousand messages as after the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import attrs

from locus.core.attrs_validators import validate_bool, validate_optional_string, validate_string
from locus.core.frozendict import EMPTY, FrozenDict, make_frozen_copy, to_frozen_dict
from locus.core.messages import Message, Part, ResultContent, Role, ToolCall, to_result_content
from locus.core.reasoning_record import ReasoningRecord


def _make_frozen_json_copy(value: Mapping[str, Any] | None, name: str) -> FrozenDict[str, Any]:
    """Copy the caller's JSON mapping, so that later changes to it do not change the state."""
    try:
        return to_frozen_dict(make_frozen_copy(to_frozen_dict(value, name)))
    except RecursionError:
        raise ValueError(f"{name} is nested too deep, or contains itself") from None


def _to_frozen_arguments(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    """Copy the arguments into an immutable mapping."""
    return _make_frozen_json_copy(value, "ToolExecution.arguments")


def _to_part_tuple(value: Iterable[Part]) -> tuple[Part, ...]:
    """Convert the parts of a result to a tuple, and check them."""
    if value == ():  # the usual case
        return ()
    content = to_result_content(value)
    if isinstance(content, str):
        raise TypeError("ToolExecution.parts is a sequence of parts, not text")
    return content


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _validate_integer(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not _is_integer(value):
        raise TypeError(f"{type(owner).__name__}.{field.name} is an integer, not {value!r}")


def _validate_optional_integer(owner: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not _is_integer(value):
        raise TypeError(f"{type(owner).__name__}.{field.name} is an integer or None, not {value!r}")


def _validate_duration(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, float) and not _is_integer(value):
        raise TypeError(f"ToolExecution.{field.name} is a number or None, not {value!r}")


@attrs.frozen
class ToolExecution:
    """One execution of a tool: its arguments and its result or error.

    :param tool_name: the name of the tool.
    :param tool_call_id: the ``id`` of the tool call.
    :param arguments: the arguments, as JSON.
    :param result: the output as the model reads it, or None if the tool failed. An image in it is
        described in brackets.
    :param error: the error as the model reads it, or None if the tool succeeded.
    :param duration_ms: how long the tool ran, in milliseconds; None if no function was called.
    :param iteration: the number of the model call that requested it, counted from 1.
    :param idempotent: whether a later call with the same arguments gets this result.
    :param parts: the output as parts, if it is not text alone.
    """

    tool_name: str = attrs.field(validator=validate_string)
    tool_call_id: str = attrs.field(validator=validate_string)
    arguments: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_to_frozen_arguments)
    result: str | None = attrs.field(default=None, validator=validate_optional_string)
    error: str | None = attrs.field(default=None, validator=validate_optional_string)
    duration_ms: float | None = attrs.field(default=None, validator=_validate_duration)
    iteration: int = attrs.field(default=0, validator=_validate_integer)
    idempotent: bool = attrs.field(default=False, validator=validate_bool)
    parts: tuple[Part, ...] = attrs.field(default=(), converter=_to_part_tuple)

    @property
    def content(self) -> ResultContent:
        """The output as the model reads it: parts, or text; empty if the tool failed."""
        return self.parts or self.result or ""

    @property
    def success(self) -> bool:
        """Whether the tool ran without an error."""
        return self.error is None


@attrs.frozen
class ServerKnowledge:
    """What a server that stores the conversation has received of it.

    The agent sends such a server only the messages that are new to it.

    :param messages: how many messages of the conversation the server has, counted from the first.
        None if that was not recorded; then it has everything up to the last assistant message.
    :param server: a digest of the model's class and its server's address and project. Another
        server cannot use the ``provider_state``. None if it was not recorded.
    :param system_prompt: a digest of the system prompt that the server has, ``""`` if it has none.
        None if it was not recorded.
    """

    messages: int | None = attrs.field(default=None, validator=_validate_optional_integer)
    server: str | None = attrs.field(default=None, validator=validate_optional_string)
    system_prompt: str | None = attrs.field(default=None, validator=validate_optional_string)


@attrs.frozen
class OutputRetries:
    """How often the model was asked again for a final answer that fits ``output_schema``.

    :param count: the number of retries.
    :param message_count: how many messages the conversation had when this was recorded. The record
        is out of date once the conversation has another length.
    """

    count: int = attrs.field(validator=_validate_integer)
    message_count: int = attrs.field(validator=_validate_integer)


def _to_message_tuple(value: Iterable[Message]) -> tuple[Message, ...]:
    return _to_tuple_of(Message, value, "messages")


def _to_execution_tuple(value: Iterable[ToolExecution]) -> tuple[ToolExecution, ...]:
    return _to_tuple_of(ToolExecution, value, "tool_executions")


def _to_name_tuple(value: Iterable[str]) -> tuple[str, ...]:
    return _to_tuple_of(str, value, "hidden_tools")


def _to_tuple_of(cls: type[Any], value: Iterable[Any], name: str) -> tuple[Any, ...]:
    """Convert an iterable to a tuple, and check that its items are of a class.

    :param name: the name of the field, for the error message.
    """
    if value == ():
        return ()
    if type(value) is not tuple and (
        isinstance(value, (str, Mapping)) or not isinstance(value, Iterable)
    ):
        raise TypeError(
            f"AgentState.{name} is a sequence of {cls.__name__}, not {type(value).__name__}"
        )
    items = tuple(value)
    for position, item in enumerate(items):
        if not isinstance(item, cls):
            raise TypeError(
                f"AgentState.{name}[{position}] is {type(item).__name__}, not {cls.__name__}"
            )
    return items


def _to_frozen_provider_state(value: Mapping[str, Any] | None) -> FrozenDict[str, Any] | None:
    return None if value is None else _make_frozen_json_copy(value, "AgentState.provider_state")


def _to_frozen_metadata(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    return _make_frozen_json_copy(value, "AgentState.metadata")


def _to_token_counts(value: Mapping[str, int] | None) -> FrozenDict[str, int]:
    """Convert the token counts to an immutable mapping, and check that they are integers."""
    usage = to_frozen_dict(value, "AgentState.usage")
    for name, count in usage.items():
        if not isinstance(name, str) or not _is_integer(count):
            raise TypeError(f"AgentState.usage has integers under names, not {name!r}: {count!r}")
    return usage


def _validate_server_knowledge(_: Any, __: Any, value: Any) -> None:
    _check_optional_type(ServerKnowledge, value, "server_knowledge")


def _validate_output_retries(_: Any, __: Any, value: Any) -> None:
    _check_optional_type(OutputRetries, value, "output_retries")


def _validate_reasoning(_: Any, __: Any, value: Any) -> None:
    _check_optional_type(ReasoningRecord, value, "reasoning")


def _check_optional_type(cls: type[Any], value: Any, name: str) -> None:
    """Raise a ``TypeError`` unless the value is of the class, or None."""
    if value is not None and not isinstance(value, cls):
        raise TypeError(f"AgentState.{name} is {cls.__name__} or None, not {type(value).__name__}")


def _to_confidence(value: float) -> float:
    """Convert the confidence to a float, and check that it is from 0 to 1."""
    if not isinstance(value, (int, float)):
        raise TypeError(f"AgentState.confidence is a number, not {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"AgentState.confidence is between 0 and 1, not {value!r}")
    return float(value)


@attrs.frozen(slots=False)
class AgentState:
    """Everything that a run of an agent has produced so far, and needs to continue.

    The first seven fields are for everybody. The others are the agent's own records, which it
    needs when it resumes a thread.

    :param messages: the conversation.
    :param tool_executions: every tool execution, in the order of the tool calls.
    :param iteration: how many times the model was called.
    :param provider_state: what a server that stores the conversation needs in the next request.
    :param metadata: the caller's own data, as JSON. The agent never writes to it.
    :param usage: the tokens of all model calls together, under the keys of
        ``ModelResponse.usage``.
    :param confidence: how confident the agent is in its answer, from 0 to 1. It is 0 until
        something (reflexion, a hook) sets it, so a condition on it is not met before that.
    :param server_knowledge: what the server that gave ``provider_state`` has of the conversation.
    :param empty_response_after: how many messages the conversation had when the model's last
        response was empty. An empty response is not added to ``messages``, because no provider
        accepts one. None if the last response was not empty.
    :param output_retries: how often the model was asked again for an answer of the required type.
    :param cut_off_call_id: the ``id`` of the last response's last tool call, if that response
        ended at its token limit, so that the arguments of the call may be incomplete.
    :param hidden_tools: the names of the tools that a hook had taken out of the last request: its
        calls of them are not run.
    :param stop_reason: why the model's last response ended, in the provider's own words.
    :param finish_reason: the same, in the words of ``ModelResponse.finish_reason``.
    :param reasoning: what reflexion, grounding and GSAR have found since the last prompt.
    """

    messages: tuple[Message, ...] = attrs.field(default=(), converter=_to_message_tuple)
    tool_executions: tuple[ToolExecution, ...] = attrs.field(
        default=(), converter=_to_execution_tuple
    )
    iteration: int = attrs.field(default=0, validator=_validate_integer)
    provider_state: Mapping[str, Any] | None = attrs.field(
        default=None, converter=_to_frozen_provider_state
    )
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_to_frozen_metadata)
    usage: Mapping[str, int] = attrs.field(default=EMPTY, converter=_to_token_counts)
    confidence: float = attrs.field(default=0.0, converter=_to_confidence)
    server_knowledge: ServerKnowledge | None = attrs.field(
        default=None, validator=_validate_server_knowledge
    )
    empty_response_after: int | None = attrs.field(
        default=None, validator=_validate_optional_integer
    )
    output_retries: OutputRetries | None = attrs.field(
        default=None, validator=_validate_output_retries
    )
    cut_off_call_id: str | None = attrs.field(default=None, validator=validate_optional_string)
    hidden_tools: tuple[str, ...] = attrs.field(default=(), converter=_to_name_tuple)
    stop_reason: str | None = attrs.field(default=None, validator=validate_optional_string)
    finish_reason: str | None = attrs.field(default=None, validator=validate_optional_string)
    reasoning: ReasoningRecord | None = attrs.field(default=None, validator=_validate_reasoning)

    def evolve(self, **changes: Any) -> Self:
        """Return a copy of this state with other values in some fields.

        Like :func:`attrs.evolve`, but only the fields that change are checked.
        """
        fields = _FIELDS
        for name, value in changes.items():
            if name not in fields:
                raise TypeError(f"AgentState has no field {name!r}; it has {', '.join(fields)}")
            converter, validator = fields[name].converter, fields[name].validator
            if callable(converter):
                changes[name] = converter(value)
            if validator is not None:
                validator(self, fields[name], value)
        return self._replace_fields_without_check(**changes)

    def with_messages(self, *messages: Message) -> Self:
        """Return a copy of this state with more messages at the end."""
        return self._replace_fields_without_check(
            messages=self.messages + _to_message_tuple(messages)
        )

    def with_execution(self, *executions: ToolExecution) -> Self:
        """Return a copy of this state with more tool executions at the end."""
        return self._replace_fields_without_check(
            tool_executions=self.tool_executions + _to_execution_tuple(executions)
        )

    def with_usage(self, usage: Mapping[str, int]) -> Self:
        """Return a copy of this state with the tokens of another model call added, key by key."""
        if not usage:
            return self
        total = dict(self.usage)
        for name, count in _to_token_counts(usage).items():
            total[name] = total.get(name, 0) + count
        return self._replace_fields_without_check(usage=to_frozen_dict(total))

    def _replace_fields_without_check(self, **checked: Any) -> Self:
        """Return a copy with other values in some fields, which have been checked already."""
        # Not by the constructor, which checks every field: this is done five times in each step of
        # an agent. The class has no slots, so that all fields are copied at once.
        new = object.__new__(type(self))
        fields = new.__dict__
        fields.update(self.__dict__)
        fields.update(checked)
        return new

    @property
    def last_message(self) -> Message | None:
        """The last message of the conversation, or None if there is no message yet."""
        return self.messages[-1] if self.messages else None

    def pending_calls(self) -> tuple[ToolCall, ...]:
        """Return the tool calls of the last assistant message that have no result yet.

        A run that was interrupted between two tools still has to run them. One tool message answers
        one call, even if the model gave two calls the same id.
        """
        answered: dict[str | None, int] = {}  # a Counter takes a hundredth of an agent's step
        for message in reversed(self.messages):
            if message.role is Role.TOOL:
                answered[message.tool_call_id] = answered.get(message.tool_call_id, 0) + 1
            elif message.role is Role.ASSISTANT:
                if not answered:
                    return message.tool_calls
                pending = []
                for call in message.tool_calls:
                    if answered.get(call.id):
                        answered[call.id] -= 1
                    else:
                        pending.append(call)
                return tuple(pending)
        return ()

    def to_json(self) -> bytes:
        """Return the state as JSON. :meth:`from_json` reads an equal state from it.

        :raises ConfigurationError: if a value in the state (arguments, metadata, provider state) is
            not JSON; the message names it.
        """
        from locus.core.state_json import encode_state  # imports cattrs, which takes 45 ms

        return encode_state(self)

    @staticmethod
    def from_json(data: bytes | str) -> AgentState:
        """Read a state that :meth:`to_json` of this or an older version of Locus wrote.

        Fields that a newer version has added are skipped.

        :raises StateFormatError: if the data is something else, is damaged, or was written in a
            format that this version does not know; the message says which, and at which JSON path.
        """
        from locus.core.state_json import decode_state

        return decode_state(data, AgentState)


_FIELDS: Final = attrs.fields_dict(AgentState)
