"""``SlidingWindowManager``: drops the oldest messages of a conversation that is too long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role
from locus.memory.managers.base import MAX_QUICK_MESSAGES, ConversationManager
from locus.memory.managers.message_groups import (
    MessageGroup,
    count_leading_system_messages,
    find_required_groups,
    select_required_and_newest_groups,
    to_message_tuple,
)
from locus.memory.managers.token_estimate import estimate_tokens


def validate_optional_budget(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is an integer of at least 0, or None."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{field.name} must be an integer from 0; not {value!r}")


@attrs.frozen
class SlidingWindowManager(ConversationManager):
    """Drops the oldest messages of a conversation that is longer than its budget.

    These are kept: the system messages at the beginning, the last message of the user, the tool
    results that the model may not have read yet (with their calls, and the user's message before
    them), and as many of the newest other messages as fit. The first of the kept messages is a
    message of the user, because several providers require that. **If the messages that have to be
    kept exceed the budget, the result exceeds it.**

    :param max_messages: the maximum number of messages, system messages included.
    :param max_tokens: the maximum number of tokens, as ``counter`` counts them.
    :param counter: returns the tokens of one message. The default is an estimate:
        :func:`~locus.memory.managers.token_estimate.estimate_tokens`.
    :raises ConfigurationError: if neither budget is set, or one is not an integer of at least 0.
    """

    max_messages: int | None = attrs.field(default=None, validator=validate_optional_budget)
    max_tokens: int | None = attrs.field(default=None, validator=validate_optional_budget)
    counter: Callable[[Message], int] = attrs.field(
        default=estimate_tokens, validator=attrs.validators.is_callable()
    )

    def __attrs_post_init__(self) -> None:
        if self.max_messages is None and self.max_tokens is None:
            raise ConfigurationError("SlidingWindowManager needs max_messages= or max_tokens=")

    def is_quick(self, messages: Sequence[Message]) -> bool:
        """Whether the conversation is short, and no function of the user's counts tokens."""
        return self.counter is estimate_tokens and len(messages) <= MAX_QUICK_MESSAGES

    def apply(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """Return the conversation within the budget; unchanged if it fits."""
        conversation = to_message_tuple(messages)
        if self.max_tokens is None and len(conversation) <= (self.max_messages or 0):
            return conversation
        start = count_leading_system_messages(conversation)
        required = find_required_groups(conversation, start)
        budget = _Budget(self, conversation)
        budget.subtract_messages(range(start))
        for group in required:
            budget.subtract_messages(group)
        selected = select_required_and_newest_groups(
            conversation, start, required, budget.subtract_group_and_check
        )
        if sum(map(len, selected)) == len(conversation) - start:
            return conversation
        groups = _drop_before_first_user_message(conversation, selected, required)
        positions = sorted(position for group in groups for position in group)
        return conversation[:start] + tuple(conversation[position] for position in positions)


class _Budget:
    """The messages and tokens that are left of a budget."""

    __slots__ = ("_conversation", "_counter", "_messages", "_tokens")

    def __init__(self, manager: SlidingWindowManager, conversation: tuple[Message, ...]) -> None:
        self._messages = manager.max_messages
        self._tokens = manager.max_tokens
        self._counter = manager.counter
        self._conversation = conversation

    def subtract_messages(self, positions: Sequence[int]) -> None:
        """Subtract the messages at these positions."""
        if self._messages is not None:
            self._messages -= len(positions)
        if self._tokens is not None:
            self._tokens -= sum(
                self._counter(self._conversation[position]) for position in positions
            )

    def subtract_group_and_check(self, group: MessageGroup) -> bool:
        """Subtract a group, and return whether the budget was sufficient."""
        self.subtract_messages(group)
        return (
            min(
                0 if self._messages is None else self._messages,
                0 if self._tokens is None else self._tokens,
            )
            >= 0
        )


def _drop_before_first_user_message(
    conversation: tuple[Message, ...],
    selected: list[MessageGroup],
    required: Sequence[MessageGroup],
) -> list[MessageGroup]:
    """Drop the assistant's groups before the first user message or required group."""
    system_groups: list[MessageGroup] = []
    for index, group in enumerate(selected):
        role = conversation[group[0]].role
        if role is Role.USER or group in required:
            return system_groups + selected[index:]
        if role is Role.SYSTEM:
            system_groups.append(group)
    return selected
