"""Generators of effects that can be told apart from those who use them.

A generator takes ``GeneratorExit`` for its own end: it must not yield any more, and what it
delegates to is closed. One that a hook or a tool has raised would leave the run without saving its
state or giving back its thread.
"""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any, TypeVar

from locus.agent.effects import Effect, Steps

T = TypeVar("T")


class Guarded(Generator[Effect, Any, T]):
    """``steps``, in which a ``GeneratorExit`` that is thrown arrives as a ``RuntimeError``.

    Just as Python does it with a ``StopIteration`` that gets into a generator.
    """

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps

    def __next__(self) -> Effect:
        return next(self._steps)

    def send(self, value: Any, /) -> Effect:
        """Go on with what came of the last effect."""
        return self._steps.send(value)

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Effect:
        """Go on with an error."""
        error = kind if value is None else value
        if isinstance(error, GeneratorExit) or error is GeneratorExit:
            escaped = RuntimeError("a tool, a hook or a model raised GeneratorExit")
            escaped.__cause__ = error if isinstance(error, GeneratorExit) else None
            error = escaped
        thrown: Any = error
        return self._steps.throw(thrown)

    def close(self) -> None:
        """End it where it is."""
        self._steps.close()
