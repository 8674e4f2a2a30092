"""Tests of Messages API request bodies, compared with a second implementation and the SDK."""

from __future__ import annotations

import base64
import copy
import json
import re
import sys
from functools import cache
from types import MappingProxyType
from typing import Any, is_typeddict

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
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.testing.formats.modify_in_place import modify_nested_containers
from locus.wire.anthropic_messages import AnthropicMessagesBuilder
from locus.wire.provider_json import encode_json
from tests.support.native_state import make_state
from tests.support.strategies import (
    conversations,
    options,
    tools,
)

BUILDER = AnthropicMessagesBuilder()
OLD_MODEL = "claude-sonnet-4-20250514"
NEW_MODEL = "claude-opus-5"
USER = Message.user("x")
EPHEMERAL = {"type": "ephemeral"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}


def build_body(
    messages: Any = "x", tools: Any = None, model: str = OLD_MODEL, **call_options: Any
) -> Any:
    """Return the body as it is sent."""
    return build_body_with(BUILDER, messages, tools, model=model, **call_options)


def build_body_with(
    builder: Any, messages: Any = "x", tools: Any = None, **call_options: Any
) -> Any:
    call_options = {"model": OLD_MODEL, "max_tokens": 9, **call_options}
    return json.loads(encode_json(builder.build(messages, tools, **call_options)))


def are_visible(stop: list[str]) -> bool:
    return all(sequence.strip() for sequence in stop)


