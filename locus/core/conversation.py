"""The conversation of one call: refused where no provider could accept it, and put in order.

Providers want the results of tools right behind the calls, and each result to name its call. What
a caller has said meanwhile, or an id that stands for two calls, must not come between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role

Messages: TypeAlias = str | Message | Sequence[Message]
"""What every call takes: a prompt, one message, or the whole conversation."""

Place: TypeAlias = tuple[int, int]
"""A tool call: the position of the assistant's message, and the call's place in it."""


@attrs.frozen
class Turn:
    """A message, in the order in which a provider reads the conversation.

    :param position: where it stands in the caller's conversation.
    :param answers: the call whose result it is; None where it is no result, or that of a call
        which only the server remembers.
    """

    position: int
    message: Message
    answers: Place | None = None


def conversation(
    messages: Messages,
    holds_more: Callable[[Message], bool] | None = None,
    *,
    continues: bool = False,
) -> tuple[Message, ...]:
    """``messages`` as a tuple that some provider can accept.

    :param holds_more: whether an assistant's message holds something that only one provider
        knows, where it has neither text nor calls.
    :param continues: whether the server remembers what came before, calls included.
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
            if message.tool_call_id not in asked and not continues:
                raise ConfigurationError(
                    f"messages[{position}] is the result of tool call {message.tool_call_id!r}, "
                    "which no assistant message before it has made"
                )
        elif message.content is None or message.content == ():
            raise ConfigurationError(f"messages[{position}], a {message.role} message, is empty")
    return turns


def in_order(turns: Sequence[Message]) -> list[Turn]:
    """The turns, with the results of tools right behind the message that made the calls.

    What stands between a call and its result (a system message, words of the user) comes after
    the results; the results keep their order. One result answers one call: where a message calls
    twice by one id, the first result is that of the first. Results of calls that only the server
    remembers come first of all.

    :param turns: as :func:`conversation` gives them.
    """
    if not any(message.role is Role.TOOL for message in turns):
        return [Turn(position, message) for position, message in enumerate(turns)]
    waiting: dict[str, list[Place]] = {}
    results: dict[int, list[Turn]] = {}
    remembered: list[Turn] = []
    for position, message in enumerate(turns):
        if message.role is Role.TOOL:
            places = waiting.get(message.tool_call_id or "")
            if places is None:
                remembered.append(Turn(position, message))
                continue
            place = places.pop(0) if len(places) > 1 else places[0]
            results.setdefault(place[0], []).append(Turn(position, message, place))
            continue
        ours: dict[str, list[Place]] = {}
        for at, call in enumerate(message.tool_calls):
            ours.setdefault(call.id, []).append((position, at))
        waiting |= ours  # a result is that of the latest message which has its id
    found = remembered
    for position, message in enumerate(turns):
        if message.role is not Role.TOOL:
            found.append(Turn(position, message))
            found += results.get(position, ())
    return found
