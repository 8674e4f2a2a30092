"""Runs an agent on one or all runtimes, and records the events and the result or error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anyio
import attrs

from locus.agent import Agent, AgentResult
from locus.core.events import ModelChunkEvent, TerminateEvent, ToolCompleteEvent
from tests.support.timing import HANG_SECONDS

RUNTIMES = ("blocking", "asyncio", "trio")


@attrs.frozen
class RecordedRun:
    """The events of a run, and its result or error."""

    events: tuple[Any, ...]
    result: AgentResult | None = None
    error: BaseException | None = None

    @property
    def terminate_event(self) -> TerminateEvent:
        (event,) = (event for event in self.events if isinstance(event, TerminateEvent))
        assert event is self.events[-1]
        return event

    def select_events_of_type(self, type_: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, type_)]

    @property
    def text(self) -> str:
        return "".join(event.content or "" for event in self.select_events_of_type(ModelChunkEvent))


def record_run(
    runtime: str, agent: Agent, *args: Any, resume: bool = False, **kwargs: Any
) -> RecordedRun:
    """Run or resume an agent as events, to the end."""
    events: list[Any] = []
    if runtime == "blocking":
        run = agent.resume_stream_sync(**kwargs) if resume else agent.stream_sync(*args, **kwargs)
        try:
            events.extend(run)  # adds one by one
        except Exception as error:  # noqa: BLE001
            return RecordedRun(tuple(events), error=error)
        return RecordedRun(tuple(events), run.result)

    async def main() -> RecordedRun:
        run = agent.resume(**kwargs) if resume else agent.run(*args, **kwargs)
        try:
            with anyio.fail_after(HANG_SECONDS):
                async for event in run:
                    events.append(event)  # noqa: PERF401 - events before an error count
        except Exception as error:  # noqa: BLE001
            return RecordedRun(tuple(events), error=error)
        return RecordedRun(tuple(events), run.result)

    return anyio.run(main, backend=runtime)


def run_to_end(
    runtime: str, agent: Agent, *args: Any, resume: bool = False, **kwargs: Any
) -> AgentResult:
    """Run or resume an agent to its result."""
    if runtime == "blocking":
        return agent.resume_sync(**kwargs) if resume else agent.run_sync(*args, **kwargs)

    async def main() -> AgentResult:
        with anyio.fail_after(HANG_SECONDS):
            return await (agent.aresume(**kwargs) if resume else agent.arun(*args, **kwargs))

    return anyio.run(main, backend=runtime)


def remove_durations(events: Iterable[Any]) -> list[Any]:
    """Return the events without their durations."""
    return [
        attrs.evolve(event, duration_ms=None) if isinstance(event, ToolCompleteEvent) else event
        for event in events
    ]


def record_on_all_runtimes(
    make_agent: Callable[[], Agent], *args: Any, **kwargs: Any
) -> dict[str, RecordedRun]:
    """Record the same run on each runtime."""
    return {runtime: record_run(runtime, make_agent(), *args, **kwargs) for runtime in RUNTIMES}
