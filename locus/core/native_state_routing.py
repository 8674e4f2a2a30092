"""Binds native state to its maker, and decides whom it is sent to.

A wire format parses a response without knowing which server and model sent it. The model binds the
response's state to them (:func:`bind_native_state`). Before a request is built, whatever belongs to
others is left out of its messages (:func:`select_native_state`): another wire format or address
receives none of it, and another model of the same server receives what is not bound to a model.
The messages of the caller are never changed.

State that is not bound, because it was parsed without a model or saved by an earlier version of
Locus, is sent to every server of its wire format. So are ``ThinkingPart``\\ s of the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Role, ThinkingPart, ToolCall
from locus.core.native_state import Maker, NativeState
from locus.core.response import ModelResponse


def remove_native_state(message: Message) -> Message:
    """Return the message without native state, on itself and on its calls, and without thinking."""
    content = message.content
    if isinstance(content, tuple) and any(isinstance(part, ThinkingPart) for part in content):
        parts = tuple(part for part in content if not isinstance(part, ThinkingPart))
        content = parts or None
    calls = tuple(
        call if call.native_state is None else attrs.evolve(call, native_state=None)
        for call in message.tool_calls
    )
    return attrs.evolve(message, content=content, tool_calls=calls, native_state=None)


@attrs.frozen
class NativeStateRule:
    """How a wire format treats native state.

    :param wire_format: the name of the format; it is a part of the maker of its state.
    :param get_model: returns what of a model's name its state is bound to; None if nothing is.
    :param remove_model_state: returns a message without what another model of the same server does
        not accept. By default nothing is left.
    :param compute_history: computes the digest of the conversation in a request body, for state
        that is bound to it; None if the format has no such state.
    """

    wire_format: str
    get_model: Callable[[str], str] | None = None
    remove_model_state: Callable[[Message], Message] = remove_native_state
    compute_history: Callable[[Mapping[str, Any]], str] | None = None

    def make_maker(self, model: str, address: str | None = None) -> Maker:
        """Make the value that stands for a model of a server, as the maker of its state."""
        return Maker(
            self.wire_format, address, None if self.get_model is None else self.get_model(model)
        )

    def make_state(
        self, data: Mapping[str, Any] = EMPTY, *, bound_to_history: bool = False
    ) -> NativeState:
        """Make state that is not bound to a server yet, as a parser does."""
        return NativeState(Maker(self.wire_format), data, bound_to_history)


def select_native_state(
    messages: Sequence[Message], recipient: Maker, rule: NativeStateRule
) -> tuple[Message, ...]:
    """Return the messages with the native state that may be sent to ``recipient``, and no other."""
    return tuple(_select_for_recipient(message, recipient, rule) for message in messages)


def select_native_state_if_messages(messages: Any, recipient: Maker, rule: NativeStateRule) -> Any:
    """Do the same for what a caller passed as messages, which nobody has validated yet."""
    if isinstance(messages, Message):
        return _select_for_recipient(messages, recipient, rule)
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Iterable):
        return messages
    return tuple(
        _select_for_recipient(message, recipient, rule) if isinstance(message, Message) else message
        for message in messages
    )


def _select_for_recipient(message: Message, recipient: Maker, rule: NativeStateRule) -> Message:
    if message.role is not Role.ASSISTANT:
        return message
    state = message.native_state
    states = [call.native_state for call in message.tool_calls if call.native_state is not None]
    if state is not None:
        states.append(state)
    if not states:
        return message
    if not all(state.maker.is_same_server(recipient) for state in states):
        return remove_native_state(message)
    if not all(state.maker.is_same_model(recipient) for state in states):
        return rule.remove_model_state(message)
    return message


def bind_native_state(
    response: ModelResponse, maker: Maker, compute_history: Callable[[], str | None]
) -> ModelResponse:
    """Return the response with its native state bound to its maker.

    :param compute_history: computes the digest of the conversation that the response belongs to.
        It is called only if some state is bound to that.
    """
    if not response.candidates:
        message = _bind_message(response.message, maker, compute_history)
        if message is response.message:
            return response
        return attrs.evolve(response, message=message)
    candidates = tuple(
        attrs.evolve(candidate, message=_bind_message(candidate.message, maker, compute_history))
        for candidate in response.candidates
    )
    return attrs.evolve(response, message=candidates[0].message, candidates=candidates)


def _bind_message(
    message: Message, maker: Maker, compute_history: Callable[[], str | None]
) -> Message:
    calls = tuple(_bind_call(call, maker) for call in message.tool_calls)
    state = message.native_state
    if state is not None:
        history = compute_history() if state.bound_to_history else None
        state = attrs.evolve(
            state, maker=attrs.evolve(maker, wire_format=state.maker.wire_format), history=history
        )
    if state is message.native_state and all(map(_is_same, calls, message.tool_calls)):
        return message
    return attrs.evolve(message, tool_calls=calls, native_state=state)


def _bind_call(call: ToolCall, maker: Maker) -> ToolCall:
    state = call.native_state
    if state is None:
        return call
    maker = attrs.evolve(maker, wire_format=state.maker.wire_format)
    return attrs.evolve(call, native_state=attrs.evolve(state, maker=maker))


def _is_same(one: object, other: object) -> bool:
    return one is other
