"""Requests of Ollama's format: every turn, call, result and image is in them."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable
from typing import Any

import attrs
import httpx
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
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.models.native.ollama import OllamaModel
from locus.wire.json import encode
from locus.wire.ollama_chat import OllamaChatBuilder, OllamaChatParser
from locus.wire.ollama_chat.request import OPTIONS
from tests.support.strategies import conversations, halves, options, texts, tools
from tests.support.wire_json.ollama_json import end

BUILDER = OllamaChatBuilder()
MODEL = "llama3.3"
USER = Message.user("x")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def built(messages: Any = "x", tools: Any = None, model: str = MODEL, **said: Any) -> Any:
    """The body as it travels."""
    return json.loads(encode(BUILDER.build(messages, tools, model=model, **said)))


def sent(*turns: Message) -> Any:
    """The messages as they travel."""
    return built(turns)["messages"]


@st.composite
def sayable(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations that this format can carry: images as bytes, thinking in between."""
    return tuple(_sayable(draw, message) for message in draw(conversations()))


def _sayable(draw: st.DrawFn, message: Message) -> Message:
    if not isinstance(message.content, tuple):
        if message.role is Role.ASSISTANT and draw(st.booleans()):
            text = [TextPart(message.content)] if message.content else []
            return attrs.evolve(message, content=[ThinkingPart(draw(texts())), *text])
        return message
    return attrs.evolve(message, content=[_loaded(draw, part) for part in message.content])


def _loaded(draw: st.DrawFn, part: Any) -> Any:
    if not isinstance(part, ImagePart) or part.data is not None:
        return part
    data = draw(st.binary(min_size=1, max_size=9))
    encoded = base64.b64encode(data).decode()
    form = draw(st.sampled_from(["data:image/png;base64,", "DATA:image/png;charset=x;BASE64,"]))
    return ImagePart(url=form + encoded)


@st.composite
def accepted(draw: st.DrawFn, given_: Any) -> dict[str, Any]:
    """Keywords of a call that the format has a way to say."""
    said = draw(options(given_))
    if said.get("tool_choice") not in (None, "none"):
        said["tool_choice"] = "auto"
    said.pop("parallel_tool_calls", None)
    return said


# A second reader of the format.


@attrs.frozen
class Turn:
    """What a message of this format says."""

    role: str
    text: str
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    answers: str | None = None
    tool: str | None = None


def read(body: dict[str, Any]) -> list[Turn]:
    """The conversation that a body holds."""
    return [_read(message) for message in body["messages"]]


def _read(message: dict[str, Any]) -> Turn:
    known = {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}
    assert {"role", "content"} <= set(message) <= known
    calls = []
    for call in message.get("tool_calls", ()):
        assert set(call) == {"id", "function"}
        function = call["function"]
        assert set(function) == {"name", "arguments"}
        assert isinstance(function["arguments"], dict)
        calls.append(ToolCall(call["id"], function["name"], function["arguments"]))
    return Turn(
        message["role"],
        message["content"],
        message.get("thinking", ""),
        tuple(base64.b64decode(image, validate=True) for image in message.get("images", ())),
        tuple(calls),
        message.get("tool_call_id"),
        message.get("tool_name"),
    )


def carried(message: Message) -> Turn:
    """What the format has to carry of a message."""
    parts = message.content if isinstance(message.content, tuple) else ()
    return Turn(
        str(message.role),
        "\n\n".join(filter(None, [message.text, message.refusal])),
        "".join(
            part.text
            for part in parts
            if isinstance(part, ThinkingPart) and not (part.signature or part.redacted)
        ),
        tuple(_bytes(part) for part in parts if isinstance(part, ImagePart)),
        tuple(_object(call) for call in message.tool_calls),
        message.tool_call_id,
        message.name if message.role is Role.TOOL else None,
    )


def _bytes(part: ImagePart) -> bytes:
    if part.data is not None:
        return part.data
    assert part.url is not None
    return base64.b64decode(part.url.partition(",")[2])


def _object(call: ToolCall) -> ToolCall:
    if call.malformed_arguments is None:
        return call
    return ToolCall(call.id, call.name, {"malformed_arguments": call.malformed_arguments})


def ordered(turns: Iterable[Message]) -> list[Message]:
    """The turns with the results of an assistant's calls in the order of those."""
    found: list[Message] = []
    ids: list[str] = []
    for message in turns:
        ids += [call.id for call in message.tool_calls]
        found.append(message)
        at = len(found) - 1
        while message.role is Role.TOOL and at and found[at - 1].role is Role.TOOL:
            before = found[at - 1]
            if ids.index(before.tool_call_id or "") < ids.index(message.tool_call_id or ""):
                break
            found[at - 1], found[at] = message, before
            at -= 1
    return found


