"""Tests of request bodies of Cohere's first format, compared with a second implementation."""

from __future__ import annotations

import json
from typing import Any

import attrs
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
from locus.wire.oci_chat import CohereV1ChatBuilder
from locus.wire.provider_json import encode_json
from tests.support.oci.sdk_classes import check_round_trip
from tests.support.strategies import (
    conversations,
    options,
    tools,
)

BUILDER = CohereV1ChatBuilder("ocid1.compartment.oc1..a")
MODEL = "cohere.command-r-plus"
USER = Message.user("x")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def make_tool(name: str = "look", **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **members}}


def build_body(
    messages: Any = "x", tools: Any = None, model: str = MODEL, **call_options: Any
) -> Any:
    """Return the body as it is sent."""
    return json.loads(encode_json(BUILDER.build(messages, tools, model=model, **call_options)))


def build_chat_request(messages: Any = "x", tools: Any = None, **call_options: Any) -> Any:
    """Return the ``chatRequest``."""
    return build_body(messages, tools, **call_options)["chatRequest"]


def build_conversation_members(*messages: Message) -> Any:
    """Return the members of the ``chatRequest`` that hold the conversation."""
    request = build_chat_request(messages)
    assert request.pop("apiFormat") == "COHERE"
    return request


def make_call_message(*ids: str) -> Message:
    return Message.assistant("so", [ToolCall(call_id, "f", {"by": call_id}) for call_id in ids])


def make_result_message(call_id: str, text: str = "y", error: str | None = None) -> Message:
    return Message.tool(ToolResult(call_id, "f", text, error=error))


def build_expected_result(call_id: str, text: str = "y") -> dict[str, Any]:
    call = {"name": "f", "parameters": {"by": call_id}}
    return {"call": call, "outputs": [{"output": text}]}


def build_expected_calls_entry(*ids: str) -> dict[str, Any]:
    return {
        "role": "CHATBOT",
        "message": "so",
        "toolCalls": [{"name": "f", "parameters": {"by": call_id}} for call_id in ids],
    }


