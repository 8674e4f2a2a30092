"""Streamed chat completions: where they end, and what servers do otherwise than OpenAI.

What holds for the streams of every format is in ``test_streaming_law.py``.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ToolCall
from locus.wire.chat_completions import ChatCompletionsParser
from tests.support.strategies import answers, splits
from tests.support.wire_json.chat_json import (
    STYLES,
    WITHOUT_IDS,
    answer_of,
    chunks,
    delta,
    failure_of,
    framed,
    sse,
    whole,
)

PARSER = ChatCompletionsParser()


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


# The end.


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


def test_a_large_whole_answer_to_a_request_for_a_stream_is_read() -> None:
    body = {"choices": [{"message": {"content": "x" * 200_000}, "finish_reason": "stop"}]}
    assert answer_of(json.dumps(body).encode()).content == "x" * 200_000


# What servers do otherwise than OpenAI.


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