@given(sayable())
def test_every_turn_call_result_and_image_arrives(turns: tuple[Message, ...]) -> None:
    assert read(built(turns)) == [carried(message) for message in ordered(turns)]


@given(sayable(), st.data())
def test_building_is_stable_and_changes_nothing(
    turns: tuple[Message, ...], data: st.DataObject
) -> None:
    given_ = data.draw(tools())
    said = data.draw(accepted(given_))
    before = copy.deepcopy((given_, said))
    body = BUILDER.build(turns, given_, model=MODEL, **said)
    assert BUILDER.build(turns, given_, model=MODEL, **said) == body
    assert (given_, said) == before


def test_a_body_shares_nothing_with_what_it_was_built_from() -> None:
    tool = copy.deepcopy(LOOK)
    call = ToolCall("1", "look", {"a": {"b": [1]}})
    turns = [USER, Message.assistant(None, [call]), Message.tool(ToolResult("1", "look", "y"))]
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": copy.deepcopy(SCHEMA)}}
    body = BUILDER.build(turns, [tool], model=MODEL, response_format=wanted)
    _spoil(body)
    assert tool == LOOK
    assert call.arguments == {"a": {"b": [1]}}
    assert wanted["json_schema"] == {"name": "n", "schema": SCHEMA}


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for member in value.values():
            _spoil(member)
        value["spoilt"] = True
    elif isinstance(value, list):
        for member in value:
            _spoil(member)
        value.append("spoilt")


# Options.


@given(st.data())
def test_every_option_is_sent_under_its_name(data: st.DataObject) -> None:
    given_ = data.draw(tools())
    said = data.draw(accepted(given_))
    stream = data.draw(st.booleans())
    body = built("x", given_, stream=stream, **said)
    assert body.pop("model") == MODEL
    assert body.pop("messages") == [{"role": "user", "content": "x"}]
    assert body.pop("stream") is stream
    offered = [] if said.pop("tool_choice", None) == "none" else given_
    assert body.pop("tools", []) == offered
    wanted = said.pop("response_format", {"type": "text"})
    if wanted["type"] == "text":
        assert "format" not in body
    elif wanted["type"] == "json_object":
        assert body.pop("format") == "json"
    else:
        assert body.pop("format") == wanted["json_schema"]["schema"]
    if "max_tokens" in said:
        said["num_predict"] = said.pop("max_tokens")
    assert body == ({"options": said} if said else {})


def test_a_bare_request_says_no_more_than_it_must() -> None:
    said = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": False}
    assert built() == said
    assert built(stream=True) == said | {"stream": True}


def test_nought_is_a_value() -> None:
    said: dict[str, Any] = {"temperature": 0.0, "seed": 0, "frequency_penalty": 0.0}
    assert built(**said)["options"] == said


def test_extra_body_wins_and_its_options_do_one_by_one() -> None:
    body = built(
        max_tokens=5,
        seed=1,
        extra_body={"options": {"num_predict": 7, "num_ctx": 9}, "think": "low", "format": "json"},
    )
    assert body["options"] == {"num_predict": 7, "seed": 1, "num_ctx": 9}
    assert (body["think"], body["format"]) == ("low", "json")
    assert built(seed=1, extra_body={"options": None})["options"] is None
    alone = built(extra_body={"options": FrozenDict(num_ctx=9)})
    assert alone["options"] == {"num_ctx": 9}


@pytest.mark.parametrize("choice", ["required", "look", "nonsense", {"type": "function"}])
def test_a_choice_of_tools_that_ollama_does_not_have_is_said(choice: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes 'auto' and 'none'"):
        built("x", [LOOK], tool_choice=choice)


def test_to_choose_no_tool_is_to_offer_none() -> None:
    assert "tools" not in built("x", [LOOK], tool_choice="none")
    assert built("x", [LOOK], tool_choice="auto")["tools"] == [LOOK]


def test_one_call_at_a_time_cannot_be_had() -> None:
    with pytest.raises(ConfigurationError, match="several tools at once"):
        built("x", [LOOK], parallel_tool_calls=False)
    assert built("x", [LOOK], parallel_tool_calls=True) == built("x", [LOOK])
    assert built("x", parallel_tool_calls=False) == built("x")


def test_a_format_may_be_any_mapping() -> None:
    wanted = FrozenDict(
        {"type": "json_schema", "json_schema": FrozenDict({"schema": FrozenDict(SCHEMA)})}
    )
    assert built(response_format=wanted)["format"] == SCHEMA


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        SCHEMA,
        {"type": "json_schema"},
        {"type": "json_schema", "schema": SCHEMA},
        {"type": "json_schema", "json_schema": SCHEMA},
        {"type": "json_schema", "json_schema": {"schema": "text"}},
        {"type": "grammar"},
    ],
)
def test_a_response_format_that_is_none_is_said(wanted: Any) -> None:
    with pytest.raises(ConfigurationError, match="response_format is"):
        built(response_format=wanted)


