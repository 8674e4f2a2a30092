"""Tests of streamed responses of Ollama, compared with the package.

The tests that all formats share are in ``locus/testing/formats/stream_suite.py``.
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
    ContextWindowExceededError,
    InternalServerError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.testing.formats.stream_reader import check_streaming_law
from locus.wire.ollama_chat import OllamaChatParser
from tests.support.strategies import byte_splits
from tests.support.wire_json.ollama_json import (
    build_body,
    decode_failure,
    decode_response,
    encode_ndjson,
    expressible_responses,
    framed_streams,
    make_chunk,
    make_last_chunk,
    read_stream,
    stream_chunks,
)

PARSER = OllamaChatParser()


def make_call(name: str = "f", arguments: Any = None, **members: Any) -> dict[str, Any]:
    return {
        "function": {"name": name, "arguments": {} if arguments is None else arguments}
    } | members


@given(st.data())
def test_calls_without_ids_get_the_same_ids_as_in_a_complete_response(
    data: st.DataObject,
) -> None:
    sample = data.draw(expressible_responses(valid_arguments=False))
    stream = data.draw(framed_streams(data.draw(stream_chunks(sample, with_ids=False))))
    streamed = decode_response(data.draw(byte_splits(stream)))
    assert streamed == PARSER.parse(build_body(sample, with_ids=False))
    assert len({call.id for call in streamed.tool_calls}) == len(sample.first.calls)
    assert [call.name for call in streamed.tool_calls] == [call.name for call in sample.first.calls]


# The end.


@pytest.mark.parametrize("cut", range(len(encode_ndjson(make_last_chunk()))))
def test_last_line_is_used_if_it_is_complete(cut: int) -> None:
    first_line, last_line = encode_ndjson(make_chunk(content="x")), encode_ndjson(make_last_chunk())
    if cut == len(last_line) - 1:  # all but the line end
        assert decode_response(first_line + last_line[:cut]).content == "x"
        return
    error = decode_failure(first_line + last_line[:cut])
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.content == "x"


@pytest.mark.parametrize("members", [{"done": False}, {"done": None}, {"done_reason": "stop"}])
def test_only_done_ends_a_response(members: dict[str, Any]) -> None:
    last_chunk = {name: value for name, value in make_last_chunk().items() if name != "done"}
    assert isinstance(
        decode_failure(encode_ndjson(make_chunk(content="x"), last_chunk | members)),
        StreamInterruptedError,
    )


def test_call_without_a_name_is_not_part_of_a_partial_response() -> None:
    nameless = {"function": {"arguments": {"a": 1}}}
    chunk = make_chunk(content="x", tool_calls=[nameless, make_call(id="1")])
    error = decode_failure(encode_ndjson(chunk))
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x", [ToolCall("1", "f")])


def test_conversation_that_is_too_long_is_known_by_its_words() -> None:
    line = {"error": "the request exceeds the available context size, try increasing it"}
    assert isinstance(decode_failure(encode_ndjson(line)), ContextWindowExceededError)


def test_error_under_another_name_is_an_error() -> None:
    line = {"error parsing tool call": "invalid character 'c'"}
    error = decode_failure(encode_ndjson(make_chunk(content="So"), line))
    assert isinstance(error, InternalServerError)
    assert "invalid character 'c'" in str(error)
    assert error.partial is not None
    assert error.partial.content == "So"


# What servers send.


def test_long_line_in_small_reads_is_one_chunk() -> None:
    text = "é" * 1_000_000
    stream = encode_ndjson(
        json.dumps(make_chunk(content=text), ensure_ascii=False), make_last_chunk()
    )
    data = [stream[offset : offset + 1024] for offset in range(0, len(stream), 1024)]
    assert decode_response(data).content == text


def test_calls_in_any_chunk_with_text_after_them() -> None:
    stream = encode_ndjson(
        make_chunk(thinking="hm"),
        make_chunk(
            tool_calls=[
                make_call(arguments={"a": 1}, id="1"),
                make_call(arguments={"a": 2}, id="2"),
            ]
        ),
        make_chunk(content="so"),
        make_chunk(tool_calls=[make_call("g", '{"b": 3}', id="3")]),
        make_last_chunk(),
    )
    events, _ = read_stream([stream])
    assert [event.content for event in events] == [None, "so", None]
    response = check_streaming_law(events)
    assert response.tool_calls == (
        ToolCall("1", "f", {"a": 1}),
        ToolCall("2", "f", {"a": 2}),
        ToolCall("3", "g", {"b": 3}),
    )
    assert response.finish_reason == "tool_calls"


def test_last_chunk_may_contain_text_and_calls() -> None:
    stream = encode_ndjson(
        make_chunk(content="a"),
        make_last_chunk(message={"content": "b", "tool_calls": [make_call(id="1")]}),
    )
    response = decode_response(stream)
    assert response.message == Message.assistant("ab", [ToolCall("1", "f")])


def test_response_in_one_line_is_a_stream() -> None:
    stream = encode_ndjson(
        make_last_chunk(message={"content": "x", "thinking": "hm"}, eval_count=2)
    )
    response = decode_response(stream)
    assert (response.content, response.reasoning, response.usage) == (
        "x",
        "hm",
        {"completion_tokens": 2},
    )


def test_thinking_after_text_is_reasoning() -> None:
    stream = encode_ndjson(
        make_chunk(thinking="a"),
        make_chunk(content="x", thinking="b"),
        make_chunk(content="y"),
        make_last_chunk(),
    )
    response = decode_response(stream)
    assert (response.reasoning, response.content) == ("ab", "xy")
    assert response.message.all_content is not None
    assert response.message.all_content[0] == ThinkingPart("ab")


def test_token_probabilities_are_joined() -> None:
    first, second = {"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}
    stream = encode_ndjson(
        make_chunk(content="a") | {"logprobs": [first]},
        make_chunk(content="b") | {"logprobs": [second]},
        make_last_chunk(),
    )
    response = decode_response(stream)
    assert response.logprobs == {"content": [first, second]}
    assert response == PARSER.parse(
        make_last_chunk(message={"content": "ab"}, logprobs=[first, second])
    )


def test_token_counts_are_those_of_the_last_chunk() -> None:
    stream = encode_ndjson(
        make_chunk(content="x") | {"prompt_eval_count": 3, "eval_count": 1},
        make_last_chunk(prompt_eval_count=3, eval_count=2),
    )
    assert decode_response(stream).usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_last_model_name_that_is_not_empty_is_used() -> None:
    stream = encode_ndjson(make_chunk(content="x") | {"model": "a"}, make_last_chunk(model=""))
    assert decode_response(stream).model == "a"


# Comparison with the ollama package.


def decode_with_package(data: list[bytes]) -> list[Any]:
    """Return the chunks that the package's client decodes from a stream."""
    ollama = pytest.importorskip("ollama")

    def respond(_: Any) -> httpx.Response:
        return httpx.Response(200, content=iter(data))

    client_options = {"host": "x", "transport": httpx.MockTransport(respond), "verify": False}
    with ollama.Client(**client_options) as client:
        return list(client.chat("m", [{"role": "user", "content": "x"}], stream=True))


