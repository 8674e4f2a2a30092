"""Tests of complete responses of the Messages API: parsed, sent back, compared with the SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from locus.core.conversation import validate_messages
from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ContextWindowExceededError,
    OverloadedError,
    RateLimitError,
    ResponseParseError,
)
from locus.core.json_converter import dumps, loads
from locus.core.messages import (
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.core.response import ModelResponse
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.provider_json import encode_json
from tests.support.anthropic_responses import (
    BLOCK_TYPES,
    RESPOND_TOOL_NAME,
    AnthropicResponse,
    anthropic_responses,
    build_expected_response,
    build_replayed_blocks,
    remove_metadata,
    structured_responses,
)
from tests.support.lone_surrogates import replace_lone_surrogates
from tests.support.native_state import get_data, make_state, strip_native_state
from tests.support.strategies import byte_splits, texts_with_lone_surrogates
from tests.support.wire_json.anthropic_json import (
    build_body,
    decode_response,
    encode_sse,
    framed_streams,
    make_text_chunks,
    read_stream,
    stream_chunks,
)

PARSER = AnthropicMessagesParser()
BUILDER = AnthropicMessagesBuilder()


def parse_content_blocks(*blocks: dict[str, Any], **ending: Any) -> ModelResponse:
    return PARSER.parse({"content": list(blocks), **ending})


def make_text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


# Parsing.


@given(st.data())
def test_response_is_parsed_as_expected(data: st.DataObject) -> None:
    sample = data.draw(anthropic_responses() | structured_responses())
    body = build_body(sample)
    text = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    response = PARSER.parse(text)
    assert remove_metadata(response) == build_expected_response(sample)
    assert PARSER.parse(text.encode()) == response
    assert PARSER.parse(body) == response


def test_text_response_has_string_content() -> None:
    assert PARSER.parse('{"content": [{"type": "text", "text": "x"}]}') == ModelResponse(
        Message.assistant("x")
    )


def test_empty_response_has_empty_text() -> None:
    assert PARSER.parse('{"content": []}') == ModelResponse(Message.assistant(""))


def test_native_blocks_are_not_stored_if_the_message_reproduces_them() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "signature"}
    redacted = {"type": "redacted_thinking", "data": "d"}
    direct_call = {**call, "caller": {"type": "direct"}}
    for blocks in (
        [make_text_block("x")],
        [{**make_text_block("x"), "citations": None}],
        [call],
        [make_text_block("x"), call, {**call, "id": "u"}],
        [thinking, redacted, make_text_block("x"), direct_call],
        [{"type": "thinking", "thinking": "hm"}, make_text_block("x")],
    ):
        message = parse_content_blocks(*blocks).message
        assert message.metadata == get_data(message) == {}


def test_an_empty_signature_goes_back_as_it_came() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": ""}, make_text_block("x")]
    message = parse_content_blocks(*blocks).message
    assert get_data(message) == {"blocks": blocks}
    body = AnthropicMessagesBuilder().build(
        [Message.user("x"), message, Message.user("y")], model="kimi-k2", max_tokens=9
    )
    assert body["messages"][1]["content"] == blocks


def test_several_text_blocks_are_joined_and_stored_as_native_blocks() -> None:
    message = parse_content_blocks(make_text_block("a"), make_text_block("b")).message
    assert message.content == "ab"
    assert get_data(message) == {"blocks": [make_text_block("a"), make_text_block("b")]}


def test_a_refusal_has_its_explanation() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    response = parse_content_blocks(
        make_text_block("Well"), stop_reason="refusal", stop_details=details
    )
    assert response.finish_reason == "content_filter"
    assert response.refusal == "Not this."
    assert response.message.content == (TextPart("Well"), RefusalPart("Not this."))
    assert response.message.metadata == {"stop_details": details}
    assert response.content == "Well"
    unexplained = parse_content_blocks(
        stop_reason="refusal", stop_details={**details, "explanation": None}
    )
    assert (unexplained.refusal, unexplained.message.content) == (None, "")


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "other"),
        ("refusal", "content_filter"),
        (None, "other"),
        ("reason_of_next_year", "other"),
    ],
)
def test_stop_reason_is_that_of_the_api(reason: str | None, finish_reason: str) -> None:
    response = parse_content_blocks(make_text_block("x"), stop_reason=reason)
    assert (response.stop_reason, response.finish_reason) == (reason, finish_reason)


def test_structured_output_is_text_and_not_a_tool_call() -> None:
    respond = {
        "type": "tool_use",
        "id": "t",
        "name": RESPOND_TOOL_NAME,
        "input": {"b": [1.5, "é"], "a": {}},
    }
    other = {"type": "tool_use", "id": "u", "name": "f", "input": {}}
    response = parse_content_blocks(respond, stop_reason="tool_use")
    assert response.message == Message.assistant('{"a":{},"b":[1.5,"é"]}')
    assert (response.tool_calls, response.finish_reason) == ((), "stop")
    both = parse_content_blocks(respond, other, stop_reason="tool_use")
    assert both.tool_calls == (ToolCall("u", "f"),)
    assert both.finish_reason == "tool_calls"


@given(texts_with_lone_surrogates())
def test_half_a_surrogate_pair_is_parsed(text: str) -> None:
    assert PARSER.parse(
        json.dumps({"content": [make_text_block(text)]})
    ).content == replace_lone_surrogates(text)
    respond = {"type": "tool_use", "id": "t", "name": RESPOND_TOOL_NAME, "input": {"a": text}}
    response = PARSER.parse(json.dumps({"content": [respond]}))
    assert json.loads(response.content) == {"a": replace_lone_surrogates(text)}


def test_invalid_inputs_become_malformed_arguments() -> None:
    def call(input_: Any) -> ToolCall:
        (tool_call,) = parse_content_blocks(
            {"type": "tool_use", "id": "t", "name": "f", "input": input_}
        ).tool_calls
        return tool_call

    assert call(None) == ToolCall("t", "f")
    assert call('{"a": 1}') == ToolCall("t", "f", {"a": 1})
    assert call("ls -l") == ToolCall("t", "f", malformed_arguments="ls -l")
    assert call([1, 2]) == ToolCall("t", "f", malformed_arguments="[1,2]")


# Sending back.


def get_replayed_blocks(message: Message) -> Any:
    """Return the blocks of a response in the next request."""
    results = [Message.tool(ToolResult(call.id, call.name, "y")) for call in message.tool_calls]
    messages = [Message.user("x"), message, *results, Message.user("z")]
    body = json.loads(encode_json(BUILDER.build(messages, model="claude-sonnet-4", max_tokens=9)))
    if len(body["messages"]) < 3:
        return []
    content = body["messages"][1]["content"]
    return [make_text_block(content)] if isinstance(content, str) else content


@given(anthropic_responses(valid_arguments=False), st.data())
def test_response_is_sent_back_unchanged(sample: AnthropicResponse, data: st.DataObject) -> None:
    stream = data.draw(framed_streams(data.draw(stream_chunks(sample))))
    message = decode_response(stream).message
    assume(message.has_content or message.tool_calls or "blocks" in get_data(message))
    # Locus sends the explanation of a refusal as an additional text block.
    sent_blocks, received_blocks = (
        [block for block in blocks if block != make_text_block(sample.refusal_explanation or "")]
        for blocks in (get_replayed_blocks(message), build_replayed_blocks(sample))
    )
    assert sent_blocks == received_blocks


@given(anthropic_responses(), st.data())
def test_serialized_response_is_sent_back_unchanged(
    sample: AnthropicResponse, data: st.DataObject
) -> None:
    message = PARSER.parse(build_body(sample)).message
    assume(message.has_content or message.tool_calls)
    assert get_replayed_blocks(loads(dumps(message), Message)) == get_replayed_blocks(message)


@given(anthropic_responses(block_types=BLOCK_TYPES))
def test_response_message_is_valid_in_a_conversation(sample: AnthropicResponse) -> None:
    message = PARSER.parse(build_body(sample)).message
    if message.has_content or message.tool_calls:
        assert validate_messages([Message.user("x"), message], accepted_parts=None)[1] is message


SEARCH_BLOCKS = [
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
]


def test_paused_response_without_text_is_sent_back() -> None:
    message = parse_content_blocks(*SEARCH_BLOCKS, stop_reason="pause_turn").message
    body = BUILDER.build([Message.user("x"), message], model="claude-sonnet-4", max_tokens=9)
    assert body["messages"][1] == {"role": "assistant", "content": SEARCH_BLOCKS}


def test_native_blocks_are_not_sent_if_the_message_was_changed() -> None:
    message = parse_content_blocks(
        *SEARCH_BLOCKS, make_text_block("old"), make_text_block(" words")
    ).message
    assert get_replayed_blocks(message) == [
        *SEARCH_BLOCKS,
        make_text_block("old"),
        make_text_block(" words"),
    ]
    assert get_replayed_blocks(attrs.evolve(message, content="new words")) == [
        make_text_block("new words")
    ]
    call = ToolCall("t", "f")
    with_call = attrs.evolve(message, tool_calls=(call,))
    assert get_replayed_blocks(with_call)[0] == make_text_block("old words")


def test_state_that_no_response_had_is_ignored() -> None:
    for value in ("x", [1], [{"a": 1}], {"type": "text"}, 5, [{"type": "tool_use"}]):
        state = make_state("anthropic_messages", {"blocks": value})
        message = Message.assistant("y", native_state=state)
        assert get_replayed_blocks(message) == [make_text_block("y")]


def test_call_ids_in_native_blocks_are_renamed() -> None:
    call = {"type": "tool_use", "id": "a:b", "name": "f", "input": {}}
    message = parse_content_blocks(make_text_block("x"), call, make_text_block("y")).message
    assert get_replayed_blocks(message)[1]["id"] == "a:b"  # the server has issued it
    bare_calls = tuple(map(strip_native_state, message.tool_calls))
    blocks = get_replayed_blocks(attrs.evolve(message, tool_calls=bare_calls))
    assert [block["type"] for block in blocks] == ["text", "tool_use", "text"]
    assert ":" not in blocks[1]["id"]
    assert get_data(message)["blocks"][1]["id"] == "a:b"


def test_native_calls_without_a_unique_id_match_their_results() -> None:
    call = {"type": "tool_use", "name": "f", "input": {"a": 1}}
    for blocks in (
        [make_text_block("x"), call, make_text_block("y"), call],
        [{**call, "id": "t"}, make_text_block("y")] * 2,
    ):
        message = parse_content_blocks(*blocks).message
        results = [
            Message.tool(ToolResult(call.id, "f", str(index)))
            for index, call in enumerate(message.tool_calls)
        ]
        messages = [Message.user("x"), message, *results]
        body = BUILDER.build(messages, model="claude-sonnet-4", max_tokens=9)
        sent_blocks, results = (message["content"] for message in body["messages"][1:])
        call_ids = [block["id"] for block in sent_blocks if block["type"] == "tool_use"]
        assert call_ids == [result["tool_use_id"] for result in results]
        assert len(set(call_ids)) == 2
        assert [block["type"] for block in sent_blocks] == [block["type"] for block in blocks]


def test_structured_output_is_sent_back_as_text() -> None:
    respond = {"type": "tool_use", "id": "t", "name": RESPOND_TOOL_NAME, "input": {"a": 1}}
    message = parse_content_blocks(respond).message
    assert message.metadata == {}
    assert get_replayed_blocks(message) == [make_text_block('{"a":1}')]
    searched = parse_content_blocks(*SEARCH_BLOCKS, make_text_block("So: "), respond).message
    assert searched.content == 'So: {"a":1}'
    assert get_replayed_blocks(searched) == [
        *SEARCH_BLOCKS,
        make_text_block("So: "),
        make_text_block('{"a":1}'),
    ]


def test_thinking_between_calls_keeps_its_position() -> None:
    """Tool use with interleaved thinking: the API rejects the message if the blocks are moved."""
    blocks = [
        {"type": "thinking", "thinking": "first", "signature": "1"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "thinking", "thinking": "second", "signature": "2"},
        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
    ]
    message = parse_content_blocks(*blocks).message
    assert message.all_content == (ThinkingPart("first", "1"), ThinkingPart("second", "2"))
    assert [call.id for call in message.tool_calls] == ["a", "b"]
    assert get_replayed_blocks(message) == blocks


# Errors.


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}},
            OverloadedError,
        ),
        (
            {"type": "error", "error": {"type": "rate_limit_error", "message": "boom"}},
            RateLimitError,
        ),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "boom"}},
            BadRequestError,
        ),
        (
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "boom: prompt is too long: 9 tokens > 8 maximum",
                },
            },
            ContextWindowExceededError,
        ),
        ({"message": "boom"}, APIStatusError),
        ({"error": "boom", "content": []}, APIStatusError),
    ],
)
def test_error_object_with_status_200_is_raised(body: dict[str, Any], error_type: type) -> None:
    for body_form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(APIStatusError, match="boom") as exc_info:
            PARSER.parse(body_form)
        assert type(exc_info.value) is error_type
        assert json.loads(exc_info.value.body) == body


@pytest.mark.parametrize(
    ("body", "pattern"),
    [
        ("", "cannot be read"),
        ("<html>", "cannot be read"),
        ("[]", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("{}", "no content"),
        ('{"content": null}', "no content"),
        ('{"choices": []}', "no content"),  # OpenAI's format, from a wrong URL
        ('{"content": "x"}', r"\$\.content"),
        ('{"content": [5]}', r"\$\.content\[0\]"),
    ],
)
def test_invalid_body_is_a_parse_error_that_quotes_it(body: str | bytes, pattern: str) -> None:
    with pytest.raises(ResponseParseError, match=pattern) as exc_info:
        PARSER.parse(body)
    assert exc_info.value.body == (body if isinstance(body, str) else body.decode(errors="replace"))


# Comparison with the official SDK.


def check_same_response(ours: ModelResponse, theirs: Any) -> None:
    """Check that Locus's response and the SDK's are the same."""
    assert (ours.response_id, ours.model) == (theirs.id, theirs.model)
    assert ours.stop_reason == theirs.stop_reason
    blocks_by_type: dict[str, list[Any]] = {}
    for block in theirs.content:
        blocks_by_type.setdefault(block.type, []).append(block)
    assert ours.content == "".join(block.text for block in blocks_by_type.get("text", ()))
    calls = () if theirs.stop_reason == "refusal" else blocks_by_type.get("tool_use", ())
    assert [(call.id, call.name, call.arguments) for call in ours.tool_calls] == [
        (block.id, block.name, block.input) for block in calls
    ]
    content = ours.message.all_content
    parts = content if isinstance(content, tuple) else ()
    thinking_parts = [part for part in parts if isinstance(part, ThinkingPart)]
    assert [(part.text, part.signature) for part in thinking_parts if part.redacted is None] == [
        (block.thinking, block.signature) for block in blocks_by_type.get("thinking", ())
    ]
    assert [part.redacted for part in thinking_parts if part.redacted is not None] == [
        block.data for block in blocks_by_type.get("redacted_thinking", ())
    ]
    usage = theirs.usage
    cache_tokens = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    assert ours.prompt_tokens == usage.input_tokens + cache_tokens
    assert ours.completion_tokens == usage.output_tokens
    assert ours.usage.get("cache_read_input_tokens") == usage.cache_read_input_tokens
    assert ours.usage.get("cache_creation_input_tokens") == usage.cache_creation_input_tokens
    details = getattr(usage, "output_tokens_details", None)
    assert ours.usage.get("reasoning_tokens") == (details and details.thinking_tokens)
    if "blocks" in get_data(ours.message) and theirs.stop_reason != "refusal":
        native_blocks = get_data(ours.message)["blocks"]
        assert len(native_blocks) == sum(
            block.type != "text" or bool(block.text.strip()) for block in theirs.content
        )


@pytest.mark.sdk
@given(anthropic_responses())
def test_locus_and_the_sdk_parse_the_same_response(sample: AnthropicResponse) -> None:
    types = pytest.importorskip("anthropic.types")
    theirs = types.Message.model_validate(build_body(sample))
    check_same_response(PARSER.parse(theirs.to_json().encode()), theirs)
    check_same_response(PARSER.parse(theirs.model_dump_json()), theirs)
    check_same_response(PARSER.parse(theirs.to_dict()), theirs)


@contextmanager
def make_sdk_client(data: list[bytes]) -> Iterator[Any]:
    """Return an SDK client whose requests are answered with these bytes."""
    anthropic = pytest.importorskip("anthropic")
    # The SDK uses httpx2 since version 1, and httpx before.
    http = pytest.importorskip("httpx2" if int(anthropic.__version__.split(".")[0]) else "httpx")

    def respond(_: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield from data

        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    with http.Client(transport=http.MockTransport(respond)) as transport:
        yield anthropic.Anthropic(
            api_key="none", base_url="http://x", http_client=transport, max_retries=0
        )


SDK_REQUEST: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def decode_with_sdk(data: list[bytes]) -> list[Any]:
    """Return the events that the SDK's client decodes from a stream."""
    with make_sdk_client(data) as client:
        return list(client.messages.create(**SDK_REQUEST, stream=True))


