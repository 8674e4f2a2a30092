"""Checkpoints as earlier versions of Locus have saved them: read for ever, never written again.

``state-v1.json`` is :data:`EVERYTHING`, ``minimal-v1.json`` is :data:`MINIMAL`. The directory
``checkpoints-v1`` and the database ``checkpoints-v1.db`` hold both, as the threads ``every/thing``
and ``minimal``. ``later-v1.json`` is :data:`EVERYTHING` with members that no version has had so
far. A new format gets new samples beside these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.core.state import AgentState, ToolExecution

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
