"""One run of an agent on each runtime, as what its caller sees: the events, and the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anyio
import attrs

from locus.agent import Agent, AgentResult
from locus.core.events import ModelChunkEvent, TerminateEvent, ToolCompleteEvent

RUNTIMES = ("blocking", "asyncio", "trio")


@attrs.frozen
class Seen:
    """What a caller has seen of a run."""

    events: tuple[Any, ...]
    result: AgentResult | None = None
    error: BaseException | None = None

    @property
    def last(self) -> TerminateEvent:
        (event,) = (event for event in self.events if isinstance(event, TerminateEvent))
        assert event is self.events[-1]
        return event

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self) -> str:
        return "".join(event.content or "" for event in self.of(ModelChunkEvent))


def see(runtime: str, agent: Agent, *args: Any, resume: bool = False, **kw: Any) -> Seen:
    """Run or resume as events, to the end."""
    events: list[Any] = []
    if runtime == "blocking":
        run = agent.resume_stream_sync(**kw) if resume else agent.stream_sync(*args, **kw)
        try:
            events.extend(run)  # adds one by one
        except Exception as error:  # noqa: BLE001
            return Seen(tuple(events), error=error)
        return Seen(tuple(events), run.result)

    async def main() -> Seen:
        run = agent.resume(**kw) if resume else agent.run(*args, **kw)
        try:
            with anyio.fail_after(20):
                async for event in run:
                    events.append(event)  # noqa: PERF401 - what came before an error counts
        except Exception as error:  # noqa: BLE001
            return Seen(tuple(events), error=error)
        return Seen(tuple(events), run.result)

    return anyio.run(main, backend=runtime)


def to_end(runtime: str, agent: Agent, *args: Any, resume: bool = False, **kw: Any) -> AgentResult:
    """Run or resume to the result."""
    if runtime == "blocking":
        return agent.resume_sync(**kw) if resume else agent.run_sync(*args, **kw)

    async def main() -> AgentResult:
        with anyio.fail_after(20):
            return await (agent.aresume(**kw) if resume else agent.arun(*args, **kw))

    return anyio.run(main, backend=runtime)


def timeless(events: Iterable[Any]) -> list[Any]:
    """The events without what a clock has put into them."""
    return [
        attrs.evolve(event, duration_ms=None) if isinstance(event, ToolCompleteEvent) else event
        for event in events
    ]


def on_all(make: Callable[[], Agent], *args: Any, **kw: Any) -> dict[str, Seen]:
    """The same run on the three runtimes."""
    return {runtime: see(runtime, make(), *args, **kw) for runtime in RUNTIMES}
