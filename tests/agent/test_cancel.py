"""Runs that another thread cancels, and what runs in the thread of a blocking run."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from typing import Any

import anyio
import pytest

from locus import OpenAIModel
from locus.agent import Agent, blocking_tool_runner
from locus.core.events import ToolCompleteEvent
from locus.memory import MemoryCheckpointer
from locus.testing import FunctionModel, LoopbackServer, Reply, ScriptedModel, tool_call
from locus.tools import tool
from locus.transport.interruption import Interrupted, Interruption
from tests.agent.recorded_runs import RUNTIMES, record_run
from tests.support.timing import HANG_SECONDS


class Ended:
    """Records how a run ended, for hooks."""

    def __init__(self) -> None:
        self.errors: list[Any] = []

    def on_after_invocation(self, event: Any) -> None:
        self.errors.append(event.error)


def cancel_when(run: Any, waiting: threading.Event, how: str = "cancel") -> list[Any]:
    """Iterate over a run in a thread, cancel it as soon as it waits, and return what it gave.

    :param how: the method that cancels it.
    """
    came: list[Any] = []

    def work() -> None:
        try:
            came.extend(run)
        except BaseException as error:  # noqa: BLE001
            came.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(HANG_SECONDS)
    getattr(run, how)()
    getattr(run, how)()
    thread.join(HANG_SECONDS)
    assert not thread.is_alive()
    return came


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking_tool_runner, "_CANCEL_GRACE_SECONDS", 0.05)


@pytest.mark.parametrize(("count", "how"), [(1, "cancel"), (2, "cancel"), (1, "close")])
def test_a_run_is_cancelled_while_a_blocking_tool_works(
    count: int, how: str, short_grace: None
) -> None:
    waiting, released = threading.Event(), threading.Event()

    @tool
    def slow() -> str:
        """Wait."""
        waiting.set()
        released.wait(HANG_SECONDS)
        return "slow"

    checkpointer, ended = MemoryCheckpointer(), Ended()
    model = ScriptedModel([tool_call("slow")] * count, "end")
    agent = Agent(model, [slow], checkpointer=checkpointer, hooks=[ended])
    try:
        came = cancel_when(agent.stream_sync("hello", "t"), waiting, how)
    finally:
        released.set()
    assert isinstance(came[-1], CancelledError)
    assert [type(error) for error in ended.errors] == [GeneratorExit]
    state = checkpointer.load("t")
    assert state is not None
    assert state.messages[0].text == "hello"
    assert agent.resume_sync(thread_id="t").message == "end"  # the thread is free again


@pytest.mark.parametrize(
    "reply",
    [Reply.error(429, "slow down", headers={"retry-after": "50"}), Reply.error(503, "no")],
)
def test_a_run_is_cancelled_while_its_model_waits_for_a_retry(
    reply: Reply, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locus.transport.retries.random.uniform", lambda low, high: 50)
    waiting = threading.Event()
    wait = threading.Event.wait

    def wait_and_tell(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout is not None and 40 < timeout <= 50:  # the pause itself has begun
            waiting.set()
        return wait(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", wait_and_tell)
    server.always(reply)
    with OpenAIModel("loop-1", base_url=server.url, api_key="k") as model:
        came = cancel_when(Agent(model).stream_sync("hello"), waiting)
    assert isinstance(came[-1], CancelledError)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("grace")
def test_a_run_is_cancelled_while_async_code_works() -> None:
    waiting = threading.Event()

    @tool
    async def slow() -> str:
        """Wait."""
        waiting.set()
        await anyio.sleep(HANG_SECONDS)
        return "slow"

    class Hook:
        async def on_before_invocation(self, event: Any) -> None:
            await slow.function()

    for agent in (
        Agent(ScriptedModel(tool_call("slow"), "end"), [slow]),
        Agent(ScriptedModel("end"), hooks=[Hook()]),
    ):
        waiting.clear()
        assert isinstance(cancel_when(agent.stream_sync("?"), waiting)[-1], CancelledError)


@pytest.mark.parametrize("stream", [True, False])
def test_a_run_is_cancelled_while_the_model_is_silent(stream: bool) -> None:
    waiting = threading.Event()

    def stall(request: Any) -> Reply:
        waiting.set()
        return Reply.json({}).stall(0)

    with LoopbackServer() as server:
        server.always(stall)
        model = OpenAIModel("gpt-4o", base_url=server.url + "/v1", api_key="k")
        ended = Ended()
        run = Agent(model, stream=stream, hooks=[ended]).stream_sync("?")
        came = cancel_when(run, waiting)
        assert [type(one) for one in came] == [CancelledError]
        assert len(ended.errors) == 1
        assert len(server.requests) == 1  # it is not tried again


def test_a_run_is_cancelled_in_the_middle_of_a_stream() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}
    with LoopbackServer() as server:
        server.always(Reply.sse([chunk] * 9).stall(300))
        model = OpenAIModel("gpt-4o", base_url=server.url + "/v1", api_key="k")
        run = Agent(model).stream_sync("?")
        assert next(run).content == "Hel"
        waiting = threading.Event()
        waiting.set()
        assert isinstance(cancel_when(run, waiting)[-1], CancelledError)


def test_a_run_is_cancelled_between_two_events_and_before_the_first() -> None:
    run = Agent(ScriptedModel("end", "end")).stream_sync("?")
    next(run)
    run.cancel()
    with pytest.raises(CancelledError):
        next(run)
    assert list(run) == []
    model = ScriptedModel("end")
    run = Agent(model).stream_sync("?")
    run.cancel()
    with pytest.raises(CancelledError):
        next(run)
    assert not model.calls


def test_a_run_that_has_ended_is_not_cancelled() -> None:
    run = Agent(ScriptedModel("end")).stream_sync("?")
    list(run)
    run.cancel()
    assert list(run) == []
    assert run.result.message == "end"


def test_an_error_that_is_no_cancellation_is_raised_as_it_is() -> None:
    def fail(messages: Any, tools: Any) -> Any:
        raise LookupError("no")

    with pytest.raises(LookupError):
        list(Agent(FunctionModel(fail)).stream_sync("?"))


def test_an_interruption_ends_what_waits_now_and_from_now_on() -> None:
    interruption, released, waiting = Interruption(), threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def wait() -> None:
        waiting.set()
        assert released.wait(HANG_SECONDS)

    def work() -> None:
        try:
            interruption.run(wait, released.set)
        except Interrupted as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(HANG_SECONDS)
    interruption.request()
    thread.join(HANG_SECONDS)
    assert len(errors) == 1
    with pytest.raises(Interrupted):
        interruption.run(lambda: 1, released.set)


@pytest.mark.parametrize("mode", ["concurrent", "sequential"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_blocking_tool_may_run_a_loop_inside_a_running_one(mode: Any, count: int) -> None:
    @tool
    def nested() -> str:
        """Run a loop."""
        return asyncio.run(asyncio.sleep(0, "nested"))

    async def notebook() -> Any:
        model = ScriptedModel([tool_call("nested")] * count, "end")
        return Agent(model, [nested], tool_execution=mode).run_sync("?")

    result = asyncio.run(notebook())
    assert [message.text for message in result.state.messages][2:-1] == ["nested"] * count


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("fails", [True, False])
def test_what_a_tool_makes_of_its_cancellation_comes_too_late(runtime: str, fails: bool) -> None:
    @tool(timeout=0.05)
    async def stubborn() -> str:
        """Wait, and do not want to end."""
        try:
            await anyio.sleep(HANG_SECONDS)
        except BaseException:  # noqa: BLE001 - that is what this tool is about
            if fails:
                raise ValueError("the clean-up failed") from None
        return "late"

    agent = Agent(ScriptedModel(tool_call("stubborn"), "end"), [stubborn])
    recorded = record_run(runtime, agent, "?")
    (event,) = recorded.select_events_of_type(ToolCompleteEvent)
    assert event.result is None
    assert "did not finish within 0.05 s" in event.error
