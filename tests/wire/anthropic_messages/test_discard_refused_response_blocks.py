"""Tests of responses that declined: by a refusal, or before another model took over."""

from __future__ import annotations

from typing import Any

from locus.wire.anthropic_messages import AnthropicMessagesParser

USE = {"type": "tool_use", "id": "1", "name": "wipe", "input": {"path": "/"}}
TEXT = {"type": "text", "text": "First"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "seal"}
FALLBACK = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}
RESPOND = {"type": "tool_use", "id": "2", "name": "respond_with_schema", "input": {"a": 1}}


def parse(*blocks: Any, stop_reason: str = "end_turn") -> Any:
    body = {"type": "message", "content": list(blocks), "stop_reason": stop_reason}
    return AnthropicMessagesParser().parse(body)


def test_refused_response_has_its_text_and_no_calls() -> None:
    response = parse(TEXT, USE, stop_reason="refusal")
    assert (response.content, response.tool_calls) == ("First", ())
    assert response.finish_reason == "content_filter"
    assert parse(USE, stop_reason="refusal").content == ""


def test_what_stands_before_a_fallback_was_declined() -> None:
    kept = {**USE, "id": "3"}
    response = parse(THOUGHT, TEXT, USE, FALLBACK, kept)
    assert (response.content, [call.id for call in response.tool_calls]) == ("First", ["3"])
    assert response.reasoning == "hm"
    assert "seal" not in str(response.message)


def test_structured_answer_is_text_also_in_a_refused_response() -> None:
    assert parse(RESPOND, stop_reason="refusal").content == '{"a":1}'


def test_other_responses_are_unchanged() -> None:
    response = parse(THOUGHT, USE, stop_reason="tool_use")
    assert [call.id for call in response.tool_calls] == ["1"]
    assert "seal" in response.message.all_content[0].signature
