"""Requests of Cohere's second format: every turn, call, result and image is in them."""

from __future__ import annotations

import base64
import copy
import json
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
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.wire.json import encode
from locus.wire.oci_chat.cohere_formats import CohereV2ChatBuilder, CohereV2ChatParser
from tests.support.oci.sdk_classes import check_accepted
from tests.support.strategies import conversations, halves, options, texts, tools
from tests.support.wire_json.oci_cohere_json import text, thinking, v2_end

BUILDER = CohereV2ChatBuilder("ocid1.compartment.oc1..a")
MODEL = "cohere.command-a-vision"
USER = Message.user("x")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
ASK = {"type": "function", "function": {"name": "ask", "description": "asks"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
PNG = ImagePart(data=b"\x89PNG", media_type="image/png", detail="low")


def built(messages: Any = "x", tools: Any = None, **said: Any) -> Any:
    """The body as it travels."""
    return json.loads(encode(BUILDER.build(messages, tools, model=MODEL, **said)))


def asked(messages: Any = "x", tools: Any = None, **said: Any) -> Any:
    """The ``chatRequest``."""
    return built(messages, tools, **said)["chatRequest"]


def sent(*turns: Message) -> Any:
    """The messages as they travel."""
    return asked(turns)["messages"]


@st.composite
def accepted(draw: st.DrawFn, given_: Any) -> dict[str, Any]:
    """Keywords of a call that the format has a way to say."""
    said: dict[str, Any] = draw(options(given_))
    said.pop("parallel_tool_calls", None)
    return said


# -- a second reader -----------------------------------------------------------------------------


def heard(message: dict[str, Any]) -> tuple[Any, ...]:
    """What a message of this format says."""
    known = {"role", "content", "toolPlan", "toolCalls", "toolCallId"}
    assert {"role", "content"} <= set(message) <= known
    calls = []
    for call in message.get("toolCalls", ()):
        assert (set(call), call["type"]) == ({"id", "type", "function"}, "FUNCTION")
        assert set(call["function"]) == {"name", "arguments"}
        calls.append((call["id"], call["function"]["name"], call["function"]["arguments"]))
    return (
        message["role"].lower(),
        [_part(part) for part in message["content"]],
        calls,
        message.get("toolCallId"),
    )


def _part(part: dict[str, Any]) -> Any:
    match part:
        case {"type": "TEXT", "text": str(said)}:
            assert len(part) == 2
            return said
        case {"type": "THINKING", "thinking": str(thought)}:
            assert len(part) == 2
            return ("thought", thought)
    assert (part["type"], set(part)) == ("IMAGE_URL", {"type", "imageUrl"})
    return (part["imageUrl"]["url"], part["imageUrl"].get("detail"))


def said(message: Message) -> tuple[Any, ...]:
    """What the format has to carry of a message."""
    if isinstance(message.content, tuple):
        parts = [_said_part(part) for part in message.content]
        content = [part for part in parts if part is not None]
        if message.role in (Role.SYSTEM, Role.TOOL):
            content = [message.text]
    else:
        content = [message.content or ""] if message.content or not message.tool_calls else []
    return (
        str(message.role),
        content,
        [(call.id, call.name, call.arguments_json()) for call in message.tool_calls],
        message.tool_call_id,
    )


def _said_part(part: Any) -> Any:
    if isinstance(part, ThinkingPart):
        return None if part.signature or part.redacted else ("thought", part.text)
    if not isinstance(part, ImagePart):
        return part.text
    url = part.url
    if part.data is not None:
        url = f"data:{part.media_type};base64,{base64.b64encode(part.data).decode()}"
    return (url, part.detail and part.detail.upper())


@given(conversations())
def test_every_turn_call_result_and_image_arrives(turns: tuple[Message, ...]) -> None:
    assert [heard(message) for message in sent(*turns)] == [said(turn) for turn in turns]


@given(conversations(), st.data())
def test_building_is_stable_and_changes_nothing(
    turns: tuple[Message, ...], data: st.DataObject
) -> None:
    given_ = data.draw(tools())
    keywords = data.draw(accepted(given_))
    before = copy.deepcopy((given_, keywords))
    body = BUILDER.build(turns, given_, model=MODEL, **keywords)
    assert BUILDER.build(turns, given_, model=MODEL, **keywords) == body
    assert (given_, keywords) == before


@pytest.mark.sdk
@given(conversations(), st.booleans(), st.data())
def test_the_package_accepts_what_is_built(
    turns: tuple[Message, ...], stream: bool, data: st.DataObject
) -> None:
    pytest.importorskip("oci")
    given_ = data.draw(tools())
    keywords = data.draw(accepted(given_))
    check_accepted(built(turns, given_, stream=stream, **keywords))


# -- messages ------------------------------------------------------------------------------------


def test_a_conversation_as_it_travels() -> None:
    turns = [
        Message.system("be brief"),
        Message.user(["what", PNG, " is this?"], name="me", metadata={"a": 1}),
        Message.assistant(
            [ThinkingPart("hm"), TextPart("so")],
            [ToolCall("c1", "look", {"at": "it"})],
            metadata={"tool_plan": "I will look.", "citations": []},
        ),
        Message.tool(ToolResult("c1", "look", "a cat")),
    ]
    url = {"url": "data:image/png;base64,iVBORw==", "detail": "LOW"}
    function = {"name": "look", "arguments": '{"at":"it"}'}
    assert built(turns) == {
        "compartmentId": "ocid1.compartment.oc1..a",
        "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL},
        "chatRequest": {
            "apiFormat": "COHEREV2",
            "messages": [
                {"role": "SYSTEM", "content": [text("be brief")]},
                {
                    "role": "USER",
                    "content": [
                        text("what"),
                        {"type": "IMAGE_URL", "imageUrl": url},
                        text(" is this?"),
                    ],
                },
                {
                    "role": "ASSISTANT",
                    "content": [thinking("hm"), text("so")],
                    "toolPlan": "I will look.",
                    "toolCalls": [{"id": "c1", "type": "FUNCTION", "function": function}],
                },
                {"role": "TOOL", "content": [text("a cat")], "toolCallId": "c1"},
            ],
        },
    }


def test_an_answer_goes_back_as_it_came() -> None:
    said = {
        "role": "ASSISTANT",
        "content": [thinking("hm"), text("so")],
        "toolPlan": "I will look.",
        "toolCalls": [
            {"id": "1", "type": "FUNCTION", "function": {"name": "f", "arguments": '{"a":1}'}}
        ],
    }
    answer = CohereV2ChatParser().parse({"chatResponse": v2_end() | {"message": said}})
    assert sent(USER, answer.message)[1] == said


def test_an_assistant_that_only_calls_has_no_content() -> None:
    message = sent(USER, Message.assistant(None, [ToolCall("1", "f")]))[1]
    assert message["content"] == []
    assert message["toolCalls"][0]["function"] == {"name": "f", "arguments": "{}"}


def test_results_stand_behind_their_calls_and_no_id_stands_for_two() -> None:
    calls = Message.assistant(None, [ToolCall("1", "f")])
    result = Message.tool(ToolResult("1", "f", "y"))
    found = sent(USER, calls, Message.user("hurry"), result, calls, result)
    assert [message["role"] for message in found] == [
        "USER",
        "ASSISTANT",
        "TOOL",
        "USER",
        "ASSISTANT",
        "TOOL",
    ]
    first, second = found[1]["toolCalls"][0]["id"], found[4]["toolCalls"][0]["id"]
    assert (first, found[2]["toolCallId"]) == ("1", "1")
    assert second == found[5]["toolCallId"] != "1"


@pytest.mark.parametrize("text", ["", "{", "[1]", "{'a': 1}", '"'])
def test_malformed_arguments_go_to_the_letter(text: str) -> None:
    call = ToolCall("1", "f", malformed_arguments=text)
    message = sent(USER, Message.assistant(None, [call]))[1]
    assert message["toolCalls"][0]["function"]["arguments"] == text


def test_a_failed_result_tells_the_model_why() -> None:
    failed = Message.tool(ToolResult("1", "f", "", error="no such city"))
    found = sent(USER, Message.assistant(None, [ToolCall("1", "f")]), failed)
    assert found[2]["content"] == [text("Error: no such city")]


def test_a_refusal_is_what_the_assistant_said_and_sealed_thinking_stays_here() -> None:
    parts = [ThinkingPart("a", signature="s"), ThinkingPart(redacted="r"), RefusalPart("no")]
    assert sent(USER, Message.assistant(parts))[1]["content"] == [text("no")]


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.ASSISTANT, Role.TOOL], ids=str)
def test_an_image_is_taken_from_the_user_only(role: Role) -> None:
    call = Message.assistant(None, [ToolCall("1", "f")])
    message = Message(role, ["x", PNG], tool_call_id="1" if role is Role.TOOL else None)
    with pytest.raises(ConfigurationError, match=r"messages\[2\].*from the user only"):
        built([USER, call, message])