@st.composite
def tools_and_options(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """Tools, and call options that the format can express."""
    tool_list = draw(tools())
    call_options = draw(
        options(tool_list).filter(lambda call_options: are_visible(call_options.get("stop", [])))
    )
    if call_options.get("tool_choice") == "required" and not tool_list:
        del call_options["tool_choice"]
    for keyword in ("seed", "frequency_penalty", "presence_penalty"):  # the API has none of them
        call_options.pop(keyword, None)
    return tool_list, {"max_tokens": 9, **call_options}


def has_sendable_content(messages: tuple[Message, ...]) -> bool:
    """Return whether the last message besides system messages has content for the API."""
    return bool(
        build_expected_blocks(
            [message for message in messages if message.role is not Role.SYSTEM][-1]
        )
    )


# A second implementation of the format, one message at a time.


def build_expected_blocks(message: Message) -> list[dict[str, Any]]:
    """Return the blocks that a request has to contain for a message."""
    blocks: list[dict[str, Any]] = []
    content = message.all_content
    for part in (TextPart(content),) if isinstance(content, str) else content or ():
        match part:
            case ThinkingPart(redacted=str(data)):
                blocks.append({"type": "redacted_thinking", "data": data})
            case ThinkingPart(text=text, signature=signature):
                blocks.append({"type": "thinking", "thinking": text, "signature": signature})
            case ImagePart(url=str(url)):
                blocks.append({"type": "image", "source": {"type": "url", "url": url}})
            case ImagePart(data=bytes(data), media_type=media_type):
                inline = base64.b64encode(data).decode()
                source = {"type": "base64", "media_type": media_type, "data": inline}
                blocks.append({"type": "image", "source": source})
            case _ if part.text.strip():
                blocks.append({"type": "text", "text": part.text})
    if message.role is Role.TOOL:
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": blocks}
        if not blocks:
            del result["content"]
        if message.metadata:
            result["is_error"] = True
        return [result]
    for call in message.tool_calls:
        input_ = dict(call.arguments)
        if call.malformed_arguments is not None:
            input_ = {"malformed_arguments": call.malformed_arguments}
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": input_})
    return blocks


def build_expected_messages(
    messages: tuple[Message, ...],
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Role and blocks of the expected messages, without system messages."""
    expected: list[tuple[str, list[dict[str, Any]]]] = []
    for message in messages:
        if message.role is Role.SYSTEM or not build_expected_blocks(message):
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if not expected or expected[-1][0] != role:
            expected.append((role, []))
        expected[-1][1].extend(build_expected_blocks(message))
    for _, blocks in expected:
        blocks.sort(key=lambda block: block["type"] != "tool_result")  # stable
    return expected


def read_messages(body: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Role and blocks of the messages in a body."""
    return [(message["role"], _to_block_list(message["content"])) for message in body["messages"]]


def _to_block_list(content: Any) -> Any:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        {**block, "content": _to_block_list(block["content"])} if "content" in block else block
        for block in content
    ]


@given(conversations().filter(has_sendable_content))
def test_request_contains_every_message_call_result_and_image(
    messages: tuple[Message, ...],
) -> None:
    body = build_body(messages)
    assert read_messages(body) == build_expected_messages(messages)
    system_texts = [message.text for message in messages if message.role is Role.SYSTEM]
    assert body.get("system", "") == "\n\n".join(text for text in system_texts if text.strip())


@given(conversations().filter(has_sendable_content))
def test_newer_models_get_inline_system_messages(messages: tuple[Message, ...]) -> None:
    body = build_body(messages, model=NEW_MODEL)
    roles = [role for role, _ in read_messages(body)]
    assert [
        message for message in read_messages(body) if message[0] != "system"
    ] == build_expected_messages(messages)
    for index, role in enumerate(roles):
        if role == "system":
            assert roles[index - 1] == "user"
            assert roles[index + 1 : index + 2] in ([], ["assistant"])
    system_texts = [body["system"]] if "system" in body else []
    system_texts += [
        block["text"]
        for role, blocks in read_messages(body)
        if role == "system"
        for block in blocks
    ]
    expected_texts = [message.text for message in messages if message.role is Role.SYSTEM]
    assert "\n\n".join(system_texts) == "\n\n".join(text for text in expected_texts if text.strip())
    leading_texts = []
    for message in messages:
        if message.role is Role.SYSTEM:
            leading_texts.append(message.text)
        elif build_expected_blocks(message):
            break
    if len(roles) > 1 and roles[0] == "user":
        assert body.get("system", "") == "\n\n".join(text for text in leading_texts if text.strip())


@given(conversations().filter(has_sendable_content), tools_and_options())
def test_marks_for_the_cache_do_not_modify_the_arguments(
    messages: tuple[Message, ...], arguments: Any
) -> None:
    tool_list, call_options = arguments
    before = copy.deepcopy((tool_list, call_options))
    builder = AnthropicMessagesBuilder(prompt_cache=True)
    body = builder.build(messages, tool_list, model=OLD_MODEL, **call_options)
    assert (tool_list, call_options) == before
    modify_nested_containers(body)
    assert (tool_list, call_options) == before
    assert builder.build(messages, tool_list, model=OLD_MODEL, **call_options) != body


def test_body_shares_no_objects_with_its_own_arguments() -> None:
    call = ToolCall("1", "f", {"a": {"b": [1]}})
    blocks = [{"type": "text", "text": "a", "citations": [{"b": 1}]}]
    cache_control = {"type": "ephemeral"}
    messages = [
        Message.user("x", metadata={"cache_control": cache_control}),
        Message.assistant("a", native_state=make_state("anthropic_messages", {"blocks": blocks})),
        USER,
        Message.assistant(None, [call]),
        Message.tool(ToolResult("1", "f", "y")),
    ]
    thinking = {"type": "enabled", "budget_tokens": 2000}
    modify_nested_containers(
        AnthropicMessagesBuilder(thinking=thinking).build(
            messages, model=OLD_MODEL, max_tokens=3000
        )
    )
    assert (call.arguments, cache_control) == ({"a": {"b": [1]}}, {"type": "ephemeral"})
    assert blocks == [{"type": "text", "text": "a", "citations": [{"b": 1}]}]
    assert thinking == {"type": "enabled", "budget_tokens": 2000}


# Comparison with the official SDK.


@cache
def make_sdk_validator() -> Any:
    """A validator made of the SDK's parameter types, which rejects unknown members."""
    pydantic = pytest.importorskip("pydantic")
    pytest.importorskip("anthropic")
    from anthropic.types import message_create_params as params
    from typing_extensions import is_typeddict as is_typeddict_too

    strict = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    for name, module in list(sys.modules.items()):
        if name.startswith("anthropic.types."):
            for type_ in vars(module).values():
                is_typed_dict = is_typeddict(type_) or is_typeddict_too(type_)
                # InputSchemaTyped is any JSON Schema.
                if is_typed_dict and type_.__name__ != "InputSchemaTyped":
                    type_.__pydantic_config__ = strict
    return pydantic.TypeAdapter(params.MessageCreateParams)


def exhaust_iterables(value: Any) -> Any:
    """Iterate over pydantic's lazy iterables, which validate only then."""
    if isinstance(value, dict):
        return {name: exhaust_iterables(member) for name, member in value.items()}
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    return [exhaust_iterables(member) for member in value]


def check_with_sdk(body: dict[str, Any]) -> dict[str, Any]:
    """Check that the SDK's types accept the body. Newer types have no sampling parameters."""
    from anthropic.types import message_create_params as params

    known_members = params.MessageCreateParamsNonStreaming.__annotations__
    body = {
        name: value
        for name, value in body.items()
        if name in known_members or name not in ("temperature", "top_p")
    }
    assert exhaust_iterables(make_sdk_validator().validate_python(body)) == body
    return body


@pytest.mark.sdk
@given(
    conversations().filter(has_sendable_content),
    tools_and_options(),
    st.sampled_from(
        [
            (OLD_MODEL, None),
            (OLD_MODEL, 2000),
            (NEW_MODEL, "adaptive"),
            ("claude-opus-5-5", {"type": "disabled"}),
            ("claude-3-5-haiku-latest", None),
            ("smollm2", "adaptive"),
        ]
    ),
    st.booleans(),
)
def test_sdk_types_accept_the_body(
    messages: tuple[Message, ...], arguments: Any, model_and_thinking: Any, flag: bool
) -> None:
    pytest.importorskip("anthropic")
    tool_list, call_options = arguments
    model, thinking = model_and_thinking
    if thinking is not None:  # such a model neither continues a message, nor is it forced to call
        messages = (*messages, USER)
        call_options = {**call_options, "max_tokens": 3000, "tool_choice": None}
    builder = AnthropicMessagesBuilder(prompt_cache=flag, thinking=thinking)
    check_with_sdk(
        build_body_with(builder, messages, tool_list, model=model, stream=flag, **call_options)
    )


@pytest.mark.sdk
def test_sdk_types_reject_unknown_members() -> None:
    pydantic = pytest.importorskip("pydantic")
    pytest.importorskip("anthropic")
    valid_body = build_body()
    check_with_sdk(valid_body)
    unknown_member = {"type": "text", "text": "x", "colour": "red"}
    for invalid_body in (
        valid_body | {"colour": "red"},
        valid_body | {"messages": [{"role": "user", "content": [unknown_member]}]},
        valid_body | {"messages": [{"role": "robot", "content": "x"}]},
        valid_body | {"tools": [{"name": "f"}]},
        valid_body | {"tool_choice": "auto"},
        valid_body | {"max_tokens": None},
    ):
        # The types also accept the SDK's response classes, which allow any member and are no JSON.
        with pytest.raises((pydantic.ValidationError, AssertionError)):
            check_with_sdk(invalid_body)


# Messages.


def test_minimal_request_has_only_required_members() -> None:
    assert build_body() == {
        "model": OLD_MODEL,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}],
    }


