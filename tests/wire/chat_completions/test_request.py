"""Requests of the chat completions format: every turn, call, result and image is in them."""

from __future__ import annotations

import base64
import copy
import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    Role,
    TextPart,
    ToolCall,
    ToolResult,
)
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.json import encode
from tests.support.strategies import conversations, halves, options, texts, tools

BUILDER = ChatCompletionsBuilder()
MODEL = "gpt-4o"
USER = Message.user("x")


def built(messages: Any = "x", tools: Any = None, model: str = MODEL, **said: Any) -> Any:
    """The body as it travels."""
    return json.loads(encode(BUILDER.build(messages, tools, model=model, **said)))


# A second reader of the format.


def read(body: dict[str, Any]) -> list[Message]:
    """The conversation that a body holds."""
    return [_read(message) for message in body["messages"]]


def _read(message: dict[str, Any]) -> Message:
    known = {"role", "content", "refusal", "tool_calls", "tool_call_id", "name"}
    assert set(message) <= known
    content: Any = message.get("content")
    if isinstance(content, list):
        content = [_read_part(part) for part in content]
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


def _read_part(part: dict[str, Any]) -> Any:
    if part["type"] == "text":
        assert set(part) == {"type", "text"}
        return TextPart(part["text"])
    assert part["type"] == "image_url"
    image = part["image_url"]
    if image["url"].startswith("data:"):
        kind, data = image["url"].removeprefix("data:").split(";base64,")
        return ImagePart(
            data=base64.b64decode(data, validate=True),
            media_type=kind,
            detail=image.get("detail"),
        )
    return ImagePart(url=image["url"], detail=image.get("detail"))


def carried(message: Message) -> Message:
    """What the format can carry of a message: all but the metadata and a tool's name."""
    content: Any = message.content
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
        message.tool_calls,
        message.tool_call_id,
        None if message.role is Role.TOOL else message.name,
    )


@given(conversations())
def test_every_turn_call_result_and_image_arrives(turns: tuple[Message, ...]) -> None:
    assert read(built(turns)) == [carried(message) for message in turns]


@given(conversations(), st.data())
def test_building_is_stable_and_changes_nothing(
    turns: tuple[Message, ...], data: st.DataObject
) -> None:
    given_ = data.draw(tools())
    said = data.draw(options(given_))
    before = copy.deepcopy((given_, said))
    body = BUILDER.build(turns, given_, model=MODEL, **said)
    assert BUILDER.build(turns, given_, model=MODEL, **said) == body
    assert (given_, said) == before
    plain = json.loads(encode(body))
    assert BUILDER.build(read(plain), given_, model=MODEL, **said) == body


@given(st.data())
def test_a_body_shares_nothing_with_what_it_was_built_from(data: st.DataObject) -> None:
    given_ = data.draw(tools(min_size=1))
    call = ToolCall("1", "f", data.draw(st.just({"a": {"b": [1]}})))
    turns = [USER, Message.assistant(None, [call]), Message.tool(ToolResult("1", "f", "y"))]
    before = copy.deepcopy(given_)
    body = BUILDER.build(turns, given_, model=MODEL)
    _spoil(body)
    assert given_ == before
    assert call.arguments == {"a": {"b": [1]}}


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for member in value.values():
            _spoil(member)
        value["spoilt"] = True
    elif isinstance(value, list):
        for member in value:
            _spoil(member)
        value.append("spoilt")


@given(st.data())
def test_every_option_is_sent_under_its_name(data: st.DataObject) -> None:
    given_ = data.draw(tools())
    said = data.draw(options(given_))
    body = built("x", given_, **said)
    assert body.pop("model") == MODEL
    assert body.pop("messages") == [{"role": "user", "content": "x"}]
    assert body.pop("tools", []) == given_
    wanted = dict(said)
    for name in ("frequency_penalty", "presence_penalty"):
        if not wanted.get(name):
            wanted.pop(name, None)
    if wanted.get("tool_choice") not in (None, "auto", "none", "required"):
        wanted["tool_choice"] = {"type": "function", "function": {"name": wanted["tool_choice"]}}
    assert body == wanted


def test_a_bare_request_says_no_more_than_model_and_messages() -> None:
    assert built() == {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}


