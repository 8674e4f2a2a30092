"""Streamed answers of Cohere's second format: equal to the whole one, and never half believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall
from locus.wire.oci_chat.cohere_formats import CohereV2ChatParser
from tests.support.decoding import check_law
from tests.support.wire_json.chat_json import sse
from tests.support.wire_json.oci_cohere_json import (
    text,
    thinking,
    v2_end,
    v2_piece,
    v2_reading,
)

PARSER = CohereV2ChatParser()


def call(arguments: str | None = "{}", name: str | None = "f", **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    held = {key: value for key, value in function.items() if value is not None}
    return {"type": "FUNCTION", "function": held, **more}


def test_a_whole_answer_to_a_request_for_a_stream_names_the_model() -> None:
    body = {"modelId": "m", "chatResponse": v2_end("x")}
    answer = v2_reading.answer_of(json.dumps(body).encode())
    assert (answer.content, answer.model) == ("x", "m")


def test_thinking_text_and_calls_as_they_come() -> None:
    stream = sse(
        {"apiFormat": "COHEREV2", "message": {"role": "ASSISTANT", "content": [thinking("Hm")]}},
        {"message": {"content": [thinking(".")]}},
        {"message": {"content": [text("Rome ")]}},
        {"message": {"content": [text("is it.")], "toolPlan": "I will look."}},
        {
            "message": {"content": [], "toolCalls": [call('{"a": 1}', id="c1"), call(id="c2")]},
            "finishReason": "TOOL_CALL",
            "usage": {"promptTokens": 3, "completionTokens": 1},
        },
        "[DONE]",
    )
    found, _ = v2_reading.read([stream])
    assert [(event.reasoning, event.content) for event in found] == [
        ("Hm", None),
        (".", None),
        (None, "Rome "),
        ("I will look.", "is it."),
        (None, None),
    ]
    answer = check_law(found)
    assert answer.message == Message.assistant(
        [ThinkingPart("Hm."), TextPart("Rome is it.")],
        [ToolCall("c1", "f", {"a": 1}), ToolCall("c2", "f")],
        metadata={"tool_plan": "I will look."},
    )
    assert answer.usage == {"prompt_tokens": 3, "completion_tokens": 1}
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("told", "last", "answer"),
    [
        (("a", "b"), "ab", "ab"),  # repeated, as by the first format
        (("a",), "b", "ab"),  # a piece like any other
        (("a", "b"), "", "ab"),
        ((), "ab", "ab"),
        (("ha", "ha"), "ha", "hahaha"),
    ],
)
def test_the_last_event_may_repeat_the_text_or_go_on(
    told: tuple[str, ...], last: str, answer: str
) -> None:
    stream = sse(*map(v2_piece, told), v2_end(last), "[DONE]")
    assert v2_reading.answer_of(stream).content == answer


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        ([[call("", id="1")], [call('{"a"', None)], [call(": 1}", None)]], [("1", {"a": 1})]),
        (
            [[call("", id="1")], [call("", id="2")], [call('{"a": 1}', None, id="1")]],
            [("1", {"a": 1}), ("2", None)],
        ),
        (
            [[call('{"a": 1}', id="1")], [call('{"a": 1}', id="2")]],
            [("1", {"a": 1}), ("2", {"a": 1})],
        ),
        ([[call(None, id="1")]], [("1", {})]),
    ],
)
def test_fragments_of_calls_are_joined(
    fragments: list[Any], calls: list[tuple[str, dict[str, Any] | None]]
) -> None:
    pieces = [v2_piece("", toolCalls=some_calls) for some_calls in fragments]
    answer = v2_reading.answer_of(sse(*pieces, v2_end(), "[DONE]"))
    found = [
        (one.id, None if one.malformed_arguments is not None else dict(one.arguments))
        for one in answer.tool_calls
    ]
    assert found == calls


def test_calls_that_the_last_event_repeats_are_told_once() -> None:
    calls = [call('{"a": 1}', id="1"), call(id="2")]
    message = {"role": "ASSISTANT", "content": [], "toolCalls": calls}
    stream = sse(v2_piece("", toolCalls=calls), v2_end() | {"message": message})
    assert [one.id for one in v2_reading.answer_of(stream).tool_calls] == ["1", "2"]
