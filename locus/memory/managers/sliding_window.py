"""The window: the newest part of a conversation, and the little before it that has to stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role
from locus.memory.managers.base import ConversationManager
from locus.memory.managers.token_estimate import estimate_tokens
from locus.memory.managers.tool_rounds import Round, indispensable, leading, newest, turns_of


def budget(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """A validator: a whole number from 0, or None."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{field.name} must be a whole number from 0; not {value!r}")


@attrs.frozen
class SlidingWindowManager(ConversationManager):
    """Drops the oldest turns of a conversation that has grown beyond its budget.

    Kept are the system messages at the beginning, what the user said last, the tool round that the
    model may not have read yet (with what the user said before it), and then as many of the newest
    turns as fit. The first of what is kept before that is a user's turn, as several providers want
    it. **Where the least does not fit the budget, the least is what you get.**

    :param max_messages: the longest conversation, in messages, system messages included.
    :param max_tokens: the longest conversation, in tokens as ``counter`` counts them.
    :param counter: the tokens of one message. The default is an estimate:
        :func:`~locus.memory.managers.token_estimate.estimate_tokens`.
    :raises ConfigurationError: neither budget is given, or one is no whole number from 0.
    """

    max_messages: int | None = attrs.field(default=None, validator=budget)
    max_tokens: int | None = attrs.field(default=None, validator=budget)
    counter: Callable[[Message], int] = attrs.field(
        default=estimate_tokens, validator=attrs.validators.is_callable()
    )

    def __attrs_post_init__(self) -> None:
        if self.max_messages is None and self.max_tokens is None:
            raise ConfigurationError("SlidingWindowManager needs max_messages= or max_tokens=")

    def apply(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """The conversation within the budget; itself where it fits."""
        turns = turns_of(messages)
        if self.max_tokens is None and len(turns) <= (self.max_messages or 0):
            return turns
        head = leading(turns)
        needed = indispensable(turns, head)
        room = _Room(self, turns)
        room.take(range(head))
        for found in needed:
            room.take(found)
        kept = newest(turns, head, needed, room.fits)
        if sum(map(len, kept)) == len(turns) - head:
            return turns
        positions = [position for found in _from_user(turns, kept, needed) for position in found]
        return turns[:head] + tuple(turns[position] for position in sorted(positions))


class _Room:
    """What is left of a budget."""

    __slots__ = ("_counter", "_messages", "_tokens", "_turns")

    def __init__(self, manager: SlidingWindowManager, turns: tuple[Message, ...]) -> None:
        self._messages = manager.max_messages
        self._tokens = manager.max_tokens
        self._counter = manager.counter
        self._turns = turns

    def take(self, positions: Iterable[int]) -> None:
        taken = tuple(positions)
        if self._messages is not None:
            self._messages -= len(taken)
        if self._tokens is not None:
            self._tokens -= sum(self._counter(self._turns[position]) for position in taken)

    def fits(self, found: Round) -> bool:
        """Takes the room for these messages, and says whether there was enough."""
        self.take(found)
        return (
            min(
                0 if self._messages is None else self._messages,
                0 if self._tokens is None else self._tokens,
            )
            >= 0
        )


def _from_user(
    turns: tuple[Message, ...], kept: list[Round], needed: Sequence[Round]
) -> list[Round]:
    """The rounds without the assistant's turns before the first of the user, but for the needed."""
    begun: list[Round] = []
    for at, found in enumerate(kept):
        role = turns[found[0]].role
        if role is Role.USER or found in needed:
            return begun + kept[at:]
        if role is Role.SYSTEM:
            begun.append(found)
    return kept
