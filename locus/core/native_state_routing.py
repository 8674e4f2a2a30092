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

from locus.core.digest import compute_digest
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Role, ThinkingPart, ToolCall
from locus.core.native_state import ISSUED_ID, Maker, NativeState
from locus.core.response import ModelResponse


def remove_native_state(message: Message) -> Message:
    """Return the message without native state, on itself and on its calls, and without thinking."""
    content = message.all_content
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
    selector = _Selector(recipient, rule)
    return tuple(selector.select(message) for message in messages)


def select_native_state_if_messages(messages: Any, recipient: Maker, rule: NativeStateRule) -> Any:
    """Do the same for what a caller passed as messages, which nobody has validated yet."""
    selector = _Selector(recipient, rule)
    if isinstance(messages, Message):
        return selector.select(messages)
    if isinstance(messages, (str, Mapping)) or not isinstance(messages, Iterable):
        return messages
    return tuple(
        selector.select(message) if isinstance(message, Message) else message
        for message in messages
    )


class _Selector:
    """Selects the native state of one message after the other, and remembers replaced ids."""

    def __init__(self, recipient: Maker, rule: NativeStateRule) -> None:
        self._recipient = recipient
        self._rule = rule
        self._replaced_ids: dict[str, str] = {}

    def select(self, message: Message) -> Message:
        """Return the message with what the recipient may be sent of it."""
        if message.role is Role.ASSISTANT:
            selected = self._select_state(message)
            return self._replace_ids(selected, message) if message.tool_calls else selected
        new_id = self._replaced_ids.get(message.tool_call_id or "")
        return message if new_id is None else attrs.evolve(message, tool_call_id=new_id)

    def _select_state(self, message: Message) -> Message:
        state = message.native_state
        states = [call.native_state for call in message.tool_calls if call.native_state is not None]
        if state is not None:
            states.append(state)
        if not states:
            return message
        if not all(state.maker.is_same_server(self._recipient) for state in states):
            return remove_native_state(message)
        if not all(state.maker.is_same_model(self._recipient) for state in states):
            return self._rule.remove_model_state(message)
        return message

    def _replace_ids(self, selected: Message, message: Message) -> Message:
        """Replace the ids that were issued by a server which is not the recipient."""
        calls = []
        for call, original in zip(selected.tool_calls, message.tool_calls, strict=True):
            self._replaced_ids.pop(original.id, None)  # a result belongs to the latest call
            if _has_issued_id(original) and not _has_issued_id(call):
                new_id = f"call_{compute_digest(original.id)}"
                self._replaced_ids[original.id] = new_id
                call = attrs.evolve(call, id=new_id)
            calls.append(call)
        if selected is message:
            return message
        return attrs.evolve(selected, tool_calls=calls)


def _has_issued_id(call: ToolCall) -> bool:
    """Return whether the call's state says that its server has issued its id."""
    return call.native_state is not None and call.native_state.data.get(ISSUED_ID) == call.id


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
    if not message.tool_calls and message.native_state is None:  # nothing to bind, as in most
        return message
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
