"""Exceptions of tools: which are errors for the model, and which end the program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from locus.agent import Agent
from locus.testing import ScriptedModel, tool_call
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES, run_to_end


@tool
def leave() -> str:
    """Leave."""
    sys.exit(3)


@tool
async def leave_async() -> str:
    """Leave."""
    sys.exit("usage: leave PATH")


@tool
def leave_in_group() -> str:
    """Leave."""
    raise BaseExceptionGroup("2 tasks", [SystemExit(4), ValueError("no")])


@tool
def leave_late() -> Any:
    """Leave while the result is read."""

    def rows() -> Iterator[int]:
        yield 1
        sys.exit(5)

    return rows()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_tool_that_ends_its_own_program_has_failed(runtime: str, is_alone: bool) -> None:
    tools = [leave, leave_async, leave_in_group, leave_late]
    calls = [tool_call(each.name) for each in tools]
    script = [*calls, "done"] if is_alone else [calls, "done"]
    result = run_to_end(runtime, Agent(ScriptedModel(*script), tools), "Go.")
    assert result.message == "done"
    errors = [execution.error or "" for execution in result.state.tool_executions]
    for error, text in zip(
        errors,
        ("SystemExit(3)", "usage: leave PATH", "SystemExit: 4", "SystemExit(5)"),
        strict=True,
    ):
        assert "the tool tried to end the program" in error
        assert text in error


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_error_of_a_tool_that_exits_can_end_the_run(runtime: str) -> None:
    agent = Agent(ScriptedModel(tool_call("leave")), [leave], on_tool_error="raise")
    with pytest.raises(RuntimeError, match=r"end the program with SystemExit\(3\)") as caught:
        run_to_end(runtime, agent, "Go.")
    assert isinstance(caught.value.__cause__, SystemExit)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_interrupt_stays_one_in_a_group(runtime: str) -> None:
    @tool
    def interrupt() -> str:
        """Be interrupted."""
        raise BaseExceptionGroup("2 tasks", [SystemExit(4), KeyboardInterrupt()])

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        run_to_end(runtime, Agent(ScriptedModel(tool_call("interrupt")), [interrupt]), "Go.")
    error = caught.value
    assert not isinstance(error, Exception)
