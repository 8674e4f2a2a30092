"""A conversation that began with any provider continues with this one, and loses nothing.

What is sent is read back by the record's reader, which shares no code with the builder, and has to
hold the same messages, calls, results and images, except for what the record says that the format
cannot express.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, RefusalPart, Role, ToolCall, ToolResult
from locus.testing.formats.decoded_messages import ReadMessage
from locus.testing.formats.expected_messages import (
    build_expected_messages,
    get_native_format,
    get_unsupported_images,
    replace_call_ids_by_names,
    replace_unsupported_images,
)
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.parametrize import without_deadline
from locus.testing.formats.spoken_format import ODD_IDS
from locus.testing.formats.strategies.basic_values import arguments, malformed_arguments, texts
from locus.testing.formats.strategies.conversation_legs import conversation_legs
from locus.testing.formats.wire_format import WireFormat
from locus.wire.anthropic_messages import AnthropicMessagesBuilder
from locus.wire.chat_completions import ChatCompletionsBuilder
from locus.wire.ollama_chat import OllamaChatBuilder
from locus.wire.provider_json import encode_json
from locus.wire.responses import ResponsesBuilder

USER: Final = Message.user("x")

OTHER_BUILDERS: Final[dict[str, Any]] = {
    "gpt-4o": ChatCompletionsBuilder(),
    "claude-sonnet-4": AnthropicMessagesBuilder(),
    "qwen3:8b": OllamaChatBuilder(),
    "gpt-5": ResponsesBuilder(),
}
"""The builders that a conversation may go on with, and a model of each."""


@st.composite
def messages_of_others(draw: st.DrawFn, first_number: int) -> Message:
    """Messages of another provider: text, a refusal, calls with ids and arguments of any form."""
    ids = draw(st.lists(st.sampled_from(ODD_IDS), max_size=3, unique=True))
    calls = []
    for number, call_id in enumerate(ids, first_number):
        if draw(st.integers(0, 3)):
            calls.append(ToolCall(call_id, f"t{number}", draw(arguments())))
        else:
            text = draw(malformed_arguments())
            calls.append(ToolCall(call_id, f"t{number}", malformed_arguments=text))
    text = draw(texts(min_size=0 if calls else 1))
    refusal = [RefusalPart(draw(texts(min_size=1)))] if draw(st.integers(0, 5)) == 5 else []
    return Message.assistant([text, *refusal] if refusal else text, calls)


def read_request(
    wire: WireFormat, messages: Sequence[Message], **options: Any
) -> list[ReadMessage]:
    """Encode a request, and read it as the provider would."""
    return wire.read_request(wire.encode_request(messages, **options))


def has_text_or_calls(message: Message) -> bool:
    """Return whether a response has text or calls. Without them, other providers reject it."""
    return message.role is not Role.ASSISTANT or message.has_content or bool(message.tool_calls)


def check_request(wire: WireFormat, messages: list[Message]) -> list[Message]:
    """Check a request of a format; returns the messages that the user can continue with."""
    empty = {index for index, message in enumerate(messages) if not has_text_or_calls(message)}
    if empty and not any(_may_be_native(messages[index]) for index in empty):
        with pytest.raises(ConfigurationError, match="neither text nor tool calls") as caught:
            read_request(wire, messages)
        assert _parse_error_position(caught.value) in empty
    messages = [message for index, message in enumerate(messages) if index not in empty]
    unsupported = {
        index for index, message in enumerate(messages) if get_unsupported_images(message, wire)
    }
    if unsupported:
        with pytest.raises(ConfigurationError, match="image") as caught:
            read_request(wire, messages)
        assert _parse_error_position(caught.value) in unsupported
        messages = [replace_unsupported_images(message, wire) for message in messages]
    previous = copy.deepcopy(messages)
    body = wire.encode_request(messages)
    assert wire.encode_request(messages) == body
    assert messages == previous
    read_messages = wire.read_request(body)
    if wire.id_pattern is not None:
        issued_ids = _find_issued_ids(wire, messages)
        assert all(
            wire.id_pattern.fullmatch(call.id) or call.id in issued_ids
            for read_message in read_messages
            for call in read_message.calls
        )
    assert replace_call_ids_by_names(read_messages) == build_expected_messages(messages, wire)
    return messages


def _find_issued_ids(wire: WireFormat, messages: Sequence[Message]) -> set[str]:
    """Return the unusual ids of calls that the format's own server has issued."""
    native_format = get_native_format(wire)
    return {
        call.id
        for message in messages
        for call in message.tool_calls
        if call.native_state is not None and call.native_state.maker.wire_format == native_format
    }


def _may_be_native(message: Message) -> bool:
    """Return whether a message may hold what only its own provider reads."""
    return bool(message.metadata or getattr(message, "native_state", None))


def _parse_error_position(error: ConfigurationError) -> int:
    position = re.match(r"messages\[(\d+)\]", str(error))
    assert position, error
    return int(position[1])


