"""Streamed answers of Ollama: equal to the whole answer, however cut, and never half believed."""

from __future__ import annotations

import json
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    InternalServerError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.ollama_chat import OllamaChatParser
from tests.chat_json import check_law
from tests.ollama_json import (
    answer_of,
    chunks,
    end,
    expected,
    failure_of,
    framed,
    ndjson,
    piece,
    read,
    sayable,
    whole,
)
from tests.strategies import ODD, json_values, splits, texts

PARSER = OllamaChatParser()


def call(name: str = "f", arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {} if arguments is None else arguments}} | more


# The streaming law.


@given(st.data())
def test_a_stream_is_the_whole_answer(data: st.DataObject) -> None:
    answered = data.draw(sayable(legible=False))
    as_text = data.draw(st.booleans())
    stream = data.draw(framed(data.draw(chunks(answered, as_text=as_text))))
    streamed = answer_of(data.draw(splits(stream)))
    assert streamed == expected(answered)
    assert streamed == PARSER.parse(json.dumps(whole(answered, as_text=as_text)))


@given(st.data())
def test_calls_without_ids_get_the_ids_that_they_have_in_the_whole_answer(
    data: st.DataObject,
) -> None:
    answered = data.draw(sayable(legible=False))
    stream = data.draw(framed(data.draw(chunks(answered, ids=False))))
    streamed = answer_of(data.draw(splits(stream)))
    assert streamed == PARSER.parse(whole(answered, ids=False))
    assert len({call.id for call in streamed.tool_calls}) == len(answered.first.calls)
    assert [call.name for call in streamed.tool_calls] == [
        call.name for call in answered.first.calls
    ]


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    answered = data.draw(sayable(legible=False))
    stream = data.draw(framed(data.draw(chunks(answered))))
    assert read(data.draw(splits(stream)))[0] == read([stream])[0]


# Truncation.


def has_ended(prefix: bytes) -> bool:
    """Whether the line that ends the answer is there, decided without Locus."""
    for line in prefix.decode(errors="replace").split("\n"):
        try:
            if line.strip() and json.loads(line).get("done"):
                return True
        except ValueError:
            return False
    return False


@given(st.data())
def test_a_stream_that_is_cut_is_never_believed_and_keeps_what_had_arrived(
    data: st.DataObject,
) -> None:
    answered = data.draw(sayable())
    stream = data.draw(framed(data.draw(chunks(answered))))
    complete = expected(answered)
    for at in [len(stream) - 1, *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))]:
        events, decoder = read(data.draw(splits(stream[:at])))
        if has_ended(stream[:at]):
            assert decoder.failure is None
            assert check_law(events) == complete
            continue
        text = "".join(event.content or "" for event in events)
        thought = "".join(event.reasoning or "" for event in events)
        assert isinstance(decoder.failure, StreamInterruptedError)
        assert not decoder.done
        assert not any(event.done for event in events)
        partial = decoder.failure.partial
        assert partial is not None
        assert (partial.content, partial.reasoning or "") == (text, thought)
        assert complete.content.startswith(text)
        assert (complete.reasoning or "").startswith(thought)
        assert partial.tool_calls == complete.tool_calls[: len(partial.tool_calls)]
        assert (partial.usage, partial.stop_reason) == ({}, None)


@pytest.mark.parametrize("cut", range(len(ndjson(end()))))
def test_the_last_line_counts_when_it_is_whole(cut: int) -> None:
    before, last = ndjson(piece(content="x")), ndjson(end())
    if cut == len(last) - 1:  # all but its line end
        assert answer_of(before + last[:cut]).content == "x"
        return
    error = failure_of(before + last[:cut])
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.content == "x"


@given(st.data())
def test_a_stream_cut_by_the_connection_keeps_what_had_arrived(data: st.DataObject) -> None:
    stream = data.draw(framed(data.draw(chunks(data.draw(sayable())))))
    decoder = PARSER.decoder()
    events = decoder.feed(stream[: data.draw(st.integers(0, len(stream) - 3))])
    error = decoder.interrupted("because the connection was lost")
    assert error.partial is not None
    assert error.partial.content == "".join(event.content or "" for event in events)


