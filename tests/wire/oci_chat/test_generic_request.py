"""Tests of request bodies of OCI's generic format, compared with a second implementation."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import attrs
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
from locus.wire.oci_chat import GenericChatBuilder
from locus.wire.provider_json import encode_json
from tests.support.oci.sdk_classes import check_round_trip, serialize
from tests.support.request_readers import wrap_malformed_arguments
from tests.support.strategies import (
    conversations,
    options,
    texts,
    tools,
)

COMPARTMENT = "ocid1.compartment.oc1..aaaa"
BUILDER = GenericChatBuilder(COMPARTMENT)
MODEL = "meta.llama-3.3-70b-instruct"
GEMINI = "google.gemini-2.5-flash"
ENDPOINT = "ocid1.generativeaiendpoint.oc1.us-chicago-1.aaaa"
USER = Message.user("x")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def build_body(
    messages: Any = "x", tools: Any = None, model: str = MODEL, **call_options: Any
) -> Any:
    """Return the body as it is sent."""
    return json.loads(encode_json(BUILDER.build(messages, tools, model=model, **call_options)))


def build_chat_request(
    messages: Any = "x", tools: Any = None, model: str = MODEL, **call_options: Any
) -> Any:
    """Return the ``chatRequest`` as it is sent."""
    return build_body(messages, tools, model, **call_options)["chatRequest"]


@st.composite
def conversations_with_thinking(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations, some of them with thinking in assistant messages."""
    messages = draw(conversations())
    return tuple(_add_thinking(draw, message) for message in messages)


def _add_thinking(draw: st.DrawFn, message: Message) -> Message:
    if message.role is not Role.ASSISTANT or draw(st.booleans()):
        return message
    parts = (
        message.all_content if isinstance(message.all_content, tuple) else (message.all_content,)
    )
    thinking_part = ThinkingPart(draw(texts(min_size=1)))
    return attrs.evolve(message, content=[thinking_part, *(part for part in parts if part)])


# A second implementation of the format.


def parse_messages(request: dict[str, Any]) -> list[Message]:
    """Return the conversation in a chat request."""
    return [_parse_message(message) for message in request["messages"]]


def _parse_message(message: dict[str, Any]) -> Message:
    known_members = {
        "role",
        "content",
        "refusal",
        "reasoningContent",
        "toolCalls",
        "toolCallId",
        "name",
    }
    assert set(message) <= known_members
    parts: list[Any] = [_parse_content(part) for part in message.get("content", ())]
    role = Role(message["role"].lower())
    assert message["role"].isupper()
    if role is not Role.USER:
        assert len(parts) <= 1
    if role is Role.ASSISTANT:
        if "reasoningContent" in message:
            parts.insert(0, ThinkingPart(message["reasoningContent"]))
        if "refusal" in message:
            parts.append(RefusalPart(message["refusal"]))
    calls = []
    for call in message.get("toolCalls", ()):
        assert set(call) == {"id", "type", "name", "arguments"}
        assert call["type"] == "FUNCTION"
        calls.append(ToolCall.from_json(call["id"], call["name"], call["arguments"]))
    return Message(
        role, parts, calls, tool_call_id=message.get("toolCallId"), name=message.get("name")
    )


def _parse_content(part: dict[str, Any]) -> Any:
    if part["type"] == "TEXT":
        assert set(part) == {"type", "text"}
        return TextPart(part["text"])
    assert set(part) == {"type", "imageUrl"}
    assert part["type"] == "IMAGE"
    image = part["imageUrl"]
    assert image.get("detail") in (None, "LOW", "HIGH", "AUTO")
    detail = image["detail"].lower() if "detail" in image else None
    if image["url"].startswith("data:"):
        media_type, data = image["url"].removeprefix("data:").split(";base64,")
        data = base64.b64decode(data, validate=True)
        return ImagePart(data=data, media_type=media_type, detail=detail)
    return ImagePart(url=image["url"], detail=detail)