@st.composite
def expressible_conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations without images, with ids in the formats of other providers."""
    messages = draw(conversations(with_images=False))
    id_format = draw(st.sampled_from(["call_{}", "toolu_{}", "{}", "functions.f:{}", "é \u2028{}"]))
    new_ids = {
        call.id: id_format.format(index)
        for index, call in enumerate(call for message in messages for call in message.tool_calls)
    }
    return tuple(
        attrs.evolve(
            message,
            tool_calls=[attrs.evolve(call, id=new_ids[call.id]) for call in message.tool_calls],
            tool_call_id=new_ids.get(message.tool_call_id or ""),
        )
        for message in messages
    )


@st.composite
def expressible_options(draw: st.DrawFn, tool_list: Any) -> dict[str, Any]:
    """Call options that the format can express."""
    call_options: dict[str, Any] = draw(options(tool_list))
    if call_options.get("tool_choice") not in (None, "none"):
        call_options["tool_choice"] = "auto"
    call_options.pop("parallel_tool_calls", None)
    return call_options


# -- a second implementation ---------------------------------------------------------------------


def get_text(message: Message) -> str:
    return "\n\n".join(filter(None, [message.text, message.refusal]))


def get_arguments(call: ToolCall) -> Any:
    if call.malformed_arguments is None:
        return dict(call.arguments)
    return {"malformed_arguments": call.malformed_arguments}


def parse_request(body: dict[str, Any]) -> list[Any]:
    """Return the conversation in a request, in order, without system messages and placeholders."""
    parts: list[Any] = []
    for entry in body.get("chatHistory", ()):
        match entry["role"]:
            case "USER":
                parts.append(("user", entry["message"]))
            case "CHATBOT":
                calls = [(call["name"], call["parameters"]) for call in entry.get("toolCalls", ())]
                if calls or entry["message"] != ".":
                    parts.append(("assistant", entry["message"], calls))
            case "TOOL":
                parts.append(("results", entry["toolResults"]))
            case role:
                assert role == "SYSTEM"
    if "toolResults" in body:
        assert body["message"] == ""
        parts.append(("results", body["toolResults"]))
    else:
        parts.append(("user", body["message"]))
    return parts


def build_expected(messages: tuple[Message, ...]) -> list[Any]:
    """Return the expected conversation of a request."""
    parts: list[Any] = []
    results_by_id = {
        message.tool_call_id: message for message in messages if message.role is Role.TOOL
    }
    last_message = [message for message in messages if message.role is not Role.SYSTEM][-1]
    for message in messages:
        if message.role is Role.USER:
            parts.append(("user", message.text or ("" if message is last_message else " ")))
        elif message.role is Role.ASSISTANT:
            calls = [(call.name, get_arguments(call)) for call in message.tool_calls]
            if calls or get_text(message) != ".":
                parts.append(("assistant", get_text(message) or " ", calls))
            results = [
                {
                    "call": {"name": call.name, "parameters": get_arguments(call)},
                    "outputs": [
                        {
                            "error"
                            if "error" in results_by_id[call.id].metadata
                            else "output": results_by_id[call.id].text
                        }
                    ],
                }
                for call in message.tool_calls
            ]
            if results:
                parts.append(("results", results))
    return parts


@given(expressible_conversations())
def test_request_contains_every_message_call_and_result_in_order(
    messages: tuple[Message, ...],
) -> None:
    assert parse_request(build_chat_request(messages)) == build_expected(messages)


@given(expressible_conversations())
def test_request_contains_every_system_message_in_order(messages: tuple[Message, ...]) -> None:
    body = build_chat_request(messages)
    first = 0
    while messages[first].role is Role.SYSTEM:
        first += 1
    system_texts = [message.text for message in messages if message.role is Role.SYSTEM]
    preamble = "\n\n".join(filter(None, system_texts[:first]))
    assert body.get("preambleOverride") == (preamble or None)
    entries = [
        entry["message"] for entry in body.get("chatHistory", ()) if entry["role"] == "SYSTEM"
    ]
    assert entries == [text or " " for text in system_texts[first:]]


@given(expressible_conversations())
def test_request_follows_the_rules_of_the_service(messages: tuple[Message, ...]) -> None:
    body = build_chat_request(messages)
    entries = [entry for entry in body.get("chatHistory", ()) if entry["role"] != "SYSTEM"]
    assert all(entry.get("message") != "" for entry in body.get("chatHistory", ()))
    for previous, entry in zip([None, *entries], entries, strict=False):
        assert (entry["role"] == "TOOL") == ("message" not in entry)
        if entry["role"] == "TOOL":
            assert previous is not None
            calls = [result["call"] for result in entry["toolResults"]]
            assert calls == previous["toolCalls"]
        if previous is not None and previous["role"] == "TOOL":
            assert entry["role"] == "CHATBOT"
    if "toolResults" in body:
        assert body["chatHistory"][-1]["toolCalls"] == [
            tool_result["call"] for tool_result in body["toolResults"]
        ]
    elif entries:
        assert entries[-1]["role"] != "TOOL"


@pytest.mark.sdk
@given(expressible_conversations(), st.booleans(), st.data())
def test_the_oci_package_accepts_the_body(
    messages: tuple[Message, ...], stream: bool, data: st.DataObject
) -> None:
    pytest.importorskip("oci")
    tool_list = data.draw(tools())
    call_options = data.draw(expressible_options(tool_list))
    check_round_trip(build_body(messages, tool_list, stream=stream, **call_options))


# -- the members of a request --------------------------------------------------------------------


def test_prompt_is_the_current_message() -> None:
    assert build_body() == {
        "compartmentId": "ocid1.compartment.oc1..a",
        "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL},
        "chatRequest": {"apiFormat": "COHERE", "message": "x"},
    }


def test_example_conversation() -> None:
    messages = [
        Message.system("be brief"),
        Message.system("be kind"),
        Message.user("a?", name="ann", metadata={"note": 1}),
        make_call_message("1", "2"),
        make_result_message("2", "two"),
        make_result_message("1", "one"),
        Message.assistant("done"),
        Message.system("it is late"),
        Message.user("b?"),
        make_call_message("3"),
        make_result_message("3", "three"),
    ]
    assert build_conversation_members(*messages) == {
        "preambleOverride": "be brief\n\nbe kind",
        "chatHistory": [
            {"role": "USER", "message": "a?"},
            build_expected_calls_entry("1", "2"),
            {
                "role": "TOOL",
                "toolResults": [
                    build_expected_result("1", "one"),
                    build_expected_result("2", "two"),
                ],
            },
            {"role": "CHATBOT", "message": "done"},
            {"role": "SYSTEM", "message": "it is late"},
            {"role": "USER", "message": "b?"},
            build_expected_calls_entry("3"),
        ],
        "message": "",
        "toolResults": [build_expected_result("3", "three")],
    }


def test_several_rounds_of_tools_for_one_question() -> None:
    request = build_conversation_members(
        USER,
        make_call_message("1"),
        make_result_message("1"),
        make_call_message("2"),
        make_result_message("2"),
    )
    assert request["chatHistory"] == [
        {"role": "USER", "message": "x"},
        build_expected_calls_entry("1"),
        {"role": "TOOL", "toolResults": [build_expected_result("1")]},
        build_expected_calls_entry("2"),
    ]
    assert request["toolResults"] == [build_expected_result("2")]


def test_user_message_after_results_without_an_assistant_message() -> None:
    request = build_conversation_members(
        USER,
        make_call_message("1"),
        make_result_message("1"),
        Message.system("s"),
        Message.user("no matter"),
    )
    assert request["chatHistory"][2:] == [
        {"role": "TOOL", "toolResults": [build_expected_result("1")]},
        {"role": "SYSTEM", "message": "s"},
        {"role": "CHATBOT", "message": "."},
    ]
    assert request["message"] == "no matter"
    assert "toolResults" not in request
    longer_request = build_conversation_members(
        USER, make_call_message("1"), make_result_message("1"), Message.user("a"), Message.user("b")
    )
    assert longer_request["chatHistory"][3:] == [
        {"role": "CHATBOT", "message": "."},
        {"role": "USER", "message": "a"},
    ]


def test_messages_between_a_call_and_its_result_are_moved_after_it() -> None:
    request = build_conversation_members(
        USER,
        make_call_message("1", "2"),
        Message.user("hurry"),
        make_result_message("2", "two"),
        Message.system("s"),
        make_result_message("1", "one"),
    )
    assert request["chatHistory"][1:] == [
        build_expected_calls_entry("1", "2"),
        {
            "role": "TOOL",
            "toolResults": [build_expected_result("1", "one"), build_expected_result("2", "two")],
        },
        {"role": "SYSTEM", "message": "s"},
        {"role": "CHATBOT", "message": "."},
    ]
    assert request["message"] == "hurry"


def test_system_message_at_the_end_is_moved_before_the_last_message() -> None:
    trailing = Message.system("late")
    entry = {"role": "SYSTEM", "message": "late"}
    request = build_conversation_members(USER, trailing)
    assert (request["chatHistory"], request["message"]) == ([entry], "x")
    request = build_conversation_members(
        USER, make_call_message("1"), make_result_message("1"), trailing
    )
    assert request["chatHistory"] == [
        {"role": "USER", "message": "x"},
        entry,
        build_expected_calls_entry("1"),
    ]
    assert request["toolResults"] == [build_expected_result("1")]


@pytest.mark.parametrize(
    "messages",
    [
        [Message.system("s")],
        [USER, Message.assistant("y")],
        [USER, make_call_message("1")],
        [USER, Message.assistant("y"), Message.system("s")],
    ],
)
def test_conversation_without_a_message_to_answer_is_reported(messages: list[Message]) -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[\d\].*Cohere answers user messages"):
        build_body(messages)


def test_assistant_message_with_only_calls_gets_blank_text() -> None:
    silent = Message.assistant(None, [ToolCall("1", "f", {"by": "1"})])
    request = build_conversation_members(USER, silent, make_result_message("1"))
    assert request["chatHistory"][1] == build_expected_calls_entry("1") | {"message": " "}


def test_refusal_is_sent_as_text_and_thinking_is_not_sent() -> None:
    parts = [ThinkingPart("hm"), TextPart("well,"), RefusalPart("no")]
    history = build_conversation_members(USER, Message.assistant(parts), USER)["chatHistory"]
    assert history[1] == {"role": "CHATBOT", "message": "well,\n\nno"}


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL], ids=str)
def test_image_is_rejected_anywhere(role: Role) -> None:
    image = ImagePart(url="https://x/y.png")
    message = Message(role, ["x", image], tool_call_id="1" if role is Role.TOOL else None)
    with pytest.raises(ConfigurationError, match=r"messages\[2\].*no images"):
        build_body([USER, make_call_message("1"), message, USER])


# -- calls and results ---------------------------------------------------------------------------


def test_result_contains_its_call() -> None:
    ids = ["toolu_2", "é b", "call_0", "call_0 "]
    messages = [
        USER,
        make_call_message(*ids),
        *(make_result_message(call_id, call_id) for call_id in reversed(ids)),
    ]
    assert build_conversation_members(*messages)["toolResults"] == [
        build_expected_result(call_id, call_id) for call_id in ids
    ]


def test_result_with_a_reused_id_belongs_to_the_later_call() -> None:
    later_call = Message.assistant(None, [ToolCall("1", "g")])
    request = build_conversation_members(
        USER,
        make_call_message("1"),
        make_result_message("1", "a"),
        later_call,
        make_result_message("1", "b"),
    )
    assert request["chatHistory"][2] == {
        "role": "TOOL",
        "toolResults": [build_expected_result("1", "a")],
    }
    assert request["toolResults"] == [
        {"call": {"name": "g", "parameters": {}}, "outputs": [{"output": "b"}]}
    ]


def test_two_calls_with_the_same_id_have_one_result_each() -> None:
    message = Message.assistant(None, [ToolCall("1", "f", {"a": 1}), ToolCall("1", "f", {"a": 2})])
    outputs = [
        (tool_result["call"]["parameters"]["a"], tool_result["outputs"][0]["output"])
        for tool_result in build_conversation_members(
            USER, message, make_result_message("1", "one"), make_result_message("1", "two")
        )["toolResults"]
    ]
    assert outputs == [(1, "one"), (2, "two")]


def test_error_of_a_failed_call_is_sent() -> None:
    request = build_conversation_members(
        USER, make_call_message("1"), make_result_message("1", "half", error="no such city")
    )
    assert request["toolResults"][0]["outputs"] == [{"error": "Error: no such city\nhalf"}]


@pytest.mark.parametrize("text", ["{", "[1]", "{'a': 1}", '"'])
def test_malformed_arguments_are_sent_unchanged(text: str) -> None:
    call = Message.assistant(None, [ToolCall("1", "f", malformed_arguments=text)])
    request = build_conversation_members(USER, call, make_result_message("1", error="no JSON"))
    expected_call = {"name": "f", "parameters": {"malformed_arguments": text}}
    assert request["chatHistory"][1]["toolCalls"] == [expected_call]
    assert request["toolResults"][0]["call"] == expected_call


def test_arguments_that_are_not_json_are_rejected() -> None:
    messages = [USER, Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "f", {"a": len})])]
    with pytest.raises(
        ConfigurationError, match=r"messages\[1\]\.tool_calls\[1\].*represented in JSON"
    ):
        build_body([*messages, make_result_message("1")])


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


@given(st.data())
def test_every_option_is_sent_under_its_own_name(data: st.DataObject) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(expressible_options(tool_list))
    body = build_chat_request("x", tool_list, **call_options)
    assert (body.pop("apiFormat"), body.pop("message")) == ("COHERE", "x")
    expected_tools = [] if call_options.pop("tool_choice", None) == "none" else tool_list
    request_tools = body.pop("tools", [])
    assert [request_tool["name"] for request_tool in request_tools] == [
        request_tool["function"]["name"] for request_tool in expected_tools
    ]
    for request_tool, tool in zip(request_tools, expected_tools, strict=True):
        properties = tool["function"]["parameters"]["properties"]
        assert list(request_tool.get("parameterDefinitions", {})) == list(properties)
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


def test_zero_is_sent_except_for_penalties() -> None:
    body = build_chat_request(
        temperature=0.0, seed=0, top_p=0.0, frequency_penalty=0, presence_penalty=0.0
    )
    assert body == build_chat_request() | {"temperature": 0.0, "seed": 0, "topP": 0.0}


def test_stream_is_requested_with_token_counts() -> None:
    usage_option = {"streamOptions": {"isIncludeUsage": True}}
    assert (
        build_chat_request(stream=True) == build_chat_request() | {"isStream": True} | usage_option
    )
    assert build_chat_request(stream=True, stream_usage=False) == build_chat_request() | {
        "isStream": True
    }


def test_extra_body_replaces_members_of_the_chat_request() -> None:
    body = build_body(
        seed=1,
        extra_body={"seed": 2, "safetyMode": "STRICT", "compartmentId": "c", "topK": 5},
    )
    assert body["compartmentId"] == "c"
    assert body["chatRequest"] == build_chat_request() | {
        "seed": 2,
        "safetyMode": "STRICT",
        "topK": 5,
    }


def test_endpoint_is_dedicated_and_compartment_is_optional() -> None:
    endpoint = "ocid1.generativeaiendpoint.oc1.us-chicago-1.x"
    body = CohereV1ChatBuilder().build("x", model=endpoint)
    assert body["servingMode"] == {"servingType": "DEDICATED", "endpointId": endpoint}
    assert "compartmentId" not in body


@pytest.mark.parametrize(
    "response_format",
    [{}, SCHEMA, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 3}}],
)
def test_invalid_response_format_is_reported(response_format: Any) -> None:
    with pytest.raises(ConfigurationError, match="response_format is"):
        build_body(response_format=response_format)