def test_tool_results_come_first_in_their_order_and_errors_are_marked() -> None:
    messages = [
        USER,
        Message.assistant("so", [ToolCall("1", "f"), ToolCall("2", "g", {"a": 1})]),
        Message.user("wait"),
        Message.tool(ToolResult("2", "g", "", error="no such city")),
        Message.tool(ToolResult("1", "f", "")),
        Message.user("go on"),
    ]
    assert build_body(messages)["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "so"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {}},
                {"type": "tool_use", "id": "2", "name": "g", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "2",
                    "content": "Error: no such city",
                    "is_error": True,
                },
                {"type": "tool_result", "tool_use_id": "1"},
                {"type": "text", "text": "wait"},
                {"type": "text", "text": "go on"},
            ],
        },
    ]


def test_a_result_may_hold_an_image() -> None:
    messages = [
        USER,
        Message.assistant(None, [ToolCall("1", "f")]),
        Message(Role.TOOL, ["a map", ImagePart(url="https://x/y")], tool_call_id="1"),
    ]
    (result,) = build_body(messages)["messages"][2]["content"]
    assert result["content"] == [
        {"type": "text", "text": "a map"},
        {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
    ]


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/png;base64,iVBORw==", "image/png", b"\x89PNG"),
        ("DATA:image/gif;name=a.gif;base64,R0lG", "image/gif", b"GIF"),
        ("data:image/png;base64,iVBORw%3D%3D", "image/png", b"\x89PNG"),
        ("data:image/webp,RIFF%00", "image/webp", b"RIFF\x00"),
    ],
)
def test_image_in_a_data_url_is_sent_as_base64(url: str, media_type: str, data: bytes) -> None:
    (block,) = build_body([Message.user([ImagePart(url=url)])])["messages"][0]["content"]
    assert block["source"]["type"] == "base64"
    assert block["source"]["media_type"] == media_type
    assert base64.b64decode(block["source"]["data"], validate=True) == data


