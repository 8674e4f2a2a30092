"""The conversation of one call: normalised, and refused where no provider could accept it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role

Messages: TypeAlias = str | Message | Sequence[Message]
"""What every call takes: a prompt, one message, or the whole conversation."""


def conversation(
    messages: Messages, holds_more: Callable[[Message], bool] | None = None
) -> tuple[Message, ...]:
    """``messages`` as a tuple that some provider can accept.

    :param holds_more: whether an assistant's message holds something that only one provider
        knows, where it has neither text nor calls.
    :raises ConfigurationError: (a ``ValueError``) it is empty, holds a tool result with no
        matching call before it, or an assistant message with neither text nor calls. Names the
        position.
    :raises TypeError: something in it is not a message.
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
    turns = tuple(messages)
    if not turns:
        raise ConfigurationError("the conversation is empty: pass at least one message")
    asked: set[str] = set()
    for position, message in enumerate(turns):
        if not isinstance(message, Message):
            raise TypeError(
                f"messages[{position}] is {type(message).__name__}; a conversation is a string, "
                "a Message, or a sequence of Message"
            )
        if message.role is Role.ASSISTANT:
            said = message.tool_calls or message.says_something
            if not said and not (holds_more and holds_more(message)):
                raise ConfigurationError(
                    f"messages[{position}] is an assistant message with neither text nor tool calls"
                )
            for call in message.tool_calls:
                asked.add(call.id)
        elif message.role is Role.TOOL:
            if message.tool_call_id not in asked:
                raise ConfigurationError(
                    f"messages[{position}] is the result of tool call {message.tool_call_id!r}, "
                    "which no assistant message before it has made"
                )
        elif message.content is None or message.content == ():
            raise ConfigurationError(f"messages[{position}], a {message.role} message, is empty")
    return turns
