"""The base class of blocking and async runs: advances the loop and keeps the result."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from locus.agent.effects import Effect, EffectGenerator
from locus.agent.result import AgentResult


class BaseRun:
    """The loop of one run and its progress.

    Only one event is fetched at a time. Asking for another one meanwhile is an error.

    :cvar _caller_noun: what asks for events under this driver, for the error: a thread or a task.
    """

    _caller_noun: ClassVar[str]
    _generator: EffectGenerator[AgentResult] | None = None

    def __init__(self, generator: EffectGenerator[AgentResult], *, streamed: bool) -> None:
        self._generator = generator
        self._streamed = streamed
        self._result: AgentResult | None = None
        self._is_started = self._is_waiting = False

    @property
    def result(self) -> AgentResult:
        """The result of the run.

        :raises RuntimeError: if the run has not given its last event yet, or has failed.
        """
        if self._result is None:
            raise RuntimeError("the run has no result: it has not ended, or it has failed")
        return self._result

    def __reduce__(self) -> NoReturn:
        raise TypeError("a run cannot be copied or pickled; its state can, when it has ended")

    def _check_no_event_is_awaited(self) -> None:
        """Raise an error if another thread or task is waiting for the next event."""
        if self._is_waiting:
            raise RuntimeError(
                f"another {self._caller_noun} is waiting for the next event of this run"
            )

    def _close_if_not_started(self) -> bool:
        """Close a loop that has not started; return whether nothing is left to be ended."""
        self._check_no_event_is_awaited()
        if self._generator is not None and not self._is_started:
            self._generator.close()
            self._generator = None
        return self._generator is None

    def _advance_generator(self, result: Any, error: BaseException | None) -> Effect | None:
        """Send the loop the result or the error of its last effect.

        Returns the next effect, or None at the end.
        """
        generator = self._generator
        assert generator is not None
        self._generator = None  # it is set again if the loop continues
        try:
            effect = generator.send(result) if error is None else generator.throw(error)
        except StopIteration:
            return None
        self._generator = generator
        return effect
