"""A generator that turns a thrown GeneratorExit into a RuntimeError.

Python takes a ``GeneratorExit`` inside a generator for the request to close it: the generator must
not yield any more, and what it delegates to is closed. If a hook or a tool raised one, the run
would end without saving its state and without unlocking its thread.
"""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any, TypeVar

from locus.agent.effects import Effect, EffectGenerator

T = TypeVar("T")


class GeneratorExitConverter(Generator[Effect, Any, T]):
    """A generator of effects in which a thrown ``GeneratorExit`` becomes a ``RuntimeError``.

    Python does the same with a ``StopIteration`` that is raised inside a generator.
    """

    __slots__ = ("_generator",)

    def __init__(self, generator: EffectGenerator[T]) -> None:
        self._generator = generator

    def __next__(self) -> Effect:
        return next(self._generator)

    def send(self, value: Any, /) -> Effect:
        """Continue with the result of the last effect."""
        return self._generator.send(value)

    def throw(
        self,
        type_: Any,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Effect:
        """Continue with an error."""
        error = type_ if value is None else value
        if isinstance(error, GeneratorExit) or error is GeneratorExit:
            replacement = RuntimeError("a tool, a hook or a model raised GeneratorExit")
            replacement.__cause__ = error if isinstance(error, GeneratorExit) else None
            error = replacement
        thrown: Any = error
        return self._generator.throw(thrown)

    def close(self) -> None:
        """Close the generator."""
        self._generator.close()
