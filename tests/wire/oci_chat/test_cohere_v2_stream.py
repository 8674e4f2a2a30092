"""Tests of streamed responses of Cohere's second format: deltas, and what a last chunk repeats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall
from locus.testing.formats.stream_reader import check_streaming_law
from locus.wire.oci_chat import CohereV2ChatParser
from tests.support.native_state import make_state
from tests.support.wire_json.chat_json import encode_sse
from tests.support.wire_json.oci_cohere_json import (
    make_v2_chunk,
    make_v2_last_chunk,
    make_v2_text_content,
    make_v2_thinking_content,
    v2_reader,
)

PARSER = CohereV2ChatParser()


def make_call(
    arguments: str | None = "{}", name: str | None = "f", **members: Any
) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    members_present = {key: value for key, value in function.items() if value is not None}
    return {"type": "FUNCTION", "function": members_present, **members}


def test_complete_body_instead_of_a_stream_names_the_model() -> None:
    body = {"modelId": "m", "chatResponse": make_v2_last_chunk("x")}
    response = v2_reader.decode_response(json.dumps(body).encode())
    assert (response.content, response.model) == ("x", "m")


def test_thinking_text_and_calls_are_emitted_in_order() -> None:
    stream = encode_sse(
        {
            "apiFormat": "COHEREV2",
            "message": {"role": "ASSISTANT", "content": [make_v2_thinking_content("Hm")]},
        },
        {"message": {"content": [make_v2_thinking_content(".")]}},
        {"message": {"content": [make_v2_text_content("Rome ")]}},
        {"message": {"content": [make_v2_text_content("is it.")], "toolPlan": "I will look."}},
        {
            "message": {
                "content": [],
                "toolCalls": [make_call('{"a": 1}', id="c1"), make_call(id="c2")],
            },
            "finishReason": "TOOL_CALL",
            "usage": {"promptTokens": 3, "completionTokens": 1},
        },
        "[DONE]",
    )
    events, _ = v2_reader.read_stream([stream])
    assert [(event.reasoning, event.content) for event in events] == [
        ("Hm", None),
        (".", None),
        (None, "Rome "),
        ("I will look.", "is it."),
        (None, None),
    ]
    response = check_streaming_law(events)
    assert response.message == Message.assistant(
        [ThinkingPart("Hm."), TextPart("Rome is it.")],
        [ToolCall("c1", "f", {"a": 1}), ToolCall("c2", "f")],
        native_state=make_state("oci_cohere_v2", {"tool_plan": "I will look."}),
    )
    assert response.usage == {"prompt_tokens": 3, "completion_tokens": 1}
    assert response.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("deltas", "last_text", "response"),
    [
        (("a", "b"), "ab", "ab"),  # repeated, as in the first format
        (("a",), "b", "ab"),  # more text
        (("a", "b"), "", "ab"),
        ((), "ab", "ab"),
        (("ha", "ha"), "ha", "hahaha"),
    ],
)
def test_last_chunk_may_repeat_the_text_or_continue_it(
    deltas: tuple[str, ...], last_text: str, response: str
) -> None:
    stream = encode_sse(*map(make_v2_chunk, deltas), make_v2_last_chunk(last_text), "[DONE]")
    assert v2_reader.decode_response(stream).content == response


@pytest.mark.parametrize(
    ("deltas", "expected_calls"),
    [
        (
            [[make_call("", id="1")], [make_call('{"a"', None)], [make_call(": 1}", None)]],
            [("1", {"a": 1})],
        ),
        (
            [
                [make_call("", id="1")],
                [make_call("", id="2")],
                [make_call('{"a": 1}', None, id="1")],
            ],
            [("1", {"a": 1}), ("2", {})],
        ),
        (
            [[make_call('{"a": 1}', id="1")], [make_call('{"a": 1}', id="2")]],
            [("1", {"a": 1}), ("2", {"a": 1})],
        ),
        ([[make_call(None, id="1")]], [("1", {})]),
    ],
)
def test_call_deltas_are_joined(
    deltas: list[Any], expected_calls: list[tuple[str, dict[str, Any] | None]]
) -> None:
    chunks = [make_v2_chunk("", toolCalls=call_deltas) for call_deltas in deltas]
    response = v2_reader.decode_response(encode_sse(*chunks, make_v2_last_chunk(), "[DONE]"))
    tool_calls = [
        (
            tool_call.id,
            None if tool_call.malformed_arguments is not None else dict(tool_call.arguments),
        )
        for tool_call in response.tool_calls
    ]
    assert tool_calls == expected_calls


def test_calls_repeated_by_the_last_chunk_are_used_once() -> None:
    calls = [make_call('{"a": 1}', id="1"), make_call(id="2")]
    message = {"role": "ASSISTANT", "content": [], "toolCalls": calls}
    stream = encode_sse(
        make_v2_chunk("", toolCalls=calls), make_v2_last_chunk() | {"message": message}
    )
    assert [tool_call.id for tool_call in v2_reader.decode_response(stream).tool_calls] == [
        "1",
        "2",
    ]