def test_thinking_is_sent_back_with_its_signature_and_position() -> None:
    messages = [
        USER,
        Message.assistant(
            [ThinkingPart("hm", "signature"), ThinkingPart(redacted="encrypted"), "so"],
            [ToolCall("1", "f")],
        ),
        Message.tool(ToolResult("1", "f", "y")),
        Message.assistant([ThinkingPart("of another model"), "z"]),
        USER,
    ]
    body = build_body(messages)
    assert [block["type"] for block in body["messages"][1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
    ]
    assert body["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "hm",
        "signature": "signature",
    }
    assert body["messages"][3] == {"role": "assistant", "content": "z"}


def test_refusal_of_another_model_is_sent_as_text() -> None:
    messages = [USER, Message.assistant([RefusalPart("I will not.")]), USER]
    assert build_body(messages)["messages"][1] == {"role": "assistant", "content": "I will not."}


def test_malformed_arguments_are_sent_unchanged() -> None:
    messages = [
        USER,
        Message.assistant(None, [ToolCall("1", "f", malformed_arguments='{"a": ')]),
        Message.tool(ToolResult("1", "f", "", error="no JSON")),
    ]
    (call,) = build_body(messages)["messages"][1]["content"]
    assert call["input"] == {"malformed_arguments": '{"a": '}


def test_blank_text_and_blank_messages_are_left_out() -> None:
    messages = [
        Message.user(["x", " ", "y"]),
        Message.assistant("\n\n"),
        Message.user("z"),
        Message.system(" "),
    ]
    body = build_body(messages)
    (message,) = body["messages"]
    assert [block["text"] for block in message["content"]] == ["x", "y", "z"]
    assert "system" not in body


@pytest.mark.parametrize(
    "messages",
    [
        " ",
        [Message.system("be brief")],
        [Message.user([" "])],
        [USER, Message.assistant("y"), Message.user("\n")],
        [USER, Message.assistant("y"), Message.user("\n"), Message.system("be brief")],
    ],
)
def test_blank_conversation_is_rejected(messages: Any) -> None:
    with pytest.raises(ConfigurationError, match="nothing to answer"):
        build_body(messages)


def test_response_continues_the_last_assistant_message() -> None:
    messages = [USER, Message.assistant("The answer is ")]
    assert build_body(messages)["messages"][1]["content"] == "The answer is"
    assert build_body([*messages, USER])["messages"][1]["content"] == "The answer is "


def test_a_conversation_may_begin_with_the_assistant() -> None:
    assert [
        message["role"] for message in build_body([Message.assistant("Hello!"), USER])["messages"]
    ] == [
        "assistant",
        "user",
    ]


# Tool call ids.


@st.composite
def call_id_lists(draw: st.DrawFn) -> list[str]:
    """Lists of call ids, some with characters that the API rejects, some used twice."""
    call_ids = st.text("ab:._- é|", min_size=1, max_size=3) | st.sampled_from(["a", "a_", "a:"])
    return draw(st.lists(call_ids, min_size=1, max_size=6))


@given(call_id_lists())
def test_call_ids_use_the_apis_alphabet_and_are_unique(call_ids: list[str]) -> None:
    messages = [USER]
    for number, call_id in enumerate(call_ids):
        messages.append(Message.assistant(None, [ToolCall(call_id, "f", {"n": number})]))
        messages.append(Message.tool(ToolResult(call_id, "f", str(number))))
    body = build_body(messages)
    blocks = [
        block
        for message in body["messages"][1:]
        for block in message["content"]
        if block["type"] in ("tool_use", "tool_result")
    ]
    uses, results = blocks[::2], blocks[1::2]
    assert [use["input"]["n"] for use in uses] == list(range(len(call_ids)))
    assert [result["content"] for result in results] == [str(n) for n in range(len(call_ids))]
    assert [use["id"] for use in uses] == [result["tool_use_id"] for result in results]
    assert len({use["id"] for use in uses}) == len(call_ids)
    seen_ids = set()
    for use, call_id in zip(uses, call_ids, strict=True):
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", use["id"])
        if re.fullmatch(r"[a-zA-Z0-9_-]+", call_id) and call_id not in seen_ids:
            assert use["id"] == call_id
        seen_ids.add(call_id)
    shorter = build_body(messages[:-2] or messages)
    assert shorter["messages"] == body["messages"][: len(shorter["messages"])]


def test_half_a_surrogate_pair_in_an_id_is_accepted() -> None:
    messages = [
        USER,
        Message.assistant(None, [ToolCall("a\ud800", "f"), ToolCall("a\udfff", "f")]),
    ]
    first, second = build_body(messages)["messages"][1]["content"]
    assert first["id"] != second["id"]


# The system prompt and the cache.


def test_all_system_messages_become_the_system_prompt() -> None:
    messages = [Message.system("a"), USER, Message.system("b"), Message.assistant("y"), USER]
    body = build_body(messages)
    assert body["system"] == "a\n\nb"
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


def test_newer_models_get_system_messages_after_user_messages() -> None:
    messages = [
        Message.system("a"),
        USER,
        Message.system("b"),
        Message.user("y"),
        Message.assistant("z"),
        Message.system("c"),
        Message.system("d"),
        Message.user("w"),
    ]
    body = build_body(messages, model="claude-opus-4-8")
    assert body["system"] == "a"
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("user", [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]),
        ("system", "b"),
        ("assistant", "z"),
        ("user", "w"),
        ("system", [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]),
    ]
    trailing = [USER, Message.assistant("y"), Message.system("b")]
    body = build_body_with(
        AnthropicMessagesBuilder(inline_system_messages=True), trailing, model=OLD_MODEL
    )
    assert body["system"] == "b"
    assert [message["role"] for message in body["messages"]] == ["user", "assistant"]
    hoisted = build_body_with(
        AnthropicMessagesBuilder(inline_system_messages=False), messages, model=NEW_MODEL
    )
    assert hoisted["system"] == "a\n\nb\n\nc\n\nd"


