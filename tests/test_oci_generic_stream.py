"""Streams in OCI's generic format: equal to the whole answer, however cut; never half believed."""

from __future__ import annotations

import json
import time
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import (
    APIError,
    APIStatusError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.wire.oci_chat import GenericChatParser
from tests.chat_json import framed, sse
from tests.decoding import check_law
from tests.oci_generic_json import (
    NOISE,
    STYLES,
    WITHOUT_IDS,
    answer_of,
    delta,
    ends_well,
    events,
    expected,
    failure_of,
    read,
    sayable,
    text,
    whole,
)
from tests.strategies import ODD, answers, json_values, splits, texts

PARSER = GenericChatParser()


def unnamed(answer: ModelResponse) -> ModelResponse:
    """An answer without the ids of its calls, which are made afresh where the server has none."""
    calls = [attrs.evolve(call, id="x") for call in answer.tool_calls]
    return attrs.evolve(answer, message=attrs.evolve(answer.message, tool_calls=calls))


# The streaming law.


@given(st.data())
def test_a_stream_is_the_whole_answer(data: st.DataObject) -> None:
    answered = data.draw(sayable(max_candidates=3))
    stream = data.draw(framed(data.draw(events(answered)), done=data.draw(st.booleans())))
    streamed = answer_of(data.draw(splits(stream)))
    assert streamed == expected(answered)
    assert streamed == PARSER.parse(json.dumps(whole(answered)))


@pytest.mark.parametrize("style", STYLES)
@given(st.data())
def test_tool_calls_in_every_models_style_are_those_of_the_whole_answer(
    style: str, data: st.DataObject
) -> None:
    answered = attrs.evolve(data.draw(answers()), model="")
    stream = data.draw(framed(data.draw(events(answered, style))))
    streamed = answer_of(data.draw(splits(stream)))
    parsed = PARSER.parse(whole(answered, ids=style not in WITHOUT_IDS))
    if style in WITHOUT_IDS:
        assert len({call.id for call in streamed.tool_calls}) == len(answered.first.calls)
        streamed, parsed = unnamed(streamed), unnamed(parsed)
    assert streamed == parsed
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, json.loads(call.text)) for call in answered.first.calls
    ]


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    answered = data.draw(sayable(max_candidates=2))
    stream = data.draw(framed(data.draw(events(answered)), done=data.draw(st.booleans())))
    assert read(data.draw(splits(stream)))[0] == read([stream])[0]


@pytest.mark.parametrize("noise", NOISE)
def test_what_says_nothing_changes_nothing(noise: dict[str, Any]) -> None:
    frames = [delta("so "), delta("far"), delta(None, "stop")]
    plain = read([sse(*frames)])[0]
    for at in range(1, len(frames)):
        assert read([sse(*frames[:at], noise, *frames[at:])])[0] == plain


@given(st.data())
def test_a_whole_answer_to_a_request_for_a_stream_is_read(data: st.DataObject) -> None:
    answered = data.draw(sayable(max_candidates=2, whole=True))
    body = json.dumps(whole(answered), indent=data.draw(st.sampled_from([None, 1]))).encode()
    streamed = answer_of(data.draw(splits(body + data.draw(st.sampled_from([b"", b"\n"])))))
    assert streamed == expected(answered)


# Truncation.


@given(st.data())
def test_a_stream_that_is_cut_is_never_believed_and_keeps_what_had_arrived(
    data: st.DataObject,
) -> None:
    answered = data.draw(sayable(max_candidates=2, legible=True))
    stream = data.draw(framed(data.draw(events(answered)), done=data.draw(st.booleans())))
    complete = expected(answered)
    for at in {len(stream) - 1, *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))}:
        found, decoder = read(data.draw(splits(stream[:at])))
        if ends_well(stream[:at]):
            assert decoder.failure is None
            said = check_law(found)
            assert said.message == complete.message
            assert said.usage in ({}, complete.usage)
            continue
        assert isinstance(decoder.failure, StreamInterruptedError), stream[:at]
        assert not decoder.done
        assert not any(event.done for event in found)
        partial = decoder.failure.partial
        assert partial is not None
        assert partial.content == "".join(event.content or "" for event in found)
        assert (partial.reasoning or "") == "".join(event.reasoning or "" for event in found)
        assert complete.content.startswith(partial.content)
        assert (complete.reasoning or "").startswith(partial.reasoning or "")
        calls = {call.id: call for call in complete.tool_calls}
        for call in partial.tool_calls:
            arrived = call.malformed_arguments
            if arrived is None:
                assert call == calls[call.id]
            else:
                sent = next(said.text for said in answered.first.calls if said.id == call.id)
                assert sent.startswith(arrived)


