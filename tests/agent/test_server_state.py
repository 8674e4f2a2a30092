"""What a server that keeps the conversation is told, when it does not know what it should."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from locus.agent import Agent
from locus.core.messages import Message, ToolCall, ToolResult
from locus.memory import InMemoryStore, MemoryCheckpointer
from locus.testing.loopback_server import LoopbackServer, Received
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES, to_end
from tests.agent.test_threads import Remembers
from tests.support import runtimes
from tests.support.servers import responses_server
from tests.support.wire_json.responses_json import message

server = runtimes.server
pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


class Elsewhere(Remembers):
    """Another kind of server, with a ``provider_state`` of its own."""


def answers(server: LoopbackServer, *texts: str) -> None:
    """Let the server give these answers, each under an id of its own."""

    def reply(said: str, at: int) -> Any:
        def answer(received: Received) -> Any:
            streamed = received.json().get("stream")
            make = responses_server.stream_reply if streamed else responses_server.whole_reply
            return make(message(said), id=f"resp_{at}")

        return answer

    server.enqueue(*(reply(said, at) for at, said in enumerate(texts, 1)))


def talk(runtime: str, agent: Agent, *prompts: Any) -> list[Any]:
    results = [to_end(runtime, agent, prompt, "t") for prompt in prompts]
    agent.model.close_sync()  # type: ignore[union-attr]
    return results


def said(body: dict[str, Any]) -> list[str]:
    """What the items of a request say, in a word each."""
    return [
        item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
        for item in body["input"]
    ]


def test_an_assistants_words_that_the_server_never_heard_are_told_with_all_the_rest(
    runtime: str, server: Any
) -> None:
    answers(server, "One.", "Two.", "Three.")
    agent = Agent(responses_server.model_of(server), checkpointer=MemoryCheckpointer())
    history = [Message.user("Q1"), Message.assistant("A1"), Message.user("Q2")]
    talk(runtime, agent, "Q0", history, "Q3")
    _, second, third = (request.json() for request in server.requests)
    assert said(second) == ["Q0", "One.", "Q1", "A1", "Q2"]
    assert "previous_response_id" not in second
    assert (said(third), third["previous_response_id"]) == (["Q3"], "resp_2")


def test_a_call_and_its_result_that_the_server_never_saw_are_told(
    runtime: str, server: Any
) -> None:
    answers(server, "One.", "Two.")
    agent = Agent(responses_server.model_of(server), checkpointer=MemoryCheckpointer())
    call = ToolCall("c", "double", {"n": 1})
    done = [Message.assistant(None, [call]), Message.tool(ToolResult("c", "double", "2"))]
    talk(runtime, agent, "Q0", [Message.user("Q1"), *done])
    kinds = [item.get("type", "message") for item in server.requests[1].json()["input"]]
    assert kinds[-2:] == ["function_call", "function_call_output"]
    assert "previous_response_id" not in server.requests[1].json()


def test_another_server_is_told_everything(runtime: str, server: Any) -> None:
    answers(server, "Two.", "Four.")
    checkpointer = MemoryCheckpointer()
    here = Agent(responses_server.model_of(server), checkpointer=checkpointer)
    to_end(runtime, here.copy(model=Remembers("One.")), "Q1", "t")
    talk(runtime, here, "Q2")
    elsewhere = Elsewhere("Three.")
    to_end(runtime, here.copy(model=elsewhere), "Q3", "t")
    talk(runtime, here, "Q4")
    assert [said(request.json()) for request in server.requests] == [
        ["Q1", "One.", "Q2"],
        ["Q1", "One.", "Q2", "Two.", "Q3", "Three.", "Q4"],
    ]
    assert "previous_response_id" not in json.dumps([r.json() for r in server.requests])
    assert elsewhere.sent == [["Q1", "One.", "Q2", "Two.", "Q3"]]


def test_a_thread_whose_server_has_forgotten_goes_on_without_its_state(
    runtime: str, server: Any
) -> None:
    answers(server, "One.", "Two.")
    checkpointer = MemoryCheckpointer()
    agent = Agent(responses_server.model_of(server), checkpointer=checkpointer)
    talk(runtime, agent, "Q1")
    state = checkpointer.load("t")
    assert state is not None
    checkpointer.save("t", state.evolve(provider_state=None))
    talk(runtime, agent, "Q2")
    assert said(server.requests[1].json()) == ["Q1", "One.", "Q2"]


def test_a_system_prompt_that_has_changed_is_told_and_one_that_has_not_is_not(
    runtime: str,
) -> None:
    @attrs.frozen
    class City:
        name: str

    store = InMemoryStore()
    model = Remembers("One.", "Two.", "Three.", '{"name": "Oslo"}', "Five.")
    agent = Agent(model, (), "S1", memory=store, checkpointer=MemoryCheckpointer())
    to_end(runtime, agent, "Q1", "t")
    to_end(runtime, agent, "Q2", "t")
    store.put("default", "likes", "tea")
    to_end(runtime, agent, "Q3", "t")
    typed = agent.copy(output_schema=City)
    assert to_end(runtime, typed, "Q4", "t").parsed == City("Oslo")
    to_end(runtime, agent.copy(system_prompt=None, memory=None), "Q5", "t")
    first, second, (facts, third), (schema, fourth), fifth = model.sent
    assert (first, second, third, fourth) == (["S1", "Q1"], ["Q2"], "Q3", "Q4")
    # What was said to the server cannot be taken back, so it is told everything anew.
    assert fifth == ["Q1", "One.", "Q2", "Two.", "Q3", "Three.", "Q4", '{"name": "Oslo"}', "Q5"]
    assert facts.startswith("S1\n\n")
    assert "tea" in facts
    assert "JSON Schema" in schema


def test_another_project_or_address_is_another_server(runtime: str) -> None:
    def model(said: str, **config: Any) -> Any:
        made = Remembers(said)
        made.config = SimpleNamespace(**config)  # type: ignore[attr-defined]
        return made

    agent = Agent(Remembers(), checkpointer=MemoryCheckpointer())
    here = {"base_url": "https://a", "project_ocid": "p"}
    asked = []
    for at, config in enumerate((here, here, {**here, "project_ocid": "q"}, {"base_url": "b"})):
        used = model(f"A{at}", **config)
        to_end(runtime, agent.copy(model=used), f"Q{at}", "t")
        asked.append(len(used.sent[0]))
    assert asked == [1, 1, 5, 7]


@pytest.mark.parametrize("knows", [99, -1, True, "2", None])
def test_a_thread_that_was_cut_by_hand_is_told_whole(runtime: str, knows: Any) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(Remembers("One."), checkpointer=checkpointer)
    to_end(runtime, agent, "Q1", "t")
    state = checkpointer.load("t")
    assert state is not None
    notes: Any = {**state.metadata["locus"], "server_knows": knows}
    shorter = state.messages[1:] if knows == 99 else state.messages
    checkpointer.save("t", state.evolve(messages=shorter, metadata={"locus": notes}))
    model = Remembers("Two.")
    to_end(runtime, agent.copy(model=model), "Q2", "t")
    whole = [*([] if knows == 99 else ["Q1"]), "One.", "Q2"]
    # Without a count its last answer is the last thing that it knows.
    assert model.sent == [["Q2"] if knows in (True, "2", None) else whole]
