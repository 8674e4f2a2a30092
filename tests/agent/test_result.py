"""A run as an object: its result, and what cannot be done with it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import anyio
import pytest

from locus.agent import Agent
from locus.core.events import ModelChunkEvent, TerminateEvent
from locus.testing import ScriptedModel
from tests.agent.recorded_runs import RUNTIMES, see


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("leaves", [False, True])
def test_the_result_is_there_with_the_last_event(runtime: str, leaves: bool) -> None:
    agent = Agent(ScriptedModel("Yes."))
    results: list[Any] = []

    def look(run: Any, event: Any) -> bool:
        if not isinstance(event, TerminateEvent):
            with pytest.raises(RuntimeError, match="has no result"):
                _ = run.result
            return False
        results.append(run.result)
        return leaves

    if runtime == "blocking":
        with agent.stream_sync("Go.") as run:
            for event in run:
                if look(run, event):
                    break
        results.append(run.result)
    else:

        async def main() -> None:
            async with agent.run("Go.") as run:
                async for event in run:
                    if look(run, event):
                        break
            results.append(run.result)

        anyio.run(main, backend=runtime)
    assert [result.message for result in results] == ["Yes."] * 2
    assert results[0] is results[1]


def test_a_run_is_neither_copied_nor_pickled() -> None:
    agent = Agent(ScriptedModel("Yes."))
    with agent.stream_sync("Go.") as blocking:
        for run in (blocking, agent.run("Go.")):
            for way in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="a run cannot be copied or pickled"):
                    way(run)


def test_a_stream_that_has_to_be_awaited_first_is_refused_with_a_hint(runtime: str) -> None:
    class Awaited:
        async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
            raise AssertionError

        async def stream(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
            return iter(())

    error = see(runtime, Agent(Awaited()), "Go.").error
    assert isinstance(error, TypeError)
    assert "write it as 'def stream'" in str(error)


def test_a_stream_of_something_else_is_refused(runtime: str) -> None:
    class Words:
        async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
            raise AssertionError

        async def stream(self, messages: Any, tools: Any = None, **kw: Any) -> Any:
            yield ModelChunkEvent(content="Hello")
            yield " world"

    seen = see(runtime, Agent(Words()), "Go.")
    assert seen.text == "Hello"
    assert str(seen.error) == "the stream of Words gave str, not a ModelChunkEvent"
