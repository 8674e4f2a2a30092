"""Tests of the API's rules about calls and their results in a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from locus.core.messages import ImagePart, Message, Role, ToolCall, ToolResult
from locus.models.native.anthropic import AnthropicModel
from locus.wire.anthropic_messages import AnthropicMessagesParser
from locus.wire.anthropic_messages.repair_request_messages import NO_RESULT

MODEL = AnthropicModel("claude-opus-4-6", api_key="k")
SEARCH = {"type": "server_tool_use", "id": "srv1", "name": "web_search", "input": {"query": "q"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv1", "content": []}
TEXT = {"type": "text", "text": "Let me see."}


def make_response(*blocks: Any, stop_reason: str = "end_turn") -> Message:
    body = {"type": "message", "content": list(blocks), "stop_reason": stop_reason}
    return AnthropicMessagesParser().parse(body).message


def test_call_without_a_result_gets_one_that_says_so() -> None:
    calls = [ToolCall("1", "f"), ToolCall("2", "f")]
    result = Message.tool(ToolResult("1", "f", "y"))
    messages = [Message.user("a"), Message.assistant("b", calls), result, Message.user("c")]
    blocks = MODEL.request(messages)["messages"][2]["content"]
    assert [(block["type"], block.get("tool_use_id")) for block in blocks] == [
        ("tool_result", "1"),
        ("tool_result", "2"),
        ("text", None),
    ]
    assert (blocks[1]["content"], blocks[1]["is_error"]) == (NO_RESULT, True)


@pytest.mark.parametrize("rest", [[], [Message.user("c")], [Message.system("c")]])
def test_results_are_in_the_user_message_behind_the_calls(rest: list[Message]) -> None:
    call = Message.assistant(None, [ToolCall("1", "f")])
    sent = MODEL.request([Message.user("a"), call, *rest])["messages"]
    assert sent[2]["role"] == "user"
    assert sent[2]["content"][0]["tool_use_id"] == "1"


def test_search_that_was_broken_off_is_left_out_of_a_finished_turn() -> None:
    paused = make_response(TEXT, SEARCH, stop_reason="pause_turn")
    sent = MODEL.request([Message.user("a"), paused, Message.user("b")])["messages"]
    assert sent[1]["content"] in ("Let me see.", [TEXT])
    alone = make_response(SEARCH, stop_reason="pause_turn")
    sent = MODEL.request([Message.user("a"), alone, Message.user("b")])["messages"]
    assert [message["role"] for message in sent] == ["user", "user"]


def test_paused_turn_and_its_continuation_are_one_message() -> None:
    paused = make_response(TEXT, SEARCH, stop_reason="pause_turn")
    sent = MODEL.request([Message.user("a"), paused])["messages"]
    assert sent[-1] == {"role": "assistant", "content": [TEXT, SEARCH]}
    rest = make_response(FOUND, {"type": "text", "text": "Five."})
    sent = MODEL.request([Message.user("a"), paused, rest, Message.user("b")])["messages"]
    assert [block["type"] for block in sent[1]["content"]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]


def test_call_of_running_code_keeps_the_code() -> None:
    code = {**SEARCH, "name": "code_execution"}
    call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    asked = make_response(code, call, stop_reason="tool_use")
    result = Message.tool(ToolResult("1", "f", "y"))
    sent = MODEL.request([Message.user("a"), asked, result])["messages"]
    assert [block["type"] for block in sent[1]["content"]] == ["server_tool_use", "tool_use"]


@pytest.mark.parametrize("error", ["boom", ""])
def test_error_of_a_tool_with_an_image_is_no_marked_error(error: str) -> None:
    image = ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
    failed = Message(Role.TOOL, [image], tool_call_id="1", metadata={"error": error})
    messages = [Message.user("a"), Message.assistant("b", [ToolCall("1", "f")]), failed]
    result = MODEL.request(messages)["messages"][2]["content"][0]
    assert "is_error" not in result
    assert [block["type"] for block in result["content"]] == ["text", "image"]
    assert error in result["content"][0]["text"]


def test_error_of_a_tool_without_text_has_some() -> None:
    failed = Message(Role.TOOL, "", tool_call_id="1", metadata={"error": "boom"})
    messages = [Message.user("a"), Message.assistant("b", [ToolCall("1", "f")]), failed]
    result = MODEL.request(messages)["messages"][2]["content"][0]
    assert (result["content"], result["is_error"]) == ("Error: boom", True)


def test_tools_of_the_history_are_declared_if_the_request_has_none() -> None:
    call = Message.assistant(None, [ToolCall("1", "look")])
    messages = [Message.user("a"), call, Message.tool(ToolResult("1", "look", "y"))]
    body = MODEL.request(messages)
    assert [tool["name"] for tool in body["tools"]] == ["look"]
    assert body["tool_choice"] == {"type": "none"}
    other = {"name": "other", "input_schema": {"type": "object"}}
    assert [tool["name"] for tool in MODEL.request(messages, [other])["tools"]] == ["other"]
    assert "tools" not in MODEL.request("a")