def test_prompt_cache_marks_the_system_prompt_and_the_last_tool() -> None:
    builder = AnthropicMessagesBuilder(prompt_cache=True)
    other = {"type": "function", "function": {"name": "g", "parameters": {}}}
    body = build_body_with(builder, [Message.system("a"), USER], [TOOL, other])
    assert body["system"] == [{"type": "text", "text": "a", "cache_control": EPHEMERAL}]
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, EPHEMERAL]
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "x", "cache_control": EPHEMERAL}
    ]
    assert "cache_control" not in json.dumps(build_body([Message.system("a"), USER], [TOOL]))


def test_a_message_may_be_marked_for_the_cache() -> None:
    cache_control = {"type": "ephemeral", "ttl": "1h"}

    def mark_message(message: Message) -> Message:
        return Message(
            message.role,
            message.all_content,
            message.tool_calls,
            message.tool_call_id,
            metadata={"cache_control": cache_control, "mine": 1},
        )

    messages = [
        mark_message(Message.system("a")),
        Message.system("b"),
        mark_message(Message.user(["x", ImagePart(url="https://x/y")])),
        mark_message(Message.assistant([ThinkingPart("hm", "signature")], [ToolCall("1", "f")])),
        mark_message(Message.tool(ToolResult("1", "f", "y"))),
        Message.user("z"),
    ]
    body = build_body(messages)
    assert body["system"] == [
        {"type": "text", "text": "a", "cache_control": cache_control},
        {"type": "text", "text": "b"},
    ]
    marks_found = [
        [block.get("cache_control") for block in message["content"]] for message in body["messages"]
    ]
    assert marks_found == [[None, cache_control], [None, cache_control], [cache_control, None]]
    assert "mine" not in json.dumps(body)
    thinking = ThinkingPart("hm", "signature")  # must not have cache_control
    for parts, marks in (
        ([thinking, "y"], [None, cache_control]),
        (["y", thinking], [cache_control, None]),
    ):
        blocks = build_body([USER, mark_message(Message.assistant(parts)), USER])["messages"][1][
            "content"
        ]
        assert [block.get("cache_control") for block in blocks] == marks


def test_a_tool_may_be_marked_for_the_cache() -> None:
    cache_control = {"type": "ephemeral", "ttl": "1h"}
    outer = {**TOOL, "cache_control": cache_control}
    inner = {"type": "function", "function": {**TOOL["function"], "name": "g"}}
    inner["function"]["cache_control"] = cache_control
    body = build_body("x", [outer, inner])
    assert [tool["cache_control"] for tool in body["tools"]] == [cache_control, cache_control]
    cached = build_body_with(AnthropicMessagesBuilder(prompt_cache=True), "x", [outer])
    assert cached["tools"][0]["cache_control"] == cache_control


