"""Describes an error in one line, for the model and for the reason that a run ended."""

from __future__ import annotations


def describe_error(error: BaseException) -> str:
    """Describe an error by its class and its message: ``"ValueError: no such city"``."""
    cause = error.__cause__
    if type(error) is RuntimeError and isinstance(cause, (StopIteration, StopAsyncIteration)):
        # Python replaces one that a coroutine raises by this RuntimeError; name the original.
        error = cause if str(error).endswith(f"raised {type(cause).__name__}") else error
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - __str__ of a user's class may raise anything
        return name
    return f"{name}: {message}" if message else name
