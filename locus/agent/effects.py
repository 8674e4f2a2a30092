"""The effects that the agent's loop yields: descriptions of I/O that a driver performs.

The loop is a generator. It yields an effect, a driver performs it and sends the result back or
throws the error, and the loop continues. The loop itself never awaits, never blocks and reads no
clock. So one loop serves every runtime, and a test can be its driver. A driver has to know these
eight effects and nothing about agents.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs

from locus.core.events import (
    GroundingEvent,
    ModelChunkEvent,
    ReflectEvent,
    SubAgentEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from locus.core.messages import Message

if TYPE_CHECKING:
    from locus.agent.result import AgentResult
    from locus.agent.run_variables import RunVariables

AgentEvent: TypeAlias = (
    ModelChunkEvent
    | ThinkEvent
    | ToolStartEvent
    | ToolCompleteEvent
    | ReflectEvent
    | GroundingEvent
    | SubAgentEvent
    | TerminateEvent
)
"""An event that the caller of a run receives."""


@attrs.frozen(eq=False)
class EmitEvent:
    """Give an event to the caller of the run.

    :param result: the result of the run, with its last event.
    """

    event: AgentEvent
    result: AgentResult | None = None


@attrs.frozen(eq=False)
class CallModel:
    """Call a model. The result is its :class:`~locus.core.response.ModelResponse`.

    :param streamed: whether the caller of the run may receive the response while it arrives.
    :param context: the context that the model runs in; None is that of the caller.
    """

    model: Any
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] | None
    options: Mapping[str, Any]
    streamed: bool = True
    context: Context | None = None


@attrs.frozen(eq=False)
class RunTool:
    """Call a tool's function, blocking or async. The result is a :class:`ToolOutcome`.

    Errors that the function raises are part of the outcome, and so is a timeout.

    :param context: the context that the function runs in, which is for it alone.
    :param timeout: seconds, or None.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    is_async: bool
    context: Context
    timeout: float | None = None


@attrs.frozen(eq=False)
class ToolOutcome:
    """The return value of a tool's function, or the error that it raised.

    :param value: the return value, if ``error`` is None.
    :param duration_ms: how long the function ran, in milliseconds.
    """

    value: Any = None
    error: Exception | None = None
    duration_ms: float | None = None


@attrs.frozen(eq=False)
class CallHook:
    """Call a method of a hook with its event, blocking or async. No two run at the same time.

    :param variables: the context variables that it shares with other hooks.
    """

    method: Callable[[Any], Any]
    event: Any
    variables: RunVariables


@attrs.frozen(eq=False)
class CallFunction:
    """Call a function of the user's, blocking or async. The result is what it returns.

    :param context: the context that it runs in, which is for it alone.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    context: Context


@attrs.frozen(eq=False)
class UseStorage:
    """Call a function that reads or writes storage, blocking or async. The result is its own.

    Once it has started, the driver waits for it, even if the run is cancelled meanwhile: no save
    may take effect after a later one. No two run at the same time.

    :param context: the context that it runs in; None is that of the caller.
    """

    action: Callable[[], Any]
    context: Context | None = None


@attrs.frozen(eq=False)
class ReadClock:
    """Read a monotonic clock. The result is in seconds."""


@attrs.frozen(eq=False)
class RunConcurrently:
    """Drive several generators of effects at the same time. The result is a list.

    They start in this order, and each is driven to its end, whatever happens to the others. The
    list has an :class:`Exception` for each that raised one, and the return value for the others.
    None of them emits events. If the run is cancelled meanwhile, no more of them are started and
    async tools are cancelled at once; everything else that is running has ``GRACE_SECONDS`` to
    end, so that what was done is recorded.

    :param limit: how many may run at the same time.
    """

    generators: Sequence[EffectGenerator[Any]]
    limit: int


Effect: TypeAlias = (
    EmitEvent
    | CallModel
    | RunTool
    | CallHook
    | CallFunction
    | UseStorage
    | ReadClock
    | RunConcurrently
)
T = TypeVar("T")
EffectGenerator: TypeAlias = Generator[Effect, Any, T]
"""A part of a run: a generator that yields effects and returns a result."""


GRACE_SECONDS: Final = 2.0
"""How long running tools, and each step of the cleanup, may take to end in a cancelled run."""


def make_tool_timeout_error(timeout: float) -> TimeoutError:
    """Make the error of a tool that did not finish in time.

    :param timeout: the limit, in seconds.
    """
    return TimeoutError(f"the tool did not finish within {timeout:g} s")


class RunClosed(BaseException):
    """Raised inside the loop when the caller leaves the run before its end."""