def test_invalid_cache_control_is_reported() -> None:
    messages = [USER, Message.user("y", metadata={"cache_control": "yes"})]
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*cache_control"):
        build_body(messages)


# Tools.


def test_tools_are_converted_to_the_apis_format() -> None:
    bare = {"type": "function", "function": {"name": "g"}}
    loose = {"type": "function", "function": {"name": "h", "parameters": {"$ref": "#/$defs/X"}}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    own = {"type": "custom", "name": "i", "input_schema": SCHEMA, "strict": True}
    assert build_body("x", [TOOL, bare, loose, search, own])["tools"] == [
        {"name": "f", "description": "d", "input_schema": SCHEMA},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        {"name": "h", "input_schema": {"type": "object", "$ref": "#/$defs/X"}},
        search,
        own,
    ]


def test_members_beside_the_function_are_the_apis_own() -> None:
    """https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool"""
    members = {"defer_loading": True, "allowed_callers": ["code_execution_20260120"]}
    flat = {"name": "g", "input_schema": SCHEMA, "eager_input_streaming": True}
    mcp = {"name": "h", "inputSchema": SCHEMA, "title": "H", "annotations": {"readOnlyHint": True}}
    assert build_body("x", [{**TOOL, **members}, flat, mcp])["tools"] == [
        {"name": "f", "description": "d", "input_schema": SCHEMA, **members},
        flat,
        {"name": "h", "input_schema": SCHEMA},
    ]


@pytest.mark.parametrize(
    ("model", "is_sent"),
    [
        ("claude-3-7-sonnet-latest", False),
        ("claude-sonnet-4-20250514", False),
        ("claude-sonnet-4-5", True),
        ("anthropic.claude-opus-4-6-v1:0", True),
    ],
)
def test_strict_tools_are_sent_to_the_models_that_accept_them(model: str, is_sent: bool) -> None:
    """Strict tools came with Claude 4.5; older models reject the member."""
    function = {"name": "f", "parameters": SCHEMA, "strict": True}
    body = build_body("x", [{"type": "function", "function": function}], model=model)
    assert ("strict" in body["tools"][0]) is is_sent


@pytest.mark.parametrize(
    ("call_options", "expected"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "f"}, {"type": "tool", "name": "f"}),
        ({"tool_choice": TOOL}, {"type": "tool", "name": "f"}),
        ({"tool_choice": {"type": "any"}}, {"type": "any"}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "f", "parallel_tool_calls": False},
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
        (
            {"tool_choice": {"type": "any"}, "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": {"type": "none"}, "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_tool_choice_is_converted(call_options: dict[str, Any], expected: Any) -> None:
    assert build_body("x", [TOOL], **call_options).get("tool_choice") == expected


def test_tool_choice_without_tools_is_left_out_or_rejected() -> None:
    for call_options in (
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
        {"parallel_tool_calls": False},
    ):
        assert "tool_choice" not in build_body(**call_options)
    with pytest.raises(ConfigurationError, match="there are no tools"):
        build_body(tool_choice="required")
    with pytest.raises(ConfigurationError, match=r"tool_choice='g'.*\(f\)"):
        build_body("x", [TOOL], tool_choice="g")
    with pytest.raises(ConfigurationError, match="there are none"):
        build_body(tool_choice="g")


def test_no_tool_may_have_the_name_of_the_synthetic_tool() -> None:
    tool = {"type": "function", "function": {"name": "respond_with_schema"}}
    with pytest.raises(ConfigurationError, match="no tool may be named 'respond_with_schema'"):
        build_body("x", [tool])


# Structured output.


def test_response_schema_becomes_a_forced_tool() -> None:
    body = build_body("x", [TOOL], response_format=RESPONSE_FORMAT, tool_choice="auto")
    assert [tool["name"] for tool in body["tools"]] == ["f", "respond_with_schema"]
    assert body["tools"][1]["input_schema"] == SCHEMA
    assert body["tools"][1]["description"]
    assert body["tool_choice"] == {
        "type": "tool",
        "name": "respond_with_schema",
        "disable_parallel_tool_use": True,
    }
    assert "output_config" not in body


def test_schema_description_becomes_the_tools_description() -> None:
    json_schema = {**RESPONSE_FORMAT["json_schema"], "description": "Where it is."}
    body = build_body(response_format={"type": "json_schema", "json_schema": json_schema})
    assert body["tools"][0]["description"] == "Where it is."


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-fable-5-1", None),
        ("claude-opus-5-5", None),
        ("claude-sonnet-4-5", 2000),
        (NEW_MODEL, "adaptive"),
    ],
)
def test_output_config_is_used_if_no_call_can_be_forced(model: str, thinking: Any) -> None:
    builder = AnthropicMessagesBuilder(thinking=thinking)
    call_options: dict[str, Any] = {
        "response_format": RESPONSE_FORMAT,
        "model": model,
        "tool_choice": "auto",
    }
    call_options["max_tokens"] = 3000
    body = build_body_with(builder, "x", [TOOL], **call_options)
    closed = {**SCHEMA, "additionalProperties": False}
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "auto"}
    effort = {"output_config": {"effort": "low"}}
    merged = build_body_with(builder, "x", [TOOL], **call_options, extra_body=effort)
    assert merged["output_config"] == {**body["output_config"], "effort": "low"}


