"""The official SDK as the judge of the chat completions format, in both directions.

What Locus builds, the SDK's parameter types accept, with no member they do not know. What its
response classes can say, Locus reads equal. The same bytes give the same answer through both.
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
from locus.wire.json import encode
from tests.support.strategies import (
    Answered,
    SaidCall,
    answers,
    conversations,
    options,
    splits,
    texts,
    tools,
)
from tests.support.wire_json.chat_json import answer_of, call_of, chunks, framed, read, sse, whole

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
def accepts() -> Any:
    """The SDK's parameter types as a validator that refuses unknown members."""
    strict = pydantic.ConfigDict(extra="forbid")
    for name, module in list(sys.modules.items()):
        if name.startswith("openai.types"):
            for kind in vars(module).values():
                if is_typeddict(kind) or typing_extensions.is_typeddict(kind):
                    kind.__pydantic_config__ = strict
    return pydantic.TypeAdapter(params.CompletionCreateParams)


def exhaust(value: Any) -> Any:
    """Pull everything out of pydantic's lazy iterables, which validate only then."""
    if isinstance(value, dict):
        return {name: exhaust(member) for name, member in value.items()}
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    return [exhaust(member) for member in value]


@given(st.data())
def test_what_is_built_is_what_the_sdk_would_send(data: st.DataObject) -> None:
    given_ = data.draw(tools())
    said = data.draw(options(given_))
    model = data.draw(st.sampled_from(["gpt-4o", "o3", "gpt-5", "llama-3"]))
    stream = data.draw(st.booleans())
    turns = data.draw(conversations())
    body = json.loads(encode(BUILDER.build(turns, given_, model=model, stream=stream, **said)))
    assert exhaust(accepts().validate_python(body)) == body


def test_the_judge_refuses_what_the_sdk_does_not_know() -> None:
    good = BUILDER.build("x", model="m")
    accepts().validate_python(good)
    turns = [{"role": "user", "content": [{"type": "text", "text": "x", "colour": "red"}]}]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
    for bad in (
        good | {"colour": "red"},
        good | {"messages": turns},
        good | {"messages": [{"role": "assistant", "tool_calls": [call]}]},
        good | {"messages": [{"role": "robot", "content": "x"}]},
    ):
        with pytest.raises(pydantic.ValidationError):
            exhaust(accepts().validate_python(bad))


# Answers.


def check_equal(ours: ModelResponse, theirs: Any, ids: bool = True) -> None:
    """Locus's reading of an answer beside the SDK's."""
    assert (ours.response_id, ours.model) == (theirs.id, theirs.model)
    candidates = ours.candidates or (ours,)
    assert len(candidates) == len(theirs.choices)
    for mine, choice in zip(candidates, theirs.choices, strict=True):
        message = choice.message
        assert mine.message.text == (message.content or "")
        assert (mine.message.refusal or "") == (message.refusal or "")
        assert mine.stop_reason == choice.finish_reason
        assert (mine.reasoning or "") == (getattr(message, "reasoning_content", None) or "")
        calls = [_said(call) for call in message.tool_calls or ()]
        assert list(mine.message.tool_calls) == [call_of(call) for call in calls]
        notes = [note.to_dict() for note in message.annotations or ()]
        assert mine.message.metadata.get("annotations", []) == notes
        theirs_probable = choice.logprobs and choice.logprobs.to_dict()
        assert (mine.logprobs and _without_none(mine.logprobs)) == (
            theirs_probable and _without_none(theirs_probable)
        )
    usage = theirs.usage
    if usage is None:
        assert ours.usage == {}
        return
    assert ours.prompt_tokens == usage.prompt_tokens
    assert ours.completion_tokens == usage.completion_tokens
    read_again, thought = usage.prompt_tokens_details, usage.completion_tokens_details
    assert ours.usage.get("cached_tokens") == (read_again and read_again.cached_tokens)
    assert ours.usage.get("reasoning_tokens") == (thought and thought.reasoning_tokens)


def _said(call: Any) -> SaidCall:
    if call.type == "custom":
        return SaidCall(call.id, call.custom.name, call.custom.input, custom=True)
    return SaidCall(call.id, call.function.name, call.function.arguments)


def _without_none(value: Any) -> Any:
    return {name: member for name, member in value.items() if member is not None}


@st.composite
def probable(draw: st.DrawFn) -> dict[str, Any]:
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
    """Whole answers with everything that the SDK's classes know."""
    body = whole(draw(answers(max_candidates=3, custom=True, legible=False)))
    note = {"start_index": 0, "end_index": 1, "title": "t", "url": "https://x"}
    for choice in body["choices"]:
        choice["logprobs"] = draw(st.none() | probable())
        if draw(st.booleans()):
            choice["message"]["annotations"] = [{"type": "url_citation", "url_citation": note}]
    return body


