"""The events that hooks receive. A hook may assign the fields marked *writable*, and no others.

Every event has the ``thread_id`` of its run (None outside a thread) and the ``metadata`` that the
caller passed to the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from locus.core.attrs_validators import validate_bool
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY, FrozenDict, to_frozen_dict
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.core.state import AgentState

# Every attribute is frozen, except those with an on_setattr of their own.
_FROZEN = attrs.setters.frozen
_CONVERT_AND_VALIDATE = attrs.setters.pipe(attrs.setters.convert, attrs.setters.validate)


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class _RunEvent:
    thread_id: str | None = None
    metadata: Mapping[str, Any] = EMPTY


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class BeforeInvocationEvent(_RunEvent):
    """A run begins.

    :ivar messages: the messages of the prompt; empty if a thread is resumed.
    :ivar state: the state that the run continues from.
    """

    messages: tuple[Message, ...]
    state: AgentState


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class AfterInvocationEvent(_RunEvent):
    """A run has ended, with or without an error. Its state has been saved.

    :ivar state: the last state.
    :ivar reason: why it ended; the same as in :class:`~locus.core.events.TerminateEvent`.
    :ivar error: the error that ended it, or None. If the run was cancelled, the cancellation; if
        the caller left before the end, a ``GeneratorExit``.
    """

    state: AgentState
    reason: str
    error: BaseException | None = None

    @property
    def success(self) -> bool:
        """Whether the run ended without an error."""
        return self.error is None


def _to_request_messages(value: Any) -> tuple[Message, ...]:
    """Convert messages to a tuple.

    :raises TypeError: if the value is no sequence of messages.
    """
    if isinstance(value, (str, Message, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"messages is a sequence of Message, not {type(value).__name__}")
    messages = tuple(value)
    for position, message in enumerate(messages):
        if not isinstance(message, Message):
            raise TypeError(f"messages[{position}] is {type(message).__name__}, not Message")
    return messages


def _to_request_tools(value: Any) -> tuple[Any, ...]:
    """Convert the schemas of tools, or tools, to a tuple.

    :raises TypeError: if the value is no sequence.
    """
    if value is None:
        return ()
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"tools is a sequence of schemas, not {type(value).__name__}")
    return tuple(value)


def _to_request_options(value: Any) -> FrozenDict[str, Any]:
    """Convert the keywords of a model call to an immutable mapping.

    :raises ConfigurationError: if one of them is a field of its own.
    """
    options: FrozenDict[str, Any] = to_frozen_dict(value, "BeforeModelCallEvent.options")
    for name in ("messages", "tools"):
        if name in options:
            raise ConfigurationError(f"options cannot have {name!r}: assign event.{name}")
    return options


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class BeforeModelCallEvent(_RunEvent):
    """The model is about to be called.

    What a hook assigns is for this call. The conversation and the agent do not change.

    :ivar model: the model.
    :ivar messages: *writable*: the messages of the request: with the system prompt, as the
        conversation manager shortened them; only the new ones if the server stores the
        conversation.
    :ivar tools: *writable*: the schemas of the tools that the model is offered, those bound to the
        model included. An empty sequence offers none. A tool that is taken out is not run in this
        step, even if the model calls it.
    :ivar options: *writable*: the keywords of the call; ``provider_state`` among them if the server
        stores the conversation.
    :ivar iteration: the number of this model call in the conversation, counted from 1.
    :ivar streamed: whether the response is streamed.
    """

    model: Any
    messages: tuple[Message, ...] = attrs.field(
        converter=_to_request_messages, on_setattr=_CONVERT_AND_VALIDATE
    )
    tools: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(), converter=_to_request_tools, on_setattr=_CONVERT_AND_VALIDATE
    )
    options: Mapping[str, Any] = attrs.field(
        default=EMPTY, converter=_to_request_options, on_setattr=_CONVERT_AND_VALIDATE
    )
    iteration: int = 0
    streamed: bool = False
    # Whether empty ``tools`` mean no tools at all, or those that are bound to the model.
    _tools_are_explicit: bool = attrs.field(default=False, repr=False)

    @property
    def request(self) -> Mapping[str, Any] | None:
        """The JSON body that is sent to the provider, which is built on each access.

        None if the model is not one of Locus's models that send HTTP requests.
        """
        from locus.models.http_model import HttpModel  # only if the body is read

        if not isinstance(self.model, HttpModel):
            return None
        tools = self.tools or (() if self._tools_are_explicit else None)
        return self.model.request(self.messages, tools, stream=self.streamed, **self.options)


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class AfterModelCallEvent(BeforeModelCallEvent):
    """The model has answered. No field can be assigned.

    :ivar messages: the messages of the request, as it was sent; so are ``tools`` and ``options``.
    :ivar response: the complete response, with its ``provider_state``, ``response_id`` and usage.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = EMPTY
    response: ModelResponse


