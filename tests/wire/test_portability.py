"""A conversation that began with one provider continues with any other, and loses nothing.

Conversations are genuine: users' messages, and responses read from the bytes of one provider, then
of the next. What is sent is read back by :mod:`tests.support.request_readers`, which shares no
code with Locus, and has to hold the same messages, calls, results and images, except for what
``docs/portability.md`` lists.
"""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.models.native.anthropic import AnthropicModel
from locus.models.native.ollama import OllamaModel
from locus.models.native.openai import OpenAIModel
from locus.models.providers.oci import OCIModel, OCIResponsesModel
from locus.testing import LoopbackServer
from locus.testing.formats import ReadCall, ReadImage, ReadMessage, ReadThinking
from locus.testing.formats.spoken_format import ODD_IDS
from locus.testing.formats.strategies.conversation_legs import conversation_legs
from locus.wire.anthropic_messages import AnthropicMessagesParser
from locus.wire.oci_chat import CohereV2ChatParser
from locus.wire.responses import ResponsesParser
from tests.support import anthropic_responses
from tests.support.formats import FORMATS, FORMATS_BY_NAME, WireFormat
from tests.support.wire_json import anthropic_json, responses_json

NAMES = [wire.name for wire in FORMATS]
PAIRS = list(itertools.product(NAMES, NAMES))
PER_PAIR = max(2, 2 * settings().max_examples // len(PAIRS))
PER_NAME = max(2, settings().max_examples // len(NAMES))
USER = Message.user("x")
NATIVE_KEYS = {"blocks", "output_items"}
"""The metadata keys of native blocks and items, which only their provider can read."""


def read_request(name: str, messages: Sequence[Message], **options: Any) -> list[ReadMessage]:
    """Encode a request, and read it as the provider would."""
    return FORMATS_BY_NAME[name].read_request(
        FORMATS_BY_NAME[name].encode_request(messages, **options)
    )


def replace_call_ids_by_names(read_messages: list[ReadMessage]) -> list[ReadMessage]:
    """Replace the ids of calls by their names, which are unique."""
    names = {call.id: call.name for read_message in read_messages for call in read_message.calls}
    return [
        attrs.evolve(
            read_message,
            calls=tuple(attrs.evolve(call, id=call.name) for call in read_message.calls),
            tool_call_id=read_message.tool_call_id and names[read_message.tool_call_id],
        )
        for read_message in read_messages
    ]


# What the request has to hold, by the documentation.


def build_expected_messages(messages: Sequence[Message], rules: WireFormat) -> list[ReadMessage]:
    """Build the messages that a request in this format has to hold."""
    read_messages: list[ReadMessage] = []
    for message in messages:
        if message.role is Role.TOOL:
            continue
        read_messages.append(_build_expected_message(message, rules))
        names = [call.name for call in message.tool_calls]
        results = [other for other in messages if other.role is Role.TOOL and other.name in names]
        if rules.orders_results:
            results.sort(key=lambda result: names.index(result.name or ""))
        read_messages += [_build_expected_message(result, rules) for result in results]
    if rules.system_position != "in place":
        read_messages = _merge_system_messages(read_messages, rules)
    if not rules.accepts_blank_text:
        read_messages = [
            read_message
            for read_message in read_messages
            if read_message not in (ReadMessage("user"), ReadMessage("assistant"))
        ]
    if rules.filler_text is not None:
        read_messages = _insert_filler_messages(read_messages, rules.filler_text)
    return _merge_messages(read_messages, rules.merged_roles)


def _merge_system_messages(
    read_messages: list[ReadMessage], rules: WireFormat
) -> list[ReadMessage]:
    """Merge system messages into one prompt: all of them, or those at the beginning."""
    first = read_messages
    if rules.system_position == "opening":
        first = list(
            itertools.takewhile(lambda read_message: read_message.role == "system", read_messages)
        )
    systems = [
        part
        for read_message in first
        if read_message.role == "system"
        for part in read_message.parts
    ]
    rest = [
        read_message for read_message in first if read_message.role != "system"
    ] + read_messages[len(first) :]
    if rules.empty_text is not None:
        rest = [
            read_message
            if read_message.parts or read_message.role == "tool"
            else attrs.evolve(read_message, parts=(rules.empty_text,))
            for read_message in rest
        ]
    return [ReadMessage("system", ("\n\n".join(map(str, systems)),)), *rest] if systems else rest


def _insert_filler_messages(read_messages: list[ReadMessage], filler: str) -> list[ReadMessage]:
    """Add a message of the assistant between results and a user message after them."""
    with_filler: list[ReadMessage] = []
    for read_message in read_messages:
        previous = [one.role for one in with_filler if one.role != "system"]
        if read_message.role == "user" and previous[-1:] == ["tool"]:
            with_filler.append(ReadMessage("assistant", (filler,)))
        with_filler.append(read_message)
    return with_filler


def _merge_messages(read_messages: list[ReadMessage], roles: Sequence[str]) -> list[ReadMessage]:
    merged: list[ReadMessage] = []
    for read_message in read_messages:
        if not merged or read_message.role not in roles or read_message.role != merged[-1].role:
            merged.append(read_message)
            continue
        previous = merged.pop()
        parts = (*previous.parts, *read_message.parts)
        if read_message.role == "assistant" and parts:
            parts = ("".join(map(str, parts)),)
        calls, thinking = (
            previous.calls + read_message.calls,
            previous.thinking + read_message.thinking,
        )
        refusal = (previous.refusal or "") + (read_message.refusal or "") or None
        merged.append(ReadMessage(read_message.role, parts, calls, thinking, refusal))
    return merged


def _build_expected_message(message: Message, rules: WireFormat) -> ReadMessage:
    parts = _get_parts(message)
    refusal = "".join(part.text for part in parts if isinstance(part, RefusalPart)) or None
    return ReadMessage(
        str(message.role),
        _build_expected_parts(message, parts, rules),
        tuple(_build_expected_call(call, rules) for call in message.tool_calls),
        _build_expected_thinking(parts, rules),
        refusal if rules.refusal_form == "apart" else None,
        _normalize_name(message.name)
        if rules.keeps_names and message.role is not Role.TOOL
        else None,
        message.name if message.role is Role.TOOL else None,
        rules.marks_failures and "error" in message.metadata,
    )


def _get_parts(message: Message) -> Sequence[Part]:
    content = message.content
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _normalize_name(name: str | None) -> str | None:
    return re.sub(r"[\s<>|/\\]", "_", name)[:64] if name else None


def _build_expected_parts(
    message: Message, parts: Sequence[Part], rules: WireFormat
) -> tuple[str | ReadImage, ...]:
    read_messages: list[str | ReadImage] = []
    for part in parts:
        if isinstance(part, ImagePart):
            read_messages.append(_build_expected_image(part, rules))
        elif isinstance(part, TextPart) and (rules.accepts_blank_text or part.text.strip()):
            read_messages.append(part.text)
    if rules.refusal_form != "apart":
        read_messages += _build_expected_refusals(parts, rules)
    is_image_allowed = message.role is Role.TOOL and message.role in rules.image_roles
    if rules.keeps_part_order and (message.role is Role.USER or is_image_allowed):
        return tuple(read_messages)
    text = "".join(part for part in read_messages if isinstance(part, str))
    images = [part for part in read_messages if isinstance(part, ReadImage)]
    always_text = (
        message.role is Role.SYSTEM and rules.keeps_part_order and rules.accepts_blank_text
    )
    return (*([text] if text or always_text else []), *images)


def _build_expected_refusals(parts: Sequence[Part], rules: WireFormat) -> list[str]:
    """Refusals as text, in separate parts or in a separate paragraph."""
    refusals = [part.text for part in parts if isinstance(part, RefusalPart) and part.text]
    if rules.refusal_form == "part":
        return [text for text in refusals if rules.accepts_blank_text or text.strip()]
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    return ["\n\n" * bool(text) + "".join(refusals)] if refusals else []


def _build_expected_image(part: ImagePart, rules: WireFormat) -> ReadImage:
    media_type, data = part.media_type, part.data
    if data is None:
        url = part.url or ""
        if url[:5].lower() != "data:":
            return ReadImage(url)
        head, _, body = url[5:].partition(",")
        media_type = head.partition(";")[0]
        data = unquote_to_bytes(body)
        if ";base64" in head.lower():
            data = base64.b64decode(data)
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    return ReadImage(None, data, None if rules.image_types == () else media_type)


def _build_expected_call(call: ToolCall, rules: WireFormat) -> ReadCall:
    text = call.malformed_arguments
    if text is None:
        return ReadCall(call.name, call.name, dict(call.arguments))
    if rules.keeps_malformed_arguments:
        return ReadCall(call.name, call.name, None, text)
    return ReadCall(call.name, call.name, {"malformed_arguments": text})


def _build_expected_thinking(parts: Sequence[Part], rules: WireFormat) -> tuple[ReadThinking, ...]:
    thinking = [part for part in parts if isinstance(part, ThinkingPart)]
    if rules.thinking_form == "signed":
        return tuple(
            ReadThinking(part.text, part.signature, part.redacted)
            for part in thinking
            if part.signature or part.redacted is not None
        )
    if rules.thinking_form == "unsigned":
        text = "".join(
            part.text for part in thinking if part.signature is None and part.redacted is None
        )
        return (ReadThinking(text),) if text else ()
    return ()


def get_unsupported_images(message: Message, rules: WireFormat) -> list[ImagePart]:
    """Return the images of a message that a format does not support."""
    return [
        part
        for part in _get_parts(message)
        if isinstance(part, ImagePart)
        and (
            message.role not in rules.image_roles
            or (
                (picture := _build_expected_image(part, rules)).url is not None
                and not rules.accepts_image_urls
            )
            or (
                picture.data is not None
                and rules.image_types
                and picture.media_type not in rules.image_types
            )
        )
    ]


def replace_unsupported_images(message: Message, rules: WireFormat) -> Message:
    """Replace the images that a format does not support by text."""
    if not (unsupported := get_unsupported_images(message, rules)):
        return message
    parts = [
        TextPart("(a picture)") if part in unsupported else part for part in _get_parts(message)
    ]
    return attrs.evolve(message, content=parts)


def has_text_or_calls(message: Message) -> bool:
    """Return whether a response has text or calls. Without them, other providers reject it."""
    return message.role is not Role.ASSISTANT or message.has_content or bool(message.tool_calls)


def check_request(messages: list[Message], name: str) -> list[Message]:
    """Check a request to ``name``; returns the messages that the user can continue with."""
    rules = FORMATS_BY_NAME[name]
    empty = {index for index, message in enumerate(messages) if not has_text_or_calls(message)}
    if empty and not any(messages[index].metadata.keys() & NATIVE_KEYS for index in empty):
        with pytest.raises(ConfigurationError, match="neither text nor tool calls") as caught:
            read_request(name, messages)
        assert _parse_error_position(caught.value) in empty
    messages = [message for index, message in enumerate(messages) if index not in empty]
    unsupported = {
        index for index, message in enumerate(messages) if get_unsupported_images(message, rules)
    }
    if unsupported:
        with pytest.raises(ConfigurationError, match="image") as caught:
            read_request(name, messages)
        assert _parse_error_position(caught.value) in unsupported
        messages = [replace_unsupported_images(message, rules) for message in messages]
    previous = copy.deepcopy(messages)
    body = FORMATS_BY_NAME[name].encode_request(messages)
    assert FORMATS_BY_NAME[name].encode_request(messages) == body
    assert messages == previous
    read_messages = rules.read_request(body)
    if rules.id_pattern is not None:
        assert all(
            rules.id_pattern.fullmatch(call.id)
            for read_message in read_messages
            for call in read_message.calls
        )
    assert replace_call_ids_by_names(read_messages) == build_expected_messages(messages, rules)
    return messages


def _parse_error_position(error: ConfigurationError) -> int:
    read_messages = re.match(r"messages\[(\d+)\]", str(error))
    assert read_messages, error
    return int(read_messages[1])


@pytest.mark.parametrize(
    ("first_provider", "second_provider"), PAIRS, ids=lambda name: name.replace(" ", "-")
)
@settings(max_examples=PER_PAIR)
@given(data=st.data())
def test_a_conversation_goes_from_any_provider_to_any_other_and_on(
    first_provider: str, second_provider: str, data: st.DataObject
) -> None:
    messages: list[Message] = []
    for name in (
        first_provider,
        second_provider,
        data.draw(st.sampled_from(NAMES)),
        first_provider,
    ):
        if messages:
            messages = check_request(messages, name)
        call_count = sum(len(message.tool_calls) for message in messages)
        messages += data.draw(conversation_legs(FORMATS_BY_NAME[name].messages, call_count))
    check_request(messages, second_provider)


# To another provider and back.


@pytest.mark.parametrize("other_provider", [name for name in NAMES if name != "anthropic_messages"])
@settings(max_examples=PER_NAME)
@given(response=anthropic_responses.anthropic_responses(), data=st.data())
def test_thinking_and_searches_are_sent_to_anthropic_and_to_nobody_else(
    other_provider: str, response: anthropic_responses.AnthropicResponse, data: st.DataObject
) -> None:
    signed = {"type": "thinking", "thinking": "zq-thought", "signature": "zq-seal"}
    redacted = {"type": "redacted_thinking", "data": "zq-dark"}
    read_message = {"type": "text", "text": "So.", "citations": None}
    blocks = (signed, redacted, read_message, *response.blocks)
    response = attrs.evolve(
        response, blocks=blocks, stop_reason="end_turn", refusal_explanation=None
    )
    provider = FORMATS_BY_NAME["anthropic_messages"]
    message = _parse_body(anthropic_json.build_body(response))
    results = [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    messages = [USER, message, *results, USER]
    body_before = json.loads(provider.encode_request(messages))["messages"]
    assert body_before[1] == {
        "role": "assistant",
        "content": anthropic_responses.build_replayed_blocks(response),
    }

    other_body = FORMATS_BY_NAME[other_provider].encode_request(messages)
    assert b"zq-" not in other_body
    other_response = data.draw(
        FORMATS_BY_NAME[other_provider]
        .messages(900)
        .filter(lambda read_message: not read_message.tool_calls)
    )
    messages = [*messages, other_response, USER] if has_text_or_calls(other_response) else messages
    assert b"zq-" not in FORMATS_BY_NAME[other_provider].encode_request(messages)
    body_after = json.loads(provider.encode_request(messages))["messages"]
    assert body_after[:2] == body_before[:2]


def _parse_body(body: dict[str, Any]) -> Message:
    return AnthropicMessagesParser().parse(json.dumps(body)).message


@pytest.mark.parametrize("other_provider", [name for name in NAMES if name != "responses"])
@settings(max_examples=PER_NAME)
@given(sample=responses_json.sample_responses(), data=st.data())
def test_reasoning_and_searches_are_sent_to_responses_and_to_nobody_else(
    other_provider: str, sample: responses_json.SampleResponse, data: st.DataObject
) -> None:
    signed = {
        "type": "reasoning",
        "id": "rs_zq",
        "summary": [{"type": "summary_text", "text": "zq-thought"}],
        "encrypted_content": "zq-seal",
    }
    search = {"type": "web_search_call", "id": "ws_zq", "status": "completed", "action": {}}
    item = responses_json.make_message_item("So.", index=99)
    sample = attrs.evolve(sample, items=(signed, search, *sample.items, item))
    provider = FORMATS_BY_NAME["responses"]
    message = ResponsesParser().parse(json.dumps(responses_json.build_body(sample))).message
    results = [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    messages = [USER, message, *results, USER]
    body_before = json.loads(provider.encode_request(messages))["input"]
    assert body_before[1:3] == [signed, search]
    assert item in body_before

    other_body = FORMATS_BY_NAME[other_provider].encode_request(messages)
    assert not re.search(b"zq|web_search|output_items|encrypted", other_body)
    other = data.draw(
        FORMATS_BY_NAME[other_provider].messages(900).filter(lambda message: not message.tool_calls)
    )
    messages = [*messages, other, USER] if has_text_or_calls(other) else messages
    body_after = json.loads(provider.encode_request(messages))["input"]
    assert body_after[: len(body_before)] == body_before


def test_a_response_that_occurs_twice_repeats_no_id_in_responses() -> None:
    signed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "dark"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}}
    items = (signed, search, responses_json.make_message_item("So."))
    body = responses_json.build_body(responses_json.SampleResponse(items))
    message = ResponsesParser().parse(json.dumps(body)).message
    read_messages = read_request("responses", [USER, message, USER, message, USER])
    assert [read_message.parts for read_message in read_messages] == [
        ("x",),
        ("So.",),
        ("x",),
        ("So.",),
        ("x",),
    ]


@pytest.mark.parametrize("other_provider", [name for name in NAMES if name != "oci_cohere_v2"])
def test_the_plan_is_sent_to_cohere_and_to_nobody_else(other_provider: str) -> None:
    call = {"id": "1", "type": "FUNCTION", "function": {"name": "f", "arguments": "{}"}}
    native_message = {"role": "ASSISTANT", "toolPlan": "zq-plan", "toolCalls": [call]}
    body = {"chatResponse": {"message": native_message, "finishReason": "TOOL_CALL"}}
    message = CohereV2ChatParser().parse(json.dumps(body)).message
    messages = [
        USER,
        message,
        Message.tool(ToolResult("1", "f", "y")),
        Message.assistant("So."),
        USER,
    ]
    assert b"zq-plan" not in FORMATS_BY_NAME[other_provider].encode_request(messages)
    request = json.loads(FORMATS_BY_NAME["oci_cohere_v2"].encode_request(messages))["chatRequest"]
    assert request["messages"][1] == {**native_message, "content": []}


# Ids.

RULES = [
    *(
        (wire.name, wire.base_options["model"], wire.id_pattern)
        for wire in FORMATS
        if wire.id_pattern
    ),
    # "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9."
    ("chat_completions", "mistralai/Devstral-Small-2507", re.compile(r"[a-zA-Z0-9]{9}")),
    ("chat_completions", "mistral-large-latest", re.compile(r"[a-zA-Z0-9]{9}")),
    ("chat_completions", "gemini-3-pro", re.compile(r".+", re.DOTALL)),
    ("chat_completions", "moonshotai/Kimi-K2", re.compile(r".+", re.DOTALL)),
    ("oci_generic", "mistral.mistral-large", re.compile(r"[a-zA-Z0-9]{9}")),
    ("oci_generic", "google.gemini-2.5-pro", re.compile(r".+", re.DOTALL)),
]


@pytest.mark.parametrize(
    ("name", "model", "rule"), RULES, ids=lambda value: value if isinstance(value, str) else ""
)
@given(st.data())
def test_ids_are_accepted_by_the_provider_different_and_unchanged_where_possible(
    name: str, model: str, rule: re.Pattern[str], data: st.DataObject
) -> None:
    ids = st.sampled_from(ODD_IDS) | st.text("ab:.-é", min_size=1, max_size=3)
    original_ids = data.draw(st.lists(ids, min_size=1, max_size=6))
    sent_ids = build_request_call_ids(name, model, original_ids)
    assert len(set(sent_ids)) == len(original_ids)
    assert all(rule.fullmatch(call_id) for call_id in sent_ids)
    # A new id may be the id of another call.
    for others in ([*sent_ids, *original_ids], [*original_ids, *sent_ids]):
        assert len(set(build_request_call_ids(name, model, others))) == len(others)
    fitting = [call_id for call_id in dict.fromkeys(original_ids) if rule.fullmatch(call_id)]
    assert build_request_call_ids(name, model, fitting) == fitting
    # A longer conversation begins like the shorter.
    assert build_request_call_ids(name, model, original_ids[:-1]) == sent_ids[:-1]


def build_request_call_ids(name: str, model: str, ids: Sequence[str]) -> list[str]:
    """Return the ids of the calls in a request; each result must have the id of its call."""
    messages = [USER]
    for number, call_id in enumerate(ids):
        messages.append(Message.assistant(None, [ToolCall(call_id, f"t{number}")]))
        messages.append(Message.tool(ToolResult(call_id, f"t{number}", f"r{number}")))
    read_messages = read_request(name, messages, model=model)
    names = {call.id: call.name for read_message in read_messages for call in read_message.calls}
    results = [read_message for read_message in read_messages if read_message.role == "tool"]
    assert [
        (names[read_message.tool_call_id or ""], read_message.parts) for read_message in results
    ] == [(f"t{number}", (f"r{number}",)) for number in range(len(ids))]
    return list(names)


@pytest.mark.parametrize("name", NAMES)
def test_results_belong_to_their_calls_whatever_is_between(name: str) -> None:
    first = Message.assistant(None, [ToolCall("1", "a"), ToolCall("1", "b")])
    messages = [
        USER,
        first,
        Message.system("s"),
        Message.tool(ToolResult("1", "a", "ra")),
        Message.user("wait"),
        Message.assistant("I am waiting."),
        Message.tool(ToolResult("1", "b", "rb")),
        Message.assistant(None, [ToolCall("1", "c"), ToolCall("2", "d")]),
        Message.user("hurry"),
        Message.tool(ToolResult("2", "d", "rd")),
        Message.tool(ToolResult("1", "c", "rc")),
        USER,
    ]
    assert replace_call_ids_by_names(read_request(name, messages)) == build_expected_messages(
        messages, FORMATS_BY_NAME[name]
    )


# Before anything is sent.

MODELS = {
    "chat_completions": lambda url: OpenAIModel(api_key="k", base_url=url, max_retries=0),
    "anthropic_messages": lambda url: AnthropicModel(api_key="k", base_url=url, max_retries=0),
    "ollama_chat": lambda url: OllamaModel(base_url=url, max_retries=0),
    "oci_generic": lambda url: _make_oci_model(url, "GENERIC"),
    "oci_cohere": lambda url: _make_oci_model(url, "COHERE"),
    "oci_cohere_v2": lambda url: _make_oci_model(url, "COHEREV2"),
    "responses": lambda url: OCIResponsesModel("gpt-5", api_key="k", base_url=url, max_retries=0),
}


def _make_oci_model(url: str, api_format: str) -> OCIModel:
    return OCIModel("m", "ocid1.a", service_endpoint=url, api_format=api_format, max_retries=0)


CALL = Message.assistant(None, [ToolCall("1", "f")])
MAP = Message(Role.TOOL, [ImagePart(data=b"1", media_type="image/png")], tool_call_id="1")
IMPOSSIBLE = [
    ("chat_completions", [USER, CALL, MAP], r"messages\[2\].*images.*tool"),
    ("chat_completions", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    ("chat_completions", [Message.user([ImagePart(url="data:x")])], r"messages\[0\].*data:"),
    (
        "anthropic_messages",
        [USER, Message.system([ImagePart(url="https://x")])],
        r"messages\[1\].*image",
    ),
    ("anthropic_messages", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    (
        "anthropic_messages",
        [Message.user([ImagePart(data=b"BM", media_type="image/bmp")])],
        r"messages\[0\].*image/png.*image/bmp",
    ),
    (
        "ollama_chat",
        [USER, Message.user([ImagePart(url="https://x")])],
        r"messages\[1\].*https://x",
    ),
    ("oci_generic", [USER, CALL, MAP], r"messages\[2\].*images.*tool"),
    ("oci_generic", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
    ("oci_cohere", [USER, Message.user([ImagePart(url="https://x")])], r"messages\[1\].*images"),
    ("oci_cohere", [USER, CALL, MAP], r"messages\[2\].*images"),
    ("oci_cohere", [USER, Message.assistant("so")], r"messages\[1\].*ends with neither"),
    ("oci_cohere_v2", [USER, CALL, MAP], r"messages\[2\].*images.*user"),
    ("responses", [USER, Message.system([ImagePart(url="https://x")])], r"messages\[1\].*image"),
    ("responses", [Message.user([ImagePart(url="data:,x")])], r"messages\[0\].*data:"),
]


@pytest.mark.parametrize(("name", "messages", "named"), IMPOSSIBLE)
def test_what_a_format_cannot_express_raises_and_nothing_is_sent(
    name: str, messages: list[Message], named: str
) -> None:
    with LoopbackServer() as server, MODELS[name](server.url) as model:
        with pytest.raises(ValueError, match=named):
            model.complete_sync(messages)
        with pytest.raises(ValueError, match=named), model.stream_sync(messages) as events:
            list(events)
        assert server.requests == ()
        assert server.connections_total == 0