def accumulate_with_sdk(data: list[bytes]) -> Any:
    """Return the complete response, as the SDK accumulates it."""
    with make_sdk_client(data) as client, client.messages.stream(**SDK_REQUEST) as stream:
        return stream.get_final_message()


def join_text_deltas(sdk_events: list[Any]) -> str:
    """Return the text in the SDK's events."""
    deltas = [event.delta for event in sdk_events if event.type == "content_block_delta"]
    return "".join(delta.text for delta in deltas if delta.type == "text_delta")


@pytest.mark.sdk
@given(anthropic_responses(), st.data())
def test_locus_and_the_sdk_decode_the_same_stream(
    sample: AnthropicResponse, data: st.DataObject
) -> None:
    stream = data.draw(framed_streams(data.draw(stream_chunks(sample, official_only=True))))
    ours = decode_response(data.draw(byte_splits(stream)))
    check_same_response(ours, accumulate_with_sdk(data.draw(byte_splits(stream))))
    assert ours.content == join_text_deltas(decode_with_sdk([stream]))


@pytest.mark.sdk
@given(anthropic_responses(), st.data())
def test_of_an_incomplete_stream_the_sdk_decodes_no_more_than_locus(
    sample: AnthropicResponse, data: st.DataObject
) -> None:
    anthropic = pytest.importorskip("anthropic")
    stream = data.draw(framed_streams(data.draw(stream_chunks(sample, official_only=True))))
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    try:
        sdk_events = decode_with_sdk([prefix])
    except (ValueError, anthropic.APIError):  # cut in the middle of an event
        return
    events, decoder = read_stream([prefix])
    partial = events[-1].response if decoder.done else getattr(decoder.failure, "partial", None)
    assert partial is not None
    assert partial.content.startswith(join_text_deltas(sdk_events))


@pytest.mark.sdk
def test_error_in_a_stream_is_an_error_in_both() -> None:
    anthropic = pytest.importorskip("anthropic")
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}
    stream = encode_sse(*make_text_chunks("x"), error)
    with pytest.raises(anthropic.APIStatusError, match="boom"):
        decode_with_sdk([stream])
    failure = read_stream([stream])[1].failure
    assert isinstance(failure, OverloadedError)
    assert "boom" in str(failure)


@pytest.mark.parametrize(
    "unsendable", [make_text_block("\r"), {"type": "thinking", "thinking": "hm"}]
)
def test_unsendable_blocks_do_not_affect_the_others(
    unsendable: dict[str, Any],
) -> None:
    search_result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    assert get_replayed_blocks(
        parse_content_blocks(unsendable, search_result, make_text_block("Yes.")).message
    ) == [search_result, make_text_block("Yes.")]
    assert get_replayed_blocks(
        parse_content_blocks(make_text_block("Yes."), unsendable, search_result).message
    ) == [make_text_block("Yes."), search_result]
