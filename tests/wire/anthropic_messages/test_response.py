"""Whole messages: read equal to what they say, sent back as they came, as the SDK reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from locus.core.conversation import conversation
from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ContextWindowExceededError,
    OverloadedError,
    RateLimitError,
    ResponseParseError,
)
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
from locus.wire.json import dumps, encode, loads
from tests.support.strategies import halves, splits
from tests.support.wire_json.anthropic_json import (
    KINDS,
    RESPOND,
    Turn,
    answer_of,
    essence,
    events,
    expected,
    framed,
    read,
    sent_back,
    sse,
    structured,
    text,
    turns,
    whole,
)

PARSER = AnthropicMessagesParser()
BUILDER = AnthropicMessagesBuilder()


def parse(*blocks: dict[str, Any], **ending: Any) -> ModelResponse:
    return PARSER.parse({"content": list(blocks), **ending})


def say(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


# Reading.


@given(st.data())
def test_an_answer_is_read_as_what_it_says(data: st.DataObject) -> None:
    turn = data.draw(turns() | structured())
    body = whole(turn)
    written = json.dumps(body, ensure_ascii=data.draw(st.booleans()))
    answer = PARSER.parse(written)
    assert essence(answer) == expected(turn)
    assert PARSER.parse(written.encode()) == answer
    assert PARSER.parse(body) == answer


@given(turns())
def test_reading_changes_nothing(turn: Turn) -> None:
    body = whole(turn)
    before = json.dumps(body)
    first = PARSER.parse(body)
    assert PARSER.parse(body) == first
    assert json.dumps(body) == before


def test_an_answer_of_text_is_text() -> None:
    assert PARSER.parse('{"content": [{"type": "text", "text": "x"}]}') == ModelResponse(
        Message.assistant("x")
    )


def test_an_answer_of_nothing_is_empty_text() -> None:
    assert PARSER.parse('{"content": []}') == ModelResponse(Message.assistant(""))


def test_a_message_of_one_text_and_calls_keeps_nothing_beside_it() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "seal"}
    dark = {"type": "redacted_thinking", "data": "d"}
    direct = {**call, "caller": {"type": "direct"}}
    for blocks in (
        [say("x")],
        [{**say("x"), "citations": None}],
        [call],
        [say("x"), call, {**call, "id": "u"}],
        [thought, dark, say("x"), direct],
        [{**thought, "signature": ""}, say("x")],
    ):
        assert parse(*blocks).message.metadata == {}


def test_several_texts_are_joined_and_kept_apart() -> None:
    message = parse(say("a"), say("b")).message
    assert message.content == "ab"
    assert message.metadata == {"blocks": [say("a"), say("b")]}


def test_a_refusal_has_its_explanation() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    answer = parse(say("Well"), stop_reason="refusal", stop_details=details)
    assert answer.finish_reason == "content_filter"
    assert answer.refusal == "Not this."
    assert answer.message.content == (TextPart("Well"), RefusalPart("Not this."))
    assert answer.message.metadata == {"stop_details": details}
    assert answer.content == "Well"
    silent = parse(stop_reason="refusal", stop_details={**details, "explanation": None})
    assert (silent.refusal, silent.message.content) == (None, "")


@pytest.mark.parametrize(
    ("reason", "meaning"),
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
def test_the_reason_to_stop_is_the_apis_own_word(reason: str | None, meaning: str) -> None:
    answer = parse(say("x"), stop_reason=reason)
    assert (answer.stop_reason, answer.finish_reason) == (reason, meaning)


def test_a_structured_answer_is_text_and_no_call() -> None:
    respond = {"type": "tool_use", "id": "t", "name": RESPOND, "input": {"b": [1.5, "é"], "a": {}}}
    other = {"type": "tool_use", "id": "u", "name": "f", "input": {}}
    answer = parse(respond, stop_reason="tool_use")
    assert answer.message == Message.assistant('{"a":{},"b":[1.5,"é"]}')
    assert (answer.tool_calls, answer.finish_reason) == ((), "stop")
    both = parse(respond, other, stop_reason="tool_use")
    assert both.tool_calls == (ToolCall("u", "f"),)
    assert both.finish_reason == "tool_calls"


@given(halves())
def test_half_a_surrogate_pair_is_read(said: str) -> None:
    assert PARSER.parse(json.dumps({"content": [say(said)]})).content == json.loads(
        json.dumps(said)
    )
    respond = {"type": "tool_use", "id": "t", "name": RESPOND, "input": {"a": said}}
    answer = PARSER.parse(json.dumps({"content": [respond]}))
    assert json.loads(answer.content) == {"a": json.loads(json.dumps(said))}


def test_odd_inputs_are_kept() -> None:
    def call(input_: Any) -> ToolCall:
        (found,) = parse({"type": "tool_use", "id": "t", "name": "f", "input": input_}).tool_calls
        return found

    assert call(None) == ToolCall("t", "f")
    assert call('{"a": 1}') == ToolCall("t", "f", {"a": 1})
    assert call("ls -l") == ToolCall("t", "f", malformed_arguments="ls -l")
    assert call([1, 2]) == ToolCall("t", "f", malformed_arguments="[1,2]")


# Sent back.


def back(message: Message) -> Any:
    """The blocks of an answer in the next request."""
    results = [Message.tool(ToolResult(call.id, call.name, "y")) for call in message.tool_calls]
    turns_ = [Message.user("x"), message, *results, Message.user("z")]
    body = json.loads(encode(BUILDER.build(turns_, model="claude-sonnet-4", max_tokens=9)))
    if len(body["messages"]) < 3:
        return []
    content = body["messages"][1]["content"]
    return [say(content)] if isinstance(content, str) else content


@given(turns(legible=False), st.data())
def test_an_answer_goes_back_as_it_came(turn: Turn, data: st.DataObject) -> None:
    stream = data.draw(framed(data.draw(events(turn))))
    message = answer_of(stream).message
    assume(message.says_something or message.tool_calls or "blocks" in message.metadata)
    # A refusal is said in words of Locus's own beside the blocks.
    sent = [block for block in back(message) if block != say(turn.explanation or "")]
    came = [block for block in sent_back(turn) if block != say(turn.explanation or "")]
    assert sent == came


@given(turns(), st.data())
def test_an_answer_that_was_stored_goes_back_as_it_came(turn: Turn, data: st.DataObject) -> None:
    message = PARSER.parse(whole(turn)).message
    assume(message.says_something or message.tool_calls)
    assert back(loads(dumps(message), Message)) == back(message)


@given(turns(kinds=KINDS))
def test_an_answer_can_be_put_back_into_the_conversation(turn: Turn) -> None:
    message = PARSER.parse(whole(turn)).message
    if message.says_something or message.tool_calls:
        assert conversation([Message.user("x"), message])[1] is message


SEARCH = [
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
]


def test_a_turn_that_is_paused_goes_on_even_without_a_word() -> None:
    message = parse(*SEARCH, stop_reason="pause_turn").message
    body = BUILDER.build([Message.user("x"), message], model="claude-sonnet-4", max_tokens=9)
    assert body["messages"][1] == {"role": "assistant", "content": SEARCH}


def test_what_was_kept_is_not_sent_once_the_message_says_something_else() -> None:
    message = parse(*SEARCH, say("old"), say(" words")).message
    assert back(message) == [*SEARCH, say("old"), say(" words")]
    assert back(attrs.evolve(message, content="new words")) == [say("new words")]
    call = ToolCall("t", "f")
    with_call = attrs.evolve(message, tool_calls=(call,))
    assert back(with_call)[0] == say("old words")


def test_a_note_of_the_callers_own_is_no_block() -> None:
    for note in ("x", [1], [{"a": 1}], {"type": "text"}, 5, [{"type": "tool_use"}]):
        message = Message.assistant("y", metadata={"blocks": note})
        assert back(message) == [say("y")]


def test_kept_calls_are_renamed_with_their_results() -> None:
    call = {"type": "tool_use", "id": "a:b", "name": "f", "input": {}}
    message = parse(say("x"), call, say("y")).message
    blocks = back(message)
    assert [block["type"] for block in blocks] == ["text", "tool_use", "text"]
    assert ":" not in blocks[1]["id"]
    assert message.metadata["blocks"][1]["id"] == "a:b"


def test_kept_calls_without_an_id_of_their_own_are_answered_all_the_same() -> None:
    call = {"type": "tool_use", "name": "f", "input": {"a": 1}}
    for blocks in ([say("x"), call, say("y"), call], [{**call, "id": "t"}, say("y")] * 2):
        message = parse(*blocks).message
        results = [
            Message.tool(ToolResult(c.id, "f", str(n))) for n, c in enumerate(message.tool_calls)
        ]
        turns_ = [Message.user("x"), message, *results]
        body = BUILDER.build(turns_, model="claude-sonnet-4", max_tokens=9)
        sent, answered = (turn["content"] for turn in body["messages"][1:])
        uses = [block["id"] for block in sent if block["type"] == "tool_use"]
        assert uses == [result["tool_use_id"] for result in answered]
        assert len(set(uses)) == 2
        assert [block["type"] for block in sent] == [block["type"] for block in blocks]


def test_a_structured_answer_goes_back_as_text() -> None:
    respond = {"type": "tool_use", "id": "t", "name": RESPOND, "input": {"a": 1}}
    message = parse(respond).message
    assert message.metadata == {}
    assert back(message) == [say('{"a":1}')]
    searched = parse(*SEARCH, say("So: "), respond).message
    assert searched.content == 'So: {"a":1}'
    assert back(searched) == [*SEARCH, say("So: "), say('{"a":1}')]


def test_thinking_between_calls_keeps_its_place() -> None:
    """Tool use with interleaved thinking: the API refuses the turn if these are moved."""
    blocks = [
        {"type": "thinking", "thinking": "first", "signature": "1"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "thinking", "thinking": "second", "signature": "2"},
        {"type": "tool_use", "id": "b", "name": "f", "input": {}},
    ]
    message = parse(*blocks).message
    assert message.content == (ThinkingPart("first", "1"), ThinkingPart("second", "2"))
    assert [call.id for call in message.tool_calls] == ["a", "b"]
    assert back(message) == blocks


# Errors.


@pytest.mark.parametrize(
    ("body", "kind"),
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
def test_an_error_in_a_good_answer_is_an_error(body: dict[str, Any], kind: type) -> None:
    for form in (body, json.dumps(body), json.dumps(body).encode()):
        with pytest.raises(APIStatusError, match="boom") as caught:
            PARSER.parse(form)
        assert type(caught.value) is kind
        assert json.loads(caught.value.body) == body


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "cannot be read"),
        ("<html>", "cannot be read"),
        ("[]", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        ("{}", "no content"),
        ('{"content": null}', "no content"),
        ('{"choices": []}', "no content"),  # OpenAI's format, at the wrong address
        ('{"content": "x"}', r"\$\.content"),
        ('{"content": [5]}', r"\$\.content\[0\]"),
        ('{"content": [{"type": "tool_use"}]}', r"content\[0\] is a tool call without a name"),
    ],
)
def test_what_the_format_does_not_promise_is_a_parse_error_that_quotes_it(
    body: str | bytes, why: str
) -> None:
    with pytest.raises(ResponseParseError, match=why) as caught:
        PARSER.parse(body)
    assert caught.value.body == (body if isinstance(body, str) else body.decode(errors="replace"))


# The official SDK as the judge.


def check_equal(ours: ModelResponse, theirs: Any) -> None:
    """Locus's reading of an answer beside the SDK's."""
    assert (ours.response_id, ours.model) == (theirs.id, theirs.model)
    assert ours.stop_reason == theirs.stop_reason
    kinds: dict[str, list[Any]] = {}
    for block in theirs.content:
        kinds.setdefault(block.type, []).append(block)
    assert ours.content == "".join(block.text for block in kinds.get("text", ()))
    assert [(call.id, call.name, call.arguments) for call in ours.tool_calls] == [
        (block.id, block.name, block.input) for block in kinds.get("tool_use", ())
    ]
    content = ours.message.content
    parts = content if isinstance(content, tuple) else ()
    thoughts = [part for part in parts if isinstance(part, ThinkingPart)]
    assert [(part.text, part.signature) for part in thoughts if part.redacted is None] == [
        (block.thinking, block.signature) for block in kinds.get("thinking", ())
    ]
    assert [part.redacted for part in thoughts if part.redacted is not None] == [
        block.data for block in kinds.get("redacted_thinking", ())
    ]
    usage = theirs.usage
    assert ours.prompt_tokens == usage.input_tokens
    assert ours.completion_tokens == usage.output_tokens
    assert ours.usage.get("cache_read_input_tokens") == usage.cache_read_input_tokens
    assert ours.usage.get("cache_creation_input_tokens") == usage.cache_creation_input_tokens
    details = getattr(usage, "output_tokens_details", None)
    assert ours.usage.get("reasoning_tokens") == (details and details.thinking_tokens)
    if "blocks" in ours.message.metadata:
        kept = ours.message.metadata["blocks"]
        assert len(kept) == sum(
            block.type != "text" or bool(block.text.strip()) for block in theirs.content
        )


@pytest.mark.sdk
@given(turns())
def test_what_the_sdk_can_say_is_read_equal(turn: Turn) -> None:
    types = pytest.importorskip("anthropic.types")
    theirs = types.Message.model_validate(whole(turn))
    check_equal(PARSER.parse(theirs.to_json().encode()), theirs)
    check_equal(PARSER.parse(theirs.model_dump_json()), theirs)
    check_equal(PARSER.parse(theirs.to_dict()), theirs)


@contextmanager
def sdk_client(pieces: list[bytes]) -> Iterator[Any]:
    """The SDK's client, which is answered with these bytes."""
    anthropic = pytest.importorskip("anthropic")
    # The SDK rides on httpx2 since its first version, and on httpx before.
    http = pytest.importorskip("httpx2" if int(anthropic.__version__.split(".")[0]) else "httpx")

    def answer(_: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield from pieces

        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    with http.Client(transport=http.MockTransport(answer)) as transport:
        yield anthropic.Anthropic(
            api_key="none", base_url="http://x", http_client=transport, max_retries=0
        )


ASKED: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}


