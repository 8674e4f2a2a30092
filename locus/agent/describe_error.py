"""Describes an error in one line, for the model and for the reason that a run ended."""

from __future__ import annotations

from collections import deque
from typing import Final


def describe_error(error: BaseException) -> str:
    """Describe an error by its class and its message: ``"ValueError: no such city"``.

    The message of an exception group only counts its errors, so these are described as well.
    """
    cause = error.__cause__
    if type(error) is RuntimeError and isinstance(cause, (StopIteration, StopAsyncIteration)):
        # Python replaces one that a coroutine raises by this RuntimeError; name the original.
        error = cause if str(error).endswith(f"raised {type(cause).__name__}") else error
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - __str__ of a user's class may raise anything
        return name
    if isinstance(error, BaseExceptionGroup):
        message = "; ".join([message, *_describe_members(error)])
    return f"{name}: {message}" if message else name


_MAX_MEMBERS: Final = 5


def _describe_members(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Describe the errors inside a group and its groups, not all if there are very many."""
    members: list[BaseException] = []
    waiting = deque[BaseException]([group])
    while waiting:
        member = waiting.popleft()
        if isinstance(member, BaseExceptionGroup):
            waiting.extendleft(reversed(member.exceptions))
        else:
            members.append(member)
    texts = [describe_error(member) for member in members[:_MAX_MEMBERS]]
    omitted = len(members) - _MAX_MEMBERS
    return texts + ([f"and {omitted} more"] if omitted > 0 else [])
