"""What the loop asks of whoever drives it: effects, as values.

The loop is a generator. It yields an effect, is sent what came of it or has the error raised where
it waits, and goes on. It never awaits, never blocks and reads no clock, so one loop serves every
runtime, and a test can be its driver. A driver has these seven things to know, and nothing about
agents.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs

from locus.core.events import (
    GroundingEvent,
    ModelChunkEvent,
    ReflectEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from locus.core.messages import Message

if TYPE_CHECKING:
    from locus.agent.result import AgentResult

Event: TypeAlias = (
    ModelChunkEvent
    | ThinkEvent
    | ToolStartEvent
    | ToolCompleteEvent
    | ReflectEvent
    | GroundingEvent
    | TerminateEvent
)
"""What a run tells its caller."""


@attrs.frozen(eq=False)
class Emit:
    """Hand the event to the caller.

    :param result: what the run comes to, beside its last event.
    """

    event: Event
    result: AgentResult | None = None


@attrs.frozen(eq=False)
class CallModel:
    """Ask a model; give the :class:`~locus.core.response.ModelResponse`.

    :param aloud: whether the caller may see the answer as it arrives.
    """

    model: Any
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] | None
    options: Mapping[str, Any]
    aloud: bool = True


@attrs.frozen(eq=False)
class RunTool:
    """Call a tool's function, blocking or async; give an :class:`Outcome`.

    What the function raises is part of the outcome. Running out of time is, too.

    :param timeout: seconds, or None.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    is_async: bool
    timeout: float | None = None


@attrs.frozen(eq=False)
class Outcome:
    """What came of a tool's function.

    :param value: what it returned, where ``error`` is None.
    :param duration_ms: how long it ran, in milliseconds.
    """

    value: Any = None
    error: Exception | None = None
    duration_ms: float | None = None


@attrs.frozen(eq=False)
class CallHook:
    """Call a hook with its event, blocking or async. No two run at the same time."""

    method: Callable[[Any], Any]
    event: Any


@attrs.frozen(eq=False)
class UseStore:
    """Call something that reads or writes storage, and blocks; give what it returns.

    Once begun it is waited for, also where the run is cancelled meanwhile: a save must not land
    after a later one. No two run at the same time.
    """

    action: Callable[[], Any]


@attrs.frozen(eq=False)
class Now:
    """Give the time, in seconds of a clock that never goes back."""


@attrs.frozen(eq=False)
class Together:
    """Drive several generators of effects at the same time; give a list of what came of each.

    They start in this order, and each is driven to its end whatever becomes of the others: the
    list holds an :class:`Exception` where one has raised it, else what it returned. None of them
    emits events. Where the run is cancelled meanwhile, no more of them are started and async tools
    are cancelled at once; what else is under way has ``GRACE_SECONDS`` to end, so that what has
    been done is recorded.

    :param limit: how many may be under way at a time.
    """

    each: Sequence[Steps[Any]]
    limit: int


Effect: TypeAlias = Emit | CallModel | RunTool | CallHook | UseStore | Now | Together
T = TypeVar("T")
Steps: TypeAlias = Generator[Effect, Any, T]
"""A piece of a run: yields effects, returns what it was for."""


GRACE_SECONDS: Final = 2.0
"""How long what is under way may take to end, and each step of tidying up, in a cancelled run."""


def out_of_time(timeout: float) -> TimeoutError:
    """The error of a tool that took too long."""
    return TimeoutError(f"the tool did not finish within {timeout:g} s")


class Closed(BaseException):
    """Raised inside the loop where the caller has left before the end."""