def test_a_stream_asks_for_usage_unless_told_not_to() -> None:
    assert built(stream=True)["stream_options"] == {"include_usage": True}
    assert built(stream=True)["stream"] is True
    assert "stream_options" not in built(stream=True, stream_usage=False)


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
    said: dict[str, Any] = {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.5,
        "frequency_penalty": 1.0,
        "presence_penalty": 1.0,
        "seed": 1,
        "stop": ["x"],
    }
    body = built(model=model, **said)
    sampling = {"temperature", "top_p", "frequency_penalty", "presence_penalty", "max_tokens"}
    if reasoning:
        assert not sampling & set(body)
        assert body["max_completion_tokens"] == 5
    else:
        assert sampling <= set(body)
        assert "max_completion_tokens" not in body
    assert (body["seed"], body["stop"]) == (1, ["x"])


def test_a_temperature_of_nought_is_sent_and_a_penalty_of_nought_is_not() -> None:
    body = built(temperature=0.0, frequency_penalty=0.0, presence_penalty=0, seed=0)
    assert (body["temperature"], body["seed"]) == (0, 0)
    assert not {"frequency_penalty", "presence_penalty"} & set(body)


def test_extra_body_wins() -> None:
    body = built(max_tokens=5, extra_body={"max_tokens": 7, "n": 2})
    assert (body["max_tokens"], body["n"]) == (7, 2)


def test_metadata_never_travels() -> None:
    body = built([Message.user("x", metadata={"cache_control": {"type": "ephemeral"}, "a": 1})])
    assert body["messages"] == [{"role": "user", "content": "x"}]


def test_a_failed_result_tells_the_model_why() -> None:
    turns = [
        USER,
        Message.assistant(None, [ToolCall("1", "f")]),
        Message.tool(ToolResult("1", "f", "", error="no such city")),
    ]
    assert "no such city" in built(turns)["messages"][2]["content"]


def test_mappings_of_any_kind_are_json() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": [1]}}}
    frozen = FrozenDict({"type": "json_schema", "json_schema": FrozenDict(schema["json_schema"])})
    assert built(response_format=frozen)["response_format"] == schema
    assert built(response_format=MappingProxyType(schema))["response_format"] == schema


def test_a_tool_is_chosen_by_name_or_in_the_providers_words() -> None:
    given_ = [
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "custom", "custom": {"name": "shell"}},
    ]
    named = {"type": "function", "function": {"name": "f"}}
    assert built("x", given_, tool_choice="f")["tool_choice"] == named
    custom = {"type": "custom", "custom": {"name": "shell"}}
    assert built("x", given_, tool_choice="shell")["tool_choice"] == custom
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named]}}
    assert built("x", given_, tool_choice=allowed)["tool_choice"] == allowed
    with pytest.raises(ConfigurationError, match=r"tool_choice='g'.*f, shell"):
        built("x", given_, tool_choice="g")


@pytest.mark.parametrize(
    ("turns", "named"),
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
def test_what_the_format_cannot_carry_is_named(turns: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        built(turns)


@pytest.mark.parametrize(
    "said",
    [
        {"response_format": {"type": object()}},
        {"extra_body": {"a": object()}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": object()}}]},
    ],
)
def test_what_is_no_json_is_a_configuration_error(said: Any) -> None:
    with pytest.raises(ConfigurationError, match="object"):
        built(**said)


@given(halves(), texts(max_size=5))
def test_half_a_surrogate_pair_is_named_wherever_it_stands(half: str, text: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": half, "parameters": {}}}
    call = ToolCall("1", "f", {"a": half})
    key = ToolCall("1", "f", {half: "a"})
    odd = ToolCall("1", "f", malformed_arguments=half)
    for turns, given_ in (
        (half, None),
        ([Message.system(half), USER], None),
        ([Message.user([text, half])], None),
        ([USER, Message.assistant(half)], None),
        ([USER, Message.assistant(None, [call])], None),
        ([USER, Message.assistant(None, [key])], None),
        ([USER, Message.assistant(None, [odd])], None),
        ("x", [tool]),
    ):
        with pytest.raises(ConfigurationError, match="surrogate") as caught:
            built(turns, given_)
        str(caught.value).encode()


def test_a_choice_among_no_tools_is_not_sent() -> None:
    body = ChatCompletionsBuilder().build("hello", [], model="m", tool_choice="required")
    assert "tool_choice" not in body
