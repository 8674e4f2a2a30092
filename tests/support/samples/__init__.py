"""Checkpoints that earlier versions of Locus saved. Every later version has to read them.

``state-v1.json`` is :data:`EVERYTHING`, ``minimal-v1.json`` is :data:`MINIMAL`. The directory
``checkpoints-v1`` and the database ``checkpoints-v1.db`` have both, as the threads ``every/thing``
and ``minimal``. ``later-v1.json`` is :data:`EVERYTHING` with members that no version has had yet.

The others have the records that an agent needs when it resumes a thread. In ``records-v1`` and
``records-v1.db``, the threads of :data:`RECORDS`, they are fields of the state. In
``old-records-v1`` and ``old-records-v1.db``, the threads of :data:`OLD_RECORDS`, an earlier version
saved them in the caller's metadata, under ``"locus"``. ``records-v1.json`` and
``old-records-v1.json`` are the thread ``stored`` alone.

In ``checkpoints-v2`` and ``records-v2`` the same threads are in the second format of
``FileCheckpointer``: the head and the log of each are two files.

Nobody changes these files. A new format gets new samples beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.core.state import AgentState, OutputRetries, ServerKnowledge, ToolExecution

HERE: Final = Path(__file__).parent

EVERYTHING: Final = AgentState(
    messages=(
        Message.system("Be brief.", metadata={"cache_control": {"type": "ephemeral"}}),
        Message.user(
            [
                TextPart("What is this?"),
                ImagePart(url="https://example.com/cat.png", detail="low"),
                ImagePart(data=b"\x89PNG\x00\xff", media_type="image/png"),
            ],
            name="Ada",
        ),
        Message.assistant(
            [
                ThinkingPart("Two tools.", signature="c2VhbA=="),
                ThinkingPart(redacted="c2VjcmV0"),
                "I will look.",
            ],
            [
                ToolCall("call_1", "weather", {"city": "Zürich", "days": [1, 2.5, None, True]}),
                ToolCall("call_2", "shell", malformed_arguments="ls -l"),
                ToolCall("call_3", "shell"),
            ],
        ),
        Message.tool(ToolResult("call_1", "weather", "21 °C \u2028 half: \ud83d")),
        Message.tool(ToolResult("call_2", "shell", "", error="the arguments are no JSON object")),
        Message.assistant(["No.", RefusalPart("I must not.")]),
    ),
    tool_executions=(
        ToolExecution(
            "weather",
            "call_1",
            {"city": "Zürich", "days": [1, 2.5, None, True]},
            result="21 °C \u2028 half: \ud83d",
            duration_ms=12.5,
            iteration=1,
            idempotent=True,
        ),
        ToolExecution("shell", "call_2", error="the arguments are no JSON object", iteration=1),
    ),
    iteration=2,
    provider_state={"previous_response_id": "resp_1"},
    metadata={"who": "Ada", "big": 2**80, "endless": float("inf")},
    usage={"prompt_tokens": 120, "completion_tokens": 30, "cached_tokens": 0},
    confidence=0.75,
)

MINIMAL: Final = AgentState(messages=(Message.user("Hello"),))

_USAGE: Final = {"prompt_tokens": 7, "completion_tokens": 2}
_STORED: Final = AgentState(
    messages=(Message.user("Hello"), Message.assistant("Hello, Ada.")),
    iteration=1,
    provider_state={"previous_response_id": "resp_1"},
    metadata={"who": "Ada"},
    usage=_USAGE,
    server_knowledge=ServerKnowledge(
        messages=2, server="3ef88ebcd9ccae06564c6b56", system_prompt="213c22ed7234eb11116e1e88"
    ),
)
_CUT_OFF: Final = AgentState(
    messages=(
        Message.user("Double."),
        Message.assistant(
            None, [ToolCall("call_1", "double", {"n": 1}), ToolCall("call_2", "double", {"n": 2})]
        ),
    ),
    iteration=1,
    usage=_USAGE,
    cut_off_call_id="call_2",
)

RECORDS: Final[Mapping[str, AgentState]] = {
    "stored": _STORED,
    "empty": AgentState(
        messages=(Message.user("Hello"),), iteration=1, usage=_USAGE, empty_response_after=1
    ),
    "retry": AgentState(
        messages=(
            Message.user("Count."),
            Message.assistant("three"),
            Message.user(
                "Your answer could not be used: the answer is not the int that was asked for: "
                "there is no JSON in it\n"
                "Give your final answer again, as JSON that fits the schema and nothing else."
            ),
        ),
        iteration=1,
        usage=_USAGE,
        output_retries=OutputRetries(count=1, message_count=3),
    ),
    "cut off": _CUT_OFF,
    # Metadata of the caller that look like records of an earlier version.
    "of the caller": AgentState(
        messages=(Message.user("Hello"),), metadata={"locus": {"server": "mine"}}
    ),
}

OLD_RECORDS: Final[Mapping[str, AgentState]] = {
    **RECORDS,
    # A message whose response was cut off was marked in the metadata of the message.
    "cut off": _CUT_OFF.evolve(
        messages=(
            _CUT_OFF.messages[0],
            attrs.evolve(_CUT_OFF.messages[1], metadata={"cut_off": True}),
        ),
        cut_off_call_id=None,
    ),
    # The caller's own, under the same name.
    "of the caller": AgentState(messages=(Message.user("Hello"),), metadata={"locus": {"a": 1}}),
    # Every record had been replaced by another value, and the caller had added one.
    "damaged": _STORED.evolve(
        metadata={"who": "Ada", "locus": {"of the caller": 1}},
        server_knowledge=ServerKnowledge(server="None", system_prompt="5"),
    ),
}
