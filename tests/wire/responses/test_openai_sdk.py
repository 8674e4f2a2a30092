"""The official SDK as the judge of the responses format, in both directions.

What Locus builds, the SDK's parameter types accept, with no member they do not know. What its
response classes can say, Locus reads equal. The same bytes give the same response through both.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, is_typeddict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.messages import Message, ToolResult
from locus.core.response import ModelResponse
from locus.wire.provider_json import encode_json
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support.native_state import get_data
from tests.support.strategies import byte_splits, conversations, options, tools
from tests.support.wire_json.responses_json import (
    SampleResponse,
    build_body,
    build_expected_call,
    decode_response,
    encode_sse,
    framed_streams,
    make_last_event,
    make_message_item,
    make_text_delta,
    read_stream,
    sample_responses,
    stream_events,
)

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")
typing_extensions = pytest.importorskip("typing_extensions")

from openai.types.responses import Response, response_create_params  # noqa: E402
from openai.types.responses.response import IncompleteDetails  # noqa: E402

pytestmark = pytest.mark.sdk

# The SDK rides on httpx2 since its third version, and on httpx before.
MAJOR = int(openai.VERSION.split(".")[0])
http = pytest.importorskip("httpx2" if MAJOR >= 3 else "httpx")

PARSER = ResponsesParser()
_KNOWN: Any = get_args(get_args(IncompleteDetails.model_fields["reason"].annotation)[0])
REASONS: tuple[str | None, ...] = (*_KNOWN, None)
"""Why a response is incomplete, as far as this version of the SDK knows."""


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
    return pydantic.TypeAdapter(response_create_params.ResponseCreateParams)


def exhaust_iterables(value: Any) -> Any:
    """Pull everything out of pydantic's lazy iterables, which validate only then."""
    if isinstance(value, dict):
        return {name: exhaust_iterables(member) for name, member in value.items()}
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    return [exhaust_iterables(member) for member in value]


def check_request(
    messages: Any, tool_list: Any = None, store: bool = True, **call_options: Any
) -> None:
    body = json.loads(
        encode_json(ResponsesBuilder(store).build(messages, tool_list, **call_options))
    )
    assert exhaust_iterables(make_request_validator().validate_python(body)) == body


@given(st.data())
def test_what_is_built_is_what_the_sdk_would_send(data: st.DataObject) -> None:
    tool_list = data.draw(tools())
    call_options = data.draw(options(tool_list))
    for keyword in ("stop", "seed", "frequency_penalty", "presence_penalty"):
        call_options.pop(keyword, None)  # the API has none of them
    call_options["model"] = data.draw(st.sampled_from(["gpt-4o", "o3", "gpt-5", "llama-3"]))
    call_options["stream"] = data.draw(st.booleans())
    call_options["provider_state"] = data.draw(
        st.sampled_from([None, {"previous_response_id": "r"}])
    )
    check_request(data.draw(conversations()), tool_list, data.draw(st.booleans()), **call_options)


@given(sample_responses(), st.booleans())
def test_a_response_goes_back_as_the_sdk_would_send_it(sample: SampleResponse, store: bool) -> None:
    message = ResponsesParser(store).parse(build_body(sample)).message
    messages = [Message.user("x"), message]
    messages += [Message.tool(ToolResult(call.id, "f", "y")) for call in message.tool_calls]
    if message.has_content or message.tool_calls:
        check_request([*messages, Message.user("z")], store=store, model="gpt-5")