def build_expected_message(message: Message) -> Message:
    """Build the expected message: without metadata, signed thinking and a tool's name."""
    parts = message.all_content if isinstance(message.all_content, tuple) else ()
    content: list[Any]
    if message.role is Role.USER:
        content = list(parts) or [TextPart(message.text)]
    else:
        content = [TextPart(message.text)]
    if message.role is Role.ASSISTANT:
        thinking_texts = [
            part.text
            for part in parts
            if isinstance(part, ThinkingPart) and not (part.signature or part.redacted)
        ]
        content = [
            *([ThinkingPart("".join(thinking_texts))] if thinking_texts else []),
            *([TextPart(message.text)] if message.text else []),
            *([RefusalPart(message.refusal)] if message.refusal else []),
        ]
    name = None if message.role is Role.TOOL else message.name
    return Message(
        message.role,
        content,
        tuple(map(wrap_malformed_arguments, message.tool_calls)),
        message.tool_call_id,
        name,
    )


@given(conversations_with_thinking())
def test_request_contains_every_message_call_result_and_image(
    messages: tuple[Message, ...],
) -> None:
    assert parse_messages(build_chat_request(messages)) == [
        build_expected_message(message) for message in messages
    ]


@given(conversations_with_thinking(), st.data())
def test_same_body_is_built_from_what_was_parsed(
    messages: tuple[Message, ...], data: st.DataObject
) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(options(tool_list))
    model = data.draw(st.sampled_from([MODEL, GEMINI, "openai.o3"]))
    body = BUILDER.build(messages, tool_list, model=model, **call_options)
    parsed = parse_messages(json.loads(encode_json(body))["chatRequest"])
    assert BUILDER.build(parsed, tool_list, model=model, **call_options) == body


# Comparison with the oci package.


@pytest.mark.sdk
@given(st.data())
def test_the_oci_package_accepts_the_body(data: st.DataObject) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(options(tool_list))
    models = [MODEL, GEMINI, ENDPOINT, "openai.gpt-5", "openai.gpt-4o", "mistral.large"]
    model = data.draw(st.sampled_from(models))
    stream = data.draw(st.booleans())
    messages = data.draw(conversations_with_thinking())
    check_round_trip(build_body(messages, tool_list, model=model, stream=stream, **call_options))


@pytest.mark.sdk
def test_check_round_trip_rejects_unknown_members() -> None:
    check_round_trip(build_body("x", [LOOK], tool_choice="look"))
    for invalid_members in (
        {"colour": "red"},
        {"isStream": 1},
        {"toolChoice": {"type": "FUNCTION", "function": {"name": "look"}}},
        {"messages": [{"role": "ROBOT", "content": []}]},
        {"messages": [{"role": "USER", "content": [{"type": "TEXT", "words": "x"}]}]},
        {"messages": [{"role": "TOOL", "content": [], "toolCallId": 1}]},
    ):
        body = build_body("x", [LOOK])
        body["chatRequest"] |= invalid_members
        with pytest.raises((AssertionError, TypeError)):
            check_round_trip(body)


