"""Checkpointers, stores and conversation managers of the user's whose methods are async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import anyio
import pytest

from locus.agent import Agent
from locus.core.errors import BadRequestError, ConfigurationError
from locus.core.messages import Message
from locus.core.state import AgentState
from locus.memory import BaseCheckpointer, ConversationManager
from locus.memory.managers.base import SummaryRequest
from locus.testing import FunctionModel, ScriptedModel, text
from tests.agent.recorded_runs import RUNTIMES, record_run, run_to_end
from tests.support.runtimes import run_async

each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


class AsyncCheckpointer:
    """A checkpointer of a class of the user's, over a client that awaits.

    :ivar claims_by: how ``claim`` locks.
    """

    def __init__(self, claims_by: str = "async context manager") -> None:
        self.states: dict[str, bytes] = {}
        self.log: list[str] = []
        self.claims_by = claims_by

    async def save(self, thread_id: str, state: AgentState) -> None:
        await anyio.sleep(0.001)
        self.states[thread_id] = state.to_json()

    async def load(self, thread_id: str) -> AgentState | None:
        await anyio.sleep(0.001)
        body = self.states.get(thread_id)
        return None if body is None else AgentState.from_json(body)

    async def delete(self, thread_id: str) -> None:
        await anyio.sleep(0.001)
        self.states.pop(thread_id, None)

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        await anyio.sleep(0.001)
        self.log.append("locked")
        try:
            yield
        finally:
            await anyio.sleep(0.001)
            self.log.append("unlocked")

    def claim(self, thread_id: str) -> Any:
        if self.claims_by == "async context manager":
            return self._lock()

        async def make_lock() -> Any:
            await anyio.sleep(0.001)
            return nullcontext() if self.claims_by == "coroutine" else self._lock()

        return make_lock()


@each_runtime
@pytest.mark.parametrize("claims_by", ["async context manager", "coroutine", "coroutine of one"])
def test_an_async_checkpointer_keeps_a_conversation(runtime: str, claims_by: str) -> None:
    checkpointer: Any = AsyncCheckpointer(claims_by)
    agent = Agent(ScriptedModel("ok", "Ada"), checkpointer=checkpointer)
    run_to_end(runtime, agent, "My name is Ada.", thread_id="t")
    recorded = record_run(runtime, agent, "My name?", thread_id="t")
    assert recorded.result is not None
    shown = [message.text for message in recorded.result.state.messages]
    assert shown == ["My name is Ada.", "ok", "My name?", "Ada"]
    assert run_to_end(runtime, agent, resume=True, thread_id="t").message == "Ada"
    if claims_by != "coroutine":
        assert checkpointer.log == ["locked", "unlocked"] * 3


@each_runtime
def test_an_async_checkpointer_forgets_a_refused_prompt(runtime: str) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise BadRequestError("no", status_code=400)

    checkpointer: Any = AsyncCheckpointer()
    agent = Agent(FunctionModel(refuse), checkpointer=checkpointer)
    with pytest.raises(BadRequestError):
        run_to_end(runtime, agent, "Hello", thread_id="t")
    assert checkpointer.states == {}
    assert checkpointer.log == ["locked", "unlocked"]


def test_an_async_save_ends_though_the_run_is_cancelled(backend: str) -> None:
    class Slow(AsyncCheckpointer):
        async def save(self, thread_id: str, state: AgentState) -> None:
            started.set()
            await anyio.sleep(0.05)
            await super().save(thread_id, state)

    async def main() -> None:
        nonlocal started
        started = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(agent.arun, "Hello", "t")
            await started.wait()
            group.cancel_scope.cancel()

    started: Any = None
    checkpointer: Any = Slow()
    agent = Agent(ScriptedModel("ok"), checkpointer=checkpointer)
    run_async(backend, main)
    assert AgentState.from_json(checkpointer.states["t"]).messages == (Message.user("Hello"),)


def test_what_a_checkpointer_keeps_in_an_event_loop_works_in_the_next_blocking_run() -> None:
    class Bound(AsyncCheckpointer):
        gate: Any = None

        async def load(self, thread_id: str) -> AgentState | None:
            self.gate = self.gate or asyncio.Event()  # belongs to the loop that waits for it
            with suppress(TimeoutError):
                await asyncio.wait_for(self.gate.wait(), 0.001)
            return await super().load(thread_id)

    checkpointer: Any = Bound()
    agent = Agent(ScriptedModel("ok", cycle=True), checkpointer=checkpointer)
    for _ in range(3):
        assert agent.run_sync("Hello", "t").message == "ok"


@each_runtime
@pytest.mark.parametrize("method", ["load", "claim"])
def test_what_is_no_state_and_no_lock_is_refused(runtime: str, method: str) -> None:
    class Wrong(AsyncCheckpointer):
        pass

    setattr(Wrong, method, lambda self, thread_id: {"messages": []})
    checkpointer: Any = Wrong()
    agent = Agent(ScriptedModel("ok"), checkpointer=checkpointer)
    with pytest.raises(TypeError, match=rf"Wrong\.{method} returned dict"):
        run_to_end(runtime, agent, "Hello", thread_id="t")


@each_runtime
def test_the_facts_of_an_async_store_are_in_the_system_prompt(runtime: str) -> None:
    class Facts:
        async def render(self, namespace: Any, limit: int = 100) -> Any:
            await anyio.sleep(0.001)
            return f"{namespace} likes tea." if namespace == "ada" else 7

    store: Any = Facts()
    model = ScriptedModel("ok", cycle=True)
    agent = Agent(model, memory=store, memory_namespace="ada")
    run_to_end(runtime, agent, "Hello")
    assert model.calls[0].messages[0].text == "ada likes tea."
    with pytest.raises(TypeError, match=r"Facts\.render returned int, not text"):
        run_to_end(runtime, agent.copy(memory_namespace="bob"), "Hello")


class AppliesAsync(ConversationManager):
    async def apply(self, messages: Iterable[Message]) -> Any:  # type: ignore[override]
        await anyio.sleep(0.001)
        return list(messages)[-1:]


class ReducesAsync(ConversationManager):
    def apply(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        raise AssertionError("the agent calls reduce")

    async def reduce(self, messages: Iterable[Message]) -> Any:  # type: ignore[override]
        await anyio.sleep(0.001)
        return tuple(messages)[-1:]


class AsksAModel(ConversationManager):
    rewrites = True

    async def apply(self, messages: Iterable[Message]) -> Any:  # type: ignore[override]
        await anyio.sleep(0.001)
        return tuple(messages)[-1:]

    def reduce(self, messages: Iterable[Message]) -> Any:
        words = yield SummaryRequest((Message.user("Sum up."),))
        assert words == "a summary"
        return self.apply(messages)


class Duck:
    """A manager that is not derived from anything."""

    async def apply(self, messages: Any) -> Any:
        return messages[-1:]

    reduce = apply


@each_runtime
@pytest.mark.parametrize("manager_class", [AppliesAsync, ReducesAsync, AsksAModel, Duck])
@pytest.mark.parametrize("system_prompt", [None, "The managers leave it out."])
def test_an_async_manager_shortens_the_request(
    runtime: str, manager_class: Any, system_prompt: str | None
) -> None:
    script = [text("a summary", usage={"prompt_tokens": 5})] if manager_class is AsksAModel else []
    model = ScriptedModel(*script, "ok")
    agent = Agent(model, conversation_manager=manager_class(), system_prompt=system_prompt)
    prompt = [Message.user("a"), Message.assistant("b"), Message.user("c")]
    result = run_to_end(runtime, agent, prompt)
    assert [message.text for message in model.calls[-1].messages] == ["c"]
    kept = ["c", "ok"] if manager_class is AsksAModel else ["a", "b", "c", "ok"]
    assert [message.text for message in result.state.messages] == kept
    assert result.usage.get("prompt_tokens", 0) == (5 if script else 0)


@each_runtime
@pytest.mark.parametrize("value", [None, "text", [1], Message.user("one")])
def test_a_result_that_is_no_conversation_names_the_manager(runtime: str, value: Any) -> None:
    class Wrong(AppliesAsync):
        async def apply(self, messages: Iterable[Message]) -> Any:
            return value

    agent = Agent(ScriptedModel("ok"), conversation_manager=Wrong())
    with pytest.raises(TypeError, match=r"Wrong returned .*, not a sequence of Message"):
        run_to_end(runtime, agent, "Hello")


def test_an_async_manager_outside_an_agent(backend: str) -> None:
    messages = [Message.user("a"), Message.assistant("b"), Message.user("c")]
    assert run_async(backend, AppliesAsync().aapply, messages) == [messages[-1]]
    with pytest.raises(ConfigurationError, match="aapply"):
        AppliesAsync().apply_sync(messages)


def test_a_checkpointer_of_the_base_class_may_have_some_async_methods() -> None:
    class Saves(BaseCheckpointer):
        def __init__(self) -> None:
            self.states: dict[str, AgentState] = {}

        async def save(self, thread_id: str, state: AgentState) -> None:  # type: ignore[override]
            self.states[thread_id] = state

        def load(self, thread_id: str) -> AgentState | None:
            return self.states.get(thread_id)

        def delete(self, thread_id: str) -> None:
            self.states.pop(thread_id, None)

        def threads(self) -> tuple[str, ...]:
            return tuple(self.states)

        def claim(self, thread_id: str) -> Any:
            return nullcontext()

    agent = Agent(ScriptedModel("ok", "Ada"), checkpointer=Saves())
    agent.run_sync("My name is Ada.", "t")
    assert len(agent.run_sync("My name?", "t").state.messages) == 4
