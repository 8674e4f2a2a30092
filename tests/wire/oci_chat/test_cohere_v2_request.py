"""Tests of request bodies of Cohere's second format, compared with a second implementation."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.json_schema.references import inline_references
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
from locus.wire.oci_chat import CohereV2ChatBuilder, CohereV2ChatParser
from locus.wire.provider_json import encode_json
from tests.support.native_state import make_state
from tests.support.oci.sdk_classes import check_round_trip
from tests.support.request_readers import wrap_malformed_arguments
from tests.support.strategies import (
    conversations,
    options,
    tools,
)
from tests.support.wire_json.oci_cohere_json import (
    make_v2_last_chunk,
    make_v2_text_content,
    make_v2_thinking_content,
)

BUILDER = CohereV2ChatBuilder("ocid1.compartment.oc1..a")
MODEL = "cohere.command-a-vision"
USER = Message.user("x")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
ASK = {"type": "function", "function": {"name": "ask", "description": "asks"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
PNG = ImagePart(data=b"\x89PNG", media_type="image/png", detail="low")


def build_body(messages: Any = "x", tools: Any = None, **call_options: Any) -> Any:
    """Return the body as it is sent."""
    return json.loads(encode_json(BUILDER.build(messages, tools, model=MODEL, **call_options)))


def build_chat_request(messages: Any = "x", tools: Any = None, **call_options: Any) -> Any:
    """Return the ``chatRequest``."""
    return build_body(messages, tools, **call_options)["chatRequest"]


def build_messages(*messages: Message) -> Any:
    """Return the messages as they are sent."""
    return build_chat_request(messages)["messages"]


@st.composite
def expressible_options(draw: st.DrawFn, tool_list: Any) -> dict[str, Any]:
    """Call options that the format can express."""
    call_options: dict[str, Any] = draw(options(tool_list))
    call_options.pop("parallel_tool_calls", None)
    return call_options


# -- a second implementation ---------------------------------------------------------------------


def parse_message(message: dict[str, Any]) -> tuple[Any, ...]:
    """Return a message of this format in comparable form."""
    known_members = {"role", "content", "toolPlan", "toolCalls", "toolCallId"}
    assert {"role", "content"} <= set(message) <= known_members
    calls = []
    for call in message.get("toolCalls", ()):
        assert (set(call), call["type"]) == ({"id", "type", "function"}, "FUNCTION")
        assert set(call["function"]) == {"name", "arguments"}
        calls.append((call["id"], call["function"]["name"], call["function"]["arguments"]))
    return (
        message["role"].lower(),
        [_parse_content(part) for part in message["content"]],
        calls,
        message.get("toolCallId"),
    )


def _parse_content(part: dict[str, Any]) -> Any:
    match part:
        case {"type": "TEXT", "text": str(text)}:
            assert len(part) == 2
            return text
        case {"type": "THINKING", "thinking": str(thinking)}:
            assert len(part) == 2
            return ("thinking", thinking)
    assert (part["type"], set(part)) == ("IMAGE_URL", {"type", "imageUrl"})
    return (part["imageUrl"]["url"], part["imageUrl"].get("detail"))


def build_expected_message(message: Message) -> tuple[Any, ...]:
    """Return the expected message of a request, in the same form."""
    if isinstance(message.all_content, tuple):
        parts = [_build_expected_content(part) for part in message.all_content]
        content = [part for part in parts if part is not None]
        if message.role in (Role.SYSTEM, Role.TOOL):
            content = [message.text]
    else:
        content = (
            [message.all_content or ""] if message.all_content or not message.tool_calls else []
        )
    return (
        str(message.role),
        content,
        [
            (call.id, call.name, wrap_malformed_arguments(call).arguments_json())
            for call in message.tool_calls
        ],
        message.tool_call_id,
    )


def _build_expected_content(part: Any) -> Any:
    if isinstance(part, ThinkingPart):
        return None if part.signature or part.redacted else ("thinking", part.text)
    if not isinstance(part, ImagePart):
        return part.text
    url = part.url
    if part.data is not None:
        url = f"data:{part.media_type};base64,{base64.b64encode(part.data).decode()}"
    return (url, part.detail and part.detail.upper())


@given(conversations())
def test_request_contains_every_message_call_result_and_image(
    messages: tuple[Message, ...],
) -> None:
    assert [parse_message(message) for message in build_messages(*messages)] == [
        build_expected_message(expected_message) for expected_message in messages
    ]


@pytest.mark.sdk
@given(conversations(), st.booleans(), st.data())
def test_the_oci_package_accepts_the_body(
    messages: tuple[Message, ...], stream: bool, data: st.DataObject
) -> None:
    pytest.importorskip("oci")
    tool_list = data.draw(tools())
    call_options = data.draw(expressible_options(tool_list))
    check_round_trip(build_body(messages, tool_list, stream=stream, **call_options))


# -- messages ------------------------------------------------------------------------------------


def test_example_conversation() -> None:
    messages = [
        Message.system("be brief"),
        Message.user(["what", PNG, " is this?"], name="me", metadata={"a": 1}),
        Message.assistant(
            [ThinkingPart("hm"), TextPart("so")],
            [ToolCall("c1", "look", {"at": "it"})],
            metadata={"citations": []},
            native_state=make_state("oci_cohere_v2", {"tool_plan": "I will look."}),
        ),
        Message.tool(ToolResult("c1", "look", "a cat")),
    ]
    url = {"url": "data:image/png;base64,iVBORw==", "detail": "LOW"}
    function = {"name": "look", "arguments": '{"at":"it"}'}
    assert build_body(messages) == {
        "compartmentId": "ocid1.compartment.oc1..a",
        "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL},
        "chatRequest": {
            "apiFormat": "COHEREV2",
            "messages": [
                {"role": "SYSTEM", "content": [make_v2_text_content("be brief")]},
                {
                    "role": "USER",
                    "content": [
                        make_v2_text_content("what"),
                        {"type": "IMAGE_URL", "imageUrl": url},
                        make_v2_text_content(" is this?"),
                    ],
                },
                {
                    "role": "ASSISTANT",
                    "content": [make_v2_thinking_content("hm"), make_v2_text_content("so")],
                    "toolPlan": "I will look.",
                    "toolCalls": [{"id": "c1", "type": "FUNCTION", "function": function}],
                },
                {"role": "TOOL", "content": [make_v2_text_content("a cat")], "toolCallId": "c1"},
            ],
        },
    }


def test_response_is_sent_back_unchanged() -> None:
    message = {
        "role": "ASSISTANT",
        "content": [make_v2_thinking_content("hm"), make_v2_text_content("so")],
        "toolPlan": "I will look.",
        "toolCalls": [
            {"id": "1", "type": "FUNCTION", "function": {"name": "f", "arguments": '{"a":1}'}}
        ],
    }
    response = CohereV2ChatParser().parse(
        {"chatResponse": make_v2_last_chunk() | {"message": message}}
    )
    assert build_messages(USER, response.message)[1] == message


def test_assistant_message_with_only_calls_has_empty_content() -> None:
    message = build_messages(USER, Message.assistant(None, [ToolCall("1", "f")]))[1]
    assert message["content"] == []
    assert message["toolCalls"][0]["function"] == {"name": "f", "arguments": "{}"}


def test_results_follow_their_calls_and_ids_are_unique() -> None:
    calls = Message.assistant(None, [ToolCall("1", "f")])
    result = Message.tool(ToolResult("1", "f", "y"))
    request_messages = build_messages(USER, calls, Message.user("hurry"), result, calls, result)
    assert [message["role"] for message in request_messages] == [
        "USER",
        "ASSISTANT",
        "TOOL",
        "USER",
        "ASSISTANT",
        "TOOL",
    ]
    first, second = (
        request_messages[1]["toolCalls"][0]["id"],
        request_messages[4]["toolCalls"][0]["id"],
    )
    assert (first, request_messages[2]["toolCallId"]) == ("1", "1")
    assert second == request_messages[5]["toolCallId"] != "1"


@pytest.mark.parametrize("text", ["{", "[1]", "{'a': 1}", '"'])
def test_malformed_arguments_are_sent_inside_valid_json(text: str) -> None:
    call = ToolCall("1", "f", malformed_arguments=text)
    message = build_messages(USER, Message.assistant(None, [call]))[1]
    arguments = json.loads(message["toolCalls"][0]["function"]["arguments"])
    assert arguments == {"malformed_arguments": text}


def test_error_of_a_failed_call_is_sent() -> None:
    failed = Message.tool(ToolResult("1", "f", "", error="no such city"))
    request_messages = build_messages(USER, Message.assistant(None, [ToolCall("1", "f")]), failed)
    assert request_messages[2]["content"] == [make_v2_text_content("Error: no such city")]


def test_refusal_is_sent_as_text_and_thinking_with_a_signature_is_not_sent() -> None:
    parts = [ThinkingPart("a", signature="s"), ThinkingPart(redacted="r"), RefusalPart("no")]
    assert build_messages(USER, Message.assistant(parts))[1]["content"] == [
        make_v2_text_content("no")
    ]


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.ASSISTANT], ids=str)
def test_image_is_accepted_from_the_user_and_from_tools_only(role: Role) -> None:
    call = Message.assistant(None, [ToolCall("1", "f")])
    message = Message(role, ["x", PNG])
    reason = r"messages\[2\].*images.*only in user and tool messages"
    with pytest.raises(ConfigurationError, match=reason):
        build_body([USER, call, message])


def test_image_may_be_a_url() -> None:
    (message,) = build_messages(Message.user([ImagePart(url="https://x/y.png")]))
    assert message["content"] == [{"type": "IMAGE_URL", "imageUrl": {"url": "https://x/y.png"}}]


def test_arguments_that_are_not_json_are_rejected() -> None:
    calls = [ToolCall("1", "f"), ToolCall("2", "f", {"a": len})]
    with pytest.raises(ConfigurationError, match=r"messages\[1\]\.tool_calls\[1\].*in JSON"):
        build_body([USER, Message.assistant(None, calls)])


# -- tools ---------------------------------------------------------------------------------------


def test_tools_are_sent_as_functions_with_their_schema() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    schema = {"properties": {"p": {"$ref": "#/$defs/P"}}, "$defs": {"P": point}}
    tool = {"type": "function", "function": {"name": "at", "parameters": schema}}
    empty = {"type": "object", "properties": {}}
    assert build_chat_request("x", [LOOK, ASK, tool])["tools"] == [
        {"type": "FUNCTION", "function": {"name": "look", "parameters": {"type": "object"}}},
        {
            "type": "FUNCTION",
            "function": {"name": "ask", "description": "asks", "parameters": empty},
        },
        {
            "type": "FUNCTION",
            "function": {
                "name": "at",
                "parameters": {"type": "object", "properties": {"p": point}},
            },
        },
    ]


@pytest.mark.parametrize(
    ("choice", "tools_choice", "names"),
    [
        (None, None, ["look", "ask"]),
        ("auto", None, ["look", "ask"]),
        ("none", "NONE", ["look", "ask"]),
        ("required", "REQUIRED", ["look", "ask"]),
        ("ask", "REQUIRED", ["ask"]),
        ({"type": "function", "function": {"name": "ask"}}, "REQUIRED", ["ask"]),
    ],
)
def test_tool_choice_is_converted(choice: Any, tools_choice: str | None, names: list[str]) -> None:
    body = build_chat_request("x", [LOOK, ASK], tool_choice=choice)
    assert body.get("toolsChoice") == tools_choice
    assert [tool["function"]["name"] for tool in body["tools"]] == names
    assert build_chat_request("x", tool_choice=choice) == build_chat_request("x")


@pytest.mark.parametrize("choice", ["nonsense", {"type": "function"}, {"type": "any"}])
def test_invalid_tool_choice_is_reported(choice: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"name of a tool of this call \(look, ask\)"):
        build_body("x", [LOOK, ASK], tool_choice=choice)


@pytest.mark.parametrize(
    ("flags", "strict"), [((True, True), True), ((True, None), None), ((True, False), None)]
)
def test_strict_is_set_if_all_tools_are_strict(flags: Any, strict: bool | None) -> None:
    tool_list = [
        {"type": "function", "function": {"name": f"f{index}", "strict": flag}}
        for index, flag in enumerate(flags)
    ]
    assert build_chat_request("x", tool_list).get("isStrictToolsEnabled") is strict


def test_parallel_tool_calls_false_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="several tools at once"):
        build_body("x", [LOOK], parallel_tool_calls=False)
    assert build_chat_request("x", [LOOK], parallel_tool_calls=True) == build_chat_request(
        "x", [LOOK]
    )
    assert build_chat_request(parallel_tool_calls=False) == build_chat_request()


def test_tool_that_is_not_a_function_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"tools\[0\].*functions only.*'custom'"):
        build_body("x", [{"type": "custom", "custom": {"name": "a"}}])


# -- options -------------------------------------------------------------------------------------

OCI_NAMES = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop": "stopSequences",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}


@given(options())
def test_every_option_is_sent_under_its_own_name(call_options: dict[str, Any]) -> None:
    body = build_chat_request("x", **call_options)
    assert body.pop("apiFormat") == "COHEREV2"
    assert body.pop("messages") == [{"role": "USER", "content": [make_v2_text_content("x")]}]
    response_format = call_options.pop("response_format", {"type": "text"})
    if response_format["type"] == "text":
        assert "responseFormat" not in body
    else:
        schema = inline_references(response_format.get("json_schema", {}).get("schema") or {})
        request_format = body.pop("responseFormat")
        assert request_format == {"type": "JSON_OBJECT"} | ({"schema": schema} if schema else {})
    for penalty in ("frequency_penalty", "presence_penalty"):
        if not call_options.get(penalty):
            call_options.pop(penalty, None)
    assert body == {OCI_NAMES[name]: value for name, value in call_options.items()}


def test_stream_is_requested_with_token_counts() -> None:
    usage_option = {"streamOptions": {"isIncludeUsage": True}}
    assert (
        build_chat_request(stream=True) == build_chat_request() | {"isStream": True} | usage_option
    )
    assert build_chat_request(stream=True, stream_usage=False) == build_chat_request() | {
        "isStream": True
    }


def test_extra_body_replaces_members_of_the_chat_request() -> None:
    thinking = {"type": "ENABLED", "tokenBudget": 100}
    body = build_chat_request(seed=1, extra_body={"seed": 2, "thinking": thinking})
    assert body == build_chat_request() | {"seed": 2, "thinking": thinking}


def test_half_a_surrogate_pair_in_a_tool_plan_is_reported() -> None:
    state = make_state("oci_cohere_v2", {"tool_plan": "\ud800"})
    with pytest.raises(ConfigurationError, match="surrogate"):
        build_body([USER, Message.assistant("x", native_state=state)])
