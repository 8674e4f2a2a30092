"""A run as its driver holds it: what is the same in the thread that asks and in an event loop."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from locus.agent.effects import Effect, Steps
from locus.agent.result import AgentResult


class DrivenRun:
    """The loop of one run, and how far it has got.

    One event is fetched at a time: who asks while another waits is refused.

    :cvar _asker: what it is that asks for events under this driver.
    """

    _asker: ClassVar[str]
    _steps: Steps[AgentResult] | None = None

    def __init__(self, steps: Steps[AgentResult], *, streams: bool) -> None:
        self._steps = steps
        self._streams = streams
        self._result: AgentResult | None = None
        self._begun = self._waiting = False

    @property
    def result(self) -> AgentResult:
        """What the run came to.

        :raises RuntimeError: it has not given its last event, or has failed.
        """
        if self._result is None:
            raise RuntimeError("the run has no result: it has not ended, or it has failed")
        return self._result

    def __reduce__(self) -> NoReturn:
        raise TypeError("a run cannot be copied or pickled; its state can, when it has ended")

    def _check_free(self) -> None:
        if self._waiting:
            raise RuntimeError(f"another {self._asker} is waiting for the next event of this run")

    def _is_over(self) -> bool:
        """Whether there is nothing left to end. A loop that has not begun is closed here."""
        self._check_free()
        if self._steps is not None and not self._begun:
            self._steps.close()
            self._steps = None
        return self._steps is None

    def _advance(self, came: Any, error: BaseException | None) -> Effect | None:
        """Send the loop what came of its last effect: its next one, or None at the end."""
        steps = self._steps
        assert steps is not None
        self._steps = None  # unless it goes on
        try:
            effect = steps.send(came) if error is None else steps.throw(error)
        except StopIteration:
            return None
        self._steps = steps
        return effect