def _to_frozen_arguments(value: Mapping[str, Any]) -> FrozenDict[str, Any]:
    """Convert the arguments to an immutable mapping."""
    return to_frozen_dict(value, "BeforeToolCallEvent.arguments")


def _copy_assigned_arguments(_: Any, __: Any, value: Mapping[str, Any]) -> FrozenDict[str, Any]:
    """Copy the arguments that a hook assigns, so that later changes to them have no effect.

    :raises TypeError: if they are not JSON.
    """
    from locus.core.json_converter import copy_json_value  # only if a hook assigns arguments

    try:
        return FrozenDict(copy_json_value(_to_frozen_arguments(value)))
    except ValueError as exc:
        raise ConfigurationError(f"BeforeToolCallEvent.arguments: {exc}") from exc
    except TypeError as exc:
        raise TypeError(f"BeforeToolCallEvent.arguments are JSON: {exc}") from exc


def _check_optional_text(value: str | None) -> str | None:
    """Return the value if it is text or None.

    :raises TypeError: if it is neither.
    """
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"malformed_arguments is text or None, not {type(value).__name__}")


def _normalize_cancel_reason(value: bool | str | None) -> bool | str:
    """Return a reason as it is; None and the empty string become False.

    :raises TypeError: if the value is neither text, a bool nor None.
    """
    if value is None or isinstance(value, (bool, str)):
        return value or False
    raise TypeError(f"cancel is a reason for the model, or a bool; not {type(value).__name__}")


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class _ToolCallEvent(_RunEvent):
    tool_name: str
    tool_call_id: str
    iteration: int = 0


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class BeforeToolCallEvent(_ToolCallEvent):
    """A tool is about to be called.

    :ivar arguments: *writable*: the arguments of the call, as JSON. The call in the conversation
        does not change.
    :ivar malformed_arguments: *writable*: the text that the model wrote instead of a JSON object,
        or None. If it is text, ``arguments`` are empty, and the result of the call is an error. A
        hook that repairs the call assigns ``arguments``, and None to this; then the call does not
        count as cut off, either.
    :ivar cut_off: *writable*: whether the response ended at its token limit in this call. Then the
        arguments may be incomplete, and the result of the call is an error. A hook that knows that
        they are complete assigns False.
    :ivar cancel: *writable*: the reason not to run the call, which the model reads; or True.
    """

    arguments: Mapping[str, Any] = attrs.field(
        default=EMPTY, converter=_to_frozen_arguments, on_setattr=_copy_assigned_arguments
    )
    malformed_arguments: str | None = attrs.field(
        default=None, converter=_check_optional_text, on_setattr=_CONVERT_AND_VALIDATE
    )
    cut_off: bool = attrs.field(
        default=False, validator=validate_bool, on_setattr=_CONVERT_AND_VALIDATE
    )
    cancel: bool | str = attrs.field(
        default=False, converter=_normalize_cancel_reason, on_setattr=_CONVERT_AND_VALIDATE
    )


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class AfterToolCallEvent(_ToolCallEvent):
    """A tool has been called, or the call was answered without running it.

    :ivar arguments: the arguments of the call.
    :ivar result: *writable*: the result as the model reads it, text or a tuple of parts; None if
        there is an error. An
        assigned value (text, or anything that a tool may return) replaces a result or an error. If
        an idempotent call gets the result of an earlier equal call, the assigned value is not used.
    :ivar error: the error, or None.
    :ivar retry: *writable*: run the call again, three times at most. Then this result is dropped.
    :ivar duration_ms: how long the tool ran, in milliseconds; None if it did not run.
    """

    arguments: Mapping[str, Any] = EMPTY
    result: Any = attrs.field(default=None, on_setattr=attrs.setters.NO_OP)
    error: str | None = None
    retry: bool = attrs.field(
        default=False, validator=validate_bool, on_setattr=_CONVERT_AND_VALIDATE
    )
    duration_ms: float | None = None
