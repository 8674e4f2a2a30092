"""Prepares a conversation for a request: checked, without the state of others, in order."""

from __future__ import annotations

from collections.abc import Callable

from locus.core.accepted_parts import AcceptedParts
from locus.core.conversation import (
    IndexedMessage,
    Messages,
    order_tool_results,
    validate_messages,
)
from locus.core.messages import Message
from locus.core.native_state_routing import NativeStateRule, select_native_state


def prepare_conversation(
    messages: Messages,
    accepted_parts: AcceptedParts,
    rule: NativeStateRule | None = None,
    model: str = "",
    has_provider_content: Callable[[Message], bool] | None = None,
) -> list[IndexedMessage]:
    """Return the messages of a request, with each tool result after the message with its call.

    :param accepted_parts: the parts that the wire format accepts.
    :param rule: how the format treats native state; what belongs to other makers is left out. None
        if the format has none.
    :param model: the name of the model that the request is for; the rule may depend on it.
    :param has_provider_content: whether a message has content that only its provider knows.
    :raises ConfigurationError: if no provider accepts the conversation, or the format does not
        accept a part of it; the message names the position.
    """
    conversation = validate_messages(messages, has_provider_content, accepted_parts=accepted_parts)
    if rule is not None:
        conversation = select_native_state(conversation, rule.make_maker(model), rule)
    return order_tool_results(conversation, moves_images=accepted_parts.moves_result_images)
