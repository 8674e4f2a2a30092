"""The result of a run, and wrong uses of a run object."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import anyio
import pytest

from locus.agent import Agent
from locus.core.events import ModelChunkEvent, TerminateEvent
from locus.testing import ScriptedModel
from tests.agent.recorded_runs import record_run


@pytest.mark.parametrize("leaves", [False, True])
def test_a_run_has_its_result_with_the_last_event(runtime_name: str, leaves: bool) -> None:
    agent = Agent(ScriptedModel("Yes."))
    results: list[Any] = []

    def check_result(run: Any, event: Any) -> bool:
        if not isinstance(event, TerminateEvent):
            with pytest.raises(RuntimeError, match="has no result"):
                _ = run.result
            return False
        results.append(run.result)
        return leaves

    if runtime_name == "blocking":
        with agent.stream_sync("Go.") as run:
            for event in run:
                if check_result(run, event):
                    break
        results.append(run.result)
    else:

        async def main() -> None:
            async with agent.run("Go.") as run:
                async for event in run:
                    if check_result(run, event):
                        break
            results.append(run.result)

        anyio.run(main, backend=runtime_name)
    assert [result.message for result in results] == ["Yes."] * 2
    assert results[0] is results[1]


def test_a_run_cannot_be_copied_or_pickled() -> None:
    agent = Agent(ScriptedModel("Yes."))
    with agent.stream_sync("Go.") as blocking:
        for run in (blocking, agent.run("Go.")):
            for copy_function in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="a run cannot be copied or pickled"):
                    copy_function(run)


def test_a_stream_that_has_to_be_awaited_is_an_error_with_a_hint(runtime_name: str) -> None:
    class AwaitedStreamModel:
        async def complete(self, messages: Any, tools: Any = None, **options: Any) -> Any:
            raise AssertionError

        async def stream(self, messages: Any, tools: Any = None, **options: Any) -> Any:
            return iter(())

    error = record_run(runtime_name, Agent(AwaitedStreamModel()), "Go.").error
    assert isinstance(error, TypeError)
    assert "write it as 'def stream'" in str(error)


def test_a_stream_of_other_values_is_an_error(runtime_name: str) -> None:
    class WrongModel:
        async def complete(self, messages: Any, tools: Any = None, **options: Any) -> Any:
            raise AssertionError

        async def stream(self, messages: Any, tools: Any = None, **options: Any) -> Any:
            yield ModelChunkEvent(content="Hello")
            yield " world"

    recorded = record_run(runtime_name, Agent(WrongModel()), "Go.")
    assert recorded.text == "Hello"
    assert str(recorded.error) == "the stream of WrongModel gave str, not a ModelChunkEvent"