@pytest.mark.sdk
def test_body_equals_the_same_request_made_of_oci_classes() -> None:
    models = pytest.importorskip("oci").generative_ai_inference.models
    url = models.ImageUrl(url="data:image/png;base64,AA==", detail="LOW")
    details = models.ChatDetails(
        compartment_id=COMPARTMENT,
        serving_mode=models.DedicatedServingMode(endpoint_id=ENDPOINT),
        chat_request=models.GenericChatRequest(
            messages=[
                models.SystemMessage(content=[models.TextContent(text="be brief")]),
                models.UserMessage(
                    content=[models.TextContent(text="what?"), models.ImageContent(image_url=url)]
                ),
                models.AssistantMessage(
                    reasoning_content="hm",
                    tool_calls=[models.FunctionCall(id="c1", name="look", arguments='{"a":1}')],
                ),
                models.ToolMessage(tool_call_id="c1", content=[models.TextContent(text="a cat")]),
            ],
            tools=[models.FunctionDefinition(name="look", parameters={"type": "object"})],
            tool_choice=models.ToolChoiceFunction(name="look"),
            response_format=models.JsonSchemaResponseFormat(
                json_schema=models.ResponseJsonSchema(
                    name="n", schema={"type": "object"}, is_strict=True
                )
            ),
            is_parallel_tool_calls=False,
            is_stream=True,
            stream_options=models.StreamOptions(is_include_usage=True),
            max_tokens=5,
            stop=["end"],
        ),
    )
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert serialize(details) == build_body(
        [
            Message.system("be brief"),
            Message.user(["what?", ImagePart(data=b"\0", media_type="image/png", detail="low")]),
            Message.assistant([ThinkingPart("hm")], [ToolCall("c1", "look", {"a": 1})]),
            Message.tool(ToolResult("c1", "look", "a cat")),
        ],
        [LOOK],
        model=ENDPOINT,
        tool_choice="look",
        response_format={"type": "json_schema", "json_schema": schema},
        parallel_tool_calls=False,
        stream=True,
        max_tokens=5,
        stop="end",
    )


# The envelope.


@pytest.mark.parametrize(
    ("model", "mode"),
    [
        (MODEL, {"servingType": "ON_DEMAND", "modelId": MODEL}),
        (
            "ocid1.generativeaimodel.oc1..a",
            {"servingType": "ON_DEMAND", "modelId": "ocid1.generativeaimodel.oc1..a"},
        ),
        (ENDPOINT, {"servingType": "DEDICATED", "endpointId": ENDPOINT}),
    ],
)
def test_endpoint_is_dedicated_and_model_on_demand(model: str, mode: dict[str, str]) -> None:
    body = build_body(model=model)
    assert body["servingMode"] == mode
    assert body["compartmentId"] == COMPARTMENT


def test_minimal_request_has_only_required_members() -> None:
    body = GenericChatBuilder().build("x", model=MODEL)
    assert body == {
        "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL},
        "chatRequest": {
            "apiFormat": "GENERIC",
            "messages": [{"role": "USER", "content": [{"type": "TEXT", "text": "x"}]}],
        },
    }


def test_extra_body_replaces_members_where_they_belong() -> None:
    mode = {"servingType": "ON_DEMAND", "modelId": "m"}
    body = build_body(
        max_tokens=5,
        extra_body={
            "maxTokens": 7,
            "topK": 3,
            "numGenerations": 2,
            "compartmentId": "other",
            "servingMode": mode,
            "chatRequest": {"reasoningEffort": "LOW"},
        },
    )
    assert (body["compartmentId"], body["servingMode"]) == ("other", mode)
    request = body["chatRequest"]
    assert (request["maxTokens"], request["topK"], request["numGenerations"]) == (7, 3, 2)
    assert request["reasoningEffort"] == "LOW"
    assert request["messages"]
    assert set(body) == {"compartmentId", "servingMode", "chatRequest"}


# Options.


@given(st.data())
def test_every_option_is_sent_under_its_own_name(data: st.DataObject) -> None:
    call_options = data.draw(options())
    call_options.pop("response_format", None)
    request = build_chat_request("x", **call_options)
    assert request.pop("messages")
    assert request.pop("apiFormat") == "GENERIC"
    oci_names = {
        "max_tokens": "maxTokens",
        "top_p": "topP",
        "frequency_penalty": "frequencyPenalty",
        "presence_penalty": "presencePenalty",
    }
    assert request == {
        oci_names.get(name, name): value
        for name, value in call_options.items()
        if value or not name.endswith("_penalty")
    }


