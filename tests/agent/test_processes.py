"""A conversation that one process begins and others continue, with a cloud that checks signatures.

The first process is killed in the middle of a round of tools. The calls that were done are not done
again, the others are. The service is sent what it does not have yet: only the results, if it stores
the conversation.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.agent import Agent, AgentState
from locus.core.messages import Role
from locus.memory import SQLiteCheckpointer, ThreadBusyError
from locus.testing.server import Received, Reply
from tests.agent.agent_process import THREAD, Task, TripPlanner, get_database_path, get_log_path
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.cloud import COMPARTMENT
from tests.support.oci.inference import MODEL_ID, RESPONSES_PATH, InferenceCloud
from tests.support.processes import PROJECT_ROOT, wait_for_output
from tests.support.servers.responses_server import build_reply, build_stream_reply
from tests.support.wire_json.responses_json import make_message_item

pytest.importorskip("oci")

home, isolated_environment = profiles.home, signed_models.isolated_environment
cloud, profile = inference.cloud, inference.profile
pytestmark = [pytest.mark.usefixtures("isolated_environment", "profile"), pytest.mark.sdk]

PROMPT = "Plan my trip."
ENCRYPTED_REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "encrypted_content": "gAAA",
}


def make_call_item(number: int, name: str, city: str) -> dict[str, Any]:
    fields = {"call_id": f"call_{number}", "name": name, "arguments": json.dumps({"city": city})}
    return {"type": "function_call", "id": f"fc_{number}", "status": "completed", **fields}


FIRST_ROUND = (
    make_call_item(1, "print_tickets", "Oslo"),
    make_call_item(2, "book", "Oslo"),
    make_call_item(3, "look", "Oslo"),
)
SECOND_ROUND = (make_call_item(4, "book", "Oslo"), make_call_item(5, "book", "Rome"))
RESULTS = {
    "call_1": "printed for Oslo",
    "call_2": '{"booked":"Oslo"}',
    "call_3": "fine in Oslo",
    "call_4": '{"booked":"Oslo"}',
    "call_5": '{"booked":"Rome"}',
}


def make_reply_function(id: str, *items: dict[str, Any]) -> Callable[[Received], Reply]:
    def reply(received: Received) -> Reply:
        make = build_stream_reply if received.json().get("stream") else build_reply
        return make(*items, id=id, model=MODEL_ID)

    return reply


def make_output_items(*numbers: int) -> list[dict[str, str]]:
    """Make the items with the results of these calls, as the service is sent them."""
    return [
        {"type": "function_call_output", "call_id": f"call_{n}", "output": RESULTS[f"call_{n}"]}
        for n in numbers
    ]


@contextmanager
def start_process(task: Task) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.agent.agent_process",
            json.dumps(attrs.asdict(task)),
        ],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def run_until_killed(task: Task) -> None:
    """Run a task until its process is killed, by itself or by this process."""
    with start_process(task) as child:
        if task.waits_to_be_killed:
            assert child.stdout is not None
            assert child.stdout.readline() == "hanging\n"
            child.kill()
        out, err = wait_for_output(child)
        assert (child.returncode, out, err) == (-signal.SIGKILL, "", "")


def run_to_end_in_process(task: Task) -> dict[str, Any]:
    """Run a task to its end, and return what its process printed."""
    with start_process(task) as child:
        out, err = wait_for_output(child)
        assert (child.returncode, err) == (0, "")
    outcome: dict[str, Any] = json.loads(out)
    return outcome


def load_state(folder: Path) -> AgentState:
    with SQLiteCheckpointer(get_database_path(folder)) as checkpointer:
        state = checkpointer.load(THREAD)
    assert state is not None
    return state


def run_in_this_process(task: Task, use: Callable[[Agent], Any]) -> Any:
    """Use the agent of a task in this process, and return the result."""
    with SQLiteCheckpointer(get_database_path(task.folder)) as checkpointer:
        agent = TripPlanner(task, checkpointer).make_agent()
        with agent.model:  # type: ignore[union-attr]
            return use(agent)


def count_log_entries(folder: Path) -> Counter[str]:
    return Counter(get_log_path(folder).read_text().splitlines())


def get_accepted_bodies(cloud: InferenceCloud) -> list[dict[str, Any]]:
    """Check that all requests were signed correctly, and return their bodies."""
    assert cloud.rejection_reasons == []
    assert len(cloud.accepted_key_ids) == len(cloud.accepted_requests)
    assert {received.path for received in cloud.accepted_requests} == {RESPONSES_PATH}
    return [received.json() for received in cloud.accepted_requests]


def check_interrupted_state(folder: Path, killing_tool: str, prompt: str = PROMPT) -> None:
    """Check the state that the first process left: its response, and the calls that were done."""
    state = load_state(folder)
    assert [message.role for message in state.messages] == [Role.USER, Role.ASSISTANT]
    assert state.messages[0].text == prompt
    assert [call.id for call in state.messages[1].tool_calls] == ["call_1", "call_2", "call_3"]
    done = [item["call_id"] for item in FIRST_ROUND if item["name"] != killing_tool]
    assert [execution.tool_call_id for execution in state.tool_executions] == done
    assert [execution.result for execution in state.tool_executions] == [RESULTS[i] for i in done]
    assert count_log_entries(folder) == {"print Oslo": 1, "book Oslo": 1, "look Oslo": 1}


def check_final_state(state: AgentState) -> None:
    """Check the conversation of both processes: one result for each call, in order."""
    assert [message.role for message in state.messages] == [
        Role.USER,
        Role.ASSISTANT,
        *[Role.TOOL] * 3,
        Role.ASSISTANT,
        *[Role.TOOL] * 2,
        Role.ASSISTANT,
    ]
    results = [message for message in state.messages if message.role is Role.TOOL]
    assert {message.tool_call_id: message.text for message in results} == RESULTS
    assert [message.tool_call_id for message in results] == list(RESULTS)
    assert [execution.tool_call_id for execution in state.tool_executions] == list(RESULTS)
    assert state.messages[-1].text == "All set."
    assert state.iteration == 3


@pytest.mark.parametrize(
    ("first", "second", "killing_tool", "waits_to_be_killed"),
    [
        ("trio", "blocking", "print_tickets", False),
        ("blocking", "asyncio", "look", False),
        ("asyncio", "trio", "print_tickets", True),
    ],
)
def test_another_process_resumes_a_stored_conversation_in_the_middle_of_a_round(
    cloud: InferenceCloud,
    tmp_path: Path,
    first: str,
    second: str,
    killing_tool: str,
    waits_to_be_killed: bool,
) -> None:
    task = Task(f"{cloud.url}/openai/v1", COMPARTMENT, MODEL_ID, str(tmp_path), first)
    cloud.queue_replies(make_reply_function("resp_one", *FIRST_ROUND))
    run_until_killed(
        attrs.evolve(
            task, prompt=PROMPT, killing_tool=killing_tool, waits_to_be_killed=waits_to_be_killed
        )
    )
    check_interrupted_state(tmp_path, killing_tool)
    assert load_state(tmp_path).provider_state == {"previous_response_id": "resp_one"}

    resumed_task = attrs.evolve(task, runtime=second)
    busy_errors: list[str] = []

    def resume_meanwhile(received: Received) -> Reply:
        """Try to resume the thread in this process as well, while the other one works on it."""
        with pytest.raises(ThreadBusyError) as exc_info:
            run_in_this_process(task, lambda agent: agent.resume_sync(thread_id=THREAD))
        busy_errors.append(str(exc_info.value))
        return make_reply_function("resp_two", *SECOND_ROUND)(received)

    cloud.queue_replies(
        resume_meanwhile, make_reply_function("resp_three", make_message_item("All set."))
    )
    (unfinished_id,) = (item["call_id"] for item in FIRST_ROUND if item["name"] == killing_tool)
    assert run_to_end_in_process(resumed_task) == {
        "started": [unfinished_id, "call_4", "call_5"],
        "reason": "complete",
        "message": "All set.",
        "calls": 3,
    }
    assert len(busy_errors) == 1
    assert "'trip' is busy: another run, in process" in busy_errors[0]
    check_final_state(load_state(tmp_path))
    assert load_state(tmp_path).provider_state == {"previous_response_id": "resp_three"}
    repeated = "print Oslo" if killing_tool == "print_tickets" else "look Oslo"
    once = {"print Oslo": 1, "book Oslo": 1, "look Oslo": 1, "book Rome": 1}
    assert count_log_entries(tmp_path) == {**once, repeated: 2}

    # This process continues the conversation, as the third one.
    cloud.queue_replies(make_reply_function("resp_four", make_message_item("Rome, too.")))
    result = run_in_this_process(task, lambda agent: agent.run_sync("And Rome?", THREAD))
    assert (result.message, result.iterations, result.tool_calls) == ("Rome, too.", 1, 0)
    assert result.state.provider_state == {"previous_response_id": "resp_four"}
    assert len(result.state.messages) == 11

    first_body, second_body, third_body, fourth_body = get_accepted_bodies(cloud)
    assert "previous_response_id" not in first_body
    assert [item["role"] for item in first_body["input"]] == ["system", "user"]
    assert (second_body["previous_response_id"], second_body["input"]) == (
        "resp_one",
        make_output_items(1, 2, 3),
    )
    assert (third_body["previous_response_id"], third_body["input"]) == (
        "resp_two",
        make_output_items(4, 5),
    )
    assert fourth_body["previous_response_id"] == "resp_three"
    (message,) = fourth_body["input"]
    assert message["role"] == "user"
    assert "And Rome?" in json.dumps(message["content"])
    assert all(body["store"] is True for body in (first_body, second_body, third_body, fourth_body))


def test_another_process_sends_the_whole_conversation_if_the_service_does_not_store_it(
    cloud: InferenceCloud, tmp_path: Path
) -> None:
    task = Task(
        f"{cloud.url}/openai/v1", COMPARTMENT, MODEL_ID, str(tmp_path), "asyncio", store=False
    )
    cloud.queue_replies(make_reply_function("resp_one", ENCRYPTED_REASONING, *FIRST_ROUND))
    run_until_killed(attrs.evolve(task, prompt=PROMPT, killing_tool="print_tickets"))
    check_interrupted_state(tmp_path, "print_tickets")

    cloud.queue_replies(
        make_reply_function("resp_two", *SECOND_ROUND),
        make_reply_function("resp_three", make_message_item("All set.")),
    )
    outcome = run_to_end_in_process(attrs.evolve(task, runtime="blocking"))
    assert outcome["started"] == ["call_1", "call_4", "call_5"]
    check_final_state(load_state(tmp_path))
    assert load_state(tmp_path).provider_state is None
    assert count_log_entries(tmp_path)["book Oslo"] == 1

    first_body, second_body, third_body = get_accepted_bodies(cloud)
    for body in (first_body, second_body, third_body):
        assert body["store"] is False
        assert "previous_response_id" not in body
        assert "resp_" not in json.dumps(body)
    # The response is sent back unchanged, with the reasoning that the service has encrypted.
    history = [*first_body["input"], ENCRYPTED_REASONING, *FIRST_ROUND, *make_output_items(1, 2, 3)]
    assert second_body["input"] == history
    assert third_body["input"][: len(history)] == history
    first_call, second_call, *results = third_body["input"][len(history) :]
    assert [
        (item["call_id"], json.loads(item["arguments"])) for item in (first_call, second_call)
    ] == [
        ("call_4", {"city": "Oslo"}),
        ("call_5", {"city": "Rome"}),
    ]
    assert results == make_output_items(4, 5)
