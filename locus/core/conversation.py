"""Validates the messages of a call, and puts tool results right after their tool calls.

Providers require the results of tools right after the calls, and the id of its call in each result.
In a caller's conversation other messages may stand between a call and its result, and two calls
may have the same id.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import attrs

from locus.core.accepted_parts import TEXT_PARTS_ONLY, AcceptedParts
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, Part, Role, TextPart

Messages: TypeAlias = str | Message | Sequence[Message]
"""What every model call takes: a prompt, one message, or the whole conversation."""

ToolCallPosition: TypeAlias = tuple[int, int]
"""Identifies a tool call: the index of the assistant's message, and the call's index in it."""


@attrs.frozen
class IndexedMessage:
    """A message with its index in the caller's conversation.

    :param position: the index.
    :param call_position: the call whose result the message is; None if it is no result, or the
        result of a call that only the server has stored.
    """

    position: int
    message: Message
    call_position: ToolCallPosition | None = None


def validate_messages(
    messages: Messages,
    has_provider_content: Callable[[Message], bool] | None = None,
    *,
    server_has_history: bool = False,
    accepted_parts: AcceptedParts | None = TEXT_PARTS_ONLY,
) -> tuple[Message, ...]:
    """Check that a provider can accept ``messages``, and return them as a tuple.

    :param has_provider_content: tells whether an assistant message with neither text nor calls
        has other content, which only one provider knows.
    :param server_has_history: whether the server has stored the messages before these, with
        their tool calls.
    :param accepted_parts: what the format does with each class of parts. By default it accepts
        text only. None is for a caller that only stores the messages: every part is accepted.
    :raises ConfigurationError: (a ``ValueError``) if there is no message, a tool result with no
        matching call before it, an assistant message with neither text nor calls, or a part that
        is not accepted. Names the position.
    :raises TypeError: if one of ``messages`` is not a message.
    """
    if isinstance(messages, str):
        return (Message.user(messages),)
    if isinstance(messages, Message):
        messages = (messages,)
    if not isinstance(messages, Iterable):
        raise TypeError(
            f"a conversation is a string, a Message, or a sequence of Message, "
            f"not {type(messages).__name__}"
        )
    conversation = tuple(messages)
    if not conversation:
        raise ConfigurationError("the conversation is empty: pass at least one message")
    call_ids: set[str] = set()
    for position, message in enumerate(conversation):
        if not isinstance(message, Message):
            raise TypeError(
                f"messages[{position}] is {type(message).__name__}; a conversation is a string, "
                "a Message, or a sequence of Message"
            )
        if message.role is Role.ASSISTANT:
            has_text_or_calls = message.tool_calls or message.has_content
            if not has_text_or_calls and not (
                has_provider_content and has_provider_content(message)
            ):
                raise ConfigurationError(
                    f"messages[{position}] is an assistant message with neither text nor tool calls"
                )
            for call in message.tool_calls:
                call_ids.add(call.id)
        elif message.role is Role.TOOL:
            if message.tool_call_id not in call_ids and not server_has_history:
                raise ConfigurationError(
                    f"messages[{position}] is the result of tool call {message.tool_call_id!r}, "
                    "which no assistant message before it has made"
                )
        elif message.all_content is None or message.all_content == ():
            raise ConfigurationError(f"messages[{position}], a {message.role} message, is empty")
    if accepted_parts is not None:
        accepted_parts.check_messages(conversation)
    return conversation


def order_tool_results(
    messages: Sequence[Message], *, moves_images: bool = False
) -> list[IndexedMessage]:
    """Order the messages so that the results of tools follow the message that made the calls.

    Messages between a call and its result (of the system or the user) come after the results; the
    results keep their order. One result belongs to one call: where a message has two calls with
    the same id, the first result belongs to the first of them. Results of calls that only the
    server has stored come first of all.

    :param messages: validated by :func:`validate_messages`.
    :param moves_images: whether the images of results go into a message of the user's after them,
        because the format has no place for them in a result.
    """
    if not any(message.role is Role.TOOL for message in messages):
        return [IndexedMessage(position, message) for position, message in enumerate(messages)]
    unanswered: dict[str, list[ToolCallPosition]] = {}
    results: dict[int, list[IndexedMessage]] = {}
    ordered: list[IndexedMessage] = []  # begins with the results of calls that the server stored
    for position, message in enumerate(messages):
        if message.role is Role.TOOL:
            candidates = unanswered.get(message.tool_call_id or "")
            if candidates is None:
                ordered.append(IndexedMessage(position, message))
                continue
            call_position = candidates.pop(0) if len(candidates) > 1 else candidates[0]
            results.setdefault(call_position[0], []).append(
                IndexedMessage(position, message, call_position)
            )
            continue
        new_calls: dict[str, list[ToolCallPosition]] = {}
        for call_index, call in enumerate(message.tool_calls):
            new_calls.setdefault(call.id, []).append((position, call_index))
        unanswered |= new_calls  # a result belongs to the latest message with its id
    if moves_images:
        ordered = _move_result_images(ordered)
    for position, message in enumerate(messages):
        if message.role is not Role.TOOL:
            ordered.append(IndexedMessage(position, message))
            of_message = results.get(position, [])
            ordered += _move_result_images(of_message) if moves_images else of_message
    return ordered


def _move_result_images(results: list[IndexedMessage]) -> list[IndexedMessage]:
    """Return results without their images, and after them messages of the user's with these.

    A number stands in the place of each image, and before the image itself.
    """
    moved: list[IndexedMessage] = []
    pictures: list[IndexedMessage] = []
    numbers = itertools.count(1)
    for result in results:
        content = result.message.all_content
        if not isinstance(content, tuple) or not any(isinstance(p, ImagePart) for p in content):
            moved.append(result)
            continue
        source = f" of {result.message.name}" if result.message.name else ""
        parts: list[Part] = []
        shown: list[Part] = []
        for part in content:
            if isinstance(part, ImagePart):
                number = next(numbers)
                shown += (TextPart(f"[Image {number}, from the result{source}]"), part)
                part = TextPart(f"[Image {number}, which the user shows next]")
            parts.append(part)
        moved.append(attrs.evolve(result, message=attrs.evolve(result.message, content=parts)))
        pictures.append(IndexedMessage(result.position, Message.user(shown)))
    return moved + pictures
