"""Threads that an earlier version of Locus saved, with its records in the metadata, are resumed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from locus.agent import Agent
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.memory import BaseCheckpointer, FileCheckpointer, SQLiteCheckpointer
from locus.testing import ScriptedModel
from locus.tools import tool
from tests.support.samples import HERE


class StatefulModel:
    """A model whose server stores the conversation; records the texts that it is sent."""

    server_stateful = True
    __module__ = "samples"  # that of the model in the samples: the same server

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.requests: list[list[str]] = []

    async def complete(self, messages: Any, tools: Any = None, **options: Any) -> ModelResponse:
        self.requests.append([message.text for message in messages])
        message = Message.assistant(self.texts.pop(0))
        return ModelResponse(message, provider_state={"previous_response_id": "resp_2"})

    def stream(self, *args: Any, **options: Any) -> Any:
        raise AssertionError


class OtherModel(StatefulModel):
    """A model of another server."""


@pytest.fixture(params=["old-records-v1", "records-v1"])
def sample(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["file", "sqlite"])
def checkpointer(
    request: pytest.FixtureRequest, sample: str, tmp_path: Path
) -> Iterator[BaseCheckpointer]:
    if request.param == "file":
        shutil.copytree(HERE / sample, tmp_path / "saved")
        yield FileCheckpointer(tmp_path / "saved")
        return
    shutil.copy(HERE / f"{sample}.db", tmp_path / "saved.db")
    with SQLiteCheckpointer(tmp_path / "saved.db") as opened:
        yield opened


def test_the_same_server_is_sent_what_is_new(checkpointer: BaseCheckpointer) -> None:
    model = StatefulModel("Fine.")
    agent = Agent(model, system_prompt="Be brief.", checkpointer=checkpointer)
    result = agent.run_sync("How are you?", "stored")
    assert model.requests == [["How are you?"]]
    assert result.state.metadata == {"who": "Ada"}


def test_the_same_server_is_sent_a_new_system_prompt(checkpointer: BaseCheckpointer) -> None:
    model = StatefulModel("Fine.")
    agent = Agent(model, system_prompt="Be friendly.", checkpointer=checkpointer)
    agent.run_sync("How are you?", "stored")
    assert model.requests == [["Be friendly.", "How are you?"]]


def test_another_server_is_sent_everything(checkpointer: BaseCheckpointer) -> None:
    model = OtherModel("Fine.")
    Agent(model, checkpointer=checkpointer).run_sync("How are you?", "stored")
    assert model.requests == [["Hello", "Hello, Ada.", "How are you?"]]


def test_an_empty_response_is_not_requested_again(checkpointer: BaseCheckpointer) -> None:
    agent = Agent(ScriptedModel("never"), checkpointer=checkpointer)
    result = agent.resume_sync(thread_id="empty")
    assert (result.message, result.iterations) == ("", 0)


def test_retries_for_a_type_are_counted_on(checkpointer: BaseCheckpointer) -> None:
    agent = Agent(
        ScriptedModel("four", "five"),
        output_schema=int,
        output_schema_retries=2,
        checkpointer=checkpointer,
    )
    result = agent.resume_sync(thread_id="retry")
    assert (result.iterations, result.parsed) == (2, None)


def test_a_call_that_was_cut_off_is_not_run(checkpointer: BaseCheckpointer) -> None:
    numbers = []

    @tool
    def double(n: int) -> int:
        """Double a number."""
        numbers.append(n)
        return 2 * n

    agent = Agent(ScriptedModel("Done."), [double], checkpointer=checkpointer)
    result = agent.resume_sync(thread_id="cut off")
    assert numbers == [1]
    assert "cut off at its token limit" in str(result.state.tool_executions[1].error)