# Messages.


def test_a_conversation_as_it_travels() -> None:
    image = ImagePart(data=b"\x89PNG", media_type="image/png", detail="low")
    turns = [
        Message.system("be brief"),
        Message.user(["what", image, " is this?"], name="me", metadata={"a": 1}),
        Message.assistant(
            [ThinkingPart("hm"), TextPart("so")], [ToolCall("c1", "look", {"at": "it"})]
        ),
        Message.tool(ToolResult("c1", "look", "a cat")),
    ]
    assert sent(*turns) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "what is this?", "images": ["iVBORw=="]},
        {
            "role": "assistant",
            "content": "so",
            "thinking": "hm",
            "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": {"at": "it"}}}],
        },
        {"role": "tool", "content": "a cat", "tool_name": "look", "tool_call_id": "c1"},
    ]


def test_an_answer_goes_back_as_it_came() -> None:
    call = {"id": "c1", "function": {"name": "look", "arguments": {"at": "it"}}}
    said = {"role": "assistant", "content": "so", "thinking": "hm", "tool_calls": [call]}
    answer = OllamaChatParser().parse(end(message=said))
    assert sent(USER, answer.message)[1] == said


def test_results_are_in_the_order_of_their_calls() -> None:
    calls = [ToolCall(identity, "look") for identity in "abc"]
    results = [Message.tool(ToolResult(identity, "look", identity)) for identity in "cab"]
    again = [ToolCall("a", "look"), ToolCall("d", "look")]  # a reused id is the later call
    later = [Message.tool(ToolResult(identity, "look", identity)) for identity in "da"]
    turns = [USER, Message.assistant(None, calls), *results, USER, Message.assistant(None, again)]
    found = sent(*turns, *later)
    assert [m["content"] for m in found if m["role"] == "tool"] == ["a", "b", "c", "a", "d"]
    made = [call["id"] for message in found for call in message.get("tool_calls", ())]
    assert [m["tool_call_id"] for m in found if m["role"] == "tool"] == made
    assert made[:3] + made[4:] == ["a", "b", "c", "d"]
    assert len(set(made)) == 5


def test_a_result_without_a_name_has_that_of_its_call() -> None:
    result = Message(Role.TOOL, "y", tool_call_id="1")
    message = sent(USER, Message.assistant(None, [ToolCall("1", "look")]), result)[2]
    assert message["tool_name"] == "look"


def test_a_failed_result_tells_the_model_why() -> None:
    turns = [
        USER,
        Message.assistant(None, [ToolCall("1", "f")]),
        Message.tool(ToolResult("1", "f", "", error="no such city")),
    ]
    assert "no such city" in sent(*turns)[2]["content"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "{'a': 1}", '"'])
def test_malformed_arguments_are_shown_to_the_model_to_the_letter(text: str) -> None:
    call = ToolCall("1", "f", malformed_arguments=text)
    message = sent(USER, Message.assistant(None, [call]))[1]
    assert message["tool_calls"][0]["function"]["arguments"] == {"malformed_arguments": text}


def test_a_refusal_is_what_the_assistant_said() -> None:
    assert sent(USER, Message.assistant([RefusalPart("no")]))[1]["content"] == "no"
    both = Message.assistant(["well,", RefusalPart("no")])
    assert sent(USER, both)[1]["content"] == "well,\n\nno"


def test_thinking_that_another_provider_has_sealed_stays_here() -> None:
    parts = [
        ThinkingPart("a"),
        ThinkingPart("mine", signature="seal"),
        ThinkingPart(redacted="data"),
        ThinkingPart("b"),
    ]
    message = sent(USER, Message.assistant([*parts, TextPart("x")]))[1]
    assert message == {"role": "assistant", "content": "x", "thinking": "ab"}
    assert "thinking" not in sent(USER, Message.assistant([*parts[1:3], TextPart("x")]))[1]


# Images.


@pytest.mark.parametrize(
    "role", [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL], ids=lambda role: str(role)
)
def test_images_may_be_in_any_message(role: Role) -> None:
    call = Message.assistant(None, [ToolCall("1", "f")])
    image = ImagePart(data=b"abc", media_type="image/png")
    message = Message(role, ["x", image], tool_call_id="1" if role is Role.TOOL else None)
    assert sent(USER, call, message)[2]["images"] == ["YWJj"]


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:image/png;base64,YWJj", b"abc"),
        ("data:image/png;base64,YWI%3D", b"ab"),
        ("data:image/svg+xml,%3Csvg/%3E", b"<svg/>"),
        ("data:,a,b", b"a,b"),
        ("data:;base64,", b""),
    ],
)
def test_images_in_data_addresses_are_taken_out(url: str, data: bytes) -> None:
    (image,) = sent(Message.user([ImagePart(url=url)]))[0]["images"]
    assert base64.b64decode(image) == data