@pytest.mark.parametrize(
    ("model", "has_completion_limit", "has_sampling"),
    [
        ("openai.gpt-5", True, False),
        ("openai.o3", True, False),
        ("openai.gpt-4o", True, True),
        ("openai.gpt-oss-120b", True, True),
        ("xai.grok-4", False, True),
        (MODEL, False, True),
        (GEMINI, False, True),
        ("cohere.command-a-03-2025", False, True),
        (ENDPOINT, False, True),
    ],
)
def test_parameters_depend_on_the_model_family(
    model: str, has_completion_limit: bool, has_sampling: bool
) -> None:
    request = build_chat_request(
        model=model,
        max_tokens=5,
        temperature=0.0,
        top_p=0.5,
        frequency_penalty=1.0,
        presence_penalty=1.0,
        seed=1,
        stop=["x"],
    )
    assert request.get("maxCompletionTokens") == (5 if has_completion_limit else None)
    assert request.get("maxTokens") == (None if has_completion_limit else 5)
    for name in ("temperature", "topP", "frequencyPenalty", "presencePenalty"):
        assert (name in request) is has_sampling
    assert request["seed"] == 1
    assert ("stop" in request) is has_sampling  # o3 and gpt-5 refuse it


def test_penalty_of_zero_is_not_sent() -> None:
    request = build_chat_request(temperature=0.0, frequency_penalty=0.0, presence_penalty=0, seed=0)
    assert (request["temperature"], request["seed"]) == (0, 0)
    assert not {"frequencyPenalty", "presencePenalty"} & set(request)


def test_stream_is_requested_with_token_counts() -> None:
    request = build_chat_request(stream=True)
    assert request["isStream"] is True
    assert request["streamOptions"] == {"isIncludeUsage": True}
    assert "streamOptions" not in build_chat_request(stream=True, stream_usage=False)


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        ({"type": "text"}, {"type": "TEXT"}),
        ({"type": "json_object"}, {"type": "JSON_OBJECT"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": False}},
            {"type": "JSON_SCHEMA", "jsonSchema": {"name": "n", "schema": {}, "isStrict": False}},
        ),
        (
            MappingProxyType({"type": "json_schema", "json_schema": {"name": "n"}}),
            {"type": "JSON_SCHEMA", "jsonSchema": {"name": "n"}},
        ),
        ({"type": "JSON_OBJECT"}, {"type": "JSON_OBJECT"}),
    ],
)
def test_response_format_is_converted(response_format: Any, expected: dict[str, Any]) -> None:
    assert build_chat_request(response_format=response_format)["responseFormat"] == expected


@pytest.mark.parametrize("response_format", [{"type": "xml"}, {}, {"type": "json_schema"}])
def test_invalid_response_format_is_rejected(response_format: Any) -> None:
    with pytest.raises(ConfigurationError, match="response_format"):
        build_chat_request(response_format=response_format)


# Tools.


@given(tools(min_size=1))
def test_tools_are_sent_as_functions(tool_list: list[dict[str, Any]]) -> None:
    for tool, definition in zip(
        tool_list, build_chat_request("x", tool_list)["tools"], strict=True
    ):
        function = dict(tool["function"])
        function.pop("strict", None)  # the format has no such member
        if "$defs" not in function["parameters"]:
            assert definition == {"type": "FUNCTION", **function}
        assert "$ref" not in json.dumps(definition)
        assert (definition["name"], definition.get("description")) == (
            function["name"],
            function.get("description"),
        )


