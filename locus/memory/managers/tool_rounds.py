"""Which messages stay together, and which stay whatever happens: the rules of every manager.

A tool round is an assistant's message with the results of its calls; it is kept or dropped whole.
Any other message stands alone. Rounds are read from the newest to the oldest, and no further than
asked for, so that a window on a long conversation costs what the window holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role

SUMMARY_OF: Final = "summary_of"
"""The key in the metadata of a summary: how many messages it stands for."""

Round: TypeAlias = tuple[int, ...]
"""The positions of messages that stay together, in order."""


def turns_of(messages: str | Message | Iterable[Message]) -> tuple[Message, ...]:
    """The messages; a text is the user's.

    :raises TypeError: something in it is no message.
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
    turns = tuple(messages)
    for kind in set(map(type, turns)):
        if not issubclass(kind, Message):
            raise TypeError(f"a conversation holds Message, not {kind.__name__}")
    return turns


def is_summary(message: Message) -> bool:
    """Whether ``message`` is the summary that a manager put in the place of others."""
    return SUMMARY_OF in message.metadata


def leading(messages: Sequence[Message]) -> int:
    """How many system messages the conversation begins with."""
    for position, message in enumerate(messages):
        if message.role is not Role.SYSTEM:
            return position
    return len(messages)


def rounds(messages: Sequence[Message], start: int) -> Iterator[Round]:
    """The rounds from position ``start`` on, the newest first.

    A result belongs to the nearest message before it that has made a call of its id.

    :raises ConfigurationError: a result has no call before it; names its position.
    """
    waiting: dict[str | None, list[int]] = {}
    for position in range(len(messages) - 1, start - 1, -1):
        message = messages[position]
        if message.role is Role.TOOL:
            waiting.setdefault(message.tool_call_id, []).append(position)
        elif message.tool_calls:
            found = [position]
            for asked in {call.id for call in message.tool_calls}:
                found += waiting.pop(asked, ())
            yield tuple(sorted(found))
        else:
            yield (position,)
    for name, positions in waiting.items():
        raise ConfigurationError(
            f"messages[{positions[-1]}] is the result of tool call {name!r}, which no assistant "
            "message before it has made"
        )


def indispensable(messages: Sequence[Message], start: int) -> list[Round]:
    """The rounds, from position ``start`` on, that no manager may drop; the newest first.

    That is what the user said last; and where the assistant's last turn called tools, that round,
    for the model may not have read its results yet, with what the user had said before it. Where
    there is none of that, the last round.
    """
    kept: list[Round] = []
    heard = False
    last: Round = ()
    for found in rounds(messages, start):
        message = messages[found[0]]
        last = last or found
        if message.role is Role.ASSISTANT:
            if message.tool_calls:
                kept.append(found)
            if message.tool_calls or not heard:
                # Nothing but the user's words is looked for any more, and they stand alone.
                said = range(found[0] - 1, start - 1, -1)
                kept += [(at,) for at in islice(filter(_spoken(messages), said), 1)]
            break
        if not heard and message.role is Role.USER and not is_summary(message):
            kept.append(found)
            heard = True
    return kept or [last] * bool(last)


def _spoken(messages: Sequence[Message]) -> Callable[[int], bool]:
    """Whether the user said the message at a position."""
    return lambda at: messages[at].role is Role.USER and not is_summary(messages[at])


def newest(
    messages: Sequence[Message],
    start: int,
    needed: Sequence[Round],
    fits: Callable[[Round], bool],
) -> list[Round]:
    """The ``needed`` rounds, and the newest others for as long as they fit; the oldest first.

    :param fits: asked for each of the others, from the newest on, until it says no.
    """
    kept = list(needed)
    there = {found[0] for found in needed}
    for found in rounds(messages, start):
        if found[0] in there:
            continue
        if not fits(found):
            break
        kept.append(found)
    return sorted(kept)