def test_an_image_may_be_an_address() -> None:
    (message,) = sent(Message.user([ImagePart(url="https://x/y.png")]))
    assert message["content"] == [{"type": "IMAGE_URL", "imageUrl": {"url": "https://x/y.png"}}]


def test_arguments_that_are_no_json_are_refused() -> None:
    calls = [ToolCall("1", "f"), ToolCall("2", "f", {"a": len})]
    with pytest.raises(ConfigurationError, match=r"messages\[1\]\.tool_calls\[1\].*no JSON"):
        built([USER, Message.assistant(None, calls)])


@given(halves(), texts(max_size=5))
def test_half_a_surrogate_pair_is_named_wherever_it_stands(half: str, text: str) -> None:
    for turns in (
        half,
        [Message.system(half), USER],
        [Message.user([text, half])],
        [USER, Message.assistant([ThinkingPart(half), TextPart("x")])],
        [USER, Message.assistant(None, [ToolCall("1", "f", {"a": half})])],
        [USER, Message.assistant("x", metadata={"tool_plan": half})],
    ):
        with pytest.raises(ConfigurationError) as caught:
            built(turns)
        str(caught.value).encode()


# -- tools ---------------------------------------------------------------------------------------


def test_tools_travel_as_functions_with_their_schema() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}}}
    schema = {"properties": {"p": {"$ref": "#/$defs/P"}}, "$defs": {"P": point}}
    tool = {"type": "function", "function": {"name": "at", "parameters": schema}}
    empty = {"type": "object", "properties": {}}
    assert asked("x", [LOOK, ASK, tool])["tools"] == [
        {"type": "FUNCTION", "function": {"name": "look", "parameters": {"type": "object"}}},
        {
            "type": "FUNCTION",
            "function": {"name": "ask", "description": "asks", "parameters": empty},
        },
        {
            "type": "FUNCTION",
            "function": {"name": "at", "parameters": {"properties": {"p": point}}},
        },
    ]