def test_the_judge_refuses_what_the_sdk_does_not_know() -> None:
    good = ResponsesBuilder().build("x", model="m")
    make_request_validator().validate_python(good)
    (message,) = good["input"]
    for bad in (
        good | {"colour": "red"},
        good | {"input": [message | {"colour": "red"}]},
        good | {"input": [message | {"content": [{"type": "text", "text": "x"}]}]},
        good | {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
        good | {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ):
        with pytest.raises(pydantic.ValidationError):
            exhaust_iterables(make_request_validator().validate_python(bad))


# Responses.


def check_same_response(ours: ModelResponse, theirs: Any) -> None:
    """Locus's reading of a response beside the SDK's."""
    assert (ours.response_id, ours.model) == (theirs.id, theirs.model)
    assert ours.content == theirs.output_text
    details = theirs.incomplete_details
    assert ours.stop_reason == ((details and details.reason) or theirs.status)
    parts = [p for item in theirs.output if item.type == "message" for p in item.content]
    refusals = [part.refusal for part in parts if part.type == "refusal"]
    assert (ours.message.refusal or "") == "".join(refusals)
    texts = [part for part in parts if part.type == "output_text"]
    annotations = [annotation.to_dict() for part in texts for annotation in part.annotations]
    assert ours.message.metadata.get("annotations", []) == annotations
    tokens = [token.to_dict() for part in texts for token in part.logprobs or ()]
    assert (ours.logprobs or {"content": []})["content"] == tokens
    reasoning_texts = [
        part.text
        for item in theirs.output
        if item.type == "reasoning"
        for part in [*item.summary, *(item.content or [])]
        if part.text
    ]
    assert (ours.reasoning or "") == "\n\n".join(reasoning_texts)
    calls = [
        build_expected_call(item.to_dict())
        for item in theirs.output
        if item.type in ("function_call", "custom_tool_call")
    ]
    assert list(ours.tool_calls) == calls
    usage = theirs.usage
    assert ours.usage == {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.input_tokens_details.cached_tokens,
        "cache_read_input_tokens": usage.input_tokens_details.cached_tokens,
        "cache_creation_input_tokens": usage.input_tokens_details.cache_write_tokens,
        "reasoning_tokens": usage.output_tokens_details.reasoning_tokens,
    }
    assert ours.total_tokens == usage.total_tokens


@given(sample_responses(valid_arguments=False, reasons=REASONS))
def test_what_the_sdk_can_say_is_read_equal(sample: SampleResponse) -> None:
    theirs = Response.model_validate(build_body(sample))
    check_same_response(PARSER.parse(theirs.to_json().encode()), theirs)
    check_same_response(PARSER.parse(theirs.to_dict()), theirs)
    # Half of what the union of items knows has other members, null in this one.
    check_same_response(PARSER.parse(theirs.model_dump_json()), theirs)
    check_same_response(PARSER.parse(theirs.model_dump(mode="json")), theirs)


def test_every_item_type_of_the_sdk_is_parsed_or_stored() -> None:
    from typing import get_args

    from openai.types.responses import ResponseOutputItem

    union = get_args(get_args(ResponseOutputItem)[0])
    item_types = {get_args(item.model_fields["type"].annotation)[0] for item in union}
    assert {"message", "reasoning", "function_call", "custom_tool_call", "mcp_call"} <= item_types
    for item_type in item_types - {"message", "reasoning", "function_call", "custom_tool_call"}:
        item = {
            "type": item_type,
            "id": "x_1",
            "name": 5,
            "arguments": {},
            "content": "y",
            "output": 1,
        }
        response = PARSER.parse(build_body(SampleResponse((item, make_message_item("so")))))
        assert (response.content, response.tool_calls) == ("so", ())
        assert get_data(response.message)["items"][0] == item


# Streams.


def decode_with_sdk(data_chunks: list[bytes]) -> tuple[list[Any], Any]:
    """Return the events that the SDK's stream makes of the bytes, and the complete response."""

    def handle_request(_: Any) -> Any:
        def body() -> Iterator[bytes]:
            yield from data_chunks

        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    with http.Client(transport=http.MockTransport(handle_request)) as transport:
        client = openai.OpenAI(
            api_key="none", base_url="http://x/v1", http_client=transport, max_retries=0
        )
        with client.responses.stream(model="m", input="x") as stream:
            sdk_events = list(stream)
    last_events = [e for e in sdk_events if e.type in ("response.completed", "response.incomplete")]
    return sdk_events, last_events[-1].response if last_events else None


@given(st.data())
def test_the_same_bytes_give_the_same_response(data: st.DataObject) -> None:
    sample = data.draw(sample_responses(valid_arguments=False))
    style = data.draw(st.sampled_from(["openai", "openai", "items", "bare"]))
    stream = data.draw(framed_streams(data.draw(stream_events(sample, style, official_only=True))))
    sdk_events, theirs = decode_with_sdk(data.draw(byte_splits(stream)))
    check_same_response(decode_response(data.draw(byte_splits(stream))), theirs)
    if style == "openai":
        deltas = [event.delta for event in sdk_events if event.type == "response.output_text.delta"]
        events, _ = read_stream([stream])
        assert [event.content for event in events if event.content] == [d for d in deltas if d]
        reasoning_texts = [
            event.delta
            for event in sdk_events
            if event.type.startswith("response.reasoning") and event.type.endswith("delta")
        ]
        reasoning = "".join(event.reasoning or "" for event in events)
        assert reasoning.replace("\n\n", "") == "".join(reasoning_texts).replace("\n\n", "")


def _reorder_and_renumber(data: st.DataObject, chunks: list[Any]) -> list[Any]:
    """Interleave the events of the items, and give the items other indexes.

    The events of one item keep their order, and so do all texts, and all reasoning: what was given
    to the caller cannot be given again in another order.
    """
    groups: dict[Any, list[Any]] = {}
    kinds: dict[int, str] = {}
    for chunk in chunks[1:-1]:
        index = chunk.get("output_index", -1)
        if chunk["type"] == "response.output_item.added":
            kinds[index] = chunk["item"]["type"]
        kind = kinds.get(index, "other")
        group = kind if kind in ("message", "reasoning") else index
        groups.setdefault(group, []).append(chunk)
    turns = data.draw(st.permutations([group for group in groups for _ in groups[group]]))
    steps = data.draw(st.lists(st.integers(1, 3), min_size=len(kinds), max_size=len(kinds)))
    numbers = dict(zip(sorted(kinds), itertools.accumulate(steps), strict=True))
    reordered = [groups[group].pop(0) for group in turns]
    return [
        chunks[0],
        *(
            {**chunk, "output_index": numbers[chunk["output_index"]]}
            if chunk.get("output_index") in numbers
            else chunk
            for chunk in reordered
        ),
        chunks[-1],
    ]


@pytest.mark.skipif(MAJOR < 3, reason="older versions of the SDK take an index for a position")
@given(st.data())
def test_in_any_order_the_sdk_accepts_the_response_is_the_same(data: st.DataObject) -> None:
    sample = data.draw(sample_responses(valid_arguments=False))
    chunks = data.draw(stream_events(sample, "openai", official_only=True))
    stream = encode_sse(*_reorder_and_renumber(data, chunks))
    _, theirs = decode_with_sdk([stream])
    ours = decode_response(stream)
    check_same_response(ours, theirs)
    events, _ = read_stream([stream])
    assert "".join(event.content or "" for event in events) == ours.content


@pytest.mark.skipif(MAJOR < 3, reason="older versions of the SDK fail on such a stream")
@given(st.data())
def test_a_response_without_its_output_at_the_end_is_recovered_as_by_the_sdk(
    data: st.DataObject,
) -> None:
    sample = data.draw(sample_responses(valid_arguments=False))
    sdk_events = data.draw(stream_events(sample, "openai", official_only=True))
    sdk_events[-1]["response"]["output"] = None
    _, theirs = decode_with_sdk([encode_sse(*sdk_events)])
    check_same_response(decode_response(encode_sse(*sdk_events)), theirs)


@given(st.data())
def test_of_a_stream_that_is_cut_the_sdk_saw_no_more_than_locus(data: st.DataObject) -> None:
    stream = encode_sse(
        *data.draw(stream_events(data.draw(sample_responses()), official_only=True))
    )
    prefix = stream[: data.draw(st.integers(0, len(stream)))]
    try:
        sdk_events, _ = decode_with_sdk([prefix])
    except (ValueError, openai.APIError):  # cut in the middle of an event
        return
    _, decoder = read_stream([prefix])
    deltas = [event.delta for event in sdk_events if event.type == "response.output_text.delta"]
    if not decoder.done:
        assert decoder.failure is not None
        assert decoder.failure.partial is not None
        assert decoder.failure.partial.content == "".join(deltas)


def test_an_error_in_the_stream_is_one_in_both() -> None:
    created = {"type": "response.created", "response": make_last_event()["response"]}
    added = {"type": "response.output_item.added", "output_index": 0, "item": make_message_item()}
    part = {"type": "output_text", "text": "", "annotations": []}
    part_added = {"type": "response.content_part.added", "output_index": 0, "content_index": 0}
    error = {"error": {"type": "server_error", "message": "boom"}}
    stream = encode_sse(created, added, {**part_added, "part": part}, make_text_delta("x"), error)
    with pytest.raises(openai.APIError, match="boom"):
        decode_with_sdk([stream])
    failure = read_stream([stream])[1].failure
    assert failure is not None
    assert "boom" in str(failure)
