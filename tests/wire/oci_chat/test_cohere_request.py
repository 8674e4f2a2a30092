"""Requests of Cohere's first format: nothing of a conversation is lost among its four places."""

from __future__ import annotations

import copy
import json
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
from locus.wire.oci_chat.cohere_formats import CohereChatBuilder
from tests.support.oci.sdk_classes import check_accepted
from tests.support.strategies import conversations, halves, options, texts, tools

BUILDER = CohereChatBuilder("ocid1.compartment.oc1..a")
MODEL = "cohere.command-r-plus"
USER = Message.user("x")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def function(name: str = "look", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def built(messages: Any = "x", tools: Any = None, model: str = MODEL, **said: Any) -> Any:
    """The body as it travels."""
    return json.loads(encode(BUILDER.build(messages, tools, model=model, **said)))


def asked(messages: Any = "x", tools: Any = None, **said: Any) -> Any:
    """The ``chatRequest``."""
    return built(messages, tools, **said)["chatRequest"]


def sent(*turns: Message) -> Any:
    """The conversation's places."""
    places = asked(turns)
    assert places.pop("apiFormat") == "COHERE"
    return places


def calls(*ids: str) -> Message:
    return Message.assistant("so", [ToolCall(identity, "f", {"by": identity}) for identity in ids])


def result(identity: str, text: str = "y", error: str | None = None) -> Message:
    return Message.tool(ToolResult(identity, "f", text, error=error))


def told(identity: str, text: str = "y") -> dict[str, Any]:
    call = {"name": "f", "parameters": {"by": identity}}
    return {"call": call, "outputs": [{"output": text}]}


def bot(*ids: str) -> dict[str, Any]:
    return {
        "role": "CHATBOT",
        "message": "so",
        "toolCalls": [{"name": "f", "parameters": {"by": identity}} for identity in ids],
    }


@st.composite
def sayable(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations without images, with ids as other providers give them."""
    turns = draw(conversations(with_images=False))
    flavour = draw(st.sampled_from(["call_{}", "toolu_{}", "{}", "functions.f:{}", "é \u2028{}"]))
    new = {
        call.id: flavour.format(at)
        for at, call in enumerate(call for message in turns for call in message.tool_calls)
    }
    return tuple(
        attrs.evolve(
            message,
            tool_calls=[attrs.evolve(call, id=new[call.id]) for call in message.tool_calls],
            tool_call_id=new.get(message.tool_call_id or ""),
        )
        for message in turns
    )


@st.composite
def accepted(draw: st.DrawFn, given_: Any) -> dict[str, Any]:
    """Keywords of a call that the format has a way to say."""
    said: dict[str, Any] = draw(options(given_))
    if said.get("tool_choice") not in (None, "none"):
        said["tool_choice"] = "auto"
    said.pop("parallel_tool_calls", None)
    return said


# -- a second reader -----------------------------------------------------------------------------


def words(message: Message) -> str:
    return "\n\n".join(filter(None, [message.text, message.refusal]))


def arguments(call: ToolCall) -> Any:
    if call.malformed_arguments is None:
        return dict(call.arguments)
    return {"malformed_arguments": call.malformed_arguments}


def heard(body: dict[str, Any]) -> list[Any]:
    """What the model hears, in order, without system messages and fillings."""
    found: list[Any] = []
    for entry in body.get("chatHistory", ()):
        match entry["role"]:
            case "USER":
                found.append(("user", entry["message"]))
            case "CHATBOT":
                asked = [(call["name"], call["parameters"]) for call in entry.get("toolCalls", ())]
                if asked or entry["message"] != ".":
                    found.append(("assistant", entry["message"], asked))
            case "TOOL":
                found.append(("results", entry["toolResults"]))
            case role:
                assert role == "SYSTEM"
    if "toolResults" in body:
        assert body["message"] == ""
        found.append(("results", body["toolResults"]))
    else:
        found.append(("user", body["message"]))
    return found


def said(turns: tuple[Message, ...]) -> list[Any]:
    """What the model has to hear of a conversation."""
    found: list[Any] = []
    results = {message.tool_call_id: message for message in turns if message.role is Role.TOOL}
    last = [message for message in turns if message.role is not Role.SYSTEM][-1]
    for message in turns:
        if message.role is Role.USER:
            found.append(("user", message.text or ("" if message is last else " ")))
        elif message.role is Role.ASSISTANT:
            asked = [(call.name, arguments(call)) for call in message.tool_calls]
            if asked or words(message) != ".":
                found.append(("assistant", words(message) or " ", asked))
            told = [
                {
                    "call": {"name": call.name, "parameters": arguments(call)},
                    "outputs": [
                        {
                            "error" if "error" in results[call.id].metadata else "output": results[
                                call.id
                            ].text
                        }
                    ],
                }
                for call in message.tool_calls
            ]
            if told:
                found.append(("results", told))
    return found


@given(sayable())
def test_every_turn_call_and_result_arrives_in_order(turns: tuple[Message, ...]) -> None:
    assert heard(asked(turns)) == said(turns)


@given(sayable())
def test_every_system_message_arrives_in_order(turns: tuple[Message, ...]) -> None:
    body = asked(turns)
    opening = 0
    while turns[opening].role is Role.SYSTEM:
        opening += 1
    systems = [message.text for message in turns if message.role is Role.SYSTEM]
    preamble = "\n\n".join(filter(None, systems[:opening]))
    assert body.get("preambleOverride") == (preamble or None)
    told = [one["message"] for one in body.get("chatHistory", ()) if one["role"] == "SYSTEM"]
    assert told == [text or " " for text in systems[opening:]]


@given(sayable())
def test_the_service_finds_what_it_insists_on(turns: tuple[Message, ...]) -> None:
    body = asked(turns)
    spoken = [entry for entry in body.get("chatHistory", ()) if entry["role"] != "SYSTEM"]
    assert all(entry.get("message") != "" for entry in body.get("chatHistory", ()))
    for before, entry in zip([None, *spoken], spoken, strict=False):
        assert (entry["role"] == "TOOL") == ("message" not in entry)
        if entry["role"] == "TOOL":
            assert before is not None
            asked_for = [result["call"] for result in entry["toolResults"]]
            assert asked_for == before["toolCalls"]
        if before is not None and before["role"] == "TOOL":
            assert entry["role"] == "CHATBOT"
    if "toolResults" in body:
        assert body["chatHistory"][-1]["toolCalls"] == [one["call"] for one in body["toolResults"]]
    elif spoken:
        assert spoken[-1]["role"] != "TOOL"


@given(sayable(), st.data())
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
@given(sayable(), st.booleans(), st.data())
def test_the_package_accepts_what_is_built(
    turns: tuple[Message, ...], stream: bool, data: st.DataObject
) -> None:
    pytest.importorskip("oci")
    given_ = data.draw(tools())
    keywords = data.draw(accepted(given_))
    check_accepted(built(turns, given_, stream=stream, **keywords))


# -- where things go -----------------------------------------------------------------------------


def test_a_prompt_is_the_current_message() -> None:
    assert built() == {
        "compartmentId": "ocid1.compartment.oc1..a",
        "servingMode": {"servingType": "ON_DEMAND", "modelId": MODEL},
        "chatRequest": {"apiFormat": "COHERE", "message": "x"},
    }


def test_a_conversation_as_it_travels() -> None:
    turns = [
        Message.system("be brief"),
        Message.system("be kind"),
        Message.user("a?", name="ann", metadata={"note": 1}),
        calls("1", "2"),
        result("2", "two"),
        result("1", "one"),
        Message.assistant("done"),
        Message.system("it is late"),
        Message.user("b?"),
        calls("3"),
        result("3", "three"),
    ]
    assert sent(*turns) == {
        "preambleOverride": "be brief\n\nbe kind",
        "chatHistory": [
            {"role": "USER", "message": "a?"},
            bot("1", "2"),
            {"role": "TOOL", "toolResults": [told("1", "one"), told("2", "two")]},
            {"role": "CHATBOT", "message": "done"},
            {"role": "SYSTEM", "message": "it is late"},
            {"role": "USER", "message": "b?"},
            bot("3"),
        ],
        "message": "",
        "toolResults": [told("3", "three")],
    }


def test_several_rounds_of_tools_for_one_question() -> None:
    places = sent(USER, calls("1"), result("1"), calls("2"), result("2"))
    assert places["chatHistory"] == [
        {"role": "USER", "message": "x"},
        bot("1"),
        {"role": "TOOL", "toolResults": [told("1")]},
        bot("2"),
    ]
    assert places["toolResults"] == [told("2")]


def test_a_user_who_does_not_wait_for_the_answer_to_results() -> None:
    places = sent(USER, calls("1"), result("1"), Message.system("s"), Message.user("no matter"))
    assert places["chatHistory"][2:] == [
        {"role": "TOOL", "toolResults": [told("1")]},
        {"role": "SYSTEM", "message": "s"},
        {"role": "CHATBOT", "message": "."},
    ]
    assert places["message"] == "no matter"
    assert "toolResults" not in places
    longer = sent(USER, calls("1"), result("1"), Message.user("a"), Message.user("b"))
    assert longer["chatHistory"][3:] == [
        {"role": "CHATBOT", "message": "."},
        {"role": "USER", "message": "a"},
    ]


def test_what_is_said_between_a_call_and_its_result_comes_after_it() -> None:
    places = sent(
        USER,
        calls("1", "2"),
        Message.user("hurry"),
        result("2", "two"),
        Message.system("s"),
        result("1", "one"),
    )
    assert places["chatHistory"][1:] == [
        bot("1", "2"),
        {"role": "TOOL", "toolResults": [told("1", "one"), told("2", "two")]},
        {"role": "SYSTEM", "message": "s"},
        {"role": "CHATBOT", "message": "."},
    ]
    assert places["message"] == "hurry"


def test_a_system_message_at_the_end_goes_before_the_turn_that_is_answered() -> None:
    late = Message.system("late")
    entry = {"role": "SYSTEM", "message": "late"}
    places = sent(USER, late)
    assert (places["chatHistory"], places["message"]) == ([entry], "x")
    places = sent(USER, calls("1"), result("1"), late)
    assert places["chatHistory"] == [{"role": "USER", "message": "x"}, entry, bot("1")]
    assert places["toolResults"] == [told("1")]


@pytest.mark.parametrize(
    "turns",
    [
        [Message.system("s")],
        [USER, Message.assistant("y")],
        [USER, calls("1")],
        [USER, Message.assistant("y"), Message.system("s")],
    ],
)
def test_a_conversation_that_asks_for_nothing_is_named(turns: list[Message]) -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[\d\].*Cohere answers what a user"):
        built(turns)


def test_an_assistant_that_only_calls_says_a_blank() -> None:
    silent = Message.assistant(None, [ToolCall("1", "f", {"by": "1"})])
    places = sent(USER, silent, result("1"))
    assert places["chatHistory"][1] == bot("1") | {"message": " "}


def test_a_refusal_is_what_the_assistant_said_and_thinking_stays_here() -> None:
    parts = [ThinkingPart("hm"), TextPart("well,"), RefusalPart("no")]
    history = sent(USER, Message.assistant(parts), USER)["chatHistory"]
    assert history[1] == {"role": "CHATBOT", "message": "well,\n\nno"}


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL], ids=str)
def test_an_image_is_refused_wherever_it_stands(role: Role) -> None:
    image = ImagePart(url="https://x/y.png")
    message = Message(role, ["x", image], tool_call_id="1" if role is Role.TOOL else None)
    with pytest.raises(ConfigurationError, match=r"messages\[2\].*no images"):
        built([USER, calls("1"), message, USER])


# -- calls and results ---------------------------------------------------------------------------


def test_a_result_holds_the_call_it_answers_whoever_gave_the_ids() -> None:
    ids = ["toolu_2", "é b", "call_0", "call_0 "]
    turns = [USER, calls(*ids), *(result(identity, identity) for identity in reversed(ids))]
    assert sent(*turns)["toolResults"] == [told(identity, identity) for identity in ids]


def test_an_id_used_again_is_the_later_calls() -> None:
    again = Message.assistant(None, [ToolCall("1", "g")])
    places = sent(USER, calls("1"), result("1", "a"), again, result("1", "b"))
    assert places["chatHistory"][2] == {"role": "TOOL", "toolResults": [told("1", "a")]}
    assert places["toolResults"] == [
        {"call": {"name": "g", "parameters": {}}, "outputs": [{"output": "b"}]}
    ]


def test_two_calls_of_one_id_have_a_result_each() -> None:
    twice = Message.assistant(None, [ToolCall("1", "f", {"a": 1}), ToolCall("1", "f", {"a": 2})])
    outputs = [
        (one["call"]["parameters"]["a"], one["outputs"][0]["output"])
        for one in sent(USER, twice, result("1", "one"), result("1", "two"))["toolResults"]
    ]
    assert outputs == [(1, "one"), (2, "two")]


def test_a_failed_tool_carries_its_error() -> None:
    places = sent(USER, calls("1"), result("1", "half", error="no such city"))
    assert places["toolResults"][0]["outputs"] == [{"error": "Error: no such city\nhalf"}]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{'a': 1}", '"'])
def test_malformed_arguments_are_shown_to_the_model_to_the_letter(text: str) -> None:
    call = Message.assistant(None, [ToolCall("1", "f", malformed_arguments=text)])
    places = sent(USER, call, result("1", error="no JSON"))
    shown = {"name": "f", "parameters": {"malformed_arguments": text}}
    assert places["chatHistory"][1]["toolCalls"] == [shown]
    assert places["toolResults"][0]["call"] == shown


def test_arguments_that_are_no_json_are_refused() -> None:
    turns = [USER, Message.assistant(None, [ToolCall("1", "f"), ToolCall("2", "f", {"a": len})])]
    with pytest.raises(
        ConfigurationError, match=r"messages\[1\]\.tool_calls\[1\].*no (JSON|place)"
    ):
        built([*turns, result("1")])


@given(halves(), texts(max_size=5))
def test_half_a_surrogate_pair_is_named_wherever_it_stands(half: str, text: str) -> None:
    for turns, given_ in (
        (half, None),
        ([Message.system(half), USER], None),
        ([USER, Message.assistant(half), USER], None),
        ([USER, Message.assistant(None, [ToolCall("1", "f", {"a": half})]), result("1")], None),
        ([USER, calls("1"), result("1", half)], None),
        ("x", [function(description=half)]),
        ("x", [function(parameters={"properties": {"a": {"enum": [half]}}})]),
    ):
        with pytest.raises(ConfigurationError) as caught:
            built(turns, given_)
        str(caught.value).encode()


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


@given(st.data())
def test_every_option_is_sent_under_its_name(data: st.DataObject) -> None:
    given_ = data.draw(tools())
    keywords = data.draw(accepted(given_))
    body = asked("x", given_, **keywords)
    assert (body.pop("apiFormat"), body.pop("message")) == ("COHERE", "x")
    offered = [] if keywords.pop("tool_choice", None) == "none" else given_
    found = body.pop("tools", [])
    assert [one["name"] for one in found] == [one["function"]["name"] for one in offered]
    for one, tool in zip(found, offered, strict=True):
        properties = tool["function"]["parameters"]["properties"]
        assert list(one.get("parameterDefinitions", {})) == list(properties)
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


def test_nought_is_a_value_but_for_penalties() -> None:
    body = asked(temperature=0.0, seed=0, top_p=0.0, frequency_penalty=0, presence_penalty=0.0)
    assert body == asked() | {"temperature": 0.0, "seed": 0, "topP": 0.0}


def test_a_stream_is_asked_for_with_its_token_counts() -> None:
    usage = {"streamOptions": {"isIncludeUsage": True}}
    assert asked(stream=True) == asked() | {"isStream": True} | usage
    assert asked(stream=True, stream_usage=False) == asked() | {"isStream": True}


def test_extra_body_is_for_the_chat_request_and_wins() -> None:
    body = built(
        seed=1,
        extra_body={"seed": 2, "safetyMode": "STRICT", "compartmentId": "c", "topK": 5},
    )
    assert body["compartmentId"] == "c"
    assert body["chatRequest"] == asked() | {"seed": 2, "safetyMode": "STRICT", "topK": 5}


def test_an_endpoint_is_dedicated_and_a_compartment_may_be_left_out() -> None:
    endpoint = "ocid1.generativeaiendpoint.oc1.us-chicago-1.x"
    body = CohereChatBuilder().build("x", model=endpoint)
    assert body["servingMode"] == {"servingType": "DEDICATED", "endpointId": endpoint}
    assert "compartmentId" not in body


@pytest.mark.parametrize(
    "wanted",
    [{}, SCHEMA, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 3}}],
)
def test_a_response_format_that_is_none_is_said(wanted: Any) -> None:
    with pytest.raises(ConfigurationError, match="response_format is"):
        built(response_format=wanted)
