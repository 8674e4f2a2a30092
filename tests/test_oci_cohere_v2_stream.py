"""Streamed answers of Cohere's second format: equal to the whole one, and never half believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    InternalServerError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere import CohereV2ChatParser
from tests.chat_json import framed, sse
from tests.decoding import check_law
from tests.junk import JUNK, few, some
from tests.oci_cohere_json import (
    V2_NOISE,
    ends_well,
    text,
    thinking,
    v2_end,
    v2_events,
    v2_expected,
    v2_piece,
    v2_reading,
    v2_sayable,
    v2_whole,
)
from tests.strategies import ODD, Answered, splits, texts

PARSER = CohereV2ChatParser()


def call(arguments: str | None = "{}", name: str | None = "f", **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    held = {key: value for key, value in function.items() if value is not None}
    return {"type": "FUNCTION", "function": held, **more}


@st.composite
def streams(draw: st.DrawFn, answered: Answered) -> bytes:
    return draw(framed(draw(v2_events(answered)), done=draw(st.booleans())))


@given(st.data())
def test_a_stream_is_the_whole_answer(data: st.DataObject) -> None:
    answered = data.draw(v2_sayable())
    streamed = v2_reading.answer_of(data.draw(splits(data.draw(streams(answered)))))
    whole = PARSER.parse(json.dumps(v2_whole(answered)))
    assert sorted(streamed.reasoning or "") == sorted(whole.reasoning or "")
    assert unordered(streamed) == unordered(whole) == unordered(v2_expected(answered))


def unordered(answer: ModelResponse) -> tuple[Any, ...]:
    """All of an answer but how its text and its thinking are interleaved."""
    parts = answer.message.content
    thoughts = [part.text for part in parts or () if isinstance(part, ThinkingPart)]
    return (
        answer.content,
        "".join(thoughts),
        answer.tool_calls,
        answer.message.metadata,
        answer.usage,
        (answer.stop_reason, answer.model, answer.response_id, answer.logprobs),
    )


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    stream = data.draw(streams(data.draw(v2_sayable())))
    assert v2_reading.read(data.draw(splits(stream)))[0] == v2_reading.read([stream])[0]


@given(st.data())
def test_a_whole_answer_to_a_request_for_a_stream_is_read(data: st.DataObject) -> None:
    answered = data.draw(v2_sayable(whole=True))
    body = json.dumps(v2_whole(answered), indent=data.draw(st.sampled_from([None, 2]))).encode()
    assert v2_reading.answer_of(data.draw(splits(body))) == v2_expected(answered)


@given(st.data())
def test_a_stream_that_is_cut_is_never_believed_and_keeps_what_had_arrived(
    data: st.DataObject,
) -> None:
    answered = data.draw(v2_sayable(legible=True))
    stream = data.draw(streams(answered))
    complete = v2_expected(answered)
    written = {one.id: one.text for one in answered.first.calls}
    last = stream.rindex(b"}")
    anywhere = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    for cut in {*anywhere, last, last + 1, len(stream) - 1}:
        found, decoder = v2_reading.read(data.draw(splits(stream[:cut])))
        said = "".join(event.content or "" for event in found)
        thought = "".join(event.reasoning or "" for event in found)
        assert complete.content.startswith(said)
        if ends_well(stream[:cut]):
            assert decoder.failure is None
            assert check_law(found).tool_calls == complete.tool_calls
            continue
        assert isinstance(decoder.failure, StreamInterruptedError)
        assert not any(event.done for event in found)
        partial = decoder.failure.partial
        assert partial is not None
        assert (partial.content, partial.reasoning or "") == (said, thought)
        for one in partial.tool_calls:
            if one.malformed_arguments is not None:
                assert written[one.id].startswith(one.malformed_arguments)


def test_an_empty_stream_is_an_interrupted_one() -> None:
    error = v2_reading.failure_of(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == ModelResponse(Message.assistant(""))


@example(said="".join(ODD))
@given(said=texts(min_size=1))
def test_text_is_kept_to_the_letter_in_single_bytes(said: str) -> None:
    stream = sse(json.dumps(v2_piece(said), ensure_ascii=False), v2_end())
    assert v2_reading.answer_of([bytes([byte]) for byte in stream]).content == said


def test_thinking_text_and_calls_as_they_come() -> None:
    stream = sse(
        {"apiFormat": "COHEREV2", "message": {"role": "ASSISTANT", "content": [thinking("Hm")]}},
        {"message": {"content": [thinking(".")]}},
        {"message": {"content": [text("Rome ")]}},
        {"message": {"content": [text("is it.")], "toolPlan": "I will look."}},
        {
            "message": {"content": [], "toolCalls": [call('{"a": 1}', id="c1"), call(id="c2")]},
            "finishReason": "TOOL_CALL",
            "usage": {"promptTokens": 3, "completionTokens": 1},
        },
        "[DONE]",
    )
    found, _ = v2_reading.read([stream])
    assert [(event.reasoning, event.content) for event in found] == [
        ("Hm", None),
        (".", None),
        (None, "Rome "),
        ("I will look.", "is it."),
        (None, None),
    ]
    answer = check_law(found)
    assert answer.message == Message.assistant(
        [ThinkingPart("Hm."), TextPart("Rome is it.")],
        [ToolCall("c1", "f", {"a": 1}), ToolCall("c2", "f")],
        metadata={"tool_plan": "I will look."},
    )
    assert answer.usage == {"prompt_tokens": 3, "completion_tokens": 1}
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("told", "last", "answer"),
    [
        (("a", "b"), "ab", "ab"),  # repeated, as by the first format
        (("a",), "b", "ab"),  # a piece like any other
        (("a", "b"), "", "ab"),
        ((), "ab", "ab"),
        (("ha", "ha"), "ha", "hahaha"),
    ],
)
def test_the_last_event_may_repeat_the_text_or_go_on(
    told: tuple[str, ...], last: str, answer: str
) -> None:
    stream = sse(*map(v2_piece, told), v2_end(last), "[DONE]")
    assert v2_reading.answer_of(stream).content == answer


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        ([[call("", id="1")], [call('{"a"', None)], [call(": 1}", None)]], [("1", {"a": 1})]),
        (
            [[call("", id="1")], [call("", id="2")], [call('{"a": 1}', None, id="1")]],
            [("1", {"a": 1}), ("2", None)],
        ),
        (
            [[call('{"a": 1}', id="1")], [call('{"a": 1}', id="2")]],
            [("1", {"a": 1}), ("2", {"a": 1})],
        ),
        ([[call(None, id="1")]], [("1", {})]),
    ],
)
def test_fragments_of_calls_are_joined(
    fragments: list[Any], calls: list[tuple[str, dict[str, Any] | None]]
) -> None:
    pieces = [v2_piece("", toolCalls=some_calls) for some_calls in fragments]
    answer = v2_reading.answer_of(sse(*pieces, v2_end(), "[DONE]"))
    found = [
        (one.id, None if one.malformed_arguments is not None else dict(one.arguments))
        for one in answer.tool_calls
    ]
    assert found == calls


def test_calls_that_the_last_event_repeats_are_told_once() -> None:
    calls = [call('{"a": 1}', id="1"), call(id="2")]
    message = {"role": "ASSISTANT", "content": [], "toolCalls": calls}
    stream = sse(v2_piece("", toolCalls=calls), v2_end() | {"message": message})
    assert [one.id for one in v2_reading.answer_of(stream).tool_calls] == ["1", "2"]


@pytest.mark.parametrize("noise", V2_NOISE)
def test_what_says_nothing_changes_nothing(noise: dict[str, Any]) -> None:
    frames = [v2_piece("so "), v2_piece("far"), v2_end(), "[DONE]"]
    plain = v2_reading.read([sse(*frames)])[0]
    for at in range(1, len(frames)):
        assert v2_reading.read([sse(*frames[:at], noise, *frames[at:])])[0] == plain


ERRORS: tuple[tuple[dict[str, Any], type[APIStatusError], int], ...] = (
    ({"code": "429", "message": "boom"}, RateLimitError, 429),
    ({"message": "boom"}, APIStatusError, 200),
    ({"error": {"message": "boom", "code": 500}}, InternalServerError, 500),
    (v2_end(finishReason="ERROR", errorMessage="boom"), InternalServerError, 500),
    (v2_piece("") | {"errorMessage": "boom"}, InternalServerError, 500),
)


@pytest.mark.parametrize(("error", "kind", "status"), ERRORS)
@given(st.data())
def test_an_error_in_the_stream_comes_after_what_was_said_before_it(
    error: dict[str, Any], kind: type[APIStatusError], status: int, data: st.DataObject
) -> None:
    stream = sse(v2_piece("so "), v2_piece("far"), error, v2_end(), "[DONE]")
    found, decoder = v2_reading.read(data.draw(splits(stream)))
    assert [event.content for event in found] == ["so ", "far"]
    failure = decoder.failure
    assert isinstance(failure, APIStatusError)
    assert (type(failure), failure.status_code) == (kind, status)
    assert "boom" in str(failure)
    assert failure.partial is not None
    assert failure.partial.content == "so far"


@pytest.mark.parametrize("frame", ["{", "[]", '{"message": 3}', '{"message": {"content": [3]}}'])
def test_what_is_not_of_the_format_is_a_parse_error(frame: str) -> None:
    error = v2_reading.failure_of(sse(v2_piece("x"), frame, v2_end()))
    assert isinstance(error, ResponseParseError)
    assert error.body == frame


@st.composite
def odd_frames(draw: st.DrawFn) -> dict[str, Any]:
    """Events, and whole answers, with something in the wrong place."""
    content = some(type=JUNK, text=JUNK | texts(), thinking=JUNK | texts())
    one = some(id=JUNK | texts(), function=JUNK | some(name=JUNK | texts(), arguments=JUNK))
    message = some(
        content=JUNK | few(content),
        toolPlan=JUNK,
        toolCalls=JUNK | few(one),
        citations=JUNK,
    )
    event = some(
        id=JUNK,
        message=JUNK | message,
        finishReason=JUNK | st.just("COMPLETE"),
        errorMessage=JUNK,
        logProbabilities=JUNK,
        usage=JUNK,
        code=JUNK,
        error=JUNK,
    )
    return draw(event | some(chatResponse=JUNK | event))


@given(st.lists(odd_frames(), max_size=6), st.booleans())
def test_nothing_in_a_stream_makes_the_decoder_raise(frames: list[Any], ended: bool) -> None:
    found, decoder = v2_reading.read([sse(*frames, *([v2_end(), "[DONE]"] if ended else []))])
    if decoder.failure is None:
        check_law(found)
    else:
        assert not decoder.done
        assert decoder.failure.partial is not None


@given(odd_frames())
def test_nothing_in_a_whole_answer_makes_the_parser_raise_anything_else(body: Any) -> None:
    try:
        PARSER.parse(json.dumps(body))
    except (APIStatusError, ResponseParseError) as error:
        str(error).encode()
        error.body.encode(errors="replace")


@given(noise=st.binary(max_size=80), data=st.data())
def test_no_bytes_make_the_decoder_raise(noise: bytes, data: st.DataObject) -> None:
    stream = sse(v2_piece("x")) + noise + sse(v2_end(), "[DONE]")
    found, decoder = v2_reading.read(data.draw(splits(stream)))
    assert found[0].content == "x"
    assert decoder.done or decoder.failure is not None
