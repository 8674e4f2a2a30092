"""Streamed chat completions: where they end, and how other servers differ from OpenAI.

What holds for the streams of every format is in ``locus/testing/formats/stream_suite.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ToolCall
from locus.wire.chat_completions import ChatCompletionsParser
from locus.wire.chat_completions import stream as stream_module
from locus.wire.chat_completions.response_structs import FunctionCall
from locus.wire.chat_completions.tool_call_accumulator import ToolCallAccumulator
from locus.wire.response_parts import UNNAMED_TOOL_NAME
from tests.support.strategies import byte_splits, response_contents
from tests.support.timing import assert_linear
from tests.support.wire_json.chat_json import (
    STYLES,
    WITHOUT_IDS,
    build_body,
    decode_failure,
    decode_response,
    encode_sse,
    framed_streams,
    make_delta_chunk,
    read_stream,
    stream_chunks,
)

PARSER = ChatCompletionsParser()


@pytest.mark.parametrize("style", STYLES)
@given(st.data())
def test_tool_calls_in_every_servers_style_are_those_of_the_complete_response(
    style: str, data: st.DataObject
) -> None:
    sample = data.draw(response_contents())
    stream = data.draw(framed_streams(data.draw(stream_chunks(sample, style))))
    body = build_body(sample, with_ids=style not in WITHOUT_IDS)
    if style == "object":
        for call in body["choices"][0]["message"].get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    streamed = decode_response(data.draw(byte_splits(stream)))
    assert streamed == PARSER.parse(body)
    assert len({call.id for call in streamed.tool_calls}) == len(sample.first.calls)
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, json.loads(call.text)) for call in sample.first.calls
    ]


# The end.


@pytest.mark.parametrize("rest", [b"d", b"data", b"data:", b"data: ", b'data: {"us', b"data: [DON"])
def test_a_stream_cut_after_the_finish_reason_is_still_interrupted(rest: bytes) -> None:
    stream = encode_sse(make_delta_chunk({"content": "x"}), make_delta_chunk({}, "stop")) + rest
    assert isinstance(decode_failure(stream), StreamInterruptedError)


@pytest.mark.parametrize(
    "rest", [b"", b": bye\n", b": bye\n\n", b"data: [DONE]", b"data: [DONE]\n"]
)
def test_a_finish_reason_and_an_orderly_end_need_no_done(rest: bytes) -> None:
    response = decode_response(
        encode_sse(make_delta_chunk({"content": "x"}), make_delta_chunk({}, "stop")) + rest
    )
    assert (response.content, response.stop_reason) == ("x", "stop")


def test_every_candidate_needs_its_finish_reason() -> None:
    second = {"id": "1", "choices": [{"index": 1, "delta": {"content": "y"}}]}
    assert isinstance(
        decode_failure(encode_sse(make_delta_chunk({"content": "x"}, "stop"), second)),
        StreamInterruptedError,
    )


def test_a_stream_that_the_provider_behind_openrouter_broke_off_has_not_stopped() -> None:
    end = make_delta_chunk({}, "stop")
    end["choices"][0]["native_finish_reason"] = "network_error"
    response = decode_response([encode_sse(make_delta_chunk({"content": "half"}), end)])
    assert (response.content, response.stop_reason) == ("half", "network_error")
    end["choices"][0]["native_finish_reason"] = "error"
    failure = decode_failure(encode_sse(make_delta_chunk({"content": "half"}), end))
    assert isinstance(failure, APIStatusError)


def test_an_empty_finish_reason_is_none() -> None:
    stream = encode_sse(make_delta_chunk({"content": "x"}, ""))
    assert isinstance(decode_failure(stream), StreamInterruptedError)
    assert decode_response(stream + b"data: [DONE]\n\n").stop_reason is None


def test_a_finish_reason_in_camel_case_ends_a_stream() -> None:
    end = make_delta_chunk({"content": "y"})
    end["choices"][0]["finishReason"] = "MAX_TOKENS"
    response = decode_response(encode_sse(make_delta_chunk({"content": "x"}), end))
    assert (response.content, response.finish_reason) == ("xy", "length")


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b""])
def test_choices_may_be_counted_from_one(end: bytes) -> None:
    chunks = [make_delta_chunk({"content": text}) for text in ("He", "llo")]
    chunks.append(make_delta_chunk({"tool_calls": [{"function": {"name": "f"}}]}, "stop"))
    for chunk in chunks:
        chunk["choices"][0]["index"] = 1
    events, _ = read_stream([encode_sse(*chunks) + end])
    response = events[-1].response
    assert "".join(event.content or "" for event in events) == response.content == "Hello"
    assert [call.name for call in response.tool_calls] == ["f"]
    assert (response.finish_reason, response.candidates) == ("tool_calls", ())


def test_a_large_complete_response_to_a_request_for_a_stream_is_read() -> None:
    body = {"choices": [{"message": {"content": "x" * 200_000}, "finish_reason": "stop"}]}
    assert decode_response(json.dumps(body).encode()).content == "x" * 200_000


# How other servers differ from OpenAI.


def test_reasoning_is_read_under_both_names_and_not_twice() -> None:
    stream = encode_sse(
        make_delta_chunk({"reasoning_content": "a"}),
        make_delta_chunk({"reasoning": "b"}),
        make_delta_chunk({"reasoning_content": "c", "reasoning": "c"}),
        make_delta_chunk({"content": "x"}, "stop"),
    )
    assert (decode_response(stream).reasoning, decode_response(stream).content) == ("abc", "x")


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
    message = {"content": "x"} | member
    body = {"id": "1", "choices": [{"message": message, "finish_reason": "stop"}]}
    response = decode_response(encode_sse(make_delta_chunk(message, "stop")))
    assert response == PARSER.parse(body)
    assert response.content == "x"
    assert response != decode_response(encode_sse(make_delta_chunk({"content": "x"}, "stop")))


@pytest.mark.parametrize(
    "beside",
    [
        {"delta": {"reasoning_content": "hm"}},
        {"delta": {"content": [{"type": "text", "text": "y"}]}},
        {"delta": {"content": None, "refusal": "no"}},
        {"delta": {"images": [{"image_url": {"url": "data:image/png;base64,AA=="}}]}},
        {"delta": {"member_of_next_year": "?"}},
        {"index": 1, "finish_reason": "stop"},
        {"logprobs": {"content": [{"token": "y", "logprob": -0.5}]}},
        {"usage": {"prompt_tokens": 3, "completion_tokens": 4}},
        {"delta": None, "message": {"role": "assistant", "content": "xxxxz"}},
        {},
    ],
)
def test_a_chunk_after_plain_text_is_read_as_the_first_would_be(
    beside: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [make_delta_chunk({"content": "x"}) for _ in range(9)]
    choice = chunks[4]["choices"][0]
    choice |= beside | {"delta": beside.get("delta", {}) and choice["delta"] | beside["delta"]}
    chunks[6]["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    stream = encode_sse(*chunks, make_delta_chunk({"content": "!"}, "stop"))
    by_decoder = decode_response(stream)

    def refuse_to_decode(frame: bytes) -> None:
        raise msgspec.ValidationError

    monkeypatch.setattr(stream_module, "decode_plain_chunk", refuse_to_decode)
    assert decode_response(stream) == by_decoder
    assert by_decoder.usage


def test_chunks_of_thinking_are_reasoning() -> None:  # Mistral
    stream = encode_sse(
        make_delta_chunk(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
        ),
        make_delta_chunk({"content": [{"type": "thinking", "thinking": "!"}]}),
        make_delta_chunk({"content": [{"type": "text", "text": "so "}]}),
        make_delta_chunk({"content": "x"}, "stop"),
    )
    assert (decode_response(stream).reasoning, decode_response(stream).content) == ("hm!", "so x")


def test_the_first_id_and_model_that_are_not_empty_are_used() -> None:
    stream = encode_sse(
        {"id": "", "model": "", "choices": []},  # Azure
        {"id": "a", "model": "m", "choices": []},
        {
            "id": "a",
            "model": "m",
            "choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}],
        },
    )
    assert (decode_response(stream).response_id, decode_response(stream).model) == ("a", "m")


def test_the_last_token_counts_are_the_usage_of_the_response() -> None:
    stream = encode_sse(
        make_delta_chunk({"content": "x"})
        | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        make_delta_chunk({}, "stop") | {"usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        {"choices": [], "usage": None},
    )
    assert decode_response(stream).usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_token_counts_that_are_no_numbers_are_left_out() -> None:
    stream = encode_sse('{"usage": {"prompt_tokens": NaN, "completion_tokens": 2.0}}', done=True)
    assert decode_response(stream).usage == {"completion_tokens": 2}


def test_token_probabilities_are_joined() -> None:
    first, second = {"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}
    chunks = [
        make_delta_chunk({"content": "a"}),
        make_delta_chunk({"content": "b"}),
        make_delta_chunk({}, "stop"),
    ]
    chunks[0]["choices"][0]["logprobs"] = {"content": [first], "refusal": None}
    chunks[1]["choices"][0]["logprobs"] = {"content": [second], "refusal": None}
    chunks[2]["choices"][0]["logprobs"] = None
    response = decode_response(encode_sse(*chunks))
    body = {
        "id": "1",
        "choices": [
            {
                "message": {"content": "ab"},
                "finish_reason": "stop",
                "logprobs": {"content": [first, second], "refusal": None},
            }
        ],
    }
    assert response == PARSER.parse(body)
    assert response.logprobs == {"content": [first, second], "refusal": None}


def test_annotations_and_audio_are_in_the_metadata() -> None:
    annotation = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "t"}}
    stream = encode_sse(
        make_delta_chunk({"audio": {"id": "au", "data": None}}),
        make_delta_chunk({"audio": {"data": "AA", "transcript": "he"}}),
        make_delta_chunk({"audio": {"data": "BB", "transcript": "llo"}}),
        make_delta_chunk({"audio": {"expires_at": 5}, "annotations": [annotation]}, "stop"),
    )
    audio = {"id": "au", "data": "AABB", "transcript": "hello", "expires_at": 5}
    assert decode_response(stream).message.metadata == {"annotations": [annotation], "audio": audio}


def test_the_legacy_function_call_is_a_tool_call() -> None:
    stream = encode_sse(
        make_delta_chunk({"function_call": {"name": "f", "arguments": ""}}),
        make_delta_chunk({"function_call": {"arguments": '{"a":'}}),
        make_delta_chunk({"function_call": {"arguments": " 1}"}}, "function_call"),
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
    response = decode_response(stream)
    assert response == PARSER.parse(body)
    assert [(call.name, call.arguments) for call in response.tool_calls] == [("f", {"a": 1})]
    assert response.finish_reason == "tool_calls"


def test_a_call_sent_in_both_forms_is_one_call() -> None:
    call = {"id": "1", "index": 0, "function": {"name": "f", "arguments": "{}"}}
    legacy = {"name": "f", "arguments": "{}"}
    calls = (ToolCall("1", "f"),)
    assert (
        decode_response(
            encode_sse(
                make_delta_chunk({"function_call": legacy}),
                make_delta_chunk({"tool_calls": [call]}, "stop"),
            )
        ).tool_calls
        == calls
    )
    message = {"tool_calls": [call], "function_call": legacy}
    assert PARSER.parse({"choices": [{"message": message}]}).tool_calls == calls


def test_a_call_without_a_name_has_one_that_no_tool_has() -> None:
    call = {"index": 0, "id": "1", "function": {"arguments": '{"a": 1}'}}
    chunk = make_delta_chunk({"content": "x", "tool_calls": [call]}, "tool_calls")
    response = decode_response(encode_sse(chunk))
    assert response.tool_calls == (ToolCall("1", UNNAMED_TOOL_NAME, {"a": 1}),)


def test_a_legacy_call_without_a_name_is_dropped() -> None:
    error = decode_failure(
        encode_sse(make_delta_chunk({"content": "x", "function_call": {"arguments": "{"}}))
    )
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert error.partial.message == Message.assistant("x")


def test_free_text_calls_are_distinguished_as_others_are() -> None:
    def call(name: str | None, text: str) -> dict[str, Any]:
        return {"type": "custom", "custom": {"name": name, "input": text}}

    stream = encode_sse(
        make_delta_chunk({"tool_calls": [call("sh", "l")]}),
        make_delta_chunk({"tool_calls": [call(None, "s")]}),
        make_delta_chunk({"tool_calls": [call("py", "1")]}, "tool_calls"),
    )
    assert [(c.name, c.malformed_arguments) for c in decode_response(stream).tool_calls] == [
        ("sh", "ls"),
        ("py", "1"),
    ]


def test_calls_with_one_id_are_distinguished() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    streamed = decode_response(
        encode_sse(
            make_delta_chunk({"tool_calls": [call]}),
            make_delta_chunk({"tool_calls": [call]}, "stop"),
        )
    )
    body = {"id": "1", "choices": [{"message": {"tool_calls": [call, call]}}]}
    assert streamed.message == PARSER.parse(body).message
    assert [call.id for call in streamed.tool_calls] == ["1", "1_1"]
    assert [call.arguments for call in streamed.tool_calls] == [{"a": 1}, {"a": 1}]


def test_calls_are_in_the_order_of_their_indexes() -> None:
    def call(index: int) -> dict[str, Any]:
        function = {"name": f"f{index}", "arguments": "{}"}
        return {"index": index, "id": f"c{index}", "function": function}

    stream = encode_sse(
        make_delta_chunk({"tool_calls": [call(1)]}),
        make_delta_chunk({"tool_calls": [call(0)]}, "stop"),
    )
    assert [call.name for call in decode_response(stream).tool_calls] == ["f0", "f1"]


# Long responses.


@pytest.mark.parametrize(
    "message",
    [
        {"audio": {"data": "a" * 1000}},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "x" * 300}}]},
    ],
    ids=["audio", "arguments"],
)
def test_a_long_response_is_read_in_linear_time(message: dict[str, Any]) -> None:
    last = encode_sse(make_delta_chunk({}, "stop"))

    def prepare(count: int) -> Callable[[], object]:
        stream = [encode_sse(make_delta_chunk(message))] * count + [last]
        return lambda: decode_response(stream)

    assert_linear(prepare, 500)


def make_call_delta(name: str | None, arguments: str, **members: Any) -> dict[str, Any]:
    return {"tool_calls": [{**members, "function": {"name": name, "arguments": arguments}}]}


MANY_DELTAS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "calls by id": lambda size: [make_call_delta("f", "{}", id=f"c{n}") for n in range(size)],
    "fragments after many calls": lambda size: [
        *(make_call_delta("f", "", index=n, id=f"c{n}") for n in range(size)),
        *[make_call_delta(None, "x", index=0)] * size,
    ],
    "a repeated name": lambda size: [
        make_call_delta("f", text, index=0) for text in ("[", *['{"a":', "1", "}", ","] * size)
    ],
    "a name in pieces": lambda size: [
        make_call_delta("ab"[n % 2], "", index=0) for n in range(size)
    ],
    "pieces of reasoning": lambda size: [
        {"reasoning_details": [{"type": "reasoning.text", "text": "x" * 300, "index": n % 2}]}
        for n in range(size)
    ],
}


@pytest.mark.parametrize("kind", MANY_DELTAS)
def test_many_deltas_of_one_message_are_read_in_linear_time(kind: str) -> None:
    def prepare(size: int) -> Callable[[], object]:
        deltas = map(make_delta_chunk, MANY_DELTAS[kind](size))
        stream = encode_sse(*deltas, make_delta_chunk({}, "stop"))
        return lambda: decode_response(stream)

    assert_linear(prepare, 100)


@pytest.mark.parametrize(
    ("texts", "is_complete"),
    [
        (['{"a": "}', "\\", '"}', '"}'], [False, False, False, True]),
        (["{", '"a": {}', "}", " ", "{}"], [False, False, True, False, False]),
        (["}{", "{}", "}"], [False, False, False]),
        (['"}', "{}"], [False, False]),
    ],
)
def test_a_call_is_complete_once_its_object_is(texts: list[str], is_complete: list[bool]) -> None:
    call = ToolCallAccumulator(0)
    for number, text in enumerate(texts):
        call.add_function_delta(FunctionCall("f", text))
        assert call.has_complete_arguments() is is_complete[number]


def test_many_token_probabilities_are_read_in_linear_time() -> None:
    chunk = make_delta_chunk({"content": "a"})
    chunk["choices"][0]["logprobs"] = {"content": [{"token": "a"}]}
    data = encode_sse(chunk) * 100

    def feed(decoder: Any, count: int) -> None:
        for _ in range(count):
            decoder.feed(data)

    assert_linear(lambda count: partial(feed, PARSER.make_decoder(), count), 20)
    decoder = PARSER.make_decoder()
    feed(decoder, 600)
    logprobs = decoder.build_response().logprobs
    assert logprobs is not None
    assert len(logprobs["content"]) == 60_000


# Calls and messages in other forms.


def _make_call_delta(
    arguments: Any = None, name: str | None = None, index: int = 0, **members: Any
) -> dict[str, Any]:
    function = {} if name is None else {"name": name}
    if arguments is not None:
        function["arguments"] = arguments
    return {"index": index, "function": function, **members}


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        (  # the complete arguments once more, without and with the id
            [("", "f", {"id": "c"}), ('{"a":',), ("1}",), ('{"a": 1}',)],
            [("f", {"a": 1})],
        ),
        (
            [("", "f", {"id": "c"}), ('{"a":1}',), ('{"a":1}', "f", {"id": "c"})],
            [("f", {"a": 1})],
        ),
        # an empty object first, and then the arguments
        ([({}, "f", {"id": "c"}), ('{"a":',), ("1}",)], [("f", {"a": 1})]),
        ([("{}", "f", {"id": "c"}), ('{"a":1}',)], [("f", {"a": 1})]),
        # two calls of the index 0 without ids
        (
            [("", "f", {"type": "function"}), ("", "g", {"type": "function"})],
            [("f", {}), ("g", {})],
        ),
        ([("{}", "f"), ("{}", "g")], [("f", {}), ("g", {})]),
        # a name in two parts
        ([("", "get_", {"id": "c"}), ("", "x"), ('{"a":1}',)], [("get_x", {"a": 1})]),
        # members that the server only filled
        ([('{"a":1}', "f", {"id": "c"}), ("", "", {"index": 1, "id": ""})], [("f", {"a": 1})]),
        # the arguments of a call under another index than its name
        (
            [
                ('{"a":1}', "f", {"id": "c"}),
                ("", "g", {"id": "d"}),
                *[(part, None, {"index": 1}) for part in ('{"b":', "2}")],
            ],
            [("f", {"a": 1}), ("g", {"b": 2})],
        ),
        (
            [("", "f", {"id": "c"}), ('{"a": "x{"a": "xy"}', None, {"index": 1})],
            [("f", {"a": "xy"})],
        ),
        ([("null", "f", {"id": "c"})], [("f", {})]),
        ([([], "f", {"id": "c"})], [("f", {})]),
    ],
)
def test_calls_in_the_deltas_of_unusual_servers(
    deltas: list[tuple[Any, ...]], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    chunks = []
    for arguments, *rest in deltas:
        name = rest[0] if rest else None
        members = rest[1] if len(rest) > 1 else {}
        chunks.append(
            make_delta_chunk({"tool_calls": [_make_call_delta(arguments, name, **members)]})
        )
    response = decode_response(encode_sse(*chunks, make_delta_chunk({}, "tool_calls")))
    assert [(call.name, call.arguments) for call in response.tool_calls] == calls
    assert all(call.malformed_arguments is None for call in response.tool_calls)


def test_groq_says_why_it_has_stopped_early() -> None:
    chunk = {**make_delta_chunk({}, "stop"), "x_groq": {"id": "r", "error": "over capacity"}}
    stream = encode_sse(make_delta_chunk({"content": "a"}), chunk)
    decoder = PARSER.make_decoder()
    decoder.feed(stream)
    assert isinstance(decoder.failure, APIStatusError)
    assert "over capacity" in str(decoder.failure)


def test_two_different_objects_in_a_row_stay_as_they_came() -> None:
    text = '{"a": 1}{"a": 2}'
    delta = {"tool_calls": [_make_call_delta(text, "f", id="c")]}
    (call,) = decode_response(encode_sse(make_delta_chunk(delta, "tool_calls"))).tool_calls
    assert call.malformed_arguments == text


def test_text_in_the_form_of_the_older_completions_api_is_read() -> None:
    chunks = [{"choices": [{"index": 0, "text": text}]} for text in ("Hel", "lo", "")]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    assert decode_response(encode_sse(*chunks)).content == "Hello"
    whole = {"choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}]}
    assert PARSER.parse(whole).content == "Hello"


def test_a_message_in_place_of_a_delta_is_read() -> None:
    chunks = [
        {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": reason}]}
        for text, reason in (("Hel", None), ("Hello", None), ("Hello", "stop"))
    ]
    assert decode_response(encode_sse(*chunks)).content == "Hello"


def test_an_error_in_a_choice_is_raised_with_what_had_arrived() -> None:
    broken = make_delta_chunk({}, "error")
    broken["choices"][0]["error"] = {"code": 502, "message": "the upstream broke off"}
    error = decode_failure(encode_sse(make_delta_chunk({"content": "half"}), broken))
    assert isinstance(error, APIStatusError)
    assert error.status_code == 502
    assert error.partial is not None
    assert error.partial.content == "half"


def test_raw_of_a_stream_has_what_is_beside_the_deltas() -> None:
    first = {**make_delta_chunk({"content": "x"}), "id": "c", "system_fingerprint": "fp"}
    last = {"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "cost": 0.5}}
    raw = decode_response(encode_sse(first, make_delta_chunk({}, "stop"), last)).raw
    assert (raw["system_fingerprint"], raw["usage"]["cost"]) == ("fp", 0.5)
    assert raw["choices"][0]["finish_reason"] == "stop"
    assert "delta" not in raw["choices"][0]
