"""The official SDK as the judge of the chat completions format, in both directions.

What Locus builds, the SDK's parameter types accept, with no member they do not know. What its
response classes can say, Locus reads equal. The same bytes give the same response through both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, is_typeddict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.messages import Message, TextPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser
from locus.wire.provider_json import encode_json
from tests.support.strategies import (
    CallContent,
    ResponseContent,
    byte_splits,
    conversations,
    options,
    response_contents,
    texts,
    tools,
)
from tests.support.wire_json.chat_json import (
    build_body,
    build_expected_call,
    decode_response,
    encode_sse,
    framed_streams,
    read_stream,
    stream_chunks,
)

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")
typing_extensions = pytest.importorskip("typing_extensions")

from openai.lib.streaming.chat import ChatCompletionStreamState  # noqa: E402
from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: E402
from openai.types.chat import completion_create_params as params  # noqa: E402

pytestmark = pytest.mark.sdk

# The SDK rides on httpx2 since its third version, and on httpx before.
http = pytest.importorskip("httpx2" if int(openai.VERSION.split(".")[0]) >= 3 else "httpx")

PARSER = ChatCompletionsParser()
BUILDER = ChatCompletionsBuilder()


# Requests.


@cache
def make_request_validator() -> Any:
    """The SDK's parameter types as a validator that refuses unknown members."""
    strict = pydantic.ConfigDict(extra="forbid")
    for name, module in list(sys.modules.items()):
        if name.startswith("openai.types"):
            for cls in vars(module).values():
                if is_typeddict(cls) or typing_extensions.is_typeddict(cls):
                    cls.__pydantic_config__ = strict
    return pydantic.TypeAdapter(params.CompletionCreateParams)


def exhaust_iterables(value: Any) -> Any:
    """Pull everything out of pydantic's lazy iterables, which validate only then."""
    if isinstance(value, dict):
        return {name: exhaust_iterables(member) for name, member in value.items()}
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    return [exhaust_iterables(member) for member in value]


@given(st.data())
def test_what_is_built_is_what_the_sdk_would_send(data: st.DataObject) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(options(tool_list))
    model = data.draw(st.sampled_from(["gpt-4o", "o3", "gpt-5", "llama-3"]))
    stream = data.draw(st.booleans())
    messages = data.draw(conversations())
    body = json.loads(
        encode_json(BUILDER.build(messages, tool_list, model=model, stream=stream, **call_options))
    )
    assert exhaust_iterables(make_request_validator().validate_python(body)) == body


def test_the_judge_refuses_what_the_sdk_does_not_know() -> None:
    good = BUILDER.build("x", model="m")
    make_request_validator().validate_python(good)
    messages = [{"role": "user", "content": [{"type": "text", "text": "x", "colour": "red"}]}]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
    for bad in (
        good | {"colour": "red"},
        good | {"messages": messages},
        good | {"messages": [{"role": "assistant", "tool_calls": [call]}]},
        good | {"messages": [{"role": "robot", "content": "x"}]},
    ):
        with pytest.raises(pydantic.ValidationError):
            exhaust_iterables(make_request_validator().validate_python(bad))


# Responses.