@pytest.mark.sdk
@given(st.data())
def test_locus_and_the_package_decode_the_same_stream(data: st.DataObject) -> None:
    sample = data.draw(expressible_responses())
    stream = data.draw(
        framed_streams(data.draw(stream_chunks(sample, without_noise=True)), official_only=True)
    )
    theirs = decode_with_package(data.draw(byte_splits(stream)))
    ours = decode_response(data.draw(byte_splits(stream)))
    messages = [chunk.message for chunk in theirs]
    assert ours.content == "".join(message.content or "" for message in messages)
    assert (ours.reasoning or "") == "".join(message.thinking or "" for message in messages)
    assert [(call.name, call.arguments) for call in ours.tool_calls] == [
        (call.function.name, call.function.arguments)
        for message in messages
        for call in message.tool_calls or ()
    ]
    last_chunk = theirs[-1]
    assert (ours.stop_reason, ours.model) == (last_chunk.done_reason, last_chunk.model)
    counts = (ours.usage.get("prompt_tokens"), ours.usage.get("completion_tokens"))
    assert counts == (last_chunk.prompt_eval_count, last_chunk.eval_count)
    # What the package decoded, encoded as JSON, is the same response except for the ids.
    round_trip = decode_response(
        encode_ndjson(*(chunk.model_dump_json(exclude_unset=True) for chunk in theirs))
    )
    assert without_call_ids(round_trip) == without_call_ids(ours)


def without_call_ids(response: ModelResponse) -> ModelResponse:
    calls = [attrs.evolve(call, id="any") for call in response.tool_calls]
    return attrs.evolve(response, message=attrs.evolve(response.message, tool_calls=calls))


@pytest.mark.sdk
@given(st.data())
def test_of_an_incomplete_stream_the_package_decodes_no_more_than_locus(
    data: st.DataObject,
) -> None:
    stream = data.draw(
        framed_streams(
            data.draw(stream_chunks(data.draw(expressible_responses()), without_noise=True)),
            official_only=True,
        )
    )
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    try:
        theirs = decode_with_package([prefix])
    except ValueError:  # cut off in the middle of a line
        return
    events, decoder = read_stream([prefix])
    partial = events[-1].response if decoder.done else getattr(decoder.failure, "partial", None)
    assert partial is not None
    assert partial.content == "".join(chunk.message.content or "" for chunk in theirs)