def test_an_empty_stream_is_an_interrupted_one() -> None:
    error = failure_of(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == ModelResponse(Message.assistant(""))


@pytest.mark.parametrize("rest", [b"d", b"data:", b"data: ", b'data: {"us', b"data: [DON"])
def test_a_cut_after_the_finish_reason_is_still_a_cut(rest: bytes) -> None:
    error = failure_of(sse(delta("x"), {"finishReason": "stop"}) + rest)
    assert isinstance(error, StreamInterruptedError)


@pytest.mark.parametrize("rest", [b"", b": bye\n\n", b"data: [DONE]", b"data: [DONE]\n\n"])
def test_a_finish_reason_and_an_orderly_end_need_no_done(rest: bytes) -> None:
    answer = answer_of(sse(delta("x"), {"finishReason": "stop"}) + rest)
    assert (answer.content, answer.stop_reason) == ("x", "stop")


def test_token_counts_that_come_after_the_finish_reason_are_read() -> None:
    counts = {"usage": {"completionTokens": 10, "promptTokens": 42, "totalTokens": 52}}
    for done in (True, False):
        stream = sse(delta("Hi"), delta("", "stop"), counts, done=done)
        assert answer_of(stream).usage == {"prompt_tokens": 42, "completion_tokens": 10}


def test_every_choice_needs_its_finish_reason() -> None:
    second = delta("y") | {"index": 1}
    error = failure_of(sse(delta("x", "stop"), second))
    assert isinstance(error, StreamInterruptedError)


def test_what_comes_after_done_is_not_read() -> None:
    decoder = PARSER.decoder()
    found = decoder.feed(sse(delta("x", "stop"), done=True) + sse(delta("y")))
    found += decoder.feed(sse(delta("z"))) + decoder.close()
    assert check_law(found).content == "x"


# Errors.


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "TooManyRequests", "message": "boom"}, RateLimitError),
        ({"code": "InternalServerError", "message": "boom"}, InternalServerError),
        ({"code": "400", "message": "boom"}, BadRequestError),
        ({"code": 500, "message": "boom"}, InternalServerError),
        ({"message": "boom"}, APIStatusError),
        ({"error": {"message": "boom", "code": 429}}, RateLimitError),
        ({"error": "boom", "index": 0, "message": {"role": "ASSISTANT"}}, APIStatusError),
    ],
)
@given(st.data())
def test_an_error_in_the_stream_comes_after_what_was_said_before_it(
    error: dict[str, Any], kind: type[APIError], data: st.DataObject
) -> None:
    stream = sse(delta("so "), delta("far"), error, delta(None, "stop"), done=True)
    found, decoder = read(data.draw(splits(stream)))
    assert [event.content for event in found] == ["so ", "far"]
    assert type(decoder.failure) is kind
    assert "boom" in str(decoder.failure)
    assert not decoder.done
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.content == "so far"


@pytest.mark.parametrize("indent", [None, 2])
@given(st.data())
def test_an_error_that_is_no_event_stream_is_read_all_the_same(
    indent: int | None, data: st.DataObject
) -> None:
    body = json.dumps({"code": "TooManyRequests", "message": "slow"}, indent=indent).encode()
    found, decoder = read(data.draw(splits(body)))
    assert found == []
    assert type(decoder.failure) is RateLimitError
    assert "slow" in str(decoder.failure)


@pytest.mark.parametrize(
    "page",
    [
        b"<html><body>Bad Gateway</body></html>",
        b"{",
        b"[1]",
        b'{"chatResponse": 5}',
        b'{"chatResponse": {}}',
    ],
)
def test_a_page_instead_of_a_stream_is_a_parse_error_that_quotes_it(page: bytes) -> None:
    error = failure_of(page)
    assert isinstance(error, ResponseParseError)
    assert error.body == page.decode()


@pytest.mark.parametrize("frame", ["{", "[]", '{"message": 5}', "hello", '{"message": [null]}'])
def test_an_event_that_is_not_of_the_format_is_a_parse_error(frame: str) -> None:
    error = failure_of(sse(delta("x"), frame, delta(None, "stop"), done=True))
    assert isinstance(error, ResponseParseError)
    assert error.body == frame
    assert error.partial is not None
    assert error.partial.content == "x"


def test_a_call_without_a_name_is_a_parse_error() -> None:
    error = failure_of(sse(delta("x", toolCalls=[{"id": "1"}]), delta(None, "tool_calls")))
    assert isinstance(error, ResponseParseError)
    assert "tool call 0 has no name" in str(error)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x")


JUNK = json_values() | st.sampled_from(
    [float("nan"), 1e300, "\ud800", 2**70, -1, {"index": 0}, [{}], [{"type": "TEXT"}]]
)


