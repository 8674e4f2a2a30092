"""Groups messages that belong together, and finds the groups that no manager may drop.

A tool call and its result must not be separated: a group is an assistant's message with the results
of its tool calls, and is kept or dropped as a unit. Any other message is a group of its own. Groups
are built lazily, from the newest to the oldest, so that the cost of a window on a long conversation
depends on the window's length alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from locus.core.agent_added_message import is_agent_added_message
from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role

SUMMARY_OF: Final = "summary_of"
"""The metadata key of a summary: how many messages it replaces."""

MessageGroup: TypeAlias = tuple[int, ...]
"""The indexes of the messages of a group, in order."""


def to_message_tuple(messages: str | Message | Iterable[Message]) -> tuple[Message, ...]:
    """Convert the messages to a tuple; a string becomes a message of the user.

    :raises TypeError: if a member is not a message.
    """
    if isinstance(messages, str):
        return (Message.user(messages),)
    if isinstance(messages, Message):
        return (messages,)
    if not isinstance(messages, Iterable):
        raise TypeError(
            f"a conversation is a string, a Message, or a sequence of Message, "
            f"not {type(messages).__name__}"
        )
    conversation = tuple(messages)
    for cls in set(map(type, conversation)):
        if not issubclass(cls, Message):
            raise TypeError(f"a conversation holds Message, not {cls.__name__}")
    return conversation


def is_summary(message: Message) -> bool:
    """Whether ``message`` is a summary that a manager has put in the place of other messages."""
    return SUMMARY_OF in message.metadata


def count_leading_system_messages(messages: Sequence[Message]) -> int:
    """Count the system messages that the conversation begins with."""
    for position, message in enumerate(messages):
        if message.role is not Role.SYSTEM:
            return position
    return len(messages)


def iter_message_groups(messages: Sequence[Message], start: int) -> Iterator[MessageGroup]:
    """Iterate over the groups of the messages from index ``start`` on, the newest first.

    A result belongs to the nearest message before it that has a tool call with its id.

    :raises ConfigurationError: if there is a result without a call before it; the message names
        its index.
    """
    results: dict[str | None, list[int]] = {}
    for position in range(len(messages) - 1, start - 1, -1):
        message = messages[position]
        if message.role is Role.TOOL:
            results.setdefault(message.tool_call_id, []).append(position)
        elif message.tool_calls:
            group = [position]
            for call_id in {call.id for call in message.tool_calls}:
                group += results.pop(call_id, ())
            yield tuple(sorted(group))
        else:
            yield (position,)
    for tool_call_id, positions in results.items():
        raise ConfigurationError(
            f"messages[{positions[-1]}] is the result of tool call {tool_call_id!r}, which no "
            "assistant message before it has made"
        )


def find_required_groups(messages: Sequence[Message], start: int) -> list[MessageGroup]:
    """Find the groups from index ``start`` on that no manager may drop, the newest first.

    They are the last message of the user and, if the assistant's last message has tool calls, that
    group (the model may not have read the results yet) with the user's message before it. If the
    agent's loop has added messages since the assistant's last one, the newest of these is required,
    too. If there is none of these, it is the last group.
    """
    required: list[MessageGroup] = []
    has_user_message = False
    last: MessageGroup = ()
    for group in iter_message_groups(messages, start):
        message = messages[group[0]]
        last = last or group
        if message.role is Role.ASSISTANT:
            if message.tool_calls:
                required.append(group)
            if message.tool_calls or not has_user_message:
                # A message of the user is a group of its own, so no more groups have to be built.
                earlier = range(group[0] - 1, start - 1, -1)
                position = next((i for i in earlier if is_user_message(messages[i])), None)
                if position is not None:
                    required.append((position,))
            break
        if group is last and is_agent_added_message(message):
            required.append(group)
        elif not has_user_message and is_user_message(message):
            required.append(group)
            has_user_message = True
    return required if required or not last else [last]


def is_user_message(message: Message) -> bool:
    """Whether the user wrote the message.

    A summary and the messages of the agent's loop have the user's role, too.
    """
    return (
        message.role is Role.USER
        and not is_summary(message)
        and not is_agent_added_message(message)
    )


def find_last_user_message(messages: Sequence[Message]) -> Message | None:
    """Find the last message that the user wrote; None if there is none."""
    return next(filter(is_user_message, reversed(messages)), None)


def select_required_and_newest_groups(
    messages: Sequence[Message],
    start: int,
    required: Sequence[MessageGroup],
    fits: Callable[[MessageGroup], bool],
) -> list[MessageGroup]:
    """Select the ``required`` groups, and the newest others as long as they fit.

    Returns them in the order of the conversation.

    :param fits: called with each of the others, the newest first, until it returns False.
    """
    selected = list(required)
    required_starts = {group[0] for group in required}
    for group in iter_message_groups(messages, start):
        if group[0] in required_starts:
            continue
        if not fits(group):
            break
        selected.append(group)
    return sorted(selected)
