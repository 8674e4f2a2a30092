"""Tests of Ollama request bodies, compared with a second implementation and the package."""

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
from locus.wire.ollama_chat import OllamaChatBuilder, OllamaChatParser
from locus.wire.ollama_chat.request import RUNTIME_OPTIONS
from locus.wire.ollama_chat.schemas import convert_schema, convert_tool
from locus.wire.provider_json import encode_json
from tests.support.strategies import (
    conversations,
    options,
    texts,
    tools,
)
from tests.support.wire_json.ollama_json import make_last_chunk

BUILDER = OllamaChatBuilder()
MODEL = "llama3.3"
USER = Message.user("x")
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def build_body(
    messages: Any = "x", tools: Any = None, model: str = MODEL, **call_options: Any
) -> Any:
    """Return the body as it is sent."""
    return json.loads(encode_json(BUILDER.build(messages, tools, model=model, **call_options)))


def build_messages(*messages: Message) -> Any:
    """Return the messages as they are sent."""
    return build_body(messages)["messages"]


@st.composite
def expressible_conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations that this format can express: images as bytes, some with thinking."""
    return tuple(_make_expressible(draw, message) for message in draw(conversations()))


def _make_expressible(draw: st.DrawFn, message: Message) -> Message:
    if not isinstance(message.all_content, tuple):
        if message.role is Role.ASSISTANT and draw(st.booleans()):
            text = [TextPart(message.all_content)] if message.all_content else []
            return attrs.evolve(message, content=[ThinkingPart(draw(texts())), *text])
        return message
    return attrs.evolve(message, content=[_load_image(draw, part) for part in message.all_content])


def _load_image(draw: st.DrawFn, part: Any) -> Any:
    if not isinstance(part, ImagePart) or part.data is not None:
        return part
    data = draw(st.binary(min_size=1, max_size=9))
    encoded = base64.b64encode(data).decode()
    prefix = draw(st.sampled_from(["data:image/png;base64,", "DATA:image/png;charset=x;BASE64,"]))
    return ImagePart(url=prefix + encoded)


@st.composite
def expressible_options(draw: st.DrawFn, tool_list: Any) -> dict[str, Any]:
    """Call options that the format can express."""
    call_options = draw(options(tool_list))
    if call_options.get("tool_choice") not in (None, "none"):
        call_options["tool_choice"] = "auto"
    call_options.pop("parallel_tool_calls", None)
    return call_options


# A second implementation of the format.


@attrs.frozen
class ParsedMessage:
    """A parsed message of this format."""

    role: str
    text: str
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    tool_name: str | None = None


def parse_messages(body: dict[str, Any]) -> list[ParsedMessage]:
    """Return the conversation in a body."""
    return [_parse_message(message) for message in body["messages"]]


def _parse_message(message: dict[str, Any]) -> ParsedMessage:
    known = {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}
    assert {"role", "content"} <= set(message) <= known
    calls = []
    for call in message.get("tool_calls", ()):
        assert set(call) == {"id", "function"}
        function = call["function"]
        assert set(function) == {"name", "arguments"}
        assert isinstance(function["arguments"], dict)
        calls.append(ToolCall(call["id"], function["name"], function["arguments"]))
    return ParsedMessage(
        message["role"],
        message["content"],
        message.get("thinking", ""),
        tuple(base64.b64decode(image, validate=True) for image in message.get("images", ())),
        tuple(calls),
        message.get("tool_call_id"),
        message.get("tool_name"),
    )


def build_expected_message(message: Message) -> ParsedMessage:
    """Return the expected message of a request."""
    parts = message.all_content if isinstance(message.all_content, tuple) else ()
    return ParsedMessage(
        str(message.role),
        "\n\n".join(filter(None, [message.text, message.refusal])),
        "".join(
            part.text
            for part in parts
            if isinstance(part, ThinkingPart) and not (part.signature or part.redacted)
        ),
        tuple(_get_image_data(part) for part in parts if isinstance(part, ImagePart)),
        tuple(_wrap_malformed_arguments(call) for call in message.tool_calls),
        message.tool_call_id,
        message.name if message.role is Role.TOOL else None,
    )


def _get_image_data(image: ImagePart) -> bytes:
    if image.data is not None:
        return image.data
    assert image.url is not None
    return base64.b64decode(image.url.partition(",")[2])


def _wrap_malformed_arguments(call: ToolCall) -> ToolCall:
    if call.malformed_arguments is None:
        return call
    return ToolCall(call.id, call.name, {"malformed_arguments": call.malformed_arguments})


def order_results(messages: Iterable[Message]) -> list[Message]:
    """Return the messages with tool results in the order of their calls."""
    result: list[Message] = []
    ids: list[str] = []
    for message in messages:
        ids += [call.id for call in message.tool_calls]
        result.append(message)
        index = len(result) - 1
        while message.role is Role.TOOL and index and result[index - 1].role is Role.TOOL:
            previous = result[index - 1]
            if ids.index(previous.tool_call_id or "") < ids.index(message.tool_call_id or ""):
                break
            result[index - 1], result[index] = message, previous
            index -= 1
    return result


@given(expressible_conversations())
def test_request_contains_every_message_call_result_and_image(
    messages: tuple[Message, ...],
) -> None:
    assert parse_messages(build_body(messages)) == [
        build_expected_message(message) for message in order_results(messages)
    ]


# Options.


@given(st.data())
def test_every_option_is_sent_under_its_own_name(data: st.DataObject) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(expressible_options(tool_list))
    stream = data.draw(st.booleans())
    body = build_body("x", tool_list, stream=stream, **call_options)
    assert body.pop("model") == MODEL
    assert body.pop("messages") == [{"role": "user", "content": "x"}]
    assert body.pop("stream") is stream
    expected_tools = [] if call_options.pop("tool_choice", None) == "none" else tool_list
    assert body.pop("tools", []) == [convert_tool(tool) for tool in expected_tools]
    response_format = call_options.pop("response_format", {"type": "text"})
    if response_format["type"] == "text":
        assert "format" not in body
    elif response_format["type"] == "json_object":
        assert body.pop("format") == "json"
    else:
        assert body.pop("format") == convert_schema(response_format["json_schema"]["schema"])
    if "max_tokens" in call_options:
        call_options["num_predict"] = call_options.pop("max_tokens")
    assert body == ({"options": call_options} if call_options else {})


def test_minimal_request_has_only_required_members() -> None:
    expected = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": False}
    assert build_body() == expected
    assert build_body(stream=True) == expected | {"stream": True}


def test_zero_is_sent() -> None:
    call_options: dict[str, Any] = {"temperature": 0.0, "seed": 0, "frequency_penalty": 0.0}
    assert build_body(**call_options)["options"] == call_options


def test_extra_body_replaces_members_and_merges_options() -> None:
    body = build_body(
        max_tokens=5,
        seed=1,
        extra_body={"options": {"num_predict": 7, "num_ctx": 9}, "think": "low", "format": "json"},
    )
    assert body["options"] == {"num_predict": 7, "seed": 1, "num_ctx": 9}
    assert (body["think"], body["format"]) == ("low", "json")
    assert build_body(seed=1, extra_body={"options": None})["options"] is None
    only_extra = build_body(extra_body={"options": FrozenDict(num_ctx=9)})
    assert only_extra["options"] == {"num_ctx": 9}


@pytest.mark.parametrize("choice", ["required", "look", "nonsense", {"type": "function"}])
def test_unsupported_tool_choice_is_reported(choice: Any) -> None:
    with pytest.raises(ConfigurationError, match="takes 'auto' and 'none'"):
        build_body("x", [LOOK], tool_choice=choice)


def test_tool_choice_none_sends_no_tools() -> None:
    assert "tools" not in build_body("x", [LOOK], tool_choice="none")
    assert build_body("x", [LOOK], tool_choice="auto")["tools"] == [LOOK]


def test_parallel_tool_calls_false_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="several tools at once"):
        build_body("x", [LOOK], parallel_tool_calls=False)
    assert build_body("x", [LOOK], parallel_tool_calls=True) == build_body("x", [LOOK])
    assert build_body("x", parallel_tool_calls=False) == build_body("x")


def test_a_format_may_be_any_mapping() -> None:
    response_format = FrozenDict(
        {"type": "json_schema", "json_schema": FrozenDict({"schema": FrozenDict(SCHEMA)})}
    )
    assert build_body(response_format=response_format)["format"] == SCHEMA


@pytest.mark.parametrize(
    "response_format",
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
def test_invalid_response_format_is_reported(response_format: Any) -> None:
    with pytest.raises(ConfigurationError, match="response_format is"):
        build_body(response_format=response_format)


# Messages.


def test_example_conversation() -> None:
    image = ImagePart(data=b"\x89PNG", media_type="image/png", detail="low")
    messages = [
        Message.system("be brief"),
        Message.user(["what", image, " is this?"], name="me", metadata={"a": 1}),
        Message.assistant(
            [ThinkingPart("hm"), TextPart("so")], [ToolCall("c1", "look", {"at": "it"})]
        ),
        Message.tool(ToolResult("c1", "look", "a cat")),
    ]
    assert build_messages(*messages) == [
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


def test_response_is_sent_back_unchanged() -> None:
    call = {"id": "c1", "function": {"name": "look", "arguments": {"at": "it"}}}
    message = {"role": "assistant", "content": "so", "thinking": "hm", "tool_calls": [call]}
    response = OllamaChatParser().parse(make_last_chunk(message=message))
    assert build_messages(USER, response.message)[1] == message


def test_results_are_in_the_order_of_their_calls() -> None:
    calls = [ToolCall(call_id, "look") for call_id in "abc"]
    results = [Message.tool(ToolResult(call_id, "look", call_id)) for call_id in "cab"]
    later_calls = [
        ToolCall("a", "look"),
        ToolCall("d", "look"),
    ]  # a reused id belongs to the later call
    later_results = [Message.tool(ToolResult(call_id, "look", call_id)) for call_id in "da"]
    messages = [
        USER,
        Message.assistant(None, calls),
        *results,
        USER,
        Message.assistant(None, later_calls),
    ]
    request_messages = build_messages(*messages, *later_results)
    assert [message["content"] for message in request_messages if message["role"] == "tool"] == [
        "a",
        "b",
        "c",
        "a",
        "d",
    ]
    call_ids = [
        call["id"] for message in request_messages for call in message.get("tool_calls", ())
    ]
    assert [
        message["tool_call_id"] for message in request_messages if message["role"] == "tool"
    ] == call_ids
    assert call_ids[:3] + call_ids[4:] == ["a", "b", "c", "d"]
    assert len(set(call_ids)) == 5


def test_result_without_a_name_gets_that_of_its_call() -> None:
    result = Message(Role.TOOL, "y", tool_call_id="1")
    message = build_messages(USER, Message.assistant(None, [ToolCall("1", "look")]), result)[2]
    assert message["tool_name"] == "look"


def test_error_of_a_failed_call_is_sent() -> None:
    messages = [
        USER,
        Message.assistant(None, [ToolCall("1", "f")]),
        Message.tool(ToolResult("1", "f", "", error="no such city")),
    ]
    assert "no such city" in build_messages(*messages)[2]["content"]


@pytest.mark.parametrize("text", ["{", "[1]", "{'a': 1}", '"'])
def test_malformed_arguments_are_sent_unchanged(text: str) -> None:
    call = ToolCall("1", "f", malformed_arguments=text)
    message = build_messages(USER, Message.assistant(None, [call]))[1]
    assert message["tool_calls"][0]["function"]["arguments"] == {"malformed_arguments": text}


def test_refusal_is_sent_as_text() -> None:
    assert build_messages(USER, Message.assistant([RefusalPart("no")]))[1]["content"] == "no"
    text_and_refusal = Message.assistant(["well,", RefusalPart("no")])
    assert build_messages(USER, text_and_refusal)[1]["content"] == "well,\n\nno"


def test_thinking_with_a_signature_is_not_sent() -> None:
    parts = [
        ThinkingPart("a"),
        ThinkingPart("mine", signature="signature"),
        ThinkingPart(redacted="data"),
        ThinkingPart("b"),
    ]
    message = build_messages(USER, Message.assistant([*parts, TextPart("x")]))[1]
    assert message == {"role": "assistant", "content": "x", "thinking": "ab"}
    assert (
        "thinking" not in build_messages(USER, Message.assistant([*parts[1:3], TextPart("x")]))[1]
    )


# Images.


@pytest.mark.parametrize(
    "role", [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL], ids=lambda role: str(role)
)
def test_images_may_be_in_any_message(role: Role) -> None:
    call = Message.assistant(None, [ToolCall("1", "f")])
    image = ImagePart(data=b"abc", media_type="image/png")
    message = Message(role, ["x", image], tool_call_id="1" if role is Role.TOOL else None)
    assert build_messages(USER, call, message)[2]["images"] == ["YWJj"]


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
def test_image_data_is_decoded_from_data_urls(url: str, data: bytes) -> None:
    (image,) = build_messages(Message.user([ImagePart(url=url)]))[0]["images"]
    assert base64.b64decode(image) == data


@pytest.mark.parametrize("url", ["https://example.com/a.png", "http://x/", "file:///a", "a.png"])
def test_image_url_is_rejected_and_reported(url: str) -> None:
    messages = [Message.system("x"), Message.user(["look", ImagePart(url=url)])]
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*ImagePart\(data=") as exc_info:
        build_body(messages)
    assert url in str(exc_info.value)


@pytest.mark.parametrize(
    "url",
    ["data:image/png;base64", "data:image/png;base64,a", "data:;base64,!!!!", "data:é;base64,é"],
)
def test_malformed_data_url_is_rejected_and_reported(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[0\].*cannot be read"):
        build_body([Message.user([ImagePart(url=url)])])


def test_errors_name_the_callers_position_of_a_reordered_result() -> None:
    calls = [ToolCall("a", "f"), ToolCall("b", "f")]
    image_result = Message(Role.TOOL, [ImagePart(url="https://x")], tool_call_id="b")
    messages = [
        USER,
        Message.assistant(None, calls),
        image_result,
        Message.tool(ToolResult("a", "f", "y")),
    ]
    with pytest.raises(ConfigurationError, match=r"messages\[2\]"):
        build_body(messages)


# Unsupported values.


def test_invalid_conversation_is_reported() -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        build_body([])
    with pytest.raises(ConfigurationError, match=r"messages\[1\]"):
        build_body([USER, Message.tool(ToolResult("1", "f", "y"))])


def test_arguments_that_are_not_json_are_rejected() -> None:
    calls = [ToolCall("1", "f"), ToolCall("2", "f", {"a": len})]
    with pytest.raises(ConfigurationError, match=r"messages\[1\]\.tool_calls\[1\].*in JSON"):
        build_body([USER, Message.assistant(None, calls)])


# Comparison with the ollama package.


def keep_package_members(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without the members that the package's types do not have."""
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
            known_keywords = ("type", "description", "enum", "items")
            parameters["properties"][name] = {
                keyword: schema[keyword] for keyword in known_keywords if keyword in schema
            }
    return body


@pytest.mark.sdk
@given(st.data())
def test_the_ollama_package_accepts_and_sends_the_body(data: st.DataObject) -> None:
    ollama = pytest.importorskip("ollama")
    tool_list = data.draw(tools())
    call_options = data.draw(expressible_options(tool_list))
    messages = data.draw(expressible_conversations())
    requests: list[dict[str, Any]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(json.loads(request.content))
        return httpx.Response(200, json=make_last_chunk())

    client_options = {"host": "x", "transport": httpx.MockTransport(respond), "verify": False}
    with ollama.Client(**client_options) as client:
        model = OllamaModel(MODEL, sdk_client=client, think="low", options={"num_ctx": 8})
        model.complete_sync(messages, tool_list, **call_options)
    call_options = {"max_tokens": 4096, "temperature": 0.7, "top_p": 0.9, **call_options}
    expected = build_body(
        messages, tool_list, extra_body={"think": "low", "options": {"num_ctx": 8}}, **call_options
    )
    assert requests[0] == keep_package_members(expected)


@pytest.mark.sdk
def test_every_runtime_option_is_known_to_the_ollama_package() -> None:
    known_options = pytest.importorskip("ollama").Options.model_fields
    assert set(RUNTIME_OPTIONS) <= set(known_options)