@st.composite
def odd_events(draw: st.DrawFn) -> dict[str, Any]:
    """Events with something in the wrong place."""

    def some(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({}, optional=members)

    call = some(id=JUNK, name=JUNK | texts(), arguments=JUNK | texts(), index=JUNK)
    part = some(type=JUNK, text=JUNK | texts(), imageUrl=JUNK)
    said = some(
        content=JUNK | st.lists(part, max_size=2),
        toolCalls=JUNK | st.lists(call, max_size=2),
        reasoningContent=JUNK,
        refusal=JUNK,
        annotations=JUNK,
    )
    return draw(
        some(
            index=JUNK,
            message=JUNK | said,
            finishReason=JUNK,
            usage=JUNK | some(promptTokens=JUNK, completionTokens=JUNK),
            logprobs=JUNK,
            groundingMetadata=JUNK,
            code=JUNK,
            error=JUNK,
        )
    )


@given(st.lists(odd_events(), max_size=3), st.booleans())
def test_nothing_in_an_event_makes_the_decoder_raise(odd: list[dict[str, Any]], done: bool) -> None:
    found, decoder = read([sse(delta("x"), *odd, delta(None, "stop"), done=done)])
    if decoder.failure is None:
        check_law(found)
    else:
        assert not decoder.done
        assert decoder.failure.partial is not None


@given(st.lists(odd_events(), max_size=2), JUNK)
def test_nothing_in_a_whole_answer_makes_the_parser_raise_anything_else(
    choices: list[Any], usage: Any
) -> None:
    try:
        PARSER.parse(json.dumps({"chatResponse": {"choices": choices, "usage": usage}}))
    except (APIStatusError, ResponseParseError) as error:
        str(error).encode()


@given(st.binary(max_size=80), st.data())
def test_no_bytes_make_the_decoder_raise(noise: bytes, data: st.DataObject) -> None:
    stream = sse(delta("x")) + noise + sse(delta(None, "stop"), done=True)
    found, decoder = read(data.draw(splits(stream)))
    assert found[0].content == "x"
    assert decoder.done or decoder.failure is not None


# Particulars.


@example(said="".join(ODD))
@given(said=texts(min_size=1))
def test_text_is_kept_to_the_letter_in_single_bytes(said: str) -> None:
    stream = sse(json.dumps(delta(said), ensure_ascii=False), delta(None, "stop"), done=True)
    assert answer_of([bytes([byte]) for byte in stream]).content == said


def test_half_a_surrogate_pair_and_a_byte_order_mark_are_read() -> None:
    stream = "\ufeff".encode() + sse(delta("\ud800"), delta(None, "stop"))
    assert answer_of(stream).content == "\ud800"


@pytest.mark.parametrize(
    "more",
    [
        {"toolCalls": [{"type": "FUNCTION", "id": "1", "name": "f", "arguments": "{}"}]},
        {"reasoningContent": "hm"},
        {"refusal": "no"},
        {"annotations": [{"type": "url_citation"}]},
        {"content": [text("x"), {"type": "IMAGE", "imageUrl": {"url": "https://x"}}]},
        {"content": [text("x"), text("y")]},
        {"content": "x"},
    ],
)
def test_what_comes_beside_text_is_read_as_well(more: dict[str, Any]) -> None:
    event = delta("x", "stop", **more)
    answer = answer_of(sse(event))
    assert answer == PARSER.parse({"chatResponse": {"choices": [event]}})
    assert answer.content[0] == "x"


def test_what_an_event_says_beside_its_message_is_read() -> None:
    sources = {"webSearchQueries": ["q"]}
    one = {"tokens": ["a"], "tokenLogprobs": [-1.0]}
    two = {"tokens": ["b"], "tokenLogprobs": [-2.0]}
    answer = answer_of(
        sse(
            delta("a") | {"logprobs": one},
            delta("b") | {"logprobs": two, "groundingMetadata": sources},
            delta(None, "stop"),
        )
    )
    assert answer.content == "ab"
    assert answer.logprobs == {"tokens": ["a", "b"], "tokenLogprobs": [-1.0, -2.0]}
    assert answer.message.metadata == {"grounding_metadata": sources}


def test_a_long_answer_is_read_in_linear_time() -> None:
    call = {"type": "FUNCTION", "arguments": "x" * 300}
    head = {"type": "FUNCTION", "id": "1", "name": "f"}
    began = time.process_time()
    answer_of(
        [
            sse(delta(toolCalls=[head])),
            *[sse(delta(toolCalls=[call]))] * 10_000,
            sse(delta(None, "tool_calls")),
        ]
    )
    assert time.process_time() - began < 5  # it takes less than one; in the square, over fifteen
