"""Streamed answers of Ollama: where they end, what servers send, and the package as the judge.

What holds for the streams of every format is in ``test_streaming_law.py``.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.ollama_chat import OllamaChatParser
from tests.support.decoding import check_law
from tests.support.strategies import splits
from tests.support.wire_json.ollama_json import (
    answer_of,
    chunks,
    end,
    failure_of,
    framed,
    ndjson,
    piece,
    read,
    sayable,
    whole,
)

PARSER = OllamaChatParser()


def call(name: str = "f", arguments: Any = None, **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {} if arguments is None else arguments}} | more


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


# The end.


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


@pytest.mark.parametrize("ended", [{"done": False}, {"done": None}, {"done_reason": "stop"}])
def test_nothing_but_done_ends_an_answer(ended: dict[str, Any]) -> None:
    last = {name: value for name, value in end().items() if name != "done"}
    assert isinstance(failure_of(ndjson(piece(content="x"), last | ended)), StreamInterruptedError)


def test_a_call_without_a_name_is_a_parse_error() -> None:
    nameless = {"function": {"arguments": {"a": 1}}}
    error = failure_of(ndjson(piece(content="x", tool_calls=[nameless, call(id="1")]), end()))
    assert isinstance(error, ResponseParseError)
    assert "tool call 0 has no name" in str(error)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x", [ToolCall("1", "f")])


# What servers send.


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