def test_definitions_are_inlined() -> None:
    point = {"type": "object", "properties": {"x": {"$ref": "#/$defs/Number"}}}
    schema = {
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/Point", "description": "where"},
            "b": {"anyOf": [{"$ref": "#/$defs/Number"}, {"type": "null"}]},
        },
        "$defs": {"Point": point, "Number": {"type": "number"}},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    (definition,) = build_chat_request("x", [tool])["tools"]
    assert definition["parameters"] == {
        "type": "object",
        "properties": {
            "a": {
                "type": "object",
                "properties": {"x": {"type": "number"}},
                "description": "where",
            },
            "b": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
    }


@pytest.mark.parametrize(
    "parameters",
    [
        {"items": {"$ref": "#/$defs/A"}, "$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}},
        {"$ref": "#/definitions/A"},
        {"$ref": "#/$defs/B", "$defs": {"A": {}}},
        {"properties": {"$ref": {"type": "string"}}},
    ],
)
def test_recursive_and_external_references_stay(parameters: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    converted = build_chat_request("x", [tool])["tools"][0]["parameters"]
    if "items" in parameters:  # one turn of the recursion is written out
        parameters = {**parameters, "items": parameters["$defs"]["A"]}
    assert converted == {"type": "object", **parameters}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "AUTO"}),
        ("none", {"type": "NONE"}),
        ("required", {"type": "REQUIRED"}),
        ("look", {"type": "FUNCTION", "name": "look"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "FUNCTION", "name": "look"}),
        ({"type": "FUNCTION", "name": "look"}, {"type": "FUNCTION", "name": "look"}),
    ],
)
def test_tool_choice_is_converted(choice: Any, expected: Any) -> None:
    assert build_chat_request("x", [LOOK], tool_choice=choice)["toolChoice"] == expected
    assert "toolChoice" not in build_chat_request("x", [], tool_choice=choice)


def test_parallel_tool_calls_is_sent_only_with_tools() -> None:
    for allowed in (True, False):
        request = build_chat_request("x", [LOOK], parallel_tool_calls=allowed)
        assert request["isParallelToolCalls"] is allowed
    assert "isParallelToolCalls" not in build_chat_request("x", parallel_tool_calls=True)


@pytest.mark.parametrize(
    ("messages", "call_options", "pattern"),
    [
        ([Message.system([ImagePart(url="https://x")]), USER], {}, r"messages\[0\].*system"),
        ([USER, Message.assistant(["x", ImagePart(url="https://x")])], {}, r"messages\[1\]"),
        ([Message.user(ImagePart(url="data:image/png"))], {}, r"messages\[0\]"),
        (
            [USER, Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "g", {"a": len})])],
            {},
            r"messages\[1\]\.tool_calls\[1\]",
        ),
        ([], {}, "empty"),
        ([USER], {"tools": [LOOK, {"type": "custom", "custom": {"name": "sh"}}]}, r"tools\[1\]"),
        ([USER], {"tools": [LOOK], "tool_choice": "g"}, r"tool_choice='g'.*look"),
        ([USER], {"tools": [LOOK], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ([USER], {"extra_body": None, "response_format": {"type": object()}}, "response_format"),
        (
            [USER],
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": object()}}]},
            "object",
        ),
    ],
)
def test_unsupported_values_are_reported_with_their_path(
    messages: Any, call_options: Any, pattern: str
) -> None:
    with pytest.raises(ConfigurationError, match=pattern):
        build_body(messages, **call_options)


# Gemini.