def check_same_response(ours: ModelResponse, theirs: Any, ids: bool = True) -> None:
    """Locus's reading of a response beside the SDK's."""
    assert (ours.response_id, ours.model) == (theirs.id, theirs.model)
    candidates = ours.candidates or (ours,)
    assert len(candidates) == len(theirs.choices)
    for candidate, choice in zip(candidates, theirs.choices, strict=True):
        message = choice.message
        assert candidate.message.text == (message.content or "")
        assert (candidate.message.refusal or "") == (message.refusal or "")
        assert candidate.stop_reason == choice.finish_reason
        assert (candidate.reasoning or "") == (getattr(message, "reasoning_content", None) or "")
        calls = [_to_call_content(call) for call in message.tool_calls or ()]
        assert list(candidate.message.tool_calls) == [build_expected_call(call) for call in calls]
        annotations = [annotation.to_dict() for annotation in message.annotations or ()]
        assert candidate.message.metadata.get("annotations", []) == annotations
        theirs_logprobs = choice.logprobs and choice.logprobs.to_dict()
        assert (candidate.logprobs and _strip_null_members(candidate.logprobs)) == (
            theirs_logprobs and _strip_null_members(theirs_logprobs)
        )
    usage = theirs.usage
    if usage is None:
        assert ours.usage == {}
        return
    assert ours.prompt_tokens == usage.prompt_tokens
    assert ours.completion_tokens == usage.completion_tokens
    prompt_details, completion_details = (
        usage.prompt_tokens_details,
        usage.completion_tokens_details,
    )
    assert ours.usage.get("cached_tokens") == (prompt_details and prompt_details.cached_tokens)
    assert ours.usage.get("reasoning_tokens") == (
        completion_details and completion_details.reasoning_tokens
    )


def _to_call_content(call: Any) -> CallContent:
    if call.type == "custom":
        return CallContent(call.id, call.custom.name, call.custom.input, custom=True)
    return CallContent(call.id, call.function.name, call.function.arguments)


def _strip_null_members(value: Any) -> Any:
    return {name: member for name, member in value.items() if member is not None}


@st.composite
def logprobs(draw: st.DrawFn) -> dict[str, Any]:
    """Token probabilities as OpenAI sends them."""
    token = st.fixed_dictionaries(
        {
            "token": texts(max_size=3),
            "logprob": st.floats(-100, 0),
            "bytes": st.none() | st.lists(st.integers(0, 255), max_size=3),
            "top_logprobs": st.just([]),
        }
    )
    tokens = st.lists(token, min_size=1, max_size=2)
    return {"content": draw(tokens), "refusal": draw(st.none() | tokens)}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Complete responses with everything that the SDK's classes know."""
    body = build_body(draw(response_contents(max_candidates=3, custom=True, valid_arguments=False)))
    annotation = {"start_index": 0, "end_index": 1, "title": "t", "url": "https://x"}
    for choice in body["choices"]:
        choice["logprobs"] = draw(st.none() | logprobs())
        if draw(st.booleans()):
            choice["message"]["annotations"] = [
                {"type": "url_citation", "url_citation": annotation}
            ]
    return body


@given(bodies())
def test_what_the_sdk_can_say_is_read_equal(body: dict[str, Any]) -> None:
    theirs = ChatCompletion.model_validate(body)
    check_same_response(PARSER.parse(theirs.to_json().encode()), theirs)
    check_same_response(PARSER.parse(theirs.model_dump_json()), theirs)
    check_same_response(PARSER.parse(theirs.to_dict()), theirs)
    check_same_response(PARSER.parse(theirs.model_dump(mode="json")), theirs)