@given(bodies())
def test_what_the_sdk_can_say_is_read_equal(body: dict[str, Any]) -> None:
    theirs = ChatCompletion.model_validate(body)
    check_equal(PARSER.parse(theirs.to_json().encode()), theirs)
    check_equal(PARSER.parse(theirs.model_dump_json()), theirs)
    check_equal(PARSER.parse(theirs.to_dict()), theirs)
    check_equal(PARSER.parse(theirs.model_dump(mode="json")), theirs)


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


def through_the_sdk(pieces: list[bytes]) -> list[Any]:
    """The chunks that the SDK's client makes of an answer's bytes."""

    def answer(_: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield from pieces

        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    with http.Client(transport=http.MockTransport(answer)) as transport:
        client = openai.OpenAI(
            api_key="none", base_url="http://x/v1", http_client=transport, max_retries=0
        )
        turns: Any = [{"role": "user", "content": "x"}]
        return list(client.chat.completions.create(model="m", messages=turns, stream=True))


def accumulated(found: list[Any]) -> Any:
    """The whole answer, as the SDK's own accumulation gives it."""
    state: Any = ChatCompletionStreamState()
    for chunk in found:
        state.handle_chunk(chunk)
    return state.current_completion_snapshot  # the final one refuses answers cut by length


@st.composite
def streams(draw: st.DrawFn) -> tuple[Answered, bytes]:
    """Streams in OpenAI's own style, in any framing that the standard allows."""
    answered = draw(answers(max_candidates=2, legible=False))
    found = draw(chunks(answered, plain=True))
    # Not in the first chunk of a candidate: the SDK counts those of the second candidate twice.
    for chunk in found[len(answered.candidates) :]:
        for choice in chunk["choices"]:
            choice["logprobs"] = draw(st.none() | st.none() | probable())
    return answered, draw(framed(found, plain=True))


@given(streams(), st.data())
def test_the_same_bytes_give_the_same_answer(
    stream: tuple[Answered, bytes], data: st.DataObject
) -> None:
    found = through_the_sdk(data.draw(splits(stream[1])))
    ours = answer_of(data.draw(splits(stream[1])))
    theirs = accumulated(found)
    check_equal(ours, theirs)
    first = "".join(
        choice.delta.content or ""
        for chunk in found
        for choice in chunk.choices
        if choice.index == 0
    )
    assert ours.content == first


@given(st.data())
def test_what_the_sdks_chunks_can_say_is_read_equal(data: st.DataObject) -> None:
    found = [
        ChatCompletionChunk.model_validate(chunk)
        for chunk in data.draw(chunks(data.draw(answers(max_candidates=2)), plain=True))
    ]
    theirs = accumulated(found)
    for dumped in ([chunk.to_json() for chunk in found], [c.model_dump_json() for c in found]):
        lines = [json.dumps(json.loads(text)) for text in dumped]
        check_equal(answer_of(sse(*lines, done=True)), theirs)


@given(streams(), st.data())
def test_of_a_stream_that_is_cut_the_sdk_saw_no_more_than_locus(
    stream: tuple[Answered, bytes], data: st.DataObject
) -> None:
    prefix = stream[1][: data.draw(st.integers(0, len(stream[1])))]
    try:
        found = through_the_sdk([prefix])
    except (ValueError, openai.APIError):  # cut in the middle of a message
        return
    events, decoder = read([prefix])
    partial = events[-1].response if decoder.done else getattr(decoder.failure, "partial", None)
    assert partial is not None
    text = "".join(
        choice.delta.content or ""
        for chunk in found
        for choice in chunk.choices
        if choice.index == 0
    )
    assert partial.content.startswith(text)


@pytest.mark.parametrize("error", [{"error": {"message": "boom", "code": 429}}, {"error": "boom"}])
def test_an_error_in_the_stream_is_an_error_in_both(error: dict[str, Any]) -> None:
    chunk = {"id": "1", "choices": [{"index": 0, "delta": {"content": "x"}}]}
    stream = sse(chunk, error, done=True)
    with pytest.raises(openai.APIError):
        through_the_sdk([stream])
    failure = read([stream])[1].failure
    assert failure is not None
    assert "boom" in str(failure)


def test_a_call_of_locus_goes_back_as_the_sdk_sends_it() -> None:
    turns = [
        Message.user([TextPart("x")]),
        Message.assistant("so", [ToolCall("1", "f", {"a": 1}), ToolCall("2", "f")]),
    ]
    message: Any = BUILDER.build(turns, model="m")["messages"][1]
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    theirs = ChatCompletion.model_validate(body | {"choices": [choice]})
    assert PARSER.parse(theirs.to_json()).message == turns[1]