@without_deadline
@given(st.data())
def test_a_conversation_goes_on_from_any_provider_and_back(
    wire: WireFormat, data: st.DataObject
) -> None:
    messages: list[Message] = []
    for messages_of in (messages_of_others, wire.messages, messages_of_others, wire.messages):
        call_count = sum(len(message.tool_calls) for message in messages)
        messages += data.draw(conversation_legs(messages_of, call_count))
        messages = check_request(wire, messages)


@without_deadline
@given(st.data())
def test_a_response_of_the_format_can_be_sent_to_any_other_provider(
    wire: WireFormat, data: st.DataObject
) -> None:
    message = data.draw(wire.messages(0))
    if not has_text_or_calls(message):
        return
    results = [Message.tool(ToolResult(call.id, call.name, "y")) for call in message.tool_calls]
    for model, builder in OTHER_BUILDERS.items():
        if type(builder) is type(wire.builder):
            continue
        options = {"model": model, "max_tokens": 9}
        body = json.loads(encode_json(builder.build([USER, message, *results, USER], **options)))
        sent = json.dumps(body, ensure_ascii=False)
        assert all(f'"{call.name}"' in sent for call in message.tool_calls)
        if message.text.strip():
            assert json.dumps(message.text, ensure_ascii=False)[1:-1] in sent


def test_a_long_conversation_is_sent_completely(wire: WireFormat) -> None:
    first, second = ToolCall("1", "t0", {"city": "Oslo"}), ToolCall("2", "t1", {"city": "Rome"})
    image = [ImagePart(data=b"\x89PNG", media_type="image/png")]
    check_request(
        wire,
        [
            Message.system("Be brief."),
            Message.user(["Where is it?", *(image if "user" in wire.image_roles else ())]),
            Message.assistant("I look.", [first, second]),
            Message.tool(ToolResult("2", "t1", "nothing", error="no such city")),
            Message.tool(ToolResult("1", "t0", "cold")),
            Message.system("Be precise."),
            Message.user("Go on."),
            Message.assistant("It is cold."),
            Message.user("And then?"),
        ],
    )


def test_the_error_of_a_failed_tool_is_sent(wire: WireFormat) -> None:
    call = ToolCall("1", "t0")
    for result in ("zq-content", ""):
        failed = Message.tool(ToolResult("1", "t0", result, error="zq-error"))
        body = wire.encode_request([USER, Message.assistant(None, [call]), failed])
        assert b"zq-error" in body
        assert (b"zq-content" in body) == bool(result)


@without_deadline
@given(st.data())
def test_ids_are_accepted_by_the_provider_different_and_unchanged_where_possible(
    wire: WireFormat, data: st.DataObject
) -> None:
    if wire.id_pattern is not None:
        check_call_ids(wire, wire.base_options["model"], wire.id_pattern, data)


def check_call_ids(
    wire: WireFormat, model: str, rule: re.Pattern[str], data: st.DataObject
) -> None:
    """Check the ids of the calls in requests to a model that accepts those of a pattern."""
    ids = st.sampled_from(ODD_IDS) | st.text("ab:.-é", min_size=1, max_size=3)
    original_ids = data.draw(st.lists(ids, min_size=1, max_size=6))
    sent_ids = build_request_call_ids(wire, model, original_ids)
    assert len(set(sent_ids)) == len(original_ids)
    assert all(rule.fullmatch(call_id) for call_id in sent_ids)
    # A new id may be the id of another call.
    for others in ([*sent_ids, *original_ids], [*original_ids, *sent_ids]):
        assert len(set(build_request_call_ids(wire, model, others))) == len(others)
    fitting = [call_id for call_id in dict.fromkeys(original_ids) if rule.fullmatch(call_id)]
    assert build_request_call_ids(wire, model, fitting) == fitting
    # A longer conversation begins like the shorter.
    assert build_request_call_ids(wire, model, original_ids[:-1]) == sent_ids[:-1]


def build_request_call_ids(wire: WireFormat, model: str, ids: Sequence[str]) -> list[str]:
    """Return the ids of the calls in a request; each result must have the id of its call."""
    messages = [USER]
    for number, call_id in enumerate(ids):
        messages.append(Message.assistant(None, [ToolCall(call_id, f"t{number}")]))
        messages.append(Message.tool(ToolResult(call_id, f"t{number}", f"r{number}")))
    read_messages = read_request(wire, messages, model=model)
    names = {call.id: call.name for read_message in read_messages for call in read_message.calls}
    results = [read_message for read_message in read_messages if read_message.role == "tool"]
    assert [
        (names[read_message.tool_call_id or ""], read_message.parts) for read_message in results
    ] == [(f"t{number}", (f"r{number}",)) for number in range(len(ids))]
    return list(names)


def test_results_belong_to_their_calls_whatever_is_between(wire: WireFormat) -> None:
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
    sent = replace_call_ids_by_names(read_request(wire, messages))
    assert sent == build_expected_messages(messages, wire)
