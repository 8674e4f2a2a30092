"""Requests in OCI's generic format: every turn, call, result and image is in them."""

from __future__ import annotations

import base64
import copy
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
from locus.wire.json import encode
from locus.wire.oci_chat import GenericChatBuilder
from tests.support.oci.sdk_classes import check_accepted, written
from tests.support.strategies import conversations, halves, options, texts, tools

COMPARTMENT = "ocid1.compartment.oc1..aaaa"
BUILDER = GenericChatBuilder(COMPARTMENT)
MODEL = "meta.llama-3.3-70b-instruct"
GEMINI = "google.gemini-2.5-flash"
ENDPOINT = "ocid1.generativeaiendpoint.oc1.us-chicago-1.aaaa"
USER = Message.user("x")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def built(messages: Any = "x", tools: Any = None, model: str = MODEL, **said: Any) -> Any:
    """The body as it travels."""
    return json.loads(encode(BUILDER.build(messages, tools, model=model, **said)))


def asked(messages: Any = "x", tools: Any = None, model: str = MODEL, **said: Any) -> Any:
    """The chat request as it travels."""
    return built(messages, tools, model, **said)["chatRequest"]


@st.composite
def thoughtful(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations in which some models' thinking may be seen again."""
    turns = draw(conversations())
    return tuple(_thoughtful(draw, message) for message in turns)


def _thoughtful(draw: st.DrawFn, message: Message) -> Message:
    if message.role is not Role.ASSISTANT or draw(st.booleans()):
        return message
    parts = message.content if isinstance(message.content, tuple) else (message.content,)
    thought = ThinkingPart(draw(texts(min_size=1)))
    return attrs.evolve(message, content=[thought, *(part for part in parts if part)])


# A second reader of the format.


def read(request: dict[str, Any]) -> list[Message]:
    """The conversation that a chat request holds."""
    return [_read(message) for message in request["messages"]]


def _read(message: dict[str, Any]) -> Message:
    known = {"role", "content", "refusal", "reasoningContent", "toolCalls", "toolCallId", "name"}
    assert set(message) <= known
    parts: list[Any] = [_read_part(part) for part in message.get("content", ())]
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


def _read_part(part: dict[str, Any]) -> Any:
    if part["type"] == "TEXT":
        assert set(part) == {"type", "text"}
        return TextPart(part["text"])
    assert set(part) == {"type", "imageUrl"}
    assert part["type"] == "IMAGE"
    image = part["imageUrl"]
    assert image.get("detail") in (None, "LOW", "HIGH", "AUTO")
    detail = image["detail"].lower() if "detail" in image else None
    if image["url"].startswith("data:"):
        kind, data = image["url"].removeprefix("data:").split(";base64,")
        data = base64.b64decode(data, validate=True)
        return ImagePart(data=data, media_type=kind, detail=detail)
    return ImagePart(url=image["url"], detail=detail)


def carried(message: Message) -> Message:
    """What the format can carry of a message: all but metadata, seals and a tool's name."""
    parts = message.content if isinstance(message.content, tuple) else ()
    content: list[Any]
    if message.role is Role.USER:
        content = list(parts) or [TextPart(message.text)]
    else:
        content = [TextPart(message.text)]
    if message.role is Role.ASSISTANT:
        thoughts = [
            part.text
            for part in parts
            if isinstance(part, ThinkingPart) and not (part.signature or part.redacted)
        ]
        content = [
            *([ThinkingPart("".join(thoughts))] if thoughts else []),
            *([TextPart(message.text)] if message.text else []),
            *([RefusalPart(message.refusal)] if message.refusal else []),
        ]
    name = None if message.role is Role.TOOL else message.name
    return Message(message.role, content, message.tool_calls, message.tool_call_id, name)


@given(thoughtful())
def test_every_turn_call_result_and_image_arrives(turns: tuple[Message, ...]) -> None:
    assert read(asked(turns)) == [carried(message) for message in turns]


@given(thoughtful(), st.data())
def test_building_is_stable_and_changes_nothing(
    turns: tuple[Message, ...], data: st.DataObject
) -> None:
    given_ = data.draw(tools())
    said = data.draw(options(given_))
    model = data.draw(st.sampled_from([MODEL, GEMINI, "openai.o3"]))
    before = copy.deepcopy((given_, said))
    body = BUILDER.build(turns, given_, model=model, **said)
    assert BUILDER.build(turns, given_, model=model, **said) == body
    assert (given_, said) == before
    again = read(json.loads(encode(body))["chatRequest"])
    assert BUILDER.build(again, given_, model=model, **said) == body


def test_a_body_shares_nothing_with_what_it_was_built_from() -> None:
    given_ = [copy.deepcopy(LOOK), {"type": "FUNCTION", "name": "g", "parameters": {"a": [1]}}]
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": [1]}}}
    before = copy.deepcopy((given_, schema))
    _spoil(BUILDER.build("x", given_, model=MODEL, response_format=schema))
    assert (given_, schema) == before


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for member in value.values():
            _spoil(member)
        value["spoilt"] = True
    elif isinstance(value, list):
        for member in value:
            _spoil(member)
        value.append("spoilt")


# The package's own classes.


@pytest.mark.sdk
@given(st.data())
def test_what_is_built_is_what_the_classes_of_oci_say(data: st.DataObject) -> None:
    given_ = data.draw(tools())
    said = data.draw(options(given_))
    models = [MODEL, GEMINI, ENDPOINT, "openai.gpt-5", "openai.gpt-4o", "mistral.large"]
    model = data.draw(st.sampled_from(models))
    stream = data.draw(st.booleans())
    turns = data.draw(thoughtful())
    check_accepted(built(turns, given_, model=model, stream=stream, **said))


@pytest.mark.sdk
def test_the_judge_refuses_what_the_classes_do_not_know() -> None:
    check_accepted(built("x", [LOOK], tool_choice="look"))
    for wrong in (
        {"colour": "red"},
        {"isStream": 1},
        {"toolChoice": {"type": "FUNCTION", "function": {"name": "look"}}},
        {"messages": [{"role": "ROBOT", "content": []}]},
        {"messages": [{"role": "USER", "content": [{"type": "TEXT", "words": "x"}]}]},
        {"messages": [{"role": "TOOL", "content": [], "toolCallId": 1}]},
    ):
        body = built("x", [LOOK])
        body["chatRequest"] |= wrong
        with pytest.raises((AssertionError, TypeError)):
            check_accepted(body)


@pytest.mark.sdk
def test_a_body_is_that_of_the_same_request_made_of_classes() -> None:
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
    assert written(details) == built(
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
def test_an_endpoint_is_dedicated_and_a_model_on_demand(model: str, mode: dict[str, str]) -> None:
    body = built(model=model)
    assert body["servingMode"] == mode
    assert body["compartmentId"] == COMPARTMENT


def test_a_bare_request_says_no_more_than_it_has_to() -> None:
    body = GenericChatBuilder().build("x", model=MODEL)
    assert body == {
        "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL},
        "chatRequest": {
            "apiFormat": "GENERIC",
            "messages": [{"role": "USER", "content": [{"type": "TEXT", "text": "x"}]}],
        },
    }


def test_extra_body_wins_where_its_members_belong() -> None:
    mode = {"servingType": "ON_DEMAND", "modelId": "m"}
    body = built(
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
def test_every_option_is_sent_under_its_name(data: st.DataObject) -> None:
    said = data.draw(options())
    said.pop("response_format", None)
    request = asked("x", **said)
    assert request.pop("messages")
    assert request.pop("apiFormat") == "GENERIC"
    wire = {
        "max_tokens": "maxTokens",
        "top_p": "topP",
        "frequency_penalty": "frequencyPenalty",
        "presence_penalty": "presencePenalty",
    }
    assert request == {
        wire.get(name, name): value
        for name, value in said.items()
        if value or not name.endswith("_penalty")
    }


@pytest.mark.parametrize(
    ("model", "completion", "sampling"),
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
def test_the_parameters_are_those_of_the_family(
    model: str, completion: bool, sampling: bool
) -> None:
    request = asked(
        model=model,
        max_tokens=5,
        temperature=0.0,
        top_p=0.5,
        frequency_penalty=1.0,
        presence_penalty=1.0,
        seed=1,
        stop=["x"],
    )
    assert request.get("maxCompletionTokens") == (5 if completion else None)
    assert request.get("maxTokens") == (None if completion else 5)
    for name in ("temperature", "topP", "frequencyPenalty", "presencePenalty"):
        assert (name in request) is sampling
    assert (request["seed"], request["stop"]) == (1, ["x"])


def test_a_penalty_of_nought_is_not_sent() -> None:
    request = asked(temperature=0.0, frequency_penalty=0.0, presence_penalty=0, seed=0)
    assert (request["temperature"], request["seed"]) == (0, 0)
    assert not {"frequencyPenalty", "presencePenalty"} & set(request)


def test_a_stream_asks_for_usage_unless_told_not_to() -> None:
    request = asked(stream=True)
    assert request["isStream"] is True
    assert request["streamOptions"] == {"isIncludeUsage": True}
    assert "streamOptions" not in asked(stream=True, stream_usage=False)


@pytest.mark.parametrize(
    ("wanted", "sent"),
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
def test_the_format_of_the_answer_is_asked_for(wanted: Any, sent: dict[str, Any]) -> None:
    assert asked(response_format=wanted)["responseFormat"] == sent


@pytest.mark.parametrize("wanted", [{"type": "xml"}, {}, {"type": "json_schema"}])
def test_a_format_that_there_is_none_of_is_refused(wanted: Any) -> None:
    with pytest.raises(ConfigurationError, match="response_format"):
        asked(response_format=wanted)


# Tools.


@given(tools(min_size=1))
def test_tools_are_functions(given_: list[dict[str, Any]]) -> None:
    for tool, sent in zip(given_, asked("x", given_)["tools"], strict=True):
        function = dict(tool["function"])
        function.pop("strict", None)  # there is no place for it
        if "$defs" not in function["parameters"]:
            assert sent == {"type": "FUNCTION", **function}
        assert "$ref" not in json.dumps(sent)
        assert (sent["name"], sent.get("description")) == (
            function["name"],
            function.get("description"),
        )


def test_definitions_are_put_where_they_are_referred_to() -> None:
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
    (sent,) = asked("x", [tool])["tools"]
    assert sent["parameters"] == {
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
        {"$ref": "#/$defs/A", "$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}},
        {"$ref": "#/definitions/A", "$defs": {}},
        {"$ref": "#/$defs/B", "$defs": {"A": {}}},
        {"properties": {"$ref": {"type": "string"}}},
    ],
)
def test_a_schema_that_refers_to_itself_or_elsewhere_stays(parameters: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert asked("x", [tool])["tools"][0]["parameters"] == parameters


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "AUTO"}),
        ("none", {"type": "NONE"}),
        ("required", {"type": "REQUIRED"}),
        ("look", {"type": "FUNCTION", "name": "look"}),
        ({"type": "function", "function": {"name": "look"}}, {"type": "FUNCTION", "name": "look"}),
        ({"type": "FUNCTION", "name": "look"}, {"type": "FUNCTION", "name": "look"}),
    ],
)
def test_a_tool_is_chosen_by_name_or_in_the_providers_words(choice: Any, sent: Any) -> None:
    assert asked("x", [LOOK], tool_choice=choice)["toolChoice"] == sent
    assert "toolChoice" not in asked("x", [], tool_choice=choice)


def test_parallel_calls_are_asked_for_or_forbidden_where_there_are_tools() -> None:
    for allowed in (True, False):
        request = asked("x", [LOOK], parallel_tool_calls=allowed)
        assert request["isParallelToolCalls"] is allowed
    assert "isParallelToolCalls" not in asked("x", parallel_tool_calls=True)


@pytest.mark.parametrize(
    ("turns", "said", "named"),
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
def test_what_the_format_cannot_carry_is_named(turns: Any, said: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        built(turns, **said)


@given(halves())
def test_half_a_surrogate_pair_is_named_wherever_it_stands(half: str) -> None:
    for turns in (
        half,
        [Message.system(half), USER],
        [USER, Message.assistant(half)],
        [USER, Message.assistant([ThinkingPart(half), "x"])],
        [USER, Message.assistant(None, [ToolCall("1", "f", {"a": half})])],
        [USER, Message.assistant(None, [ToolCall("1", "f", malformed_arguments=half)])],
    ):
        with pytest.raises(ConfigurationError, match="surrogate") as caught:
            built(turns)
        str(caught.value).encode()


# Gemini.


def rounds(turns: Sequence[Message]) -> list[list[Message]]:
    """Each message, with the results of its calls behind it, by the order of the calls."""
    found: list[list[Message]] = []
    for message in turns:
        if message.role is not Role.TOOL:
            found.append([message])
        else:
            found[-1].append(message)
    return found


@given(thoughtful())
def test_gemini_gets_one_call_and_its_result_at_a_time(turns: tuple[Message, ...]) -> None:
    sent = read(asked(turns, model=GEMINI))
    wanted: list[Message] = []
    for message, *results in rounds([carried(message) for message in turns]):
        if message.role is Role.ASSISTANT and not message.text:
            nothing = TextPart(".")
            parts = [part for part in message.content or () if not isinstance(part, str)]
            thoughts = [part for part in parts if isinstance(part, ThinkingPart)]
            others = [part for part in parts if not isinstance(part, ThinkingPart)]
            message = attrs.evolve(message, content=[*thoughts, nothing, *others])
        if len(message.tool_calls) < 2:
            wanted += [message, *results]
            continue
        for at, call in enumerate(message.tool_calls):
            content: Any = [TextPart("."), *()] if at else message.content
            wanted.append(attrs.evolve(message, content=content, tool_calls=[call]))
            wanted += [result for result in results if result.tool_call_id == call.id]
    assert sent == wanted


def test_parallel_calls_to_gemini_keep_their_ids_in_the_order_of_the_calls() -> None:
    calls = [ToolCall("b", "f", {"n": 1}), ToolCall("a", "f", malformed_arguments="{")]
    turns = [
        USER,
        Message.assistant("let me see", calls),
        Message.tool(ToolResult("a", "f", "", error="no")),
        Message.user("meanwhile"),
        Message.tool(ToolResult("b", "f", "1")),
    ]

    def brief(message: dict[str, Any]) -> Any:
        calls = [(call["id"], call["arguments"]) for call in message.get("toolCalls", ())]
        return message["content"][0]["text"], calls or message.get("toolCallId")

    assert [brief(message) for message in asked(turns, model=GEMINI)["messages"]] == [
        ("x", None),
        ("let me see", [("b", '{"n":1}')]),
        ("1", "b"),
        (".", [("a", "{")]),
        ("Error: no", "a"),
        ("meanwhile", None),
    ]
    together = asked(turns)["messages"]
    assert [len(message.get("toolCalls", ())) for message in together] == [0, 2, 0, 0, 0]


# Conversations that began elsewhere.


def test_a_conversation_begun_elsewhere_goes_on_here() -> None:
    long = "call_" + "x" * 60
    turns = [
        Message.system("first"),
        Message.user(["see", ImagePart(data=b"\1", media_type="image/jpg")]),
        Message.assistant(  # Anthropic's
            [ThinkingPart("sealed", signature="s"), ThinkingPart(redacted="r"), "aha"],
            [ToolCall("toolu_1", "f", {"a": 1}), ToolCall("toolu_2", "f")],
        ),
        Message.system("by the way"),
        Message.tool(ToolResult("toolu_2", "f", "two")),
        Message.tool(ToolResult("toolu_1", "f", "one")),
        Message.assistant([ThinkingPart("open")], [ToolCall(long, "f"), ToolCall("toolu_1", "f")]),
        Message.tool(ToolResult("toolu_1", "f", "three")),
        Message.tool(ToolResult(long, "f", "four")),
        Message.assistant([RefusalPart("no")]),
        USER,
    ]
    messages = asked(turns, model="openai.gpt-4.1")["messages"]
    assert [message["role"] for message in messages] == [
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
    assert messages[1]["content"][1]["imageUrl"] == {"url": "data:image/jpeg;base64,AQ=="}
    assert "reasoningContent" not in messages[2]
    assert messages[6]["reasoningContent"] == "open"
    assert messages[9] == {"role": "ASSISTANT", "refusal": "no"}
    ids = [call["id"] for message in messages for call in message.get("toolCalls", ())]
    results = [message["toolCallId"] for message in messages if message["role"] == "TOOL"]
    assert results == [ids[1], ids[0], ids[3], ids[2]]
    assert ids[:2] == ["toolu_1", "toolu_2"]
    assert len(set(ids)) == 4
    assert all(len(identity) <= 40 for identity in ids)
