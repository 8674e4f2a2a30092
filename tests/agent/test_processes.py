"""A conversation that one process begins and others go on with, on a cloud that checks signatures.

The first process dies in the middle of a round of tools. What of it was done is not done again, the
rest is, and the service is sent what it does not have yet: where it keeps the conversation, the
results alone.
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
from locus.testing.loopback_server import Received, Reply
from tests.agent.agent_process import THREAD, Task, Traveller, database, log
from tests.support.oci import inference, profiles, signed_models
from tests.support.oci.cloud import COMPARTMENT
from tests.support.oci.inference import MODEL, RESPONSES, Inference
from tests.support.runtimes import ROOT
from tests.support.servers.responses_server import stream_reply, whole_reply
from tests.support.wire_json.responses_json import message

pytest.importorskip("oci")

home, surroundings = profiles.home, signed_models.surroundings
cloud, profile = inference.cloud, inference.profile
pytestmark = [pytest.mark.usefixtures("surroundings", "profile"), pytest.mark.sdk]

PROMPT = "Plan my trip."
SEALED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}


def call(at: int, name: str, city: str) -> dict[str, Any]:
    named = {"call_id": f"call_{at}", "name": name, "arguments": json.dumps({"city": city})}
    return {"type": "function_call", "id": f"fc_{at}", "status": "completed", **named}


ROUND = (call(1, "print_tickets", "Oslo"), call(2, "book", "Oslo"), call(3, "look", "Oslo"))
AGAIN = (call(4, "book", "Oslo"), call(5, "book", "Rome"))
RESULTS = {
    "call_1": "printed for Oslo",
    "call_2": '{"booked":"Oslo"}',
    "call_3": "fine in Oslo",
    "call_4": '{"booked":"Oslo"}',
    "call_5": '{"booked":"Rome"}',
}


def answer(id: str, *items: dict[str, Any]) -> Callable[[Received], Reply]:
    def reply(received: Received) -> Reply:
        make = stream_reply if received.json().get("stream") else whole_reply
        return make(*items, id=id, model=MODEL)

    return reply


def outputs(*numbers: int) -> list[dict[str, str]]:
    """The results of these calls as the service is sent them."""
    return [
        {"type": "function_call_output", "call_id": f"call_{n}", "output": RESULTS[f"call_{n}"]}
        for n in numbers
    ]


@contextmanager
def process(task: Task) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.agent.agent_process",
            json.dumps(attrs.asdict(task)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def die(task: Task) -> None:
    """Run it until it is killed, by its own hand or by ours."""
    with process(task) as child:
        if task.hangs:
            assert child.stdout is not None
            assert child.stdout.readline() == "hanging\n"
            child.kill()
        out, err = child.communicate(timeout=30)
        assert (child.returncode, out, err) == (-signal.SIGKILL, "", "")


def finish(task: Task) -> dict[str, Any]:
    """Run it to its end: what it says of it."""
    with process(task) as child:
        out, err = child.communicate(timeout=30)
        assert (child.returncode, err) == (0, "")
    said: dict[str, Any] = json.loads(out)
    return said


def saved(folder: Path) -> AgentState:
    with SQLiteCheckpointer(database(folder)) as checkpointer:
        state = checkpointer.load(THREAD)
    assert state is not None
    return state


def own_process(task: Task, use: Callable[[Agent], Any]) -> Any:
    """What ``use`` makes of the same agent in this process."""
    with SQLiteCheckpointer(database(task.folder)) as checkpointer:
        agent = Traveller(task, checkpointer).agent()
        with agent.model:  # type: ignore[union-attr]
            return use(agent)


def ran(folder: Path) -> Counter[str]:
    return Counter(log(folder).read_text().splitlines())


def let_in(cloud: Inference) -> list[dict[str, Any]]:
    """The requests, each of them signed as it has to be."""
    assert cloud.refused == []
    assert len(cloud.accepted) == len(cloud.answered)
    assert {received.path for received in cloud.answered} == {RESPONSES}
    return [received.json() for received in cloud.answered]


def check_interrupted(folder: Path, fatal: str, prompt: str = PROMPT) -> None:
    """What the first process has left: the answer, and the calls that were done."""
    state = saved(folder)
    assert [turn.role for turn in state.messages] == [Role.USER, Role.ASSISTANT]
    assert state.messages[0].text == prompt
    assert [asked.id for asked in state.messages[1].tool_calls] == ["call_1", "call_2", "call_3"]
    done = [item["call_id"] for item in ROUND if item["name"] != fatal]
    assert [execution.tool_call_id for execution in state.tool_executions] == done
    assert [execution.result for execution in state.tool_executions] == [RESULTS[i] for i in done]
    assert ran(folder) == {"print Oslo": 1, "book Oslo": 1, "look Oslo": 1}


def check_whole(state: AgentState) -> None:
    """The conversation of both processes: each call answered once, the results in order."""
    assert [turn.role for turn in state.messages] == [
        Role.USER,
        Role.ASSISTANT,
        *[Role.TOOL] * 3,
        Role.ASSISTANT,
        *[Role.TOOL] * 2,
        Role.ASSISTANT,
    ]
    results = [turn for turn in state.messages if turn.role is Role.TOOL]
    assert {turn.tool_call_id: turn.text for turn in results} == RESULTS
    assert [turn.tool_call_id for turn in results] == list(RESULTS)
    assert [execution.tool_call_id for execution in state.tool_executions] == list(RESULTS)
    assert state.messages[-1].text == "All set."
    assert state.iteration == 3


@pytest.mark.parametrize(
    ("first", "second", "fatal", "hangs"),
    [
        ("trio", "blocking", "print_tickets", False),
        ("blocking", "asyncio", "look", False),
        ("asyncio", "trio", "print_tickets", True),
    ],
)
def test_another_process_resumes_a_stored_conversation_in_the_middle_of_a_round(
    cloud: Inference, tmp_path: Path, first: str, second: str, fatal: str, hangs: bool
) -> None:
    task = Task(f"{cloud.url}/openai/v1", COMPARTMENT, MODEL, str(tmp_path), first)
    cloud.says(answer("resp_one", *ROUND))
    die(attrs.evolve(task, prompt=PROMPT, fatal=fatal, hangs=hangs))
    check_interrupted(tmp_path, fatal)
    assert saved(tmp_path).provider_state == {"previous_response_id": "resp_one"}

    resuming = attrs.evolve(task, runtime=second)
    busy: list[str] = []

    def meanwhile(received: Received) -> Reply:
        """This process wants to resume the thread as well, while the other one is at work."""
        with pytest.raises(ThreadBusyError) as caught:
            own_process(task, lambda agent: agent.resume_sync(thread_id=THREAD))
        busy.append(str(caught.value))
        return answer("resp_two", *AGAIN)(received)

    cloud.says(meanwhile, answer("resp_three", message("All set.")))
    (unfinished,) = (item["call_id"] for item in ROUND if item["name"] == fatal)
    assert finish(resuming) == {
        "started": [unfinished, "call_4", "call_5"],
        "reason": "complete",
        "message": "All set.",
        "calls": 3,
    }
    assert len(busy) == 1
    assert "'trip' is busy: another run, in process" in busy[0]
    check_whole(saved(tmp_path))
    assert saved(tmp_path).provider_state == {"previous_response_id": "resp_three"}
    again = "print Oslo" if fatal == "print_tickets" else "look Oslo"
    once = {"print Oslo": 1, "book Oslo": 1, "look Oslo": 1, "book Rome": 1}
    assert ran(tmp_path) == {**once, again: 2}

    # And a third one, which is this.
    cloud.says(answer("resp_four", message("Rome, too.")))
    result = own_process(task, lambda agent: agent.run_sync("And Rome?", THREAD))
    assert (result.message, result.iterations, result.tool_calls) == ("Rome, too.", 1, 0)
    assert result.state.provider_state == {"previous_response_id": "resp_four"}
    assert len(result.state.messages) == 11

    begun, resumed, on, continued = let_in(cloud)
    assert "previous_response_id" not in begun
    assert [item["role"] for item in begun["input"]] == ["system", "user"]
    assert (resumed["previous_response_id"], resumed["input"]) == ("resp_one", outputs(1, 2, 3))
    assert (on["previous_response_id"], on["input"]) == ("resp_two", outputs(4, 5))
    assert continued["previous_response_id"] == "resp_three"
    (said,) = continued["input"]
    assert said["role"] == "user"
    assert "And Rome?" in json.dumps(said["content"])
    assert all(body["store"] is True for body in (begun, resumed, on, continued))


def test_another_process_sends_all_of_a_conversation_that_the_service_does_not_keep(
    cloud: Inference, tmp_path: Path
) -> None:
    task = Task(f"{cloud.url}/openai/v1", COMPARTMENT, MODEL, str(tmp_path), "asyncio", store=False)
    cloud.says(answer("resp_one", SEALED, *ROUND))
    die(attrs.evolve(task, prompt=PROMPT, fatal="print_tickets"))
    check_interrupted(tmp_path, "print_tickets")

    cloud.says(answer("resp_two", *AGAIN), answer("resp_three", message("All set.")))
    said = finish(attrs.evolve(task, runtime="blocking"))
    assert said["started"] == ["call_1", "call_4", "call_5"]
    check_whole(saved(tmp_path))
    assert saved(tmp_path).provider_state is None
    assert ran(tmp_path)["book Oslo"] == 1

    begun, resumed, on = let_in(cloud)
    for body in (begun, resumed, on):
        assert body["store"] is False
        assert "previous_response_id" not in body
        assert "resp_" not in json.dumps(body)
    # The answer goes back as it came, what the service has sealed included.
    history = [*begun["input"], SEALED, *ROUND, *outputs(1, 2, 3)]
    assert resumed["input"] == history
    assert on["input"][: len(history)] == history
    one, other, *results = on["input"][len(history) :]
    assert [(item["call_id"], json.loads(item["arguments"])) for item in (one, other)] == [
        ("call_4", {"city": "Oslo"}),
        ("call_5", {"city": "Rome"}),
    ]
    assert results == outputs(4, 5)