def group_with_results(messages: Sequence[Message]) -> list[list[Message]]:
    """Return each message in a list with the results of its calls."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.role is not Role.TOOL:
            groups.append([message])
        else:
            groups[-1].append(message)
    return groups


@given(conversations_with_thinking())
def test_gemini_gets_one_call_and_its_result_at_a_time(messages: tuple[Message, ...]) -> None:
    request_messages = parse_messages(build_chat_request(messages, model=GEMINI))
    expected: list[Message] = []
    for message, *results in group_with_results(
        [build_expected_message(message) for message in messages]
    ):
        if message.role is Role.ASSISTANT and not message.text:
            placeholder = TextPart(".")
            parts = [part for part in message.all_content or () if not isinstance(part, str)]
            thinking_parts = [part for part in parts if isinstance(part, ThinkingPart)]
            others = [part for part in parts if not isinstance(part, ThinkingPart)]
            message = attrs.evolve(message, content=[*thinking_parts, placeholder, *others])
        if len(message.tool_calls) < 2:
            expected += [message, *results]
            continue
        for index, call in enumerate(message.tool_calls):
            content: Any = [TextPart("."), *()] if index else message.all_content
            expected.append(attrs.evolve(message, content=content, tool_calls=[call]))
            expected += [result for result in results if result.tool_call_id == call.id]
    assert request_messages == expected


def test_parallel_calls_to_gemini_keep_their_ids_in_the_order_of_the_calls() -> None:
    calls = [ToolCall("b", "f", {"n": 1}), ToolCall("a", "f", malformed_arguments="{")]
    messages = [
        USER,
        Message.assistant("let me see", calls),
        Message.tool(ToolResult("a", "f", "", error="no")),
        Message.user("meanwhile"),
        Message.tool(ToolResult("b", "f", "1")),
    ]

    def summarize_message(message: dict[str, Any]) -> Any:
        calls = [(call["id"], call["arguments"]) for call in message.get("toolCalls", ())]
        return message["content"][0]["text"], calls or message.get("toolCallId")

    assert [
        summarize_message(message)
        for message in build_chat_request(messages, model=GEMINI)["messages"]
    ] == [
        ("x", None),
        ("let me see", [("b", '{"n":1}')]),
        ("1", "b"),
        (".", [("a", '{"malformed_arguments":"{"}')]),
        ("Error: no", "a"),
        ("meanwhile", None),
    ]
    other_model_messages = build_chat_request(messages)["messages"]
    assert [len(message.get("toolCalls", ())) for message in other_model_messages] == [
        0,
        2,
        0,
        0,
        0,
    ]


# Conversations from other providers.


def test_conversation_from_other_providers_is_converted() -> None:
    long_id = "call_" + "x" * 60
    messages = [
        Message.system("first"),
        Message.user(["see", ImagePart(data=b"\1", media_type="image/jpg")]),
        Message.assistant(  # Anthropic's
            [ThinkingPart("signed", signature="s"), ThinkingPart(redacted="r"), "aha"],
            [ToolCall("toolu_1", "f", {"a": 1}), ToolCall("toolu_2", "f")],
        ),
        Message.system("by the way"),
        Message.tool(ToolResult("toolu_2", "f", "two")),
        Message.tool(ToolResult("toolu_1", "f", "one")),
        Message.assistant(
            [ThinkingPart("open")], [ToolCall(long_id, "f"), ToolCall("toolu_1", "f")]
        ),
        Message.tool(ToolResult("toolu_1", "f", "three")),
        Message.tool(ToolResult(long_id, "f", "four")),
        Message.assistant([RefusalPart("no")]),
        USER,
    ]
    request_messages = build_chat_request(messages, model="openai.gpt-4.1")["messages"]
    assert [message["role"] for message in request_messages] == [
        "SYSTEM",
        "USER",
        "ASSISTANT",
        "TOOL",
        "TOOL",
        "SYSTEM",
        "ASSISTANT",
        "TOOL",
        "TOOL",
        "ASSISTANT",
        "USER",
    ]
    assert request_messages[1]["content"][1]["imageUrl"] == {"url": "data:image/jpeg;base64,AQ=="}
    assert "reasoningContent" not in request_messages[2]
    assert request_messages[6]["reasoningContent"] == "open"
    assert request_messages[9] == {"role": "ASSISTANT", "refusal": "no"}
    ids = [call["id"] for message in request_messages for call in message.get("toolCalls", ())]
    results = [message["toolCallId"] for message in request_messages if message["role"] == "TOOL"]
    assert results == [ids[1], ids[0], ids[3], ids[2]]
    assert ids[:2] == ["toolu_1", "toolu_2"]
    assert len(set(ids)) == 4
    assert all(len(call_id) <= 40 for call_id in ids)


REFERRING_SCHEMA = {
    "type": "object",
    "properties": {"colour": {"$ref": "#/$defs/Colour"}},
    "$defs": {"Colour": {"type": "string", "enum": ["red"]}},
}


def test_a_response_format_has_no_references() -> None:
    """Gemini follows none."""
    response_format = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": REFERRING_SCHEMA},
    }
    body = GenericChatBuilder().build("x", model="m", response_format=response_format)
    schema = body["chatRequest"]["responseFormat"]["jsonSchema"]["schema"]
    assert schema == {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red"]}},
    }
