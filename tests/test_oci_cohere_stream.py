"""Streamed answers of Cohere's first format: no text is told twice, and no cut is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ContentFilterError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere import CohereChatParser
from tests.chat_json import framed, sse
from tests.decoding import check_law
from tests.junk import JUNK, few, some
from tests.oci_cohere_json import (
    NOISE,
    USER,
    end,
    ends_well,
    essence,
    events,
    expected,
    piece,
    reading,
    sayable,
    whole,
)
from tests.strategies import ODD, Answered, splits, texts

PARSER = CohereChatParser()
CALL = {"name": "f", "parameters": {"a": 1}}


@st.composite
def streams(draw: st.DrawFn, answered: Answered) -> bytes:
    return draw(framed(draw(events(answered)), done=draw(st.booleans())))


# -- the streaming law ---------------------------------------------------------------------------


@given(st.data())
def test_a_stream_is_the_whole_answer(data: st.DataObject) -> None:
    answered = data.draw(sayable())
    streamed = reading.answer_of(data.draw(splits(data.draw(streams(answered)))))
    assert essence(streamed) == expected(answered)
    # The ids, too: they are made from the answer.
    assert streamed == PARSER.parse(json.dumps(whole(answered)))


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    stream = data.draw(streams(data.draw(sayable())))
    assert reading.read(data.draw(splits(stream)))[0] == reading.read([stream])[0]


@given(st.data())
def test_a_whole_answer_to_a_request_for_a_stream_is_read(data: st.DataObject) -> None:
    answered = data.draw(sayable(whole=True))
    body = json.dumps(whole(answered), indent=data.draw(st.sampled_from([None, 2]))).encode()
    answer = reading.answer_of(data.draw(splits(body)))
    assert answer == PARSER.parse(body)
    assert essence(answer) == expected(answered)


@given(st.data())
def test_a_stream_that_is_cut_is_never_believed_and_keeps_what_had_arrived(
    data: st.DataObject,
) -> None:
    answered = data.draw(sayable(legible=True))
    stream = data.draw(streams(answered))
    last = stream.rindex(b"}")
    anywhere = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    for cut in {*anywhere, last, last + 1, len(stream) - 1}:
        found, decoder = reading.read(data.draw(splits(stream[:cut])))
        said = "".join(event.content or "" for event in found)
        assert expected(answered).content.startswith(said)
        if ends_well(stream[:cut]):
            assert decoder.failure is None
            assert check_law(found).content == expected(answered).content
            continue
        assert isinstance(decoder.failure, StreamInterruptedError)
        assert not any(event.done for event in found)
        partial = decoder.failure.partial
        assert partial is not None
        assert partial.content == said
        calls = expected(answered).tool_calls
        assert essence(partial).tool_calls in ((), calls)


def test_an_empty_stream_is_an_interrupted_one() -> None:
    error = reading.failure_of(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == ModelResponse(Message.assistant(""))


@pytest.mark.parametrize("reason", [None, ""])
def test_nothing_but_a_finish_reason_or_done_ends_an_answer(reason: str | None) -> None:
    stream = sse(piece("x"), end() | {"finishReason": reason})
    assert isinstance(reading.failure_of(stream), StreamInterruptedError)
    assert reading.answer_of(stream + sse("[DONE]")).content == "x"


@example(said="".join(ODD))
@given(said=texts(min_size=1))
def test_text_is_kept_to_the_letter_in_single_bytes(said: str) -> None:
    stream = sse(json.dumps(piece(said), ensure_ascii=False), end(said))
    assert reading.answer_of([bytes([byte]) for byte in stream]).content == said


def test_half_a_surrogate_pair_is_read() -> None:
    assert reading.answer_of(sse('{"text": "\\ud800"}', end())).content == "\ud800"


# -- what the service sends ----------------------------------------------------------------------


def test_an_answer_as_it_was_seen_on_the_service() -> None:
    said = "I will look."
    history = [USER, {"role": "CHATBOT", "message": said, "toolCalls": [CALL]}]
    stream = sse(
        piece("I will") | {"pad": "aaaa"},
        piece(" look.") | {"pad": "aa"},
        {"apiFormat": "COHERE", "text": said, "toolCalls": [CALL]},
        end(
            said,
            chatHistory=history,
            toolCalls=[CALL],
            usage={"completionTokens": 2, "promptTokens": 6, "totalTokens": 8},
        ),
        "[DONE]",
    )
    found, _ = reading.read([stream])
    assert [event.content for event in found] == ["I will", " look.", None]
    answer = check_law(found)
    assert answer.content == said
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", {"a": 1})]
    assert answer.usage == {"prompt_tokens": 6, "completion_tokens": 2}
    assert (answer.stop_reason, answer.finish_reason) == ("COMPLETE", "tool_calls")


@pytest.mark.parametrize(
    ("told", "again", "answer"),
    [
        (("a", "b"), "ab", "ab"),
        (("a", "b"), "", "ab"),
        (("a", "b"), None, "ab"),
        ((), "ab", "ab"),
        (("a",), "abc", "abc"),  # a piece was lost on the way
        (("a ", "b "), "a b", "a b "),  # the service has trimmed it
        (("a", "b"), "other", "ab"),
        (("ha",), "ha", "ha"),
    ],
)
def test_the_last_event_adds_what_it_has_beyond_the_pieces(
    told: tuple[str, ...], again: str | None, answer: str
) -> None:
    stream = sse(*map(piece, told), end() | {"text": again})
    found, _ = reading.read([stream])
    assert check_law(found).content == answer
    assert [event.content for event in found[: len(told)]] == list(told)


def test_equal_pieces_are_pieces() -> None:
    assert reading.answer_of(sse(*[piece("ha")] * 3, end("hahaha"))).content == "hahaha"


OTHER = {"name": "g", "parameters": {}}


@pytest.mark.parametrize(
    ("told", "last", "names"),
    [
        ([], [CALL, CALL], "ff"),
        ([[CALL, OTHER]], None, "fg"),
        ([[CALL, OTHER]], [], "fg"),
        ([[CALL, OTHER]], [CALL, OTHER], "fg"),
        ([[CALL], [OTHER]], None, "fg"),
        ([[CALL], [CALL]], None, "ff"),
        ([[CALL], [CALL, OTHER]], None, "fg"),
        ([[CALL], [OTHER]], [CALL, OTHER], "fg"),
        ([[CALL]], [CALL, CALL], "ff"),
    ],
)
def test_calls_are_told_once_however_often_the_service_tells_them(
    told: list[Any], last: list[Any] | None, names: str
) -> None:
    stream = sse(piece("x"), *({"text": "x", "toolCalls": calls} for calls in told))
    answer = reading.answer_of(stream + sse(end("x") | {"toolCalls": last}))
    assert "".join(call.name for call in answer.tool_calls) == names
    assert len({call.id for call in answer.tool_calls}) == len(names)
    assert answer.content == "x"


def test_token_counts_may_come_after_the_end() -> None:
    counts = {"usage": {"promptTokens": 3, "completionTokens": 1}}
    for stream in (sse(piece("x"), end("x"), counts, "[DONE]"), sse(end("x") | counts)):
        assert reading.answer_of(stream).usage == {"prompt_tokens": 3, "completion_tokens": 1}


def test_events_that_are_wrapped_are_read() -> None:
    stream = sse({"chatResponse": piece("x")}, {"modelId": "m", "chatResponse": end("x")})
    answer = reading.answer_of(stream)
    assert (answer.content, answer.model) == ("x", "m")


@pytest.mark.parametrize("noise", NOISE)
def test_what_says_nothing_changes_nothing(noise: dict[str, Any]) -> None:
    frames = [piece("so "), piece("far"), end("so far"), "[DONE]"]
    plain = reading.read([sse(*frames)])[0]
    for at in range(1, len(frames)):
        assert reading.read([sse(*frames[:at], noise, *frames[at:])])[0] == plain


def test_what_comes_after_done_is_not_read() -> None:
    decoder = PARSER.decoder()
    found = decoder.feed(sse(piece("x"), end("x"), "[DONE]", piece("y"), "nonsense"))
    found += decoder.feed(sse(piece("z"))) + decoder.close()
    assert check_law(found).content == "x"


# -- errors --------------------------------------------------------------------------------------

ERRORS: tuple[tuple[dict[str, Any], type[APIStatusError], int], ...] = (
    ({"code": "429", "message": "boom"}, RateLimitError, 429),
    ({"code": 500, "message": "boom"}, InternalServerError, 500),
    ({"code": "NotAuthorizedOrNotFound", "message": "boom"}, NotFoundError, 404),
    ({"code": "InvalidParameter", "message": "boom"}, BadRequestError, 400),
    ({"message": "boom"}, APIStatusError, 200),
    ({"error": {"message": "boom", "code": 429}}, RateLimitError, 429),
    ({"error": "boom"}, APIStatusError, 200),
    (end("so far") | {"finishReason": "ERROR", "errorMessage": "boom"}, InternalServerError, 500),
    (piece("") | {"errorMessage": "boom"}, InternalServerError, 500),
)


@pytest.mark.parametrize(("error", "kind", "status"), ERRORS)
@given(st.data())
def test_an_error_in_the_stream_comes_after_what_was_said_before_it(
    error: dict[str, Any], kind: type[APIStatusError], status: int, data: st.DataObject
) -> None:
    after = (end("so far"), "[DONE]") if data.draw(st.booleans()) else ()
    stream = sse(piece("so "), piece("far"), error, *after)
    found, decoder = reading.read(data.draw(splits(stream)))
    assert [event.content for event in found] == ["so ", "far"]
    failure = decoder.failure
    assert isinstance(failure, APIStatusError)
    assert (type(failure), failure.status_code) == (kind, status)
    assert "boom" in str(failure)
    assert failure.partial is not None
    assert failure.partial.content == "so far"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("ERROR_LIMIT", ContextWindowExceededError), ("ERROR_TOXIC", ContentFilterError)],
)
def test_an_answer_that_never_began_is_an_error_that_says_why(
    reason: str, kind: type[APIStatusError]
) -> None:
    last = end() | {"finishReason": reason, "errorMessage": "boom"}
    failure = reading.failure_of(sse(last, "[DONE]"))
    assert type(failure) is kind
    assert "boom" in str(failure)
    answer = reading.answer_of(sse(piece("so far"), last))
    assert (answer.content, answer.stop_reason) == ("so far", reason)


@pytest.mark.parametrize(
    "body", [{"code": "400", "message": "slow\u2028down"}, {"message": "slow\u2028down"}]
)
def test_an_error_that_is_no_stream_is_read_all_the_same(body: dict[str, str]) -> None:
    for indent in (None, 2):
        failure = reading.failure_of(json.dumps(body, indent=indent, ensure_ascii=False).encode())
        assert isinstance(failure, APIStatusError)
        assert "slow\u2028down" in str(failure)


@pytest.mark.parametrize(
    "frame", ["{", "[]", '{"text": []}', "hello", '{"toolCalls": [null]}', "3"]
)
def test_what_is_not_of_the_format_is_a_parse_error(frame: str) -> None:
    error = reading.failure_of(sse(piece("x"), frame, end("x")))
    assert isinstance(error, ResponseParseError)
    assert error.body == frame
    assert error.partial is not None
    assert error.partial.content == "x"


def test_a_call_without_a_name_is_a_parse_error() -> None:
    stream = sse(piece("x"), end("x", toolCalls=[{"parameters": {}}, CALL]), "[DONE]")
    error = reading.failure_of(stream)
    assert isinstance(error, ResponseParseError)
    assert "tool call 0 has no name" in str(error)
    assert error.partial is not None
    assert essence(error.partial).tool_calls == (ToolCall("call_0", "f", {"a": 1}),)


@st.composite
def odd_frames(draw: st.DrawFn) -> dict[str, Any]:
    """Events, and whole answers, with something in the wrong place."""
    event = some(
        text=JUNK | texts(),
        toolCalls=JUNK | few(some(name=JUNK | texts(), parameters=JUNK)),
        finishReason=JUNK | st.just("COMPLETE"),
        errorMessage=JUNK,
        chatHistory=JUNK,
        usage=JUNK | some(promptTokens=JUNK, completionTokensDetails=JUNK),
        citations=JUNK,
        code=JUNK,
        message=JUNK,
        error=JUNK,
        modelId=JUNK,
    )
    return draw(event | some(chatResponse=JUNK | event, modelId=JUNK))


@given(st.lists(odd_frames(), max_size=6), st.booleans())
def test_nothing_in_a_stream_makes_the_decoder_raise(frames: list[Any], ended: bool) -> None:
    found, decoder = reading.read([sse(*frames, *([end(), "[DONE]"] if ended else []))])
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
    stream = sse(piece("x")) + noise + sse(end("x"), "[DONE]")
    found, decoder = reading.read(data.draw(splits(stream)))
    assert found[0].content == "x"
    assert decoder.done or decoder.failure is not None