@pytest.mark.parametrize("url", ["https://example.com/a.png", "http://x/", "file:///a", "a.png"])
def test_an_image_elsewhere_is_refused_and_named(url: str) -> None:
    turns = [Message.system("x"), Message.user(["look", ImagePart(url=url)])]
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*ImagePart\(data=") as caught:
        built(turns)
    assert url in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["data:image/png;base64", "data:image/png;base64,a", "data:;base64,!!!!", "data:é;base64,é"],
)
def test_a_data_address_that_is_broken_is_refused_and_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[0\].*cannot be read"):
        built([Message.user([ImagePart(url=url)])])


def test_positions_are_the_callers_also_where_results_change_places() -> None:
    calls = [ToolCall("a", "f"), ToolCall("b", "f")]
    image = Message(Role.TOOL, [ImagePart(url="https://x")], tool_call_id="b")
    turns = [USER, Message.assistant(None, calls), image, Message.tool(ToolResult("a", "f", "y"))]
    with pytest.raises(ConfigurationError, match=r"messages\[2\]"):
        built(turns)


# What cannot travel.


def test_an_impossible_conversation_is_named() -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        built([])
    with pytest.raises(ConfigurationError, match=r"messages\[1\]"):
        built([USER, Message.tool(ToolResult("1", "f", "y"))])


def test_arguments_that_are_no_json_are_refused() -> None:
    calls = [ToolCall("1", "f"), ToolCall("2", "f", {"a": len})]
    with pytest.raises(ConfigurationError, match=r"messages\[1\]\.tool_calls\[1\].*no JSON"):
        built([USER, Message.assistant(None, calls)])


@given(halves(), texts(max_size=5))
def test_half_a_surrogate_pair_is_named_wherever_it_stands(half: str, text: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": half, "parameters": {}}}
    for turns, given_ in (
        (half, None),
        ([Message.system(half), USER], None),
        ([Message.user([text, half])], None),
        ([USER, Message.assistant(half)], None),
        ([USER, Message.assistant([ThinkingPart(half), TextPart("x")])], None),
        ([USER, Message.assistant(None, [ToolCall("1", "f", {"a": half})])], None),
        ([USER, Message.assistant(None, [ToolCall("1", "f", malformed_arguments=half)])], None),
        ("x", [tool]),
    ):
        with pytest.raises(ConfigurationError, match="surrogate") as caught:
            built(turns, given_)
        str(caught.value).encode()


# The package as the judge.


def room_for(body: dict[str, Any]) -> dict[str, Any]:
    """What the package's types have room for, of a body."""
    body = copy.deepcopy(body)
    for message in body["messages"]:
        message.pop("tool_call_id", None)
        for call in message.get("tool_calls", ()):
            del call["id"]
        for name in ("content", "thinking"):
            if not message.get(name):
                message.pop(name, None)
    for tool in body.setdefault("tools", []):
        function = tool["function"]
        function.pop("strict", None)
        parameters = function["parameters"]
        parameters.pop("additionalProperties", None)
        for name, schema in parameters["properties"].items():
            known = ("type", "description", "enum", "items")
            parameters["properties"][name] = {at: schema[at] for at in known if at in schema}
    return body


@pytest.mark.sdk
@given(st.data())
def test_the_package_accepts_and_sends_what_is_built(data: st.DataObject) -> None:
    ollama = pytest.importorskip("ollama")
    given_ = data.draw(tools())
    said = data.draw(accepted(given_))
    turns = data.draw(sayable())
    got: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        got.append(json.loads(request.content))
        return httpx.Response(200, json=end())

    made = {"host": "x", "transport": httpx.MockTransport(answer), "verify": False}
    with ollama.Client(**made) as client:
        model = OllamaModel(MODEL, sdk_client=client, think="low", options={"num_ctx": 8})
        model.complete_sync(turns, given_, **said)
    said = {"max_tokens": 4096, "temperature": 0.7, "top_p": 0.9, **said}
    ours = built(turns, given_, extra_body={"think": "low", "options": {"num_ctx": 8}}, **said)
    assert got[0] == room_for(ours)


@pytest.mark.sdk
def test_every_option_of_locus_is_one_of_the_packages() -> None:
    known = pytest.importorskip("ollama").Options.model_fields
    assert set(OPTIONS) <= set(known)