@pytest.mark.parametrize(
    ("choice", "said", "names"),
    [
        (None, None, ["look", "ask"]),
        ("auto", None, ["look", "ask"]),
        ("none", "NONE", ["look", "ask"]),
        ("required", "REQUIRED", ["look", "ask"]),
        ("ask", "REQUIRED", ["ask"]),
        ({"type": "function", "function": {"name": "ask"}}, "REQUIRED", ["ask"]),
    ],
)
def test_a_choice_of_tools_in_the_services_words(
    choice: Any, said: str | None, names: list[str]
) -> None:
    body = asked("x", [LOOK, ASK], tool_choice=choice)
    assert body.get("toolsChoice") == said
    assert [tool["function"]["name"] for tool in body["tools"]] == names
    assert asked("x", tool_choice=choice) == asked("x")


@pytest.mark.parametrize("choice", ["nonsense", {"type": "function"}, {"type": "any"}])
def test_a_choice_that_is_no_tool_is_said(choice: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"name of a tool of this call \(look, ask\)"):
        built("x", [LOOK, ASK], tool_choice=choice)


@pytest.mark.parametrize(
    ("flags", "strict"), [((True, True), True), ((True, None), None), ((True, False), None)]
)
def test_tools_are_strict_where_all_of_them_are(flags: Any, strict: bool | None) -> None:
    given_ = [
        {"type": "function", "function": {"name": f"f{at}", "strict": flag}}
        for at, flag in enumerate(flags)
    ]
    assert asked("x", given_).get("isStrictToolsEnabled") is strict


def test_one_call_at_a_time_cannot_be_had() -> None:
    with pytest.raises(ConfigurationError, match="several tools at once"):
        built("x", [LOOK], parallel_tool_calls=False)
    assert asked("x", [LOOK], parallel_tool_calls=True) == asked("x", [LOOK])
    assert asked(parallel_tool_calls=False) == asked()


def test_a_tool_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"tools\[0\].*functions only.*'custom'"):
        built("x", [{"type": "custom", "custom": {"name": "a"}}])


# -- options -------------------------------------------------------------------------------------

NAMES = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop": "stopSequences",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}


@given(options())
def test_every_option_is_sent_under_its_name(keywords: dict[str, Any]) -> None:
    body = asked("x", **keywords)
    assert body.pop("apiFormat") == "COHEREV2"
    assert body.pop("messages") == [{"role": "USER", "content": [text("x")]}]
    wanted = keywords.pop("response_format", {"type": "text"})
    if wanted["type"] == "text":
        assert "responseFormat" not in body
    else:
        schema = wanted.get("json_schema", {}).get("schema")
        told = body.pop("responseFormat")
        assert told == {"type": "JSON_OBJECT"} | ({"schema": schema} if schema else {})
    for penalty in ("frequency_penalty", "presence_penalty"):
        if not keywords.get(penalty):
            keywords.pop(penalty, None)
    assert body == {NAMES[name]: value for name, value in keywords.items()}


def test_a_stream_is_asked_for_with_its_token_counts() -> None:
    usage = {"streamOptions": {"isIncludeUsage": True}}
    assert asked(stream=True) == asked() | {"isStream": True} | usage
    assert asked(stream=True, stream_usage=False) == asked() | {"isStream": True}


def test_extra_body_is_for_the_chat_request_and_wins() -> None:
    thought = {"type": "ENABLED", "tokenBudget": 100}
    body = asked(seed=1, extra_body={"seed": 2, "thinking": thought})
    assert body == asked() | {"seed": 2, "thinking": thought}