def test_the_legacy_function_call_is_read_as_the_sdk_reads_it() -> None:
    message = {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a": 1}'}}
    choice = {"index": 0, "finish_reason": "function_call", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    theirs = ChatCompletion.model_validate(body)
    ours = PARSER.parse(theirs.to_json())
    function = theirs.choices[0].message.function_call
    assert function is not None
    assert [(call.name, call.arguments) for call in ours.tool_calls] == [
        (function.name, json.loads(function.arguments))
    ]
    assert ours.stop_reason == theirs.choices[0].finish_reason


# Streams.


def decode_with_sdk(data_chunks: list[bytes]) -> list[Any]:
    """Return the chunks that the SDK's client makes of a response's bytes."""

    def handle_request(_: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield from data_chunks

        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    with http.Client(transport=http.MockTransport(handle_request)) as transport:
        client = openai.OpenAI(
            api_key="none", base_url="http://x/v1", http_client=transport, max_retries=0
        )
        messages: Any = [{"role": "user", "content": "x"}]
        return list(client.chat.completions.create(model="m", messages=messages, stream=True))


def accumulate_chunks(chunks: list[Any]) -> Any:
    """Return the complete response, as the SDK's own accumulation gives it."""
    state: Any = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    return state.current_completion_snapshot  # the final one refuses responses cut by length


@st.composite
def streams(draw: st.DrawFn) -> tuple[ResponseContent, bytes]:
    """Streams in OpenAI's own style, in any framing that the standard allows."""
    sample = draw(response_contents(max_candidates=2, valid_arguments=False))
    chunks = draw(stream_chunks(sample, official_only=True))
    # Not in the first chunk of a candidate: the SDK counts those of the second candidate twice.
    for chunk in chunks[len(sample.candidates) :]:
        for choice in chunk["choices"]:
            choice["logprobs"] = draw(st.none() | st.none() | logprobs())
    return sample, draw(framed_streams(chunks, official_only=True))


@given(streams(), st.data())
def test_the_same_bytes_give_the_same_response(
    stream: tuple[ResponseContent, bytes], data: st.DataObject
) -> None:
    chunks = decode_with_sdk(data.draw(byte_splits(stream[1])))
    ours = decode_response(data.draw(byte_splits(stream[1])))
    theirs = accumulate_chunks(chunks)
    check_same_response(ours, theirs)
    first = "".join(
        choice.delta.content or ""
        for chunk in chunks
        for choice in chunk.choices
        if choice.index == 0
    )
    assert ours.content == first


@given(st.data())
def test_what_the_sdks_chunks_can_say_is_read_equal(data: st.DataObject) -> None:
    chunks = [
        ChatCompletionChunk.model_validate(chunk)
        for chunk in data.draw(
            stream_chunks(data.draw(response_contents(max_candidates=2)), official_only=True)
        )
    ]
    theirs = accumulate_chunks(chunks)
    for dumped in ([chunk.to_json() for chunk in chunks], [c.model_dump_json() for c in chunks]):
        lines = [json.dumps(json.loads(text)) for text in dumped]
        check_same_response(decode_response(encode_sse(*lines, done=True)), theirs)


@given(streams(), st.data())
def test_of_a_stream_that_is_cut_the_sdk_saw_no_more_than_locus(
    stream: tuple[ResponseContent, bytes], data: st.DataObject
) -> None:
    prefix = stream[1][: data.draw(st.integers(0, len(stream[1])))]
    try:
        chunks = decode_with_sdk([prefix])
    except (ValueError, openai.APIError):  # cut in the middle of a message
        return
    events, decoder = read_stream([prefix])
    partial = events[-1].response if decoder.done else getattr(decoder.failure, "partial", None)
    assert partial is not None
    text = "".join(
        choice.delta.content or ""
        for chunk in chunks
        for choice in chunk.choices
        if choice.index == 0
    )
    assert partial.content.startswith(text)


@pytest.mark.parametrize("error", [{"error": {"message": "boom", "code": 429}}, {"error": "boom"}])
def test_an_error_in_the_stream_is_an_error_in_both(error: dict[str, Any]) -> None:
    chunk = {"id": "1", "choices": [{"index": 0, "delta": {"content": "x"}}]}
    stream = encode_sse(chunk, error, done=True)
    with pytest.raises(openai.APIError):
        decode_with_sdk([stream])
    failure = read_stream([stream])[1].failure
    assert failure is not None
    assert "boom" in str(failure)


def test_a_call_of_locus_goes_back_as_the_sdk_sends_it() -> None:
    messages = [
        Message.user([TextPart("x")]),
        Message.assistant("so", [ToolCall("1", "f", {"a": 1}), ToolCall("2", "f")]),
    ]
    message: Any = BUILDER.build(messages, model="m")["messages"][1]
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    theirs = ChatCompletion.model_validate(body | {"choices": [choice]})
    assert PARSER.parse(theirs.to_json()).message == messages[1]
