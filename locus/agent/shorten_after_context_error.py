"""Shortens the messages of a request whose predecessor was too long for the model."""

from __future__ import annotations

from locus.core.messages import Message


def halve_budget(messages: tuple[Message, ...]) -> tuple[int, bool]:
    """Return half of the tokens of messages, and whether fitting into that shortens anything."""
    budget = _count_tokens(messages) // 2
    return budget, shorten_to_budget(messages, budget) != messages


def shorten_to_budget(messages: tuple[Message, ...], token_budget: int) -> tuple[Message, ...]:
    """Return as many of the newest messages as fit, by estimate; long texts are cut if need be.

    The system messages at the beginning and the last words of the user are kept, and no tool call
    is separated from its result. If that is more than the budget, the result exceeds it.
    """
    from locus.memory.managers.sliding_window import SlidingWindowManager  # only if it is needed
    from locus.memory.managers.text_truncation import TruncatingManager

    shortened = SlidingWindowManager(max_tokens=token_budget).apply(messages)
    if _count_tokens(shortened) > token_budget:
        shortened = TruncatingManager(max_chars=max(token_budget, 100)).apply(shortened)
    return shortened


def _count_tokens(messages: tuple[Message, ...]) -> int:
    """Return an estimate of the tokens of messages."""
    from locus.memory.managers.token_estimate import estimate_tokens

    return sum(map(estimate_tokens, messages))