def test_json_object_is_requested_by_an_instruction() -> None:
    body = build_body([Message.system("a"), USER], response_format={"type": "json_object"})
    assert body["system"].startswith("a\n\n")
    assert "JSON" in body["system"]
    assert build_body(response_format={"type": "text"}) == build_body()


@pytest.mark.parametrize(
    ("response_format", "pattern"),
    [
        ({"type": "xml"}, "'xml'"),
        ({}, "not None"),
        ({"type": "json_schema"}, "lacks its schema"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "lacks its schema"),
    ],
)
def test_invalid_response_format_is_reported(response_format: Any, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        build_body(response_format=response_format)


# Options.

MODELS_WITH_SAMPLING = [
    "claude-opus-4-6",
    "claude-opus-4-20250514",
    "claude-opus-4-1-20250805",
    "claude-opus-4",
    "claude-sonnet-4-6",
    "claude-haiku-4-5-20251001",
    "claude-3-5-sonnet-20241022",
    "claude-3-opus-20240229",
    "claude-3-7-sonnet-latest",
    "claude-2.1",
    "claude-instant-1.2",
    "anthropic.claude-v2:1",
    "us.anthropic.claude-opus-4-1-20250805-v1:0",
    "claude-sonnet-4-5@20250929",
    "anthropic/claude-3.5-sonnet",
    "anthropic/claude-opus-4.6",
    "smollm2",
    "qwen3-8b",
    "arn:aws:bedrock:us-west-2:1:application-inference-profile/x",
]
MODELS_WITHOUT_SAMPLING = [
    "claude-opus-4-7",
    "claude-opus-4-7-20260416",
    "claude-opus-4-8",
    "claude-opus-4-10",
    "claude-opus-5",
    "claude-opus-5-5",
    "claude-sonnet-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5",
    "claude-fable-5-1",
    "claude-mythos-preview",
    "claude-opus-10-20290101",
    "claude-next-latest",
    "us.anthropic.claude-opus-4-7-v1:0",
    "claude-opus-4-8@20260528",
    "anthropic/claude-opus-4.7",
    "Claude-Opus-4-7",
]


@pytest.mark.parametrize("model", MODELS_WITH_SAMPLING)
def test_older_models_get_temperature_or_else_top_p(model: str) -> None:
    body = build_body(model=model, temperature=0.0, top_p=0.5)
    assert body["temperature"] == 0
    assert "top_p" not in body
    body = build_body(model=model, top_p=0.5)
    assert body["top_p"] == 0.5
    assert "temperature" not in body


@pytest.mark.parametrize("model", MODELS_WITHOUT_SAMPLING)
def test_newer_models_get_no_sampling_parameters(model: str) -> None:
    assert not {"temperature", "top_p"} & build_body(model=model, temperature=0.5, top_p=0.5).keys()
    configured = AnthropicMessagesBuilder(sampling=True)
    assert build_body_with(configured, model=model, temperature=0.5)["temperature"] == 0.5


@pytest.mark.parametrize(
    ("model", "can_force", "has_system_message"),
    [
        ("claude-opus-4-7", True, False),
        ("claude-opus-4-8", True, True),
        ("claude-opus-5", True, True),
        ("claude-fable-5", True, True),
        ("claude-fable-5-1", False, True),
        ("claude-opus-5-5", False, True),
        ("claude-sonnet-6", False, True),
        ("claude-mythos-preview", False, False),
        ("claude-3-5-haiku-latest", True, False),
        ("smollm2", True, False),
    ],
)
def test_model_version_decides_what_is_supported(
    model: str, can_force: bool, has_system_message: bool
) -> None:
    body = build_body([USER, Message.system("y")], model=model, response_format=RESPONSE_FORMAT)
    assert ("tool_choice" in body) is can_force
    assert (body["messages"][-1]["role"] == "system") is has_system_message


@pytest.mark.parametrize("thinking", [1024, "adaptive", {"type": "enabled", "budget_tokens": 1500}])
def test_thinking_excludes_sampling_parameters(thinking: Any) -> None:
    body = build_body_with(
        AnthropicMessagesBuilder(thinking=thinking),
        model="claude-sonnet-4-6",
        max_tokens=2000,
        temperature=0.5,
        top_p=0.5,
    )
    assert not {"temperature", "top_p"} & body.keys()
    if isinstance(thinking, dict):
        assert body["thinking"] == thinking
    extra = build_body(temperature=0.5, extra_body={"thinking": {"type": "adaptive"}})
    assert "temperature" not in extra
    disabled = AnthropicMessagesBuilder(thinking={"type": "disabled"})
    assert build_body_with(disabled, temperature=0.5)["temperature"] == 0.5


def test_thinking_is_a_budget_a_type_or_the_apis_mapping() -> None:
    budget = {"type": "enabled", "budget_tokens": 2000}
    for thinking, expected in (
        (2000, budget),
        ("adaptive", {"type": "adaptive"}),
        (budget, budget),
    ):
        body = build_body_with(
            AnthropicMessagesBuilder(thinking=thinking),
            model="claude-sonnet-4-6",
            max_tokens=3000,
        )
        assert body["thinking"] == expected
    for invalid in (True, 1.5, {}, {"budget_tokens": 5}, ["x"]):
        with pytest.raises(ConfigurationError, match="thinking takes"):
            AnthropicMessagesBuilder(thinking=invalid)


def test_the_other_options_are_sent_under_the_apis_names() -> None:
    body = build_body(stop=["END"], stream=True, frequency_penalty=0, presence_penalty=0.0)
    assert (body["stop_sequences"], body["stream"]) == (["END"], True)
    assert body.keys() == {"model", "max_tokens", "messages", "stop_sequences", "stream"}


@pytest.mark.parametrize("keyword", ["seed", "frequency_penalty", "presence_penalty"])
def test_what_the_api_has_no_parameter_for_is_reported(keyword: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{keyword}=1: Anthropic's API has no such"):
        build_body(**{keyword: 1})


@pytest.mark.parametrize("stop", ["\n", "", ["END", " "]])
def test_blank_stop_sequence_is_reported(stop: Any) -> None:
    with pytest.raises(ConfigurationError, match="stop="):
        build_body(stop=stop)


def test_max_tokens_is_required() -> None:
    with pytest.raises(ConfigurationError, match="max_tokens"):
        build_body(max_tokens=None)


def test_extra_body_wins() -> None:
    body = build_body(max_tokens=5, extra_body={"max_tokens": 7, "top_k": 2})
    assert (body["max_tokens"], body["top_k"]) == (7, 2)


def test_arguments_may_be_mappings_of_any_class() -> None:
    call = ToolCall("1", "f", MappingProxyType({"a": MappingProxyType({"b": 1})}))
    (block,) = build_body([USER, Message.assistant(None, [call])])["messages"][1]["content"]
    assert block["input"] == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("messages", "pattern"),
    [
        ([Message.system([ImagePart(url="https://x")]), USER], r"messages\[0\].*no image"),
        ([USER, Message.assistant(["x", ImagePart(url="https://x")])], r"messages\[1\].*images"),
        ([USER, Message.user([ImagePart(url="data:,")])], r"messages\[1\].*data:"),
        ([USER, Message.user([ImagePart(url="data:image/png;base64,??")])], r"messages\[1\]"),
        (
            [USER, Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "g", {"a": len})])],
            r"messages\[1\]\.tool_calls\[1\]",
        ),
        ([], "empty"),
    ],
)
def test_unsupported_messages_are_reported_with_their_path(messages: Any, pattern: str) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        build_body(messages)
