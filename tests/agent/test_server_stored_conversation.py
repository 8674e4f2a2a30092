"""What a server that stores the conversation is sent when it does not have all of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from locus.agent import Agent
from locus.core.messages import Message, ToolCall, ToolResult
from locus.memory import InMemoryStore, MemoryCheckpointer
from locus.testing.server import LoopbackServer, Received
from locus.tools import tool
from tests.agent.recorded_runs import run_to_end
from tests.agent.test_threads import StatefulModel
from tests.support.servers import responses_server
from tests.support.wire_json.responses_json import make_message_item

pytestmark = pytest.mark.usefixtures("server")


@tool
def double(n: int) -> int:
    """Double a number."""
    return 2 * n


class OtherServerModel(StatefulModel):
    """A model of another server, with a ``provider_state`` of its own."""


def enqueue_texts(server: LoopbackServer, *texts: str) -> None:
    """Let the server reply with these texts, each with an id of its own."""

    def reply(content: str, number: int) -> Any:
        def build_reply(received: Received) -> Any:
            streamed = received.json().get("stream")
            make = responses_server.build_stream_reply if streamed else responses_server.build_reply
            return make(make_message_item(content), id=f"resp_{number}")

        return build_reply

    server.enqueue(*(reply(content, number) for number, content in enumerate(texts, 1)))


def run_prompts(runtime_name: str, agent: Agent, *prompts: Any) -> list[Any]:
    results = [run_to_end(runtime_name, agent, prompt, "t") for prompt in prompts]
    agent.model.close_sync()  # type: ignore[union-attr]
    return results


def get_input_texts(body: dict[str, Any]) -> list[str]:
    """Return the texts of the input items of a request."""
    return [
        item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
        for item in body["input"]
    ]


def test_a_server_is_sent_everything_if_an_assistant_message_is_new_to_it(
    runtime_name: str, server: Any
) -> None:
    enqueue_texts(server, "One.", "Two.", "Three.")
    agent = Agent(responses_server.make_model(server), checkpointer=MemoryCheckpointer())
    history = [Message.user("Q1"), Message.assistant("A1"), Message.user("Q2")]
    run_prompts(runtime_name, agent, "Q0", history, "Q3")
    _, second, third = (request.json() for request in server.requests)
    assert get_input_texts(second) == ["Q0", "One.", "Q1", "A1", "Q2"]
    assert "previous_response_id" not in second
    assert (get_input_texts(third), third["previous_response_id"]) == (["Q3"], "resp_2")


def test_a_server_is_sent_a_call_and_its_result_that_are_new_to_it(
    runtime_name: str, server: Any
) -> None:
    enqueue_texts(server, "One.", "Two.")
    agent = Agent(responses_server.make_model(server), checkpointer=MemoryCheckpointer())
    call = ToolCall("c", "double", {"n": 1})
    done = [Message.assistant(None, [call]), Message.tool(ToolResult("c", "double", "2"))]
    run_prompts(runtime_name, agent, "Q0", [Message.user("Q1"), *done])
    kinds = [item.get("type", "message") for item in server.requests[1].json()["input"]]
    assert kinds[-2:] == ["function_call", "function_call_output"]
    assert "previous_response_id" not in server.requests[1].json()


def test_another_server_is_sent_everything(runtime_name: str, server: Any) -> None:
    enqueue_texts(server, "Two.", "Four.")
    checkpointer = MemoryCheckpointer()
    agent = Agent(responses_server.make_model(server), checkpointer=checkpointer)
    run_to_end(runtime_name, agent.copy(model=StatefulModel("One.")), "Q1", "t")
    run_prompts(runtime_name, agent, "Q2")
    other_model = OtherServerModel("Three.")
    run_to_end(runtime_name, agent.copy(model=other_model), "Q3", "t")
    run_prompts(runtime_name, agent, "Q4")
    assert [get_input_texts(request.json()) for request in server.requests] == [
        ["Q1", "One.", "Q2"],
        ["Q1", "One.", "Q2", "Two.", "Q3", "Three.", "Q4"],
    ]
    assert "previous_response_id" not in json.dumps([r.json() for r in server.requests])
    assert other_model.requests == [["Q1", "One.", "Q2", "Two.", "Q3"]]


def test_a_thread_continues_without_the_state_of_a_server_that_has_forgotten(
    runtime_name: str, server: Any
) -> None:
    enqueue_texts(server, "One.", "Two.")
    checkpointer = MemoryCheckpointer()
    agent = Agent(responses_server.make_model(server), checkpointer=checkpointer)
    run_prompts(runtime_name, agent, "Q1")
    state = checkpointer.load("t")
    assert state is not None
    checkpointer.save("t", state.evolve(provider_state=None))
    run_prompts(runtime_name, agent, "Q2")
    assert get_input_texts(server.requests[1].json()) == ["Q1", "One.", "Q2"]


def test_a_system_prompt_is_sent_again_only_if_it_has_changed(
    runtime_name: str,
) -> None:
    @attrs.frozen
    class City:
        name: str

    store = InMemoryStore()
    model = StatefulModel("One.", "Two.", "Three.", '{"name": "Oslo"}', "Five.")
    agent = Agent(model, (), "S1", memory=store, checkpointer=MemoryCheckpointer())
    run_to_end(runtime_name, agent, "Q1", "t")
    run_to_end(runtime_name, agent, "Q2", "t")
    store.put("default", "likes", "tea")
    run_to_end(runtime_name, agent, "Q3", "t")
    typed = agent.copy(output_schema=City)
    assert run_to_end(runtime_name, typed, "Q4", "t").parsed == City("Oslo")
    run_to_end(runtime_name, agent.copy(system_prompt=None, memory=None), "Q5", "t")
    first, second, (facts, third), (schema, fourth), fifth = model.requests
    assert (first, second, third, fourth) == (["S1", "Q1"], ["Q2"], "Q3", "Q4")
    # A prompt that the server has cannot be removed, so everything is sent anew.
    assert fifth == ["Q1", "One.", "Q2", "Two.", "Q3", "Three.", "Q4", '{"name": "Oslo"}', "Q5"]
    assert facts.startswith("S1\n\n")
    assert "tea" in facts
    assert "JSON Schema" in schema


def test_another_project_or_address_is_another_server(runtime_name: str) -> None:
    def make_model(content: str, **config: Any) -> Any:
        model = StatefulModel(content)
        model.config = SimpleNamespace(**config)  # type: ignore[attr-defined]
        return model

    agent = Agent(StatefulModel(), checkpointer=MemoryCheckpointer())
    config_here = {"base_url": "https://a", "project_ocid": "p"}
    message_counts = []
    for number, config in enumerate(
        (config_here, config_here, {**config_here, "project_ocid": "q"}, {"base_url": "b"})
    ):
        current = make_model(f"A{number}", **config)
        run_to_end(runtime_name, agent.copy(model=current), f"Q{number}", "t")
        message_counts.append(len(current.requests[0]))
    assert message_counts == [1, 1, 5, 7]


@pytest.mark.parametrize("message_count", [99, -1, None])
def test_a_thread_that_was_shortened_by_hand_is_sent_completely(
    runtime_name: str, message_count: int | None
) -> None:
    checkpointer = MemoryCheckpointer()
    agent = Agent(StatefulModel("One."), checkpointer=checkpointer)
    run_to_end(runtime_name, agent, "Q1", "t")
    state = checkpointer.load("t")
    assert state is not None
    assert state.server_knowledge is not None
    knowledge = attrs.evolve(state.server_knowledge, messages=message_count)
    shorter = state.messages[1:] if message_count == 99 else state.messages
    checkpointer.save("t", state.evolve(messages=shorter, server_knowledge=knowledge))
    model = StatefulModel("Two.")
    run_to_end(runtime_name, agent.copy(model=model), "Q2", "t")
    everything = [*([] if message_count == 99 else ["Q1"]), "One.", "Q2"]
    # Without a count the server has everything up to its last response.
    assert model.requests == [["Q2"] if message_count is None else everything]
