"""Streamed chat completions: equal to the whole answer, however cut, and never half believed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import (
    APIError,
    APIStatusError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ToolCall
from locus.wire.chat_completions import ChatCompletionsParser
from tests.chat_json import (
    STYLES,
    WITHOUT_IDS,
    answer_of,
    check_law,
    chunks,
    delta,
    expected,
    failure_of,
    framed,
    read,
    sse,
    whole,
)
from tests.strategies import ODD, answers, json_values, splits, texts

PARSER = ChatCompletionsParser()


# The streaming law.


@given(st.data())
def test_a_stream_is_the_whole_answer(data: st.DataObject) -> None:
    answered = data.draw(answers(max_candidates=3, custom=True, legible=False))
    stream = data.draw(framed(data.draw(chunks(answered)), done=data.draw(st.booleans())))
    streamed = answer_of(data.draw(splits(stream)))
    assert streamed == expected(answered)
    assert streamed == PARSER.parse(json.dumps(whole(answered)))


@pytest.mark.parametrize("style", STYLES)
@given(st.data())
def test_tool_calls_in_every_servers_style_are_those_of_the_whole_answer(
    style: str, data: st.DataObject
) -> None:
    answered = data.draw(answers())
    stream = data.draw(framed(data.draw(chunks(answered, style))))
    body = whole(answered, ids=style not in WITHOUT_IDS)
    if style == "object":
        for call in body["choices"][0]["message"].get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    streamed = answer_of(data.draw(splits(stream)))
    assert streamed == PARSER.parse(body)
    assert len({call.id for call in streamed.tool_calls}) == len(answered.first.calls)
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, json.loads(call.text)) for call in answered.first.calls
    ]


@given(st.data())
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    answered = data.draw(answers(max_candidates=2, legible=False))
    stream = data.draw(framed(data.draw(chunks(answered)), done=data.draw(st.booleans())))
    assert read(data.draw(splits(stream)))[0] == read([stream])[0]


# Truncation.


def ends_well(prefix: bytes) -> bool:
    """Whether a stream that ends here can be believed, decided without Locus.

    It holds ``[DONE]``; or every candidate that has begun has its finish reason, and the end is
    no cut: it is between lines, or right after a message.
    """
    text = prefix.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = text.split("\n\n")
    finished = {0: False}
    for at, block in enumerate([*blocks, rest]):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line[:5] == "data:"]
        data = "\n".join(lines)
        if data == "[DONE]":
            return True
        if data:
            try:
                chunk = json.loads(data)
            except ValueError:
                assert at == len(blocks)
                return False
            for choice in chunk.get("choices") or ():
                index = choice.get("index", 0)
                finished[index] = finished.get(index, False) or bool(choice.get("finish_reason"))
        elif at == len(blocks) and not ("\n" + block).endswith("\n"):
            return False
    return all(finished.values())


@given(st.data())
def test_a_stream_that_is_cut_is_never_believed_and_keeps_what_had_arrived(
    data: st.DataObject,
) -> None:
    answered = data.draw(answers(max_candidates=2))
    found = data.draw(chunks(answered))
    stream = data.draw(framed(found, done=data.draw(st.booleans())))
    complete = expected(answered)
    for at in [len(stream) - 1, *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))]:
        prefix = stream[:at]
        events, decoder = read(data.draw(splits(prefix)))
        text = "".join(event.content or "" for event in events)
        thought = "".join(event.reasoning or "" for event in events)
        if ends_well(prefix):
            assert decoder.failure is None
            said = check_law(events)
            assert said.message == complete.message
            assert said.usage in ({}, complete.usage)
            continue
        assert isinstance(decoder.failure, StreamInterruptedError), prefix
        assert not decoder.done
        assert not any(event.done for event in events)
        partial = decoder.failure.partial
        assert partial is not None
        assert partial.content == text
        assert (partial.reasoning or "") == thought
        assert complete.content.startswith(text)
        assert (complete.reasoning or "").startswith(thought)
        calls = {call.id: call for call in complete.tool_calls}
        for call in partial.tool_calls:
            arrived = call.malformed_arguments
            if arrived is None:
                assert call == calls[call.id]
            else:
                sent = next(said.text for said in answered.first.calls if said.id == call.id)
                assert sent.startswith(arrived)


@given(st.data())
def test_a_stream_cut_by_the_connection_keeps_what_had_arrived(data: st.DataObject) -> None:
    answered = data.draw(answers())
    stream = data.draw(framed(data.draw(chunks(answered)), done=False))
    decoder = PARSER.decoder()
    events = decoder.feed(stream[: data.draw(st.integers(0, len(stream)))])
    error = decoder.interrupted("because the connection was lost")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.content == "".join(event.content or "" for event in events)


def test_an_empty_stream_is_an_interrupted_one() -> None:
    error = failure_of(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == PARSER.parse('{"choices": [{"message": {}}]}')


@pytest.mark.parametrize("rest", [b"d", b"data", b"data:", b"data: ", b'data: {"us', b"data: [DON"])
def test_a_cut_after_the_finish_reason_is_still_a_cut(rest: bytes) -> None:
    stream = sse(delta({"content": "x"}), delta({}, "stop")) + rest
    assert isinstance(failure_of(stream), StreamInterruptedError)


@pytest.mark.parametrize(
    "rest", [b"", b": bye\n", b": bye\n\n", b"data: [DONE]", b"data: [DONE]\n"]
)
def test_a_finish_reason_and_an_orderly_end_need_no_done(rest: bytes) -> None:
    answer = answer_of(sse(delta({"content": "x"}), delta({}, "stop")) + rest)
    assert (answer.content, answer.stop_reason) == ("x", "stop")


def test_every_candidate_needs_its_finish_reason() -> None:
    second = {"id": "1", "choices": [{"index": 1, "delta": {"content": "y"}}]}
    assert isinstance(
        failure_of(sse(delta({"content": "x"}, "stop"), second)), StreamInterruptedError
    )


def test_an_empty_finish_reason_is_none() -> None:
    stream = sse(delta({"content": "x"}, ""))
    assert isinstance(failure_of(stream), StreamInterruptedError)
    assert answer_of(stream + b"data: [DONE]\n\n").stop_reason is None


def test_what_comes_after_done_is_not_read() -> None:
    decoder = PARSER.decoder()
    events = decoder.feed(
        sse(delta({"content": "x"}, "stop"), done=True) + sse(delta({"content": "y"}))
    )
    events += decoder.feed(sse(delta({"content": "z"}))) + decoder.close()
    assert check_law(events).content == "x"


# Errors in the stream.


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": {"message": "boom", "code": 429}}, RateLimitError),
        ({"error": {"message": "boom", "type": "server_error"}}, InternalServerError),
        ({"error": {"message": "boom", "type": "overloaded_error"}}, OverloadedError),
        ({"error": "boom"}, APIStatusError),
        ({"error": "boom", "id": "1", "model": "m", "choices": []}, APIStatusError),
        ({"object": "error", "message": "boom", "code": 500}, InternalServerError),
        ({"id": "1", "choices": [], "error": {"message": "boom", "code": 429}}, RateLimitError),
        (  # OpenRouter
            {
                "id": "1",
                "error": {"message": "boom", "code": 502},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            },
            InternalServerError,
        ),
        ({"error": {"msg": "boom \ud800"}}, APIStatusError),
    ],
)
@given(st.data())
def test_an_error_in_the_stream_comes_after_what_was_said_before_it(
    error: dict[str, Any], kind: type[APIError], data: st.DataObject
) -> None:
    stream = sse(delta({"content": "so "}), delta({"content": "far"}), error, delta({}, "stop"))
    events, decoder = read(data.draw(splits(stream)))
    assert [event.content for event in events] == ["so ", "far"]
    assert type(decoder.failure) is kind
    assert "boom" in str(decoder.failure)
    assert not decoder.done
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.content == "so far"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
@pytest.mark.parametrize("indent", [None, 2])
@given(st.data())
def test_an_error_that_is_no_event_stream_is_read_all_the_same(
    end: bytes, indent: int | None, data: st.DataObject
) -> None:
    error = {"error": {"message": "slow\u2028down", "code": 429}}
    body = json.dumps(error, indent=indent, ensure_ascii=False).encode() + end
    events, decoder = read(data.draw(splits(body)))
    assert events == []
    assert type(decoder.failure) is RateLimitError
    assert "slow\u2028down" in str(decoder.failure)


@given(st.data())
def test_a_whole_answer_to_a_request_for_a_stream_is_read(data: st.DataObject) -> None:
    answered = data.draw(answers(custom=True, legible=False))
    body = json.dumps(whole(answered), indent=data.draw(st.sampled_from([None, 1]))).encode()
    events, decoder = read(data.draw(splits(body + data.draw(st.sampled_from([b"", b"\n"])))))
    assert decoder.failure is None
    assert check_law(events) == expected(answered)


def test_a_large_whole_answer_to_a_request_for_a_stream_is_read() -> None:
    body = {"choices": [{"message": {"content": "x" * 200_000}, "finish_reason": "stop"}]}
    assert answer_of(json.dumps(body).encode()).content == "x" * 200_000


@pytest.mark.parametrize(
    "page", [b"<html><body>Bad Gateway</body></html>\n", b"{", b"[1]", b'{"choices": 5}']
)
def test_a_page_instead_of_a_stream_is_a_parse_error_that_quotes_it(page: bytes) -> None:
    error = failure_of(page)
    assert isinstance(error, ResponseParseError)
    assert error.body == page.decode().strip()


@pytest.mark.parametrize("frame", ["{", "[]", '{"choices": {}}', "hello", '{"choices": [null]}'])
def test_a_chunk_that_is_not_of_the_format_is_a_parse_error(frame: str) -> None:
    error = failure_of(sse(delta({"content": "x"}), frame, delta({}, "stop"), done=True))
    assert isinstance(error, ResponseParseError)
    assert error.body == frame
    assert error.partial is not None
    assert error.partial.content == "x"


JUNK = json_values() | st.sampled_from(
    [float("nan"), float("inf"), 1e300, "\ud800", 2**70, -1, {"index": 0}, [{}], [{"index": 0}]]
)


@st.composite
def odd_chunks(draw: st.DrawFn) -> dict[str, Any]:
    """Chunks with something in the wrong place."""
    some = st.fixed_dictionaries
    function = some({}, optional={"name": JUNK | texts(), "arguments": JUNK | texts()})
    call = some({}, optional={"index": JUNK, "id": JUNK, "function": function, "custom": JUNK})
    piece = some({}, optional={"type": JUNK, "text": JUNK, "thinking": JUNK})
    said = some(
        {},
        optional={
            "content": JUNK | st.lists(piece, max_size=2),
            "tool_calls": JUNK | st.lists(call, max_size=2),
            "function_call": JUNK | function,
            "annotations": JUNK,
            "audio": JUNK | some({}, optional={"data": JUNK, "transcript": JUNK}),
            "reasoning": JUNK,
            "refusal": JUNK,
        },
    )
    choice = some(
        {},
        optional={
            "index": JUNK,
            "delta": JUNK | said,
            "message": JUNK | said,
            "finish_reason": JUNK,
            "logprobs": JUNK | some({}, optional={"content": JUNK, "refusal": JUNK}),
        },
    )
    counts = some({}, optional={"prompt_tokens": JUNK, "completion_tokens": JUNK})
    return draw(
        some(
            {},
            optional={
                "id": JUNK,
                "model": JUNK,
                "choices": JUNK | st.lists(choice, max_size=2),
                "usage": JUNK | counts,
                "error": JUNK,
                "message": JUNK,
            },
        )
    )


@given(st.lists(odd_chunks(), max_size=4), st.booleans())
def test_nothing_in_a_stream_makes_the_decoder_raise(found: list[Any], done: bool) -> None:
    events, decoder = read([sse(*found, done=done)])
    if decoder.failure is None:
        check_law(events)
    else:
        assert not decoder.done
        assert decoder.failure.partial is not None


@given(odd_chunks())
def test_nothing_in_a_whole_answer_makes_the_parser_raise_anything_else(body: Any) -> None:
    try:
        PARSER.parse(json.dumps(body))
    except (APIStatusError, ResponseParseError) as error:
        str(error).encode()
        error.body.encode(errors="replace")


@given(st.binary(max_size=80), st.data())
def test_no_bytes_make_the_decoder_raise(noise: bytes, data: st.DataObject) -> None:
    stream = sse(delta({"content": "x"})) + noise + sse(delta({}, "stop"), done=True)
    events, decoder = read(data.draw(splits(stream)))
    assert events[0].content == "x"
    assert decoder.done or decoder.failure is not None


# What servers do otherwise than OpenAI.


@example(text="".join(ODD))
@given(text=texts(min_size=1))
def test_text_is_kept_to_the_letter_in_single_bytes(text: str) -> None:
    chunk = json.dumps(delta({"content": text}), ensure_ascii=False)
    stream = sse(chunk, delta({}, "stop"), done=True)
    assert answer_of([bytes([byte]) for byte in stream]).content == text


def test_half_a_surrogate_pair_and_a_byte_order_mark_are_read() -> None:
    stream = "\ufeff".encode() + sse('{"choices": [{"delta": {"content": "\\ud800"}}]}', done=True)
    assert answer_of(stream).content == "\ud800"


def test_reasoning_is_read_under_both_names_and_once() -> None:
    stream = sse(
        delta({"reasoning_content": "a"}),
        delta({"reasoning": "b"}),
        delta({"reasoning_content": "c", "reasoning": "c"}),
        delta({"content": "x"}, "stop"),
    )
    assert (answer_of(stream).reasoning, answer_of(stream).content) == ("abc", "x")


@pytest.mark.parametrize(
    "member",
    [
        {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]},
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"refusal": "no"},
        {"function_call": {"name": "f", "arguments": "{}"}},
        {"annotations": [{"type": "url_citation"}]},
        {"audio": {"id": "au"}},
    ],
)
def test_what_comes_beside_text_is_read_as_well(member: dict[str, Any]) -> None:
    said = {"content": "x"} | member
    body = {"id": "1", "choices": [{"message": said, "finish_reason": "stop"}]}
    answer = answer_of(sse(delta(said, "stop")))
    assert answer == PARSER.parse(body)
    assert answer.content == "x"
    assert answer != answer_of(sse(delta({"content": "x"}, "stop")))


def test_pieces_of_thinking_are_reasoning() -> None:  # Mistral
    stream = sse(
        delta({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
        delta({"content": [{"type": "thinking", "thinking": "!"}]}),
        delta({"content": [{"type": "text", "text": "so "}]}),
        delta({"content": "x"}, "stop"),
    )
    assert (answer_of(stream).reasoning, answer_of(stream).content) == ("hm!", "so x")


def test_the_first_id_and_model_that_say_something_count() -> None:
    stream = sse(
        {"id": "", "model": "", "choices": []},  # Azure
        {"id": "a", "model": "m", "choices": []},
        {
            "id": "a",
            "model": "m",
            "choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}],
        },
    )
    assert (answer_of(stream).response_id, answer_of(stream).model) == ("a", "m")


def test_the_last_token_counts_are_the_answers() -> None:
    stream = sse(
        delta({"content": "x"}) | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        delta({}, "stop") | {"usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        {"choices": [], "usage": None},
    )
    assert answer_of(stream).usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_token_counts_that_are_no_numbers_are_left_out() -> None:
    stream = sse('{"usage": {"prompt_tokens": NaN, "completion_tokens": 2.0}}', done=True)
    assert answer_of(stream).usage == {"completion_tokens": 2}


def test_token_probabilities_are_joined() -> None:
    one, two = {"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}
    found = [delta({"content": "a"}), delta({"content": "b"}), delta({}, "stop")]
    found[0]["choices"][0]["logprobs"] = {"content": [one], "refusal": None}
    found[1]["choices"][0]["logprobs"] = {"content": [two], "refusal": None}
    found[2]["choices"][0]["logprobs"] = None
    answer = answer_of(sse(*found))
    body = {
        "id": "1",
        "choices": [
            {
                "message": {"content": "ab"},
                "finish_reason": "stop",
                "logprobs": {"content": [one, two], "refusal": None},
            }
        ],
    }
    assert answer == PARSER.parse(body)
    assert answer.logprobs == {"content": [one, two], "refusal": None}


def test_annotations_and_audio_are_kept_in_the_metadata() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "t"}}
    stream = sse(
        delta({"audio": {"id": "au", "data": None}}),
        delta({"audio": {"data": "AA", "transcript": "he"}}),
        delta({"audio": {"data": "BB", "transcript": "llo"}}),
        delta({"audio": {"expires_at": 5}, "annotations": [note]}, "stop"),
    )
    audio = {"id": "au", "data": "AABB", "transcript": "hello", "expires_at": 5}
    assert answer_of(stream).message.metadata == {"annotations": [note], "audio": audio}


def test_the_legacy_function_call_is_a_tool_call() -> None:
    stream = sse(
        delta({"function_call": {"name": "f", "arguments": ""}}),
        delta({"function_call": {"arguments": '{"a":'}}),
        delta({"function_call": {"arguments": " 1}"}}, "function_call"),
    )
    body = {
        "id": "1",
        "choices": [
            {
                "message": {"function_call": {"name": "f", "arguments": '{"a": 1}'}},
                "finish_reason": "function_call",
            }
        ],
    }
    answer = answer_of(stream)
    assert answer == PARSER.parse(body)
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("f", {"a": 1})]
    assert answer.finish_reason == "tool_calls"


def test_a_call_said_in_both_forms_is_one_call() -> None:
    call = {"id": "1", "index": 0, "function": {"name": "f", "arguments": "{}"}}
    legacy = {"name": "f", "arguments": "{}"}
    calls = (ToolCall("1", "f"),)
    assert (
        answer_of(
            sse(delta({"function_call": legacy}), delta({"tool_calls": [call]}, "stop"))
        ).tool_calls
        == calls
    )
    message = {"tool_calls": [call], "function_call": legacy}
    assert PARSER.parse({"choices": [{"message": message}]}).tool_calls == calls


def test_a_call_without_a_name_is_a_parse_error() -> None:
    stream = sse(delta({"content": "x", "tool_calls": [{"index": 0, "id": "1"}]}, "tool_calls"))
    error = failure_of(stream)
    assert isinstance(error, ResponseParseError)
    assert "tool call 0 has no name" in str(error)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x")


def test_of_a_legacy_call_without_a_name_nothing_is_kept() -> None:
    error = failure_of(sse(delta({"content": "x", "function_call": {"arguments": "{"}})))
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x")


def test_free_text_calls_are_told_apart_as_others_are() -> None:
    def call(name: str | None, text: str) -> dict[str, Any]:
        return {"type": "custom", "custom": {"name": name, "input": text}}

    stream = sse(
        delta({"tool_calls": [call("sh", "l")]}),
        delta({"tool_calls": [call(None, "s")]}),
        delta({"tool_calls": [call("py", "1")]}, "tool_calls"),
    )
    assert [(c.name, c.malformed_arguments) for c in answer_of(stream).tool_calls] == [
        ("sh", "ls"),
        ("py", "1"),
    ]


def test_calls_with_one_id_are_told_apart() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    streamed = answer_of(sse(delta({"tool_calls": [call]}), delta({"tool_calls": [call]}, "stop")))
    body = {"id": "1", "choices": [{"message": {"tool_calls": [call, call]}}]}
    assert streamed.message == PARSER.parse(body).message
    assert [call.id for call in streamed.tool_calls] == ["1", "1_1"]
    assert [call.arguments for call in streamed.tool_calls] == [{"a": 1}, {"a": 1}]


def test_calls_come_in_the_order_of_their_indexes() -> None:
    def call(index: int) -> dict[str, Any]:
        function = {"name": f"f{index}", "arguments": "{}"}
        return {"index": index, "id": f"c{index}", "function": function}

    stream = sse(delta({"tool_calls": [call(1)]}), delta({"tool_calls": [call(0)]}, "stop"))
    assert [call.name for call in answer_of(stream).tool_calls] == ["f0", "f1"]


# Long answers.


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({"audio": {"data": "a" * 1000}}, 8_000),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "x" * 300}}]}, 10_000),
    ],
    ids=["audio", "arguments"],
)
def test_a_long_answer_is_read_in_linear_time(said: dict[str, Any], count: int) -> None:
    began = time.process_time()
    answer_of([sse(delta(said))] * count + [sse(delta({}, "stop"))])
    assert time.process_time() - began < 5  # it takes less than one; in the square, over fifteen


def test_many_token_probabilities_are_read_in_linear_time() -> None:
    chunk = delta({"content": "a"})
    chunk["choices"][0]["logprobs"] = {"content": [{"token": "a"}]}
    decoder = PARSER.decoder()
    pieces = sse(chunk) * 1000
    began = time.process_time()
    for _ in range(60):
        decoder.feed(pieces)
    assert time.process_time() - began < 5  # it takes less than one; in the square, over eight
    probable = decoder.whole().logprobs
    assert probable is not None
    assert len(probable["content"]) == 60_000
