"""Requests of the chat completions format: every message, call, result and image is in them."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    Role,
    TextPart,
    ToolCall,
    ToolResult,
)
from locus.models.native.openai import OpenAIModel
from locus.testing.server import LoopbackServer, Reply
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.provider_json import encode_json
from tests.support.request_readers import wrap_malformed_arguments
from tests.support.strategies import (
    conversations,
    options,
    tools,
)

BUILDER = ChatCompletionsBuilder()
MODEL = "gpt-4o"
USER = Message.user("x")


def build_body(messages: Any = "x", tools: Any = None, model: str = MODEL, **options: Any) -> Any:
    """Build the JSON body of a request."""
    return json.loads(encode_json(BUILDER.build(messages, tools, model=model, **options)))


# A second parser of the format.


def parse_messages(body: dict[str, Any]) -> list[Message]:
    """Parse the messages of a body."""
    return [_parse_message(message) for message in body["messages"]]


def _parse_message(message: dict[str, Any]) -> Message:
    known = {"role", "content", "refusal", "tool_calls", "tool_call_id", "name"}
    assert set(message) <= known
    content: Any = message.get("content")
    if isinstance(content, list):
        content = [_parse_part(part) for part in content]
    if "refusal" in message:
        content = [*([content] if content else []), RefusalPart(message["refusal"])]
    calls = []
    for call in message.get("tool_calls", ()):
        assert call["type"] == "function"
        function = call["function"]
        assert set(call) == {"id", "type", "function"}
        assert set(function) == {"name", "arguments"}
        calls.append(ToolCall.from_json(call["id"], function["name"], function["arguments"]))
    return Message(
        message["role"],
        content,
        calls,
        tool_call_id=message.get("tool_call_id"),
        name=message.get("name"),
    )


def _parse_part(part: dict[str, Any]) -> Any:
    if part["type"] == "text":
        assert set(part) == {"type", "text"}
        return TextPart(part["text"])
    assert part["type"] == "image_url"
    image = part["image_url"]
    if image["url"].startswith("data:"):
        media_type, data = image["url"].removeprefix("data:").split(";base64,")
        return ImagePart(
            data=base64.b64decode(data, validate=True),
            media_type=media_type,
            detail=image.get("detail"),
        )
    return ImagePart(url=image["url"], detail=image.get("detail"))


def remove_unsupported(message: Message) -> Message:
    """Remove what the format cannot express: the metadata, and the name of a tool."""
    content: Any = message.all_content
    if message.role is not Role.USER:
        refusal = message.refusal
        content = message.text
        if refusal is not None:
            content = [*([TextPart(content)] if content else []), RefusalPart(refusal)]
        elif message.role is Role.ASSISTANT:
            content = content or None
    return Message(
        message.role,
        content,
        tuple(map(wrap_malformed_arguments, message.tool_calls)),
        message.tool_call_id,
        None if message.role is Role.TOOL else message.name,
    )


@given(conversations())
def test_every_message_call_result_and_image_is_sent(messages: tuple[Message, ...]) -> None:
    assert parse_messages(build_body(messages)) == [
        remove_unsupported(message) for message in messages
    ]


@given(conversations(), st.data())
def test_same_body_is_built_from_what_was_parsed(
    messages: tuple[Message, ...], data: st.DataObject
) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(options(tool_list))
    body = BUILDER.build(messages, tool_list, model=MODEL, **call_options)
    decoded = json.loads(encode_json(body))
    assert BUILDER.build(parse_messages(decoded), tool_list, model=MODEL, **call_options) == body


@given(st.data())
def test_every_option_is_sent_under_its_name(data: st.DataObject) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(options(tool_list))
    body = build_body("x", tool_list, **call_options)
    assert body.pop("model") == MODEL
    assert body.pop("messages") == [{"role": "user", "content": "x"}]
    assert body.pop("tools", []) == tool_list
    expected = dict(call_options)
    for name in ("frequency_penalty", "presence_penalty"):
        if not expected.get(name):
            expected.pop(name, None)
    if expected.get("tool_choice") not in (None, "auto", "none", "required"):
        expected["tool_choice"] = {
            "type": "function",
            "function": {"name": expected["tool_choice"]},
        }
    assert body == expected


def test_a_bare_request_has_nothing_but_model_and_messages() -> None:
    assert build_body() == {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}


def test_a_stream_asks_for_usage_unless_told_not_to() -> None:
    assert build_body(stream=True)["stream_options"] == {"include_usage": True}
    assert build_body(stream=True)["stream"] is True
    assert "stream_options" not in build_body(stream=True, stream_usage=False)


@pytest.mark.parametrize(
    ("model", "reasoning"),
    [
        ("o1", True),
        ("o1-mini", True),
        ("o3-2025-04-16", True),
        ("o4-mini", True),
        ("gpt-5", True),
        ("gpt-5.1-codex", True),
        ("gpt-10", True),
        ("openai.gpt-5", True),
        ("openai/o3", True),
        ("gpt-4o", False),
        ("gpt-4.1", False),
        ("gpt-3.5-turbo", False),
        ("gpt-oss-120b", False),
        ("openai.gpt-oss-20b", False),
        ("chatgpt-4o-latest", False),
        ("o1live", False),
        ("olmo-2", False),
        ("llama-3", False),
        ("my-gpt-5-clone", False),
    ],
)
def test_reasoning_families_get_no_sampling_parameters(model: str, reasoning: bool) -> None:
    call_options: dict[str, Any] = {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.5,
        "frequency_penalty": 1.0,
        "presence_penalty": 1.0,
        "seed": 1,
        "stop": ["x"],
    }
    body = build_body(model=model, **call_options)
    sampling = {"temperature", "top_p", "frequency_penalty", "presence_penalty", "max_tokens"}
    if reasoning:
        assert not sampling & set(body)
        assert body["max_completion_tokens"] == 5
    else:
        assert sampling <= set(body)
        assert "max_completion_tokens" not in body
    assert body["seed"] == 1
    assert ("stop" in body) is (not reasoning or model.startswith("o1") or model == "gpt-10")


def test_a_temperature_of_zero_is_sent_and_a_penalty_of_zero_is_not() -> None:
    body = build_body(temperature=0.0, frequency_penalty=0.0, presence_penalty=0, seed=0)
    assert (body["temperature"], body["seed"]) == (0, 0)
    assert not {"frequency_penalty", "presence_penalty"} & set(body)


def test_extra_body_wins() -> None:
    body = build_body(max_tokens=5, extra_body={"max_tokens": 7, "n": 2})
    assert (body["max_tokens"], body["n"]) == (7, 2)


def test_metadata_is_never_sent() -> None:
    body = build_body(
        [Message.user("x", metadata={"cache_control": {"type": "ephemeral"}, "a": 1})]
    )
    assert body["messages"] == [{"role": "user", "content": "x"}]


def test_a_failed_result_tells_the_model_why() -> None:
    messages = [
        USER,
        Message.assistant(None, [ToolCall("1", "f")]),
        Message.tool(ToolResult("1", "f", "", error="no such city")),
    ]
    assert "no such city" in build_body(messages)["messages"][2]["content"]


def test_a_tool_is_chosen_by_name_or_by_the_values_of_the_provider() -> None:
    tool_list = [
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "custom", "custom": {"name": "shell"}},
    ]
    match = {"type": "function", "function": {"name": "f"}}
    assert build_body("x", tool_list, tool_choice="f")["tool_choice"] == match
    custom = {"type": "custom", "custom": {"name": "shell"}}
    assert build_body("x", tool_list, tool_choice="shell")["tool_choice"] == custom
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [match]}}
    assert build_body("x", tool_list, tool_choice=allowed)["tool_choice"] == allowed
    with pytest.raises(ConfigurationError, match=r"tool_choice='g'.*f, shell"):
        build_body("x", tool_list, tool_choice="g")


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([Message.system([ImagePart(url="https://x")])], r"messages\[0\].*images.*system"),
        ([USER, Message.assistant(["x", ImagePart(url="https://x")])], r"messages\[1\].*images"),
        (
            [USER, Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "g", {"a": len})])],
            r"messages\[1\]\.tool_calls\[1\]",
        ),
        ([], "empty"),
    ],
)
def test_what_the_format_cannot_carry_is_named(messages: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        build_body(messages)


def test_a_choice_among_no_tools_is_not_sent() -> None:
    body = ChatCompletionsBuilder().build("hello", [], model="m", tool_choice="required")
    assert "tool_choice" not in body


@given(conversations())
def test_mistral_reads_no_user_after_a_tool_and_everything_else_unchanged(
    conversation: tuple[Message, ...],
) -> None:
    """Mistral rejects that order of messages; other models get none of its workaround."""
    note = Message.user("note")
    conversation = (*conversation, note)
    sent = build_body(conversation, model="devstral-medium-latest")["messages"]
    roles = [message["role"] for message in sent]
    assert ("tool", "user") not in pairwise(roles)
    other = build_body(conversation)["messages"]
    added = {"role": "assistant", "content": "OK."}
    without = [
        message
        for message, after, before in zip(sent, [*roles[1:], ""], ["", *roles[:-1]], strict=True)
        if not (message == added and (before, after) == ("tool", "user"))
    ]
    assert [message["role"] for message in without] == [message["role"] for message in other]
    assert [message.get("content") for message in without] == [
        message.get("content") for message in other
    ]


@pytest.mark.parametrize("member", ["reasoning", "reasoning_content"])
def test_reasoning_that_its_own_server_refuses_is_left_out_once_and_from_then_on(
    server: LoopbackServer, member: str
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, member: "hm", "tool_calls": [call]}
    refusal = (
        "'messages.1' : for 'role:assistant' the following must be satisfied"
        f"[('messages.1' : property '{member}' is unsupported)]"
    )

    def answer(message: dict[str, Any], reason: str) -> Reply:
        return Reply.json({"choices": [{"message": message, "finish_reason": reason}]})

    done = answer({"role": "assistant", "content": "ok"}, "stop")
    server.enqueue(answer(said, "tool_calls"), Reply.error(400, refusal), done, done)
    with OpenAIModel("qwen", "k", f"{server.url}/v1", max_retries=0) as model:
        first = model.complete_sync("x").message
        asked = [Message.user("x"), first, Message.tool(ToolResult("call_1", "f", "1"))]
        for _ in range(2):
            assert model.complete_sync(asked).content == "ok"
    sent = [received.json()["messages"][1].get(member) for received in server.requests[1:]]
    assert sent == ["hm", None, None]