def through_the_sdk(pieces: list[bytes]) -> list[Any]:
    """The events that the SDK's client makes of an answer's bytes."""
    with sdk_client(pieces) as client:
        return list(client.messages.create(**ASKED, stream=True))


def accumulated(pieces: list[bytes]) -> Any:
    """The whole answer, as the SDK's own accumulation gives it."""
    with sdk_client(pieces) as client, client.messages.stream(**ASKED) as stream:
        return stream.get_final_message()


def texts_of(found: list[Any]) -> str:
    """The text in the SDK's events."""
    deltas = [event.delta for event in found if event.type == "content_block_delta"]
    return "".join(piece.text for piece in deltas if piece.type == "text_delta")


@pytest.mark.sdk
@given(turns(), st.data())
def test_the_same_bytes_give_the_same_answer(turn: Turn, data: st.DataObject) -> None:
    stream = data.draw(framed(data.draw(events(turn, plain=True))))
    ours = answer_of(data.draw(splits(stream)))
    check_equal(ours, accumulated(data.draw(splits(stream))))
    assert ours.content == texts_of(through_the_sdk([stream]))


@pytest.mark.sdk
@given(turns(), st.data())
def test_of_a_stream_that_is_cut_the_sdk_saw_no_more_than_locus(
    turn: Turn, data: st.DataObject
) -> None:
    anthropic = pytest.importorskip("anthropic")
    stream = data.draw(framed(data.draw(events(turn, plain=True))))
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    try:
        found = through_the_sdk([prefix])
    except (ValueError, anthropic.APIError):  # cut in the middle of an event
        return
    got, decoder = read([prefix])
    partial = got[-1].response if decoder.done else getattr(decoder.failure, "partial", None)
    assert partial is not None
    assert partial.content.startswith(texts_of(found))


@pytest.mark.sdk
def test_an_error_in_the_stream_is_an_error_in_both() -> None:
    anthropic = pytest.importorskip("anthropic")
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}}
    stream = sse(*text("x"), error)
    with pytest.raises(anthropic.APIStatusError, match="boom"):
        through_the_sdk([stream])
    failure = read([stream])[1].failure
    assert isinstance(failure, OverloadedError)
    assert "boom" in str(failure)


@pytest.mark.parametrize("lost", [say("\r"), {"type": "thinking", "thinking": "hm"}])
def test_what_the_api_takes_no_block_of_costs_the_answer_none_of_the_others(
    lost: dict[str, Any],
) -> None:
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    assert back(parse(lost, found, say("Yes.")).message) == [found, say("Yes.")]
    assert back(parse(say("Yes."), lost, found).message) == [say("Yes."), found]
