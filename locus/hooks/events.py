"""What hooks are told. A hook may assign the fields marked *writable*, and no others.

Every event names its run: ``thread_id`` (None outside a thread) and ``metadata``, what the caller
gave to the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from locus.core.attrs_validators import boolean
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY, FrozenDict, frozen_dict
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.core.state import AgentState

# Every attribute is frozen, but for those that say otherwise.
_FROZEN = attrs.setters.frozen
_ON_WRITE = attrs.setters.pipe(attrs.setters.convert, attrs.setters.validate)


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class _OfRun:
    thread_id: str | None = None
    metadata: Mapping[str, Any] = EMPTY


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class BeforeInvocationEvent(_OfRun):
    """A run begins.

    :ivar messages: what the caller asked; empty on ``resume``.
    :ivar state: the state that the run goes on from.
    """

    messages: tuple[Message, ...]
    state: AgentState


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class AfterInvocationEvent(_OfRun):
    """A run has ended, well or not. Its state has been saved.

    :ivar state: the last state.
    :ivar reason: why it ended; what :class:`~locus.core.events.TerminateEvent` will say.
    :ivar error: what ended it, or None. Of a run that was cancelled, the cancellation; where the
        caller has left before the end, a ``GeneratorExit``.
    """

    state: AgentState
    reason: str
    error: BaseException | None = None

    @property
    def success(self) -> bool:
        """Whether the run ended without an error."""
        return self.error is None


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class BeforeModelCallEvent(_OfRun):
    """The model is about to be asked.

    :ivar model: which.
    :ivar messages: the request's messages: with the system prompt, as the conversation manager
        left them, and only the new ones where the server keeps the conversation.
    :ivar tools: the schemas of the tools.
    :ivar options: the keywords of the call; ``provider_state`` where the server keeps the
        conversation.
    :ivar iteration: how many times the model has been asked in this conversation, this time
        included.
    :ivar streamed: whether its answer is asked for as it arrives.
    """

    model: Any
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = EMPTY
    iteration: int = 0
    streamed: bool = False
    # Whether having none means none at all, or leaves it to the model's own.
    _no_others: bool = attrs.field(default=False, repr=False)

    @property
    def request(self) -> Mapping[str, Any] | None:
        """The JSON body that goes to the provider, built anew at each look.

        None where the model has none: it is no model of Locus's that sends HTTP.
        """
        from locus.models.http_model import HttpModel  # only for who looks

        if not isinstance(self.model, HttpModel):
            return None
        tools = self.tools or (() if self._no_others else None)
        return self.model.request(self.messages, tools, stream=self.streamed, **self.options)


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class AfterModelCallEvent(BeforeModelCallEvent):
    """The model has answered.

    :ivar response: the whole answer, with its ``provider_state``, ``response_id`` and usage.
    """

    response: ModelResponse


def _arguments(value: Mapping[str, Any]) -> FrozenDict[str, Any]:
    return frozen_dict(value, "BeforeToolCallEvent.arguments")


def _assigned_arguments(_: Any, __: Any, value: Mapping[str, Any]) -> FrozenDict[str, Any]:
    from locus.core.json_converter import as_json  # only for who assigns some

    try:
        return FrozenDict(as_json(_arguments(value)))
    except ValueError as why:
        raise ConfigurationError(f"BeforeToolCallEvent.arguments: {why}") from why
    except TypeError as why:
        raise TypeError(f"BeforeToolCallEvent.arguments are JSON: {why}") from why


def _malformed(value: str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"malformed_arguments is text or None, not {type(value).__name__}")


def _cancel(value: bool | str | None) -> bool | str:
    if value is None or isinstance(value, (bool, str)):
        return value or False
    raise TypeError(f"cancel is a reason for the model, or a bool; not {type(value).__name__}")


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class _OfCall(_OfRun):
    tool_name: str
    tool_call_id: str
    iteration: int = 0


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class BeforeToolCallEvent(_OfCall):
    """A tool is about to be called.

    :ivar arguments: *writable*: what it will be called with, as JSON. The model's own call stays
        as it is in the conversation.
    :ivar malformed_arguments: *writable*: what the model wrote instead of a JSON object, or None.
        Where this is text ``arguments`` are empty, and the call is answered with an error. A hook
        that puts it right assigns both, None to this; the call is not cut off then, either.
    :ivar cut_off: *writable*: the answer ended at its token limit in this call, so that its
        arguments may not be whole, and it is answered with an error. A hook that knows better
        assigns False.
    :ivar cancel: *writable*: the reason not to call it, which the model reads; or True.
    """

    arguments: Mapping[str, Any] = attrs.field(
        default=EMPTY, converter=_arguments, on_setattr=_assigned_arguments
    )
    malformed_arguments: str | None = attrs.field(
        default=None, converter=_malformed, on_setattr=_ON_WRITE
    )
    cut_off: bool = attrs.field(default=False, validator=boolean, on_setattr=_ON_WRITE)
    cancel: bool | str = attrs.field(default=False, converter=_cancel, on_setattr=_ON_WRITE)


@attrs.define(on_setattr=_FROZEN, kw_only=True)
class AfterToolCallEvent(_OfCall):
    """A tool has been called, or the call has been answered without it.

    :ivar arguments: what it was called with.
    :ivar result: *writable*: the result as the model will read it, None where there is an error.
        What is assigned (text, or anything that a tool may return) takes the place of a result or
        an error. Where an idempotent call is given the result of an equal one, that result stays as
        it was left then: what is assigned is not used.
    :ivar error: why there is no result, or None.
    :ivar retry: *writable*: call the tool again, three times at most. This result is dropped then.
    :ivar duration_ms: how long it ran, in milliseconds; None where it did not run.
    """

    arguments: Mapping[str, Any] = EMPTY
    result: Any = attrs.field(default=None, on_setattr=attrs.setters.NO_OP)
    error: str | None = None
    retry: bool = attrs.field(default=False, validator=boolean, on_setattr=_ON_WRITE)
    duration_ms: float | None = None