def test_an_empty_stream_is_an_interrupted_one() -> None:
    error = failure_of(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == ModelResponse(Message.assistant(""))


@pytest.mark.parametrize("ended", [{"done": False}, {"done": None}, {"done_reason": "stop"}])
def test_nothing_but_done_ends_an_answer(ended: dict[str, Any]) -> None:
    last = {name: value for name, value in end().items() if name != "done"}
    assert isinstance(failure_of(ndjson(piece(content="x"), last | ended)), StreamInterruptedError)


def test_what_comes_after_done_is_not_read() -> None:
    decoder = PARSER.decoder()
    events = decoder.feed(ndjson(piece(content="x"), end(), piece(content="y")))
    events += decoder.feed(ndjson(piece(content="z"), "nonsense")) + decoder.close()
    assert check_law(events).content == "x"


# Errors.


@pytest.mark.parametrize(
    ("line", "kind", "status"),
    [
        ({"error": "boom"}, InternalServerError, 500),
        ({"error": "boom", "status": 400}, BadRequestError, 400),
        ({"error": "boom", "done": True}, InternalServerError, 500),
        ({"error": {"message": "boom", "type": "rate_limit_error"}}, APIStatusError, 429),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_an_error_in_the_stream_is_an_error_after_what_came_before(
    line: dict[str, Any], kind: type[APIStatusError], status: int, closed: bool
) -> None:
    stream = ndjson(piece(content="x"), line, *([end()] if closed else []))
    for data in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
        events, decoder = read(data)
        assert [event.content for event in events] == ["x"]
        error = decoder.failure
        assert isinstance(error, kind)
        assert "boom" in str(error)
        assert error.status_code == status
        assert error.partial is not None
        assert error.partial.content == "x"


def test_an_error_without_a_line_end_is_one() -> None:
    assert isinstance(failure_of(b'{"error":"boom"}'), InternalServerError)


def test_a_page_that_is_no_stream_is_a_parse_error_that_quotes_it() -> None:
    error = failure_of(b"<html>\n<p>Sign in\n</html>")
    assert isinstance(error, ResponseParseError)
    assert error.body == "<html>"
    assert isinstance(failure_of(b"<html>Sign in</html>"), ResponseParseError)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"message": []}', "hello", '{"message": {"tool_calls": [null]}}', "3"]
)
def test_a_line_that_is_not_of_the_format_is_a_parse_error(line: str) -> None:
    error = failure_of(ndjson(piece(content="x"), line, end()))
    assert isinstance(error, ResponseParseError)
    assert error.body == line
    assert error.partial is not None
    assert error.partial.content == "x"


def test_a_call_without_a_name_is_a_parse_error() -> None:
    nameless = {"function": {"arguments": {"a": 1}}}
    error = failure_of(ndjson(piece(content="x", tool_calls=[nameless, call(id="1")]), end()))
    assert isinstance(error, ResponseParseError)
    assert "tool call 0 has no name" in str(error)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x", [ToolCall("1", "f")])


JUNK = json_values() | st.sampled_from(
    [float("nan"), float("inf"), 1e300, "\ud800", 2**70, -1, {"name": 0}, [{}], [{"id": 0}]]
)


@st.composite
def odd_lines(draw: st.DrawFn) -> dict[str, Any]:
    """Pieces with something in the wrong place."""
    some = st.fixed_dictionaries
    function = some({}, optional={"name": JUNK | texts(), "arguments": JUNK})
    one = some({}, optional={"id": JUNK | texts(), "function": JUNK | function})
    said = some(
        {},
        optional={
            "content": JUNK | texts(),
            "thinking": JUNK,
            "tool_calls": JUNK | st.lists(one, max_size=2),
            "images": JUNK,
        },
    )
    return draw(
        some(
            {},
            optional={
                "model": JUNK,
                "created_at": JUNK,
                "message": JUNK | said,
                "done": JUNK,
                "done_reason": JUNK,
                "prompt_eval_count": JUNK,
                "eval_count": JUNK,
                "logprobs": JUNK,
                "error": JUNK,
                "status": JUNK,
            },
        )
    )


@given(st.lists(odd_lines(), max_size=4), st.booleans())
def test_nothing_in_a_stream_makes_the_decoder_raise(found: list[Any], done: bool) -> None:
    events, decoder = read([ndjson(*found, *([end()] if done else []))])
    if decoder.failure is None:
        check_law(events)
    else:
        assert not decoder.done
        assert decoder.failure.partial is not None


@given(odd_lines())
def test_nothing_in_a_whole_answer_makes_the_parser_raise_anything_else(body: Any) -> None:
    try:
        PARSER.parse(json.dumps(body))
    except (APIStatusError, ResponseParseError) as error:
        str(error).encode()
        error.body.encode(errors="replace")
    except StreamInterruptedError:
        pass  # it says itself that it is not done


@given(st.binary(max_size=80), st.data())
def test_no_bytes_make_the_decoder_raise(noise: bytes, data: st.DataObject) -> None:
    stream = ndjson(piece(content="x")) + noise + ndjson(end())
    events, decoder = read(data.draw(splits(stream)))
    assert events[0].content == "x"
    assert decoder.done or decoder.failure is not None


# What servers send.


@example(text="".join(ODD))
@given(text=texts(min_size=1))
def test_text_is_kept_to_the_letter_in_single_bytes(text: str) -> None:
    stream = ndjson(json.dumps(piece(content=text), ensure_ascii=False), end())
    assert answer_of([bytes([byte]) for byte in stream]).content == text


def test_half_a_surrogate_pair_and_a_byte_order_mark_are_read() -> None:
    stream = "\ufeff".encode() + ndjson('{"message": {"content": "\\ud800"}}', end())
    assert answer_of(stream).content == "\ud800"


def test_a_line_of_megabytes_in_small_reads_is_one_piece() -> None:
    text = "é" * 1_000_000
    stream = ndjson(json.dumps(piece(content=text), ensure_ascii=False), end())
    data = [stream[at : at + 1024] for at in range(0, len(stream), 1024)]
    assert answer_of(data).content == text


def test_calls_may_come_in_any_line_and_text_after_them() -> None:
    stream = ndjson(
        piece(thinking="hm"),
        piece(tool_calls=[call(arguments={"a": 1}, id="1"), call(arguments={"a": 2}, id="2")]),
        piece(content="so"),
        piece(tool_calls=[call("g", '{"b": 3}', id="3")]),
        end(),
    )
    events, _ = read([stream])
    assert [event.content for event in events] == [None, "so", None]
    answer = check_law(events)
    assert answer.tool_calls == (
        ToolCall("1", "f", {"a": 1}),
        ToolCall("2", "f", {"a": 2}),
        ToolCall("3", "g", {"b": 3}),
    )
    assert answer.finish_reason == "tool_calls"


def test_the_last_words_may_come_with_the_end() -> None:
    stream = ndjson(piece(content="a"), end(message={"content": "b", "tool_calls": [call(id="1")]}))
    answer = answer_of(stream)
    assert answer.message == Message.assistant("ab", [ToolCall("1", "f")])


def test_an_answer_in_one_line_is_a_stream_too() -> None:
    stream = ndjson(end(message={"content": "x", "thinking": "hm"}, eval_count=2))
    answer = answer_of(stream)
    assert (answer.content, answer.reasoning, answer.usage) == ("x", "hm", {"completion_tokens": 2})


def test_thinking_after_the_answer_has_begun_is_reasoning() -> None:
    stream = ndjson(
        piece(thinking="a"), piece(content="x", thinking="b"), piece(content="y"), end()
    )
    answer = answer_of(stream)
    assert (answer.reasoning, answer.content) == ("ab", "xy")
    assert answer.message.content is not None
    assert answer.message.content[0] == ThinkingPart("ab")


def test_token_probabilities_are_joined() -> None:
    one, two = {"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}
    stream = ndjson(
        piece(content="a") | {"logprobs": [one]},
        piece(content="b") | {"logprobs": [two]},
        end(),
    )
    answer = answer_of(stream)
    assert answer.logprobs == {"content": [one, two]}
    assert answer == PARSER.parse(end(message={"content": "ab"}, logprobs=[one, two]))


def test_the_counts_of_the_end_are_the_answers() -> None:
    stream = ndjson(
        piece(content="x") | {"prompt_eval_count": 3, "eval_count": 1},
        end(prompt_eval_count=3, eval_count=2),
    )
    assert answer_of(stream).usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_the_model_that_says_something_counts() -> None:
    stream = ndjson(piece(content="x") | {"model": "a"}, end(model=""))
    assert answer_of(stream).model == "a"


# The package as the judge.


def through_the_package(pieces: list[bytes]) -> list[Any]:
    """What the package's client makes of an answer's bytes."""
    ollama = pytest.importorskip("ollama")

    def answer(_: Any) -> httpx.Response:
        return httpx.Response(200, content=iter(pieces))

    made = {"host": "x", "transport": httpx.MockTransport(answer), "verify": False}
    with ollama.Client(**made) as client:
        return list(client.chat("m", [{"role": "user", "content": "x"}], stream=True))


@pytest.mark.sdk
@given(st.data())
def test_the_same_bytes_give_the_same_answer(data: st.DataObject) -> None:
    answered = data.draw(sayable())
    stream = data.draw(framed(data.draw(chunks(answered, plain=True)), plain=True))
    theirs = through_the_package(data.draw(splits(stream)))
    ours = answer_of(data.draw(splits(stream)))
    messages = [part.message for part in theirs]
    assert ours.content == "".join(message.content or "" for message in messages)
    assert (ours.reasoning or "") == "".join(message.thinking or "" for message in messages)
    assert [(call.name, call.arguments) for call in ours.tool_calls] == [
        (call.function.name, call.function.arguments)
        for message in messages
        for call in message.tool_calls or ()
    ]
    last = theirs[-1]
    assert (ours.stop_reason, ours.model) == (last.done_reason, last.model)
    counts = (ours.usage.get("prompt_tokens"), ours.usage.get("completion_tokens"))
    assert counts == (last.prompt_eval_count, last.eval_count)
    # And what the package read, said again as JSON, is the same answer but for the ids.
    again = answer_of(ndjson(*(part.model_dump_json(exclude_unset=True) for part in theirs)))
    assert without_ids(again) == without_ids(ours)


def without_ids(answer: ModelResponse) -> ModelResponse:
    calls = [attrs.evolve(call, id="any") for call in answer.tool_calls]
    return attrs.evolve(answer, message=attrs.evolve(answer.message, tool_calls=calls))


@pytest.mark.sdk
@given(st.data())
def test_of_a_stream_that_is_cut_the_package_saw_no_more_than_locus(data: st.DataObject) -> None:
    stream = data.draw(framed(data.draw(chunks(data.draw(sayable()), plain=True)), plain=True))
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    try:
        theirs = through_the_package([prefix])
    except ValueError:  # cut in the middle of a line
        return
    events, decoder = read([prefix])
    partial = events[-1].response if decoder.done else getattr(decoder.failure, "partial", None)
    assert partial is not None
    assert partial.content == "".join(part.message.content or "" for part in theirs)
